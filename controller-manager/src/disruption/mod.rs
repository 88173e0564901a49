//! PodDisruptionBudgets: how many pods of a budget may be evicted now. The API server's eviction counts
//! down what is written here. Upstream: `pkg/controller/disruption`.

pub mod plan;
#[cfg(test)]
mod tests;

use api::{Message, message};
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use machinery::cache::Cache;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Cached, Controller, Key, Kind, Plan, Timestamp};
use crate::kit::{owners, pods, selector};

/// The controller.
pub struct Disruption {
    caches: Caches,
}

impl Disruption {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.budgets.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        let (keys, budgets) = (queue.clone(), caches.budgets.clone());
        caches.pods.on_change(move |change| {
            if !pods::changed_for_owner(change) {
                return;
            }
            for pod in change.old.iter().chain(&change.new) {
                for budget in budgets.list_in(owners::namespace(&pod.metadata)) {
                    if covers(&budget, pod) {
                        keys.add(Key::of(&budget.metadata));
                    }
                }
            }
        });
        let budgets = &caches.budgets;
        follow_size(&caches.deployments, plan::size_of_deployment, budgets, queue);
        follow_size(&caches.replica_sets, plan::size_of_set, budgets, queue);
        follow_size(&caches.replication_controllers, plan::size_of_rc, budgets, queue);
        Self { caches: caches.clone() }
    }

    /// How many pods the controllers of these pods want, by the controller's uid.
    fn sizes(&self, pods: &[Arc<Pod>]) -> BTreeMap<String, Result<i32, Message>> {
        let mut sizes = BTreeMap::new();
        for pod in pods {
            let Some(owner) = owners::controller_of(&pod.metadata) else { continue };
            let namespace = Some(owners::namespace(&pod.metadata));
            let (uid, size) = match owner.kind.as_str() {
                "ReplicaSet" => match self.caches.replica_sets.get(namespace, &owner.name) {
                    Some(set) => match owners::controller_of(&set.metadata) {
                        Some(upper) if upper.kind == "Deployment" => {
                            let deployment = self.caches.deployments.get(namespace, &upper.name);
                            (upper.uid.clone(), deployment.map(|d| plan::size_of_deployment(&d)))
                        }
                        _ => (owner.uid.clone(), Some(plan::size_of_set(&set))),
                    },
                    None => (owner.uid.clone(), None),
                },
                "ReplicationController" => {
                    let rc = self.caches.replication_controllers.get(namespace, &owner.name);
                    (owner.uid.clone(), rc.map(|rc| plan::size_of_rc(&rc)))
                }
                _ => (owner.uid.clone(), None),
            };
            let unknown = || message!("found no scale of {} \"{}\"", owner.kind, owner.name);
            sizes.insert(uid, size.ok_or_else(unknown));
        }
        sizes
    }
}

/// A change of a wanted size changes what the budgets of its namespace make of their pods.
fn follow_size<K>(
    cache: &Cache<K>,
    size: fn(&K) -> i32,
    budgets: &Cache<PodDisruptionBudget>,
    keys: &Queue<Key>,
) where
    K: Cached + kube::Resource<DynamicType = ()>,
{
    let (budgets, keys) = (budgets.clone(), keys.clone());
    cache.on_change(move |change| {
        let size = |object: &Option<Arc<K>>| object.as_deref().map(size);
        if size(&change.old) != size(&change.new) {
            let namespace = owners::namespace(Metadata::metadata(&**change.latest()));
            budgets.list_in(namespace).iter().for_each(|budget| keys.add(Key::of(&budget.metadata)));
        }
    });
}

/// Whether a budget is about a pod. A budget without selector is about none.
fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| selector::matches(wanted, pod.metadata.labels.as_ref()))
}

impl Controller for Disruption {
    type Snapshot = plan::Snapshot;

    const NAME: &'static str = "disruption";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<PodDisruptionBudget>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<plan::Snapshot> {
        let budget = self.caches.budgets.get(Some(&key.namespace), &key.name)?;
        let mut pods = self.caches.pods.list_in(&key.namespace);
        pods.retain(|pod| covers(&budget, pod));
        let sizes = self.sizes(&pods);
        Some(plan::Snapshot { budget, pods, sizes })
    }

    fn plan(&self, snapshot: &plan::Snapshot, now: Timestamp) -> Plan {
        plan::plan(snapshot, now)
    }
}
