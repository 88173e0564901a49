//! The one form all controllers have: observe caches, plan, act, wait until
//! the caches show what was written. Controllers differ in `observe` and in
//! their pure `plan`; everything else is here.

mod act;
mod caches;
mod metrics;
mod plan;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::clock::Clock;
use machinery::queue::{Queue, run_workers};
use machinery::tasks::Tasks;
use tracing::debug;

pub use act::{Actor, Writes, failure};
pub use caches::{Cached, Index, Watched, watched};
pub use metrics::Metrics;
pub use plan::{
    Action, Failure, Kind, Outcome, Plan, Propagation, Timestamp, Told, api_time, plus_seconds, reference,
    reference_to, span, to_value,
};

/// Failed keys come back after this time, then twice that, and so on …
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// … up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// When to look again after a write that came too late.
const SOON: Duration = Duration::from_millis(20);

/// Names an object to look at; the namespace is empty for cluster-wide ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl Key {
    /// A key from parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of(meta: &ObjectMeta) -> Self {
        Key::new(crate::kit::owners::namespace(meta), crate::kit::owners::name(meta))
    }

    /// A key of something cluster-wide.
    pub fn cluster(name: &str) -> Self {
        Key::new("", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            out.write_str(&self.name)
        } else {
            write!(out, "{}/{}", self.namespace, self.name)
        }
    }
}

/// A controller: what it looks at and what it decides.
pub trait Controller: Send + Sync + 'static {
    /// All that its decision rests on.
    type Snapshot: Send + Sync;

    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// How many keys are worked on at once.
    const WORKERS: usize = 4;

    /// The kinds that its plans write to.
    fn writes() -> Vec<Kind>;

    /// Reads the caches; `None` when there is nothing to decide.
    fn observe(&self, key: &Key, now: Timestamp) -> Option<Self::Snapshot>;

    /// What to do.
    fn plan(&self, snapshot: &Self::Snapshot, now: Timestamp) -> Plan;

    /// What to report once that is done and seen.
    fn report(&self, _snapshot: &Self::Snapshot, _outcome: &Outcome, _now: Timestamp) -> Plan {
        Plan::default()
    }
}

/// A queue of keys for one controller.
pub fn queue<T: std::hash::Hash + Eq + Clone>(clock: &Clock) -> Queue<T> {
    Queue::new(clock, FIRST_RETRY, LAST_RETRY)
}

/// Works on a controller's keys until the process stops.
pub fn run<C: Controller>(
    tasks: &Tasks,
    clock: &Clock,
    controller: C,
    actor: Actor,
    queue: Queue<Key>,
    metrics: &Metrics,
) {
    let (controller, clock) = (Arc::new(controller), clock.clone());
    let work = move |key: Key| {
        let (controller, actor, clock) = (Arc::clone(&controller), actor.clone(), clock.clone());
        async move { reconcile(&*controller, &actor, &clock, &key).await }
    };
    run_queue(tasks, C::NAME, C::WORKERS, queue, metrics, work);
}

/// Works on a queue's keys until the process stops, and counts.
pub fn run_queue<T, Work, Done, E>(
    tasks: &Tasks,
    name: &'static str,
    workers: usize,
    queue: Queue<T>,
    metrics: &Metrics,
    work: Work,
) where
    T: Eq + std::hash::Hash + Clone + fmt::Debug + Send + Sync + 'static,
    Work: Fn(T) -> Done + Send + Sync + 'static,
    Done: Future<Output = Result<Option<Duration>, E>> + Send + 'static,
    E: fmt::Display + Send + 'static,
{
    let watch = metrics.watch(name, &queue);
    let stop = tasks.token();
    tasks.spawn(
        name,
        run_workers(queue, workers, stop, move |key| {
            let (watch, work) = (watch.clone(), work(key));
            async move { watch.time(work).await }
        }),
    );
}

/// A key that has to be looked at again, since not all went well.
#[derive(Debug, thiserror::Error)]
#[error("{controller}: {message}")]
pub struct Again {
    controller: &'static str,
    message: String,
}

async fn reconcile<C: Controller>(
    controller: &C,
    actor: &Actor,
    clock: &Clock,
    key: &Key,
) -> Result<Option<Duration>, Again> {
    let Some(mut snapshot) = controller.observe(key, clock.now()) else { return Ok(None) };
    let Plan { actions, requeue_after } = controller.plan(&snapshot, clock.now());
    let acted = !actions.is_empty();
    let outcome = actor.carry_out(actions).await;
    if acted {
        match controller.observe(key, clock.now()) {
            Some(later) => snapshot = later,
            None => return settle::<C>(key, outcome.failure, None),
        }
    }
    let mut report = controller.report(&snapshot, &outcome, clock.now());
    let reported = actor.carry_out(std::mem::take(&mut report.actions)).await;
    requeue_after.into_iter().for_each(|wait| report.look_again(wait));
    settle::<C>(key, outcome.failure.or(reported.failure), report.requeue_after)
}

/// What a failure means for the key: what passes by itself is looked at again
/// soon, a namespace that takes nothing new not at all, the rest with back-off.
fn settle<C: Controller>(
    key: &Key,
    failure: Option<Failure>,
    requeue_after: Option<Duration>,
) -> Result<Option<Duration>, Again> {
    match failure {
        None => Ok(requeue_after),
        Some(failure) if failure.namespace_terminating => Ok(requeue_after),
        Some(failure) if failure.is_passing() => {
            debug!(controller = C::NAME, %key, "looking again: {}", failure.message);
            Ok(Some(SOON))
        }
        Some(failure) => Err(Again { controller: C::NAME, message: failure.message }),
    }
}
