//! Pods that wait to be counted by a Job that will not: it is gone or over, or has let them go. Upstream:
//! `syncOrphanPod`.

use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use machinery::queue::Queue;

use super::tally::{FINALIZER, is_finished, is_managed_elsewhere, is_tracked};
use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp};
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

    fn is_waited_for(&self, pod: &Pod) -> bool {
        let Some(owner) = owners::controller_of(&pod.metadata) else { return false };
        if owner.kind != Job::KIND || owner.api_version != Job::API_VERSION {
            return true;
        }
        let job = self.caches.jobs.get(Some(owners::namespace(&pod.metadata)), &owner.name);
        job.is_some_and(|job| {
            owners::uid(&job.metadata) == owner.uid && (is_managed_elsewhere(&job) || !is_finished(&job))
        })
    }
}

impl Controller for JobOrphans {
    type Snapshot = Arc<Pod>;

    const NAME: &'static str = "job_orphan_pod";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Arc<Pod>> {
        let pod = self.caches.pods.get(Some(&key.namespace), &key.name)?;
        (is_tracked(&pod) && !self.is_waited_for(&pod)).then_some(pod)
    }

    fn plan(&self, pod: &Arc<Pod>, _now: Timestamp) -> Plan {
        Plan { actions: vec![Action::release(&**pod, FINALIZER)], requeue_after: None }
    }
}
