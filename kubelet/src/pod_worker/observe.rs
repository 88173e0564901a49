//! Asks the runtime for what it holds of one pod, and hears when a program of it ends. What cannot have changed
//! since the last look is not asked for again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use machinery::beneath;
use machinery::clock::Clock;

use super::exits::Exits;
use super::last_words::{LastWords, Places};
use crate::cri::{CriResult, Runtime};
use crate::kubelet::Kubelet;
use crate::runtime_state::{self, ContainerView, PodView, SandboxView, State};

/// For how long a killed program may turn out to have been killed for lack of memory: the runtime hears of
/// that on another way than of the end.
const CAUSE_KNOWN_AFTER: i64 = 2_000_000_000;

/// How soon to look again when a program has ended and the runtime does not say so yet.
const SOON: Duration = Duration::from_millis(10);
/// For how long that is done; after it, as often as for one whose process id nobody tells.
const SOON_FOR: Duration = Duration::from_secs(5);
/// How soon to look again when the runtime may yet say more about an end.
const UNSETTLED: Duration = Duration::from_millis(300);
/// How often to look when the runtime does not tell process ids.
const POLL: Duration = Duration::from_secs(1);

/// What the last look found.
pub(super) struct Observer {
    places: Places,
    clock: Clock,
    exits: Exits,
    /// Ended for the kernel, not yet for the runtime.
    ended: BTreeMap<String, Instant>,
    sandboxes: BTreeMap<String, (SandboxView, Option<i32>)>,
    containers: BTreeMap<String, ContainerView>,
    /// The runtime tells the process ids of all that runs.
    tells_pids: bool,
}

impl Observer {
    /// An observer that has not looked yet.
    pub(super) fn new(kubelet: &Kubelet) -> Self {
        Self {
            places: Places { root: kubelet.places.root.clone(), logs: kubelet.places.logs.clone() },
            clock: kubelet.clock.clone(),
            exits: Exits::default(),
            ended: BTreeMap::new(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            tells_pids: true,
        }
    }

    /// Looks at a pod.
    pub(super) async fn look(&mut self, runtime: &Runtime, uid: &str) -> CriResult<PodView> {
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
                known.state == state && state != State::Unknown && !self.cause_may_change(known)
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
        self.watch_processes();
        Ok(pod)
    }

    fn watch_processes(&mut self) {
        let running = self.containers.values().filter(|c| c.state == State::Running);
        let sandboxes = self.sandboxes.values().filter(|(s, _)| s.ready);
        let running = running.map(|c| (&c.id, c.pid)).chain(sandboxes.map(|(s, pid)| (&s.id, *pid)));
        let pids: BTreeMap<_, _> = running.collect();
        self.ended.retain(|id, _| pids.contains_key(id));
        self.exits.keep(|id| pids.contains_key(id));
        self.tells_pids = pids.values().all(Option::is_some);
        for (id, pid) in pids {
            if let Some(pid) = pid
                && !self.exits.watch(id, pid)
            {
                // It ended before we could wait for it.
                self.ended.entry(id.clone()).or_insert_with(Instant::now);
            }
        }
    }

    /// Waits for the end of a program.
    pub(super) async fn exit(&mut self) {
        let id = self.exits.next().await;
        self.ended.insert(id, Instant::now());
    }

    /// How soon to look again although nothing tells of a change.
    pub(super) fn look_again(&self) -> Option<Duration> {
        let soon = self.ended.values().any(|since| since.elapsed() < SOON_FOR);
        let ends = match self.tells_pids && self.ended.is_empty() {
            true => None,
            false => Some(if soon { SOON } else { POLL }),
        };
        let unsettled = self.containers.values().any(|c| self.cause_may_change(c));
        ends.into_iter().chain(unsettled.then_some(UNSETTLED)).min()
    }

    /// Whether the runtime may yet say that this one was killed for lack of memory.
    fn cause_may_change(&self, container: &ContainerView) -> bool {
        let now = i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
        container.state == State::Exited
            && container.exit_code == 137
            && container.reason != "OOMKilled"
            && now - container.finished < CAUSE_KNOWN_AFTER
    }
}

#[cfg(test)]
mod tests;
