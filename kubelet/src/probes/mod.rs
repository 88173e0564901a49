//! The probes of one pod: a task for each running container that has some. The task asks by the clock and
//! keeps the container's health; the worker is woken when that changes and only reads it. A container is
//! known by the runtime's id, so nothing is carried over from one that ended to the one after it.
//! Corresponds to upstream's `kubelet/prober`.

pub mod check;
pub mod gauge;
pub mod grpc;
pub mod http;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use machinery::clock::Clock;
use machinery::events::EventType::Warning;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cri::Runtime;
use crate::kubelet::Kubelet;
use crate::plan::{Health, HealthMap};
use crate::pod_spec::{self, Role};
use crate::pod_worker::Notes;
use crate::runtime_state::{ContainerView, PodView};
use check::Place;
use gauge::{After, Gauge, Kind, Outcome, Timing};

/// How often a question is asked again at once that could not be asked at all.
const TRIES: usize = 3;

/// The probes of a pod's containers.
pub struct Probes {
    kubelet: Arc<Kubelet>,
    wake: Arc<Notify>,
    watched: BTreeMap<String, Watched>,
    /// The pod is to end: only readiness is of interest any more.
    ending: bool,
}

struct Watched {
    health: Arc<Mutex<Health>>,
    restarting: CancellationToken,
    /// Ends the task.
    _task: DropGuard,
}

impl Probes {
    /// Probes whose changes are told through `wake`.
    pub fn new(kubelet: Arc<Kubelet>, wake: Arc<Notify>) -> Self {
        Self { kubelet, wake, watched: BTreeMap::new(), ending: false }
    }

    /// Starts the probes of containers that run and ends those of containers that do not any more.
    pub fn keep(&mut self, pod: &Arc<Pod>, view: &PodView) {
        self.watched.retain(|id, _| view.running().any(|running| running.id == *id));
        for running in view.running() {
            if self.watched.contains_key(&running.id) {
                continue;
            }
            if let Some((container, role)) = pod_spec::container(pod, &running.name)
                && role != Role::Init
                && has_probes(&container)
            {
                self.watch(pod, view, running, &container, role);
            }
        }
    }

    fn watch(
        &mut self,
        pod: &Arc<Pod>,
        view: &PodView,
        running: &ContainerView,
        container: &Container,
        role: Role,
    ) {
        let (health, known) = first_health(pod, container, &running.id);
        let health = Arc::new(Mutex::new(health));
        let all = self.kubelet.tasks.child();
        let restarting = all.child_token();
        if self.ending {
            restarting.cancel();
        }
        let pod_ip = if pod_spec::host_network(pod) {
            self.kubelet.node_facts().host_ips.first().cloned()
        } else {
            view.ready_sandbox().and_then(|sandbox| sandbox.ips.first().cloned())
        };
        let task = Task {
            runtime: Arc::clone(&self.kubelet.runtime),
            notes: self.kubelet.notes.clone(),
            clock: self.kubelet.clock.clone(),
            wake: Arc::clone(&self.wake),
            pod: Arc::clone(pod),
            container: container.clone(),
            role,
            id: running.id.clone(),
            pod_ip: pod_ip.unwrap_or_default(),
            started: running.started,
            known,
            health: Arc::clone(&health),
            restarting: restarting.clone(),
        };
        let stop = all.clone();
        self.kubelet.tasks.spawn_scoped("probes", async move {
            // Being stopped and having no more to ask are the same to us.
            stop.run_until_cancelled(task.run()).await;
        });
        self.watched.insert(running.id.clone(), Watched { health, restarting, _task: all.drop_guard() });
    }

    /// What the probes say now.
    pub fn health(&self) -> HealthMap {
        self.watched.iter().map(|(id, watched)| (id.clone(), watched.health.lock().clone())).collect()
    }

    /// Ends the probes that demand restarts; the others tell on that the pod takes requests.
    pub fn stop_liveness(&mut self) {
        self.ending = true;
        for watched in self.watched.values() {
            watched.restarting.cancel();
        }
    }

    /// Ends all probes.
    pub fn stop(&mut self) {
        self.ending = true;
        self.watched.clear();
    }
}

fn has_probes(container: &Container) -> bool {
    [&container.startup_probe, &container.readiness_probe, &container.liveness_probe]
        .iter()
        .any(|p| p.is_some())
}

