//! One worker for each pod: it looks at the pod in the API and in the runtime, plans, acts, and looks again
//! until nothing is left to do; then it waits for a change, the end of a program or the clock. It ends when
//! the pod is gone from the API and nothing is left of it on the node.
//! Corresponds to upstream's `pod_workers.go` and `syncPod`.

mod ending;
mod execute;
mod exits;
mod hooks;
mod last_words;
mod mounts;
mod notes;
mod observe;
mod report;
mod resize;
mod start;
mod status_writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::pod::is_finished;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use machinery::backoff::Backoff as Pauses;
use machinery::events::EventType::{Normal, Warning};
pub use notes::Notes;
use proto::cri::LinuxContainerResources;
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::cri::CriError;
use crate::kubelet::Kubelet;
use crate::plan::{self, Hold, Situation, Waiting};
use crate::pod_spec;
use crate::pod_status::{Ended, Unresized};
use crate::probes::Probes;
use crate::runtime_config::container::VolumePath;
use crate::runtime_state::PodView;
use crate::volumes;
use exits::Exits;
use mounts::Tries;
use observe::Observer;
use status_writer::StatusWriter;

/// How soon to look again when a program has ended and the runtime does not say so yet.
const SOON: Duration = Duration::from_millis(10);
/// For how long that is done.
const SOON_FOR: Duration = Duration::from_secs(5);
/// How soon to look again when the runtime may yet say more about an end.
const UNSETTLED: Duration = Duration::from_millis(300);
/// How often to look when the runtime does not tell process ids.
const POLL: Duration = Duration::from_secs(1);
/// Pause after the runtime or the API refused something.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);

/// Which pod a worker is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What to do after a turn.
enum Next {
    /// Look again at once.
    Again,
    /// Wait for a change, or until then.
    Wait(Option<Timestamp>),
    /// Nothing is left of the pod.
    End,
}

/// Takes care of one pod.
pub struct Worker {
    kubelet: Arc<Kubelet>,
    subject: Subject,
    wake: Arc<Notify>,
    seen: Timestamp,
    observer: Observer,
    exits: Exits,
    /// Ended for the kernel, not yet for the runtime.
    ending: BTreeMap<String, Instant>,
    probes: Probes,
    backoffs: BTreeMap<String, Backoff>,
    /// Starts that failed; under the empty name the sandbox's.
    holds: BTreeMap<String, Hold>,
    /// Pauses between tries to make a sandbox.
    sandbox_pauses: Pauses,
    /// What the runtime was last told that running containers may use, by their ids.
    sizes: BTreeMap<String, LinuxContainerResources>,
    /// Why they do not have what the pod says.
    unresized: Option<Unresized>,
    mounts: Option<BTreeMap<String, VolumePath>>,
    mounting: Tries,
    unmounting: Tries,
    /// The round in which the volumes were last brought up to date.
    refreshed: u64,
    /// The last pod of the API, also when it is gone by now.
    known: Option<Arc<Pod>>,
    admitted: bool,
    ended: Option<Ended>,
    stopping_since: Option<Timestamp>,
    /// The API was told that the pod may go.
    deleted: bool,
    swept: bool,
    status: Option<PodStatus>,
    writer: Option<StatusWriter>,
    /// Waits of which an event told already.
    told: BTreeMap<String, Waiting>,
}

impl Worker {
    /// A worker for a pod, woken through `wake`.
    pub fn new(kubelet: Arc<Kubelet>, subject: Subject, wake: Arc<Notify>) -> Self {
        let probes = Probes::new(Arc::clone(&kubelet), Arc::clone(&wake));
        let observer = Observer::new(&kubelet.places);
        Self {
            kubelet,
            subject,
            wake,
            seen: Timestamp::now(),
            observer,
            exits: Exits::default(),
            ending: BTreeMap::new(),
            probes,
            backoffs: BTreeMap::new(),
            holds: BTreeMap::new(),
            sandbox_pauses: Pauses::new(Duration::from_millis(500), Duration::from_secs(20)),
            sizes: BTreeMap::new(),
            unresized: None,
            mounts: None,
            mounting: Tries::new(),
            unmounting: Tries::new(),
            refreshed: 0,
            known: None,
            admitted: false,
            ended: None,
            stopping_since: None,
            deleted: false,
            swept: false,
            status: None,
            writer: None,
            told: BTreeMap::new(),
        }
    }

