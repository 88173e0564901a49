//! Jobs: pods that run to their end, as often as it takes. Upstream: `pkg/controller/job`.

mod failures;
mod indexes;
mod orphans;
mod plan;
mod status;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::cache::Change;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners, pods, selector};
pub use orphans::JobOrphans;
use tally::Snapshot;
pub use tally::{condition, is_finished};

/// The controller.
pub struct Jobs {
    caches: Caches,
}

impl Jobs {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.jobs, queue);
        follow::dependents(&caches.jobs, &caches.pods, queue, matters, selects);
        Jobs { caches: caches.clone() }
    }
}

fn selects(job: &Job, pod: &ObjectMeta) -> bool {
    let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| selector::wants(selector, pod.labels.as_ref()))
}

fn matters(change: &Change<Pod>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    pods::changed_for_owner(change)
        || tally::is_tracked(old) != tally::is_tracked(new)
        || verdict::restarts(old) != verdict::restarts(new)
}

impl Controller for Jobs {
    type Snapshot = Snapshot;

    const NAME: &'static str = "job";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Job>(), Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let job = self.caches.jobs.get(Some(&key.namespace), &key.name)?;
        if is_finished(&job) || tally::is_managed_elsewhere(&job) || job.spec.is_none() {
            return None;
        }
        Some(Snapshot { pods: self.caches.pods_of(&key.namespace, owners::uid(&job.metadata)), job })
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        plan::plan(snapshot, now)
    }

    fn report(&self, snapshot: &Snapshot, _outcome: &Outcome, now: Timestamp) -> Plan {
        status::report(snapshot, now)
    }
}