/// The health to begin with. What the API says of this very container comes from a kubelet before this one,
/// and holds until a probe says otherwise.
fn first_health(pod: &Pod, container: &Container, id: &str) -> (Health, bool) {
    let status = pod.status.as_ref();
    let lists = status.map(|s| [&s.init_container_statuses, &s.container_statuses]);
    let told = lists.into_iter().flatten().flatten().flatten().find(|status| {
        let full = status.container_id.as_deref().unwrap_or_default();
        status.name == container.name && full.split_once("://").is_some_and(|(_, known)| known == id)
    });
    let started = told.is_some_and(|status| status.started == Some(true));
    let ready = told.is_some_and(|status| status.ready);
    let health = Health {
        started: container.startup_probe.is_none() || started,
        ready: container.readiness_probe.is_none() || ready,
        failed: None,
    };
    (health, started)
}

/// Asks one container.
struct Task {
    runtime: Arc<Runtime>,
    notes: Notes,
    clock: Clock,
    wake: Arc<Notify>,
    pod: Arc<Pod>,
    container: Container,
    role: Role,
    id: String,
    pod_ip: String,
    /// When its program started, in nanoseconds.
    started: i64,
    /// A kubelet before this one asked it already.
    known: bool,
    health: Arc<Mutex<Health>>,
    restarting: CancellationToken,
}

impl Task {
    async fn run(self) {
        if let Some(probe) = &self.container.startup_probe
            && !self.health.lock().started
        {
            let over = self.restarting.run_until_cancelled(self.repeat(Kind::Startup, probe)).await;
            if over.is_none() || !self.health.lock().started {
                return;
            }
        }
        let readiness = async {
            if let Some(probe) = &self.container.readiness_probe {
                self.repeat(Kind::Readiness, probe).await;
            }
        };
        let liveness = async {
            if let Some(probe) = &self.container.liveness_probe {
                // It ends by a verdict or because nobody wants to know any more.
                self.restarting.run_until_cancelled(self.repeat(Kind::Liveness, probe)).await;
            }
        };
        tokio::join!(readiness, liveness);
    }

    /// Asks by the clock until a verdict ends it.
    async fn repeat(&self, kind: Kind, probe: &Probe) {
        let timing = Timing::of(probe);
        let mut gauge = Gauge::of(probe);
        let mut due = self.clock.instant() + timing.first(self.age());
        if self.known {
            // After a restart of the kubelet not all containers of the node at once.
            due += timing.period.mul_f64(rand::random::<f64>());
        }
        loop {
            self.clock.sleep_until(due).await;
            // Periods that passed while the answer was awaited are left out.
            while due <= self.clock.instant() {
                due += timing.period;
            }
            let outcome = self.ask(probe).await;
            if let Some((reason, message)) = kind.event(&outcome) {
                tracing::debug!(
                    pod = pod_spec::described(&self.pod),
                    container = self.container.name,
                    message
                );
                self.notes.container(&self.pod, &self.container, self.role, Warning, reason, message);
            }
            let Some(good) = gauge.take(&outcome) else { continue };
            if self.judge(kind, good) == After::Ends {
                return;
            }
        }
    }

    fn judge(&self, kind: Kind, good: bool) -> After {
        let mut health = self.health.lock();
        let before = health.clone();
        let after = kind.judge(good, &mut health);
        if *health != before {
            self.wake.notify_one();
        }
        after
    }

    fn age(&self) -> Duration {
        let now = i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX);
        Duration::from_nanos(u64::try_from(now.saturating_sub(self.started)).unwrap_or(0))
    }

    async fn ask(&self, probe: &Probe) -> Outcome {
        let reach = http::Reach { pod_ip: &self.pod_ip, host_network: pod_spec::host_network(&self.pod) };
        let place = Place { id: &self.id, reach, container: &self.container };
        let mut outcome = self.ask_once(&place, probe).await;
        for _ in 1..TRIES {
            if !matches!(outcome, Outcome::Unclear { .. }) {
                break;
            }
            outcome = self.ask_once(&place, probe).await;
        }
        outcome
    }

    /// On the heap, so that a probe that waits for its time is small.
    async fn ask_once(&self, place: &Place<'_>, probe: &Probe) -> Outcome {
        Box::pin(check::ask(&self.runtime, place, probe)).await
    }
}
