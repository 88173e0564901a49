//! ReplicaSets and ReplicationControllers: as many pods as wanted. One
//! controller serves both. Upstream: `pkg/controller/{replicaset,replication}`.

pub mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use machinery::cache::Cache;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Cached, Controller, Key, Kind, Outcome, Plan, Timestamp, to_value};
use crate::kit::{follow, owners, pods, selector};

/// A kind that keeps a count of equal pods.
pub trait Replicating: Cached + kube::Resource<DynamicType = ()> {
    /// The controller's name in logs and metrics.
    const CONTROLLER: &'static str;

    /// What all such kinds have in common; `None` when it keeps no pods.
    fn set(&self) -> Option<plan::Set>;
}

impl Replicating for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset";

    fn set(&self) -> Option<plan::Set> {
        let spec = self.spec.as_ref()?;
        Some(plan::Set {
            kind: Kind::of::<ReplicaSet>(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            selector: spec.selector.clone(),
            template: spec.template.clone().unwrap_or_default(),
            status: self.status.clone().unwrap_or_default(),
            meta: self.metadata.clone(),
        })
    }
}

impl Replicating for ReplicationController {
    const CONTROLLER: &'static str = "replicationmanager";

    fn set(&self) -> Option<plan::Set> {
        let spec = self.spec.as_ref()?;
        Some(plan::Set {
            kind: Kind::of::<ReplicationController>(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
            selector: LabelSelector { match_labels: spec.selector.clone(), match_expressions: None },
            template: spec.template.clone().unwrap_or_default(),
            status: self.status.as_ref().map(common_status).unwrap_or_default(),
            meta: self.metadata.clone(),
        })
    }
}

/// The two kinds' statuses have the same fields under the same names.
fn common_status(status: &k8s_openapi::api::core::v1::ReplicationControllerStatus) -> ReplicaSetStatus {
    serde_json::from_value(to_value(status)).unwrap_or_default()
}

/// The controller of one such kind.
pub struct Replicas<K: Replicating> {
    caches: Caches,
    sets: Cache<K>,
}

impl<K: Replicating> Replicas<K> {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, sets: &Cache<K>, queue: &Queue<Key>) -> Self {
        follow::objects(sets, queue);
        follow::dependents(sets, &caches.pods, queue, pods::changed_for_owner, takes);
        Replicas { caches: caches.clone(), sets: sets.clone() }
    }

    /// Active pods of the set and of the sets of the same owner, by node.
    fn pods_on_node(&self, set: &plan::Set) -> HashMap<String, usize> {
        let owner = owners::controller_of(&set.meta).map(|owner| owner.uid.as_str());
        let family = self.sets.list_in(owners::namespace(&set.meta));
        let mut count = HashMap::new();
        for other in &family {
            let meta = Metadata::metadata(&**other);
            let sibling =
                owner.is_some() && owners::controller_of(meta).map(|owner| owner.uid.as_str()) == owner;
            if !sibling && meta.uid != set.meta.uid {
                continue;
            }
            for pod in self.caches.pods_by_owner.get(owners::uid(meta)) {
                if pods::is_active(&pod) {
                    *count.entry(pods::node_name(&pod).to_owned()).or_default() += 1;
                }
            }
        }
        count
    }
}

/// Whether a set would take in a pod without owner.
fn takes<K: Replicating>(set: &K, pod: &ObjectMeta) -> bool {
    set.set().is_some_and(|set| selector::wants(&set.selector, pod.labels.as_ref()))
}

impl<K: Replicating> Controller for Replicas<K> {
    type Snapshot = plan::Snapshot;

    const NAME: &'static str = K::CONTROLLER;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<K>(), Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<plan::Snapshot> {
        let set = self.sets.get(Some(&key.namespace), &key.name)?.set()?;
        if selector::is_empty(&set.selector) {
            return None;
        }
        let pods = self.caches.pods_of(&key.namespace, owners::uid(&set.meta));
        let wanted = usize::try_from(set.replicas).unwrap_or(0);
        let too_many = pods.iter().filter(|pod| pods::is_active(pod)).count() > wanted;
        let pods_on_node = if too_many { self.pods_on_node(&set) } else { HashMap::new() };
        Some(plan::Snapshot { set, pods, pods_on_node })
    }

    fn plan(&self, snapshot: &plan::Snapshot, _now: Timestamp) -> Plan {
        plan::plan(snapshot)
    }

    fn report(&self, snapshot: &plan::Snapshot, outcome: &Outcome, now: Timestamp) -> Plan {
        let status = plan::status(snapshot, outcome, now);
        let actions = plan::write_status(&snapshot.set, &status).into_iter().collect();
        Plan { actions, requeue_after: plan::next_available(snapshot, now) }
    }
}
