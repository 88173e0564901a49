//! Asks the runtime for what it holds of one pod. What cannot have changed since the last look is not
//! asked for again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use machinery::beneath;

use super::last_words::{LastWords, Places};
use crate::cri::{CriResult, Runtime};
use crate::runtime_state::{self, ContainerView, PodView, SandboxView, State};

/// For how long a killed program may turn out to have been killed for lack of memory: the runtime hears of
/// that on another way than of the end.
const CAUSE_KNOWN_AFTER: i64 = 2_000_000_000;

/// What the last look found.
pub(super) struct Observer {
    places: Places,
    sandboxes: BTreeMap<String, (SandboxView, Option<i32>)>,
    containers: BTreeMap<String, ContainerView>,
}

impl Observer {
    /// An observer that has not looked yet.
    pub(super) fn new(places: &crate::kubelet::Places) -> Self {
        let places = Places { root: places.root.clone(), logs: places.logs.clone() };
        Self { places, sandboxes: BTreeMap::new(), containers: BTreeMap::new() }
    }

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
                            let asked = LastWords::of(&self.places, uid, &found, &detail.status);
                            let words = beneath::blocking(move || Ok(asked.read())).await;
                            let words = words.unwrap_or_else(|error| error.to_string());
                            let pause = if words.is_empty() || found.message.is_empty() { "" } else { ": " };
                            found.message = format!("{}{pause}{words}", found.message);
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
