//! StatefulSets: pods with names and claims of their own, made in order and replaced in reverse. Upstream:
//! `pkg/controller/statefulset`.

mod claims;
mod identity;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners, pods, revisions, selector};
use plan::Snapshot;

/// The controller.
pub struct StatefulSets {
    caches: Caches,
}

impl StatefulSets {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.stateful_sets, queue);
        follow::dependents(&caches.stateful_sets, &caches.pods, queue, pods::changed_for_owner, selects);
        follow::dependents(&caches.stateful_sets, &caches.controller_revisions, queue, |_| true, selects);
        StatefulSets { caches: caches.clone() }
    }
}

fn selects(set: &StatefulSet, dependent: &ObjectMeta) -> bool {
    set.spec.as_ref().is_some_and(|spec| selector::wants(&spec.selector, dependent.labels.as_ref()))
}

impl Controller for StatefulSets {
    type Snapshot = Snapshot;

    const NAME: &'static str = "statefulset";

    fn writes() -> Vec<Kind> {
        vec![
            Kind::of::<StatefulSet>(),
            Kind::of::<Pod>(),
            Kind::of::<ControllerRevision>(),
            Kind::of::<PersistentVolumeClaim>(),
        ]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let set = self.caches.stateful_sets.get(Some(&key.namespace), &key.name)?;
        let spec = set.spec.as_ref()?;
        if selector::is_empty(&spec.selector) {
            return None;
        }
        let uid = owners::uid(&set.metadata);
        let has_claims = spec.volume_claim_templates.as_ref().is_some_and(|templates| !templates.is_empty());
        let claims = if has_claims { self.caches.claims.list_in(&key.namespace) } else { Vec::new() };
        Some(Snapshot {
            revisions: revisions::around(&self.caches.controller_revisions, &key.namespace, uid),
            pods: self.caches.pods_of(&key.namespace, uid),
            claims: claims
                .into_iter()
                .map(|claim| (owners::name(&claim.metadata).to_owned(), claim))
                .collect(),
            set,
        })
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        plan::plan(snapshot, now)
    }

    fn report(&self, snapshot: &Snapshot, outcome: &Outcome, now: Timestamp) -> Plan {
        status::report(snapshot, outcome, now)
    }
}
