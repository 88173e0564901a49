//! ReplicaSets: as many pods as wanted. Upstream: `pkg/controller/replicaset`.

pub mod plan;
mod rank;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::{owners, pods, selector};

/// The controller.
pub struct ReplicaSets {
    caches: Caches,
}

impl ReplicaSets {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.replica_sets.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        let (keys, sets) = (queue.clone(), caches.replica_sets.clone());
        caches.pods.on_change(move |change| {
            if !pods::changed_for_owner(change) {
                return;
            }
            for pod in change.old.iter().chain(&change.new) {
                match owners::controller_of(&pod.metadata) {
                    Some(owner) if owner.kind == "ReplicaSet" => {
                        keys.add(Key::new(owners::namespace(&pod.metadata), &owner.name));
                    }
                    Some(_) => {}
                    None => suitors(&sets.list_in(owners::namespace(&pod.metadata)), pod)
                        .for_each(|key| keys.add(key)),
                }
            }
        });
        ReplicaSets { caches: caches.clone() }
    }
}

/// The sets that would take in a pod without owner.
fn suitors<'a>(sets: &'a [std::sync::Arc<ReplicaSet>], pod: &'a Pod) -> impl Iterator<Item = Key> + 'a {
    sets.iter()
        .filter(|set| {
            set.spec
                .as_ref()
                .is_some_and(|spec| selector::matches(&spec.selector, pod.metadata.labels.as_ref()))
        })
        .map(|set| Key::of(&set.metadata))
}

impl Controller for ReplicaSets {
    type Snapshot = plan::Snapshot;

    const NAME: &'static str = "replicaset";

    fn observe(&self, key: &Key) -> Option<plan::Snapshot> {
        let set = self.caches.replica_sets.get(Some(&key.namespace), &key.name)?;
        let spec = set.spec.as_ref()?;
        if selector::is_empty(&spec.selector) {
            return None;
        }
        let pods = self.caches.pods_of(&key.namespace, owners::uid(&set.metadata));
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        let too_many = pods.iter().filter(|pod| pods::is_active(pod)).count() > wanted;
        Some(plan::Snapshot {
            pods_on_node: if too_many { self.pods_on_node(&set) } else { HashMap::new() },
            pods,
            set: plan::Set {
                kind: Kind::of::<ReplicaSet>(),
                replicas: spec.replicas.unwrap_or(1),
                min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
                selector: spec.selector.clone(),
                template: spec.template.clone().unwrap_or_default(),
                status: set.status.clone().unwrap_or_default(),
                meta: set.metadata.clone(),
            },
        })
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

impl ReplicaSets {
    /// Active pods of the set and of the sets of the same owner, by node.
    fn pods_on_node(&self, set: &ReplicaSet) -> HashMap<String, usize> {
        let owner = owners::controller_of(&set.metadata).map(|owner| owner.uid.as_str());
        let family = self.caches.replica_sets.list_in(owners::namespace(&set.metadata));
        let is_related = |other: &&std::sync::Arc<ReplicaSet>| {
            other.metadata.uid == set.metadata.uid
                || (owner.is_some()
                    && owners::controller_of(&other.metadata).map(|owner| owner.uid.as_str()) == owner)
        };
        let mut count = HashMap::new();
        for related in family.iter().filter(is_related) {
            for pod in self.caches.pods_by_owner.get(owners::uid(&related.metadata)) {
                if pods::is_active(&pod) {
                    *count.entry(pods::node_name(&pod).to_owned()).or_default() += 1;
                }
            }
        }
        count
    }
}
