//! Asks the runtime for what it holds of one pod. What cannot have changed since the last look is not
//! asked for again.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use jiff::Timestamp;
use k8s_cri::v1::ContainerStatus;

use crate::cri::{CriResult, Runtime};
use crate::labels;
use crate::runtime_state::{self, ContainerView, PodView, SandboxView, State};

/// For how long a killed program may turn out to have been killed for lack of memory: the runtime hears of
/// that on another way than of the end.
const CAUSE_KNOWN_AFTER: i64 = 2_000_000_000;
/// The longest last words that are read.
const WORDS: u64 = 4096;
/// The most of a log that stands in for last words.
const LOG_TAIL: u64 = 2048;

/// What the last look found.
#[derive(Default)]
pub(super) struct Observer {
    sandboxes: BTreeMap<String, (SandboxView, Option<i32>)>,
    containers: BTreeMap<String, ContainerView>,
}

impl Observer {
    /// Looks at a pod.
    pub(super) async fn look(&mut self, runtime: &dyn Runtime, uid: &str) -> CriResult<PodView> {
        let (sandboxes, containers) =
            tokio::try_join!(runtime.list_sandboxes(Some(uid)), runtime.list_containers(Some(uid)))?;
        let mut pod = PodView::default();
        let mut seen_sandboxes = BTreeMap::new();
        for sandbox in &sandboxes {
            let mut found = runtime_state::sandbox(sandbox);
            let mut pid = None;
            match self.sandboxes.remove(&found.id) {
                Some((known, known_pid)) if known.ready == found.ready => {
                    found.ips = known.ips;
                    pid = known_pid;
                }
                _ if found.ready => {
                    let detail = runtime.sandbox_status(&found.id).await?;
                    found.ips = runtime_state::sandbox_ips(&detail.status);
                    pid = detail.pid;
                }
                _ => {}
            }
            seen_sandboxes.insert(found.id.clone(), (found.clone(), pid));
            pod.sandboxes.push(found);
        }
        self.sandboxes = seen_sandboxes;
        let mut seen = BTreeMap::new();
        for container in &containers {
            let state = runtime_state::state(container);
            let known = self.containers.remove(&container.id);
            let settled = |known: &ContainerView| {
                known.state == state && state != State::Unknown && !cause_may_change(known)
            };
            let found = match known.filter(settled) {
                Some(known) => known,
                None => match runtime.container_status(&container.id).await {
                    Ok(detail) => {
                        let mut found = runtime_state::container(container, &detail.status, detail.pid);
                        if found.state == State::Exited {
                            last_words(&mut found, &detail.status);
                        }
                        found
                    }
                    // Removed between the list and the question.
                    Err(error) if error.not_found() => continue,
                    Err(error) => return Err(error),
                },
            };
            seen.insert(found.id.clone(), found.clone());
            pod.containers.push(found);
        }
        self.containers = seen;
        pod.sort();
        Ok(pod)
    }

    /// The processes that run: container or sandbox id, and process id when the runtime tells.
    pub(super) fn processes(&self) -> impl Iterator<Item = (&str, Option<i32>)> {
        let running = self.containers.values().filter(|c| c.state == State::Running);
        let sandboxes = self.sandboxes.values().filter(|(s, _)| s.ready);
        running.map(|c| (c.id.as_str(), c.pid)).chain(sandboxes.map(|(s, pid)| (s.id.as_str(), *pid)))
    }

    /// Whether the runtime may yet say more about an end.
    pub(super) fn unsettled(&self) -> bool {
        self.containers.values().any(cause_may_change)
    }

    /// Whether the runtime still says that this one runs.
    pub(super) fn runs(&self, id: &str) -> bool {
        self.containers.get(id).is_some_and(|c| c.state == State::Running)
            || self.sandboxes.get(id).is_some_and(|(s, _)| s.ready)
    }
}

/// Whether the runtime may yet say that this one was killed for lack of memory.
fn cause_may_change(container: &ContainerView) -> bool {
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    container.state == State::Exited
        && container.exit_code == 137
        && container.reason != "OOMKilled"
        && now - container.finished < CAUSE_KNOWN_AFTER
}

/// Adds what the program left behind as its last words to what the runtime says.
fn last_words(found: &mut ContainerView, status: &ContainerStatus) {
    let annotation = |key: &str| status.annotations.get(key).map(String::as_str).unwrap_or_default();
    let path = annotation(labels::TERMINATION_MESSAGE_PATH);
    let mount = status.mounts.iter().find(|mount| !path.is_empty() && mount.container_path == path);
    let left = mount.map(|mount| tail(Path::new(&mount.host_path), WORDS)).unwrap_or_default();
    let words = if left.is_empty()
        && annotation(labels::TERMINATION_MESSAGE_POLICY) == "FallbackToLogsOnError"
        && found.exit_code != 0
    {
        log_tail(Path::new(&found.log_path))
    } else {
        left
    };
    if !words.is_empty() {
        found.message = words;
    }
}

/// The end of a file; nothing when it is not there.
fn tail(path: &Path, most: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// The last lines of a container's log, without the runtime's marks (`TIME STREAM TAG text`).
fn log_tail(path: &Path) -> String {
    let raw = tail(path, LOG_TAIL * 2);
    let lines: Vec<&str> = raw.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let from = lines.len().saturating_sub(80);
    let text: String = lines[from..].iter().flat_map(|line| [*line, "\n"]).collect();
    let skip = text.len().saturating_sub(usize::try_from(LOG_TAIL).unwrap_or(usize::MAX));
    let at = (skip..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[at..].to_owned()
}
