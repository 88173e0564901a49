//! One worker for each pod: it looks at the pod in its source and in the runtime, asks [`Life`] for the stage and
//! the next steps, carries them out, and looks again until nothing is left to do; then it waits for a change, the
//! end of a program or the clock. It ends when the pod is gone from its source and nothing of it is left on the
//! node. Corresponds to upstream's `pod_workers.go` and `syncPod`.

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
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use machinery::backoff::Backoff as Pauses;
use machinery::events::EventType::{Normal, Warning};
pub use notes::Notes;
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::cri::CriError;
use crate::kubelet::Kubelet;
use crate::plan::life::{self, Life, Sight};
use crate::plan::{Hold, Plan, Situation};
use crate::pod_spec;
use crate::pod_status::Ended;
use crate::probes::Probes;
use crate::runtime_state::PodView;
use crate::volumes;
use mounts::Mounted;
use observe::Observer;
use report::Reporter;
use resize::Sizes;

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

/// What failed, and when it may be tried again.
struct Retries {
    /// How long crashed containers wait, by name.
    backoffs: BTreeMap<String, Backoff>,
    /// Starts that failed; under the empty name the sandbox's.
    holds: BTreeMap<String, Hold>,
    /// Pauses between tries to make a sandbox.
    sandbox: Pauses,
}

/// Takes care of one pod.
pub struct Worker {
    kubelet: Arc<Kubelet>,
    subject: Subject,
    wake: Arc<Notify>,
    life: Life,
    /// The last pod that the source had.
    known: Arc<Pod>,
    observer: Observer,
    probes: Probes,
    retries: Retries,
    sizes: Sizes,
    volumes: Mounted,
    reporter: Reporter,
}

