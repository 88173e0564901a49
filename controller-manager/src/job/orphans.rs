//! Pods that wait to be counted by a Job that will not: it is gone or over, or has let them go. Upstream:
//! `syncOrphanPod`.

use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use machinery::cache::revision_of;
use machinery::queue::Queue;

use super::tally::{FINALIZER, is_finished, is_managed_elsewhere, is_tracked};
use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::owners;

/// The controller.
pub struct JobOrphans {
    caches: Caches,
}

impl JobOrphans {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.pods.on_change(move |change| {
            change.new.iter().filter(|pod| is_tracked(pod)).for_each(|pod| keys.add(Key::of(&pod.metadata)));
        });
        let (keys, pods) = (queue.clone(), caches.pods_by_owner.clone());
        caches.jobs.on_change(move |change| {
            if change.new.as_ref().is_none_or(|job| is_finished(job)) {
                let left = pods.get(owners::uid(&change.latest().metadata));
                left.iter().filter(|pod| is_tracked(pod)).for_each(|pod| keys.add(Key::of(&pod.metadata)));
            }
        });
        JobOrphans { caches: caches.clone() }
    }

    /// What the pod's Job is to it.
    fn fate(&self, pod: &Pod) -> Fate {
        let Some(owner) = owners::controller_of(&pod.metadata) else { return Fate::Free };
        if owner.kind != Job::KIND || owner.api_version != Job::API_VERSION {
            return Fate::Held;
        }
        let job = self.caches.jobs.get(Some(owners::namespace(&pod.metadata)), &owner.name);
        match job.filter(|job| owners::uid(&job.metadata) == owner.uid) {
            // A Job is older than its pods: a cache that is newer than the pod would show it.
            None if revision_of(pod).is_some_and(|seen| self.caches.jobs.revision() >= seen) => Fate::Free,
            None => Fate::Lost,
            Some(job) if is_finished(&job) && !is_managed_elsewhere(&job) => Fate::Free,
            Some(_) => Fate::Held,
        }
    }
}

/// What becomes of a pod.
enum Fate {
    /// Its Job counts it.
    Held,
    /// Nobody does.
    Free,
    /// Its Job is not to be seen.
    Lost,
}

/// A pod that nobody counts, as far as is known.
pub struct Orphan {
    pod: Arc<Pod>,
    /// Its Job may only not be seen yet: after a start the cache of pods may be ahead.
    lost: bool,
}

impl Controller for JobOrphans {
    type Snapshot = Orphan;

    const NAME: &'static str = "job_orphan_pod";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Orphan> {
        let pod = self.caches.pods.get(Some(&key.namespace), &key.name).filter(|pod| is_tracked(pod))?;
        match self.fate(&pod) {
            Fate::Held => None,
            Fate::Free => Some(Orphan { pod, lost: false }),
            Fate::Lost => Some(Orphan { pod, lost: true }),
        }
    }

    fn plan(&self, orphan: &Orphan, _now: Timestamp) -> Plan {
        let namespace = owners::namespace(&orphan.pod.metadata).to_owned();
        let action = if orphan.lost {
            Action::CatchUp { kind: Kind::of::<Job>(), namespace }
        } else {
            Action::release(&*orphan.pod, FINALIZER)
        };
        Plan { actions: vec![action], requeue_after: None }
    }

    fn report(&self, orphan: &Orphan, outcome: &Outcome, _now: Timestamp) -> Plan {
        let gone = orphan.lost && outcome.failure.is_none();
        Plan {
            actions: gone.then(|| Action::release(&*orphan.pod, FINALIZER)).into_iter().collect(),
            requeue_after: None,
        }
    }
}