    /// Works until the pod is gone or the process stops.
    pub async fn run(mut self) {
        let stop = self.kubelet.tasks.token();
        loop {
            let next = match self.turn().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(pod = self.subject.name, %error, "Cannot ask the runtime");
                    Next::Wait(Some(Timestamp::now() + PAUSE))
                }
            };
            match next {
                Next::End => return,
                Next::Again if !stop.is_cancelled() => tokio::task::yield_now().await,
                Next::Again => return,
                Next::Wait(until) => {
                    if stop.run_until_cancelled(self.wait(until)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// The pod as the API has it now.
    fn current(&self) -> Option<Arc<Pod>> {
        let pod = self.kubelet.pods.get(Some(&self.subject.namespace), &self.subject.name);
        pod.filter(|pod| pod_spec::uid(pod) == self.subject.uid)
    }

    async fn turn(&mut self) -> Result<Next, CriError> {
        let view = self.observer.look(&*self.kubelet.runtime, &self.subject.uid).await?;
        self.watch_processes();
        let current = self.current();
        if let Some(pod) = &current {
            self.known = Some(Arc::clone(pod));
        }
        Ok(match current {
            None => self.leave(&view).await,
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => self.terminate(&pod, &view).await,
            Some(pod) if is_finished(&pod) || self.ended.is_some() => self.finish(&pod, &view).await,
            Some(pod) => self.keep_running(&pod, &view).await,
        })
    }

    fn watch_processes(&mut self) {
        self.ending.retain(|id, since| self.observer.runs(id) && since.elapsed() < SOON_FOR);
        for (id, pid) in self.observer.processes() {
            if let Some(pid) = pid
                && !self.exits.watch(id, pid)
            {
                // It ended before we could wait for it.
                self.ending.entry(id.to_owned()).or_insert_with(Instant::now);
            }
        }
    }

    /// Waits for something to change, or until then.
    async fn wait(&mut self, until: Option<Timestamp>) {
        let mut longest = until.map(|until| {
            let left = until.duration_since(Timestamp::now());
            Duration::try_from(left).unwrap_or(Duration::ZERO).max(Duration::from_millis(1))
        });
        let mut at_most = |limit: Duration| longest = Some(longest.map_or(limit, |l| l.min(limit)));
        if !self.ending.is_empty() {
            at_most(SOON);
        } else if self.observer.processes().any(|(_, pid)| pid.is_none()) {
            at_most(POLL);
        }
        if self.observer.unsettled() {
            at_most(UNSETTLED);
        }
        if self.mounts.is_some() && self.known.as_deref().is_some_and(volumes::needs_refresh) {
            at_most(self.kubelet.rounds.until_next(Instant::now()));
        }
        let clock = async {
            match longest {
                Some(longest) => tokio::time::sleep(longest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.wake.notified() => {}
            id = self.exits.next() => {
                self.ending.insert(id, Instant::now());
            }
            () = clock => {}
        }
    }

    async fn keep_running(&mut self, pod: &Arc<Pod>, view: &PodView) -> Next {
        let now = Timestamp::now();
        if !self.admitted {
            let began = pod.status.as_ref().is_some_and(|s| s.start_time.is_some());
            let admitted = match began || !view.is_empty() {
                true => {
                    self.kubelet.admission.keep(pod);
                    Ok(())
                }
                false => match self.kubelet.abilities(pod, "").await {
                    Ok(abilities) => self.kubelet.admit(pod, &abilities),
                    Err(error) => {
                        tracing::warn!(pod = self.subject.name, %error, "Cannot ask the runtime what it can do");
                        return Next::Wait(Some(now + PAUSE));
                    }
                },
            };
            if let Err(refusal) = admitted {
                let text = refusal.message.trim_start_matches("Pod was rejected: ").to_owned();
                self.kubelet.notes.pod(pod, Warning, &refusal.reason, text);
                self.ended = Some(refusal);
                return self.finish(pod, view).await;
            }
            self.admitted = true;
        }
        if let Some(due) = self.deadline(pod).filter(|due| *due <= now) {
            tracing::info!(pod = self.subject.name, %due, "Ending a pod that was active for too long");
            let message = "Pod was active on the node longer than the specified deadline";
            self.kubelet.notes.pod(pod, Normal, "DeadlineExceeded", message);
            self.ended = Some(Ended { reason: "DeadlineExceeded".to_owned(), message: message.to_owned() });
            return self.finish(pod, view).await;
        }
        self.probes.keep(pod, view);
        let follows = view.ready_sandbox().is_some() && volumes::needs_refresh(pod);
        let mount_again = if follows { self.keep_volumes(pod).await.err() } else { None };
        let resize_again = self.resize(pod, view).await;
        let health = self.probes.health();
        let situation =
            Situation { pod, view, backoffs: &self.backoffs, holds: &self.holds, health: &health, now };
        let plan = plan::next_steps(&situation);
        if plan.done
            && let Err(until) = self.drop_volumes(pod).await
        {
            return Next::Wait(Some(until));
        }
        self.tell_waits(pod, &plan.waiting);
        self.show(pod, view, &plan.waiting, false);
        let deadline = self.deadline(pod);
        let look_again = [plan.look_again, deadline, resize_again, mount_again].into_iter().flatten().min();
        if plan.steps.is_empty() {
            return Next::Wait(look_again);
        }
        match self.carry_out(pod, view, &plan.steps).await {
            Ok(()) => Next::Again,
            Err(until) => {
                // What stands in the way now is shown at once, not with the next try.
                let situation = Situation {
                    pod,
                    view,
                    backoffs: &self.backoffs,
                    holds: &self.holds,
                    health: &health,
                    now,
                };
                let waiting = plan::next_steps(&situation).waiting;
                self.show(pod, view, &waiting, false);
                Next::Wait(look_again.into_iter().chain([until]).min())
            }
        }
    }

    fn deadline(&self, pod: &Pod) -> Option<Timestamp> {
        let seconds = pod_spec::spec(pod).active_deadline_seconds?;
        let began = self.status.as_ref().or(pod.status.as_ref()).and_then(|s| s.start_time.clone());
        let began = began.map_or(self.seen, |time| time.0);
        Some(began.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
    }

    fn pod_ips(&self, pod: &Pod, view: &PodView) -> Vec<String> {
        match view.ready_sandbox() {
            Some(_) if pod_spec::host_network(pod) => self.kubelet.node_facts().host_ips,
            Some(sandbox) => sandbox.ips.clone(),
            None => Vec::new(),
        }
    }
}