impl Worker {
    /// A worker for a pod, woken through `wake`.
    pub fn new(kubelet: Arc<Kubelet>, subject: Subject, wake: Arc<Notify>) -> Self {
        Self {
            probes: Probes::new(Arc::clone(&kubelet), Arc::clone(&wake)),
            observer: Observer::new(&kubelet),
            reporter: Reporter::new(Arc::clone(&kubelet)),
            kubelet,
            subject,
            wake,
            life: Life::New,
            known: Arc::default(),
            retries: Retries {
                backoffs: BTreeMap::new(),
                holds: BTreeMap::new(),
                sandbox: Pauses::new(Duration::from_millis(500), Duration::from_secs(20)),
            },
            sizes: Sizes::default(),
            volumes: Mounted::new(),
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
                    Next::Wait(Some(self.now() + PAUSE))
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

    fn now(&self) -> Timestamp {
        self.kubelet.clock.now()
    }

    /// The pod as its source has it now.
    fn current(&self) -> Option<Arc<Pod>> {
        self.kubelet.pods.of(&self.subject)
    }

    /// Observes, goes on in the pod's life, and does what is next in it.
    async fn turn(&mut self) -> Result<Next, CriError> {
        let view = self.observer.look(&self.kubelet.runtime, &self.subject.uid).await?;
        let current = self.current();
        if let Some(pod) = &current {
            // A mirror tells of a life before this one when the runtime holds nothing of the pod.
            if self.life == Life::New && view.is_empty() && pod_spec::is_static(pod) {
                self.reporter.begin_anew();
            }
            self.known = self.reporter.with_own_status(pod);
        }
        let mut pod = Arc::clone(&self.known);
        self.go_on(current.as_ref().map(|_| &pod), &view).await?;
        if self.life == Life::Running {
            pod = self.allot(pod);
        }
        let mut look_again = match self.life {
            Life::Running => self.look_after(&pod, &view).await,
            _ => None,
        };
        let plan = self.plan(&pod, &view);
        // Whoever sees the pod's end may use its volumes.
        if plan.done
            && self.life.holds()
            && let Err(until) = self.drop_volumes(&pod).await
        {
            return Ok(Next::Wait(Some(until)));
        }
        match self.life {
            Life::Ending { .. } if current.is_some() && !plan.done => {
                self.probes.stop_liveness();
                self.probes.keep(&pod, &view);
            }
            Life::Ending { .. } | Life::Finished { .. } => self.probes.stop(),
            Life::New | Life::Running => self.reporter.tell_waits(&pod, &plan.waiting),
        }
        self.show(&pod, &view, &plan);
        look_again = look_again.into_iter().chain(plan.look_again).min();
        if plan.steps.is_empty() {
            // One that is wanted again is another worker's.
            let held = current.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
            let over = matches!(self.life, Life::Ending { .. }) && !held;
            // The status of a static pod comes back from nowhere but from here.
            let finished = self.life == Life::Running && self.reporter.has_finished(&pod);
            return Ok(match (over, finished) {
                (true, _) => Next::End,
                (_, true) => Next::Again,
                _ => Next::Wait(look_again),
            });
        }
        Ok(match self.carry_out(&pod, &view, &plan.steps).await {
            Ok(()) => Next::Again,
            Err(until) => {
                // What stands in the way now is shown at once, not with the next try.
                if self.life == Life::Running {
                    let plan = self.plan(&pod, &view);
                    self.show(&pod, &view, &plan);
                }
                Next::Wait(look_again.into_iter().chain([until]).min())
            }
        })
    }

    fn plan(&self, pod: &Pod, view: &PodView) -> Plan {
        self.life.plan(&Situation {
            pod,
            view,
            backoffs: &self.retries.backoffs,
            holds: &self.retries.holds,
            health: &self.probes.health(),
            now: self.now(),
        })
    }

    /// Brings the pod to its next stage; a new one is judged first.
    async fn go_on(&mut self, current: Option<&Arc<Pod>>, view: &PodView) -> Result<(), CriError> {
        let pod = Arc::clone(&self.known);
        let began = self.reporter.began(&pod);
        let (evicted, now) = (self.kubelet.evictions.lock().get(&self.subject.uid).cloned(), self.now());
        let sight = Sight {
            pod: current.map(|pod| &**pod),
            known: Some(&pod),
            began,
            evicted: evicted.as_ref(),
            now,
        };
        let had_reason = self.life.why().is_some();
        self.life = mem::take(&mut self.life).next(&sight);
        if self.life == Life::New {
            self.life = self.admit(&pod, view).await?.next(&sight);
        }
        if let Some(Ended { reason, message, .. }) = self.life.why().filter(|_| !had_reason) {
            let kind = if reason == "DeadlineExceeded" { Normal } else { Warning };
            let text = message.trim_start_matches("Pod was rejected: ").to_owned();
            self.kubelet.notes.pod(&pod, kind, reason, text);
        }
        Ok(())
    }

    /// Whether the node takes the pod; one that is here already stays.
    async fn admit(&self, pod: &Arc<Pod>, view: &PodView) -> Result<Life, CriError> {
        let began = pod.status.as_ref().is_some_and(|s| s.start_time.is_some());
        if began || !view.is_empty() {
            self.kubelet.admission.keep(pod);
            return Ok(Life::Running);
        }
        let abilities = self.kubelet.abilities(pod, "").await?;
        Ok(match self.kubelet.admit(pod, &abilities) {
            Ok(()) => Life::Running,
            Err(why) => Life::Finished { why: Some(why), swept: false },
        })
    }

    /// Sees to what a running pod has beside its containers; answers when to look again.
    async fn look_after(&mut self, pod: &Arc<Pod>, view: &PodView) -> Option<Timestamp> {
        self.probes.keep(pod, view);
        let follows = view.ready_sandbox().is_some() && volumes::needs_refresh(pod);
        let mount_again = if follows { self.keep_volumes(pod).await.err() } else { None };
        let resize_again = self.resize(pod, view).await;
        let deadline = life::deadline(pod, self.reporter.began(pod));
        [mount_again, resize_again, deadline].into_iter().flatten().min()
    }

    /// Waits for something to change, or until then.
    async fn wait(&mut self, until: Option<Timestamp>) {
        let clock = self.kubelet.clock.clone();
        let until = until.map(|until| {
            let left = Duration::try_from(until.duration_since(clock.now())).unwrap_or(Duration::ZERO);
            left.max(Duration::from_millis(1))
        });
        let follows = self.volumes.are_there() && volumes::needs_refresh(&self.known);
        let round = follows.then(|| self.kubelet.rounds.until_next(clock.instant().into_std()));
        let longest = until.into_iter().chain(self.observer.look_again()).chain(round).min();
        let time = async {
            match longest {
                Some(longest) => clock.sleep_until(clock.instant() + longest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.wake.notified() => {}
            () = self.observer.exit() => {}
            () = time => {}
        }
    }

    fn pod_ips(&self, pod: &Pod, view: &PodView) -> Vec<String> {
        match view.ready_sandbox() {
            Some(_) if pod_spec::host_network(pod) => self.kubelet.node_facts().host_ips,
            Some(sandbox) => sandbox.ips.clone(),
            None => Vec::new(),
        }
    }
}
