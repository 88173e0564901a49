//! Aggregated ClusterRoles have the rules of all that their selectors find, in the order of names, each once.
//! Upstream: `pkg/controller/clusterroleaggregation`.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp};
use crate::kit::{owners, selector};

/// The controller.
pub struct ClusterRoles {
    caches: Caches,
}

impl ClusterRoles {
    /// Sees to it that changes reach the queue: those of any role concern all that are aggregated.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let (keys, all) = (queue.clone(), caches.cluster_roles.clone());
        caches.cluster_roles.on_change(move |_change| {
            let aggregated = all.list().into_iter().filter(|role| role.aggregation_rule.is_some());
            aggregated.for_each(|role| keys.add(Key::of(&role.metadata)));
        });
        Self { caches: caches.clone() }
    }
}

/// A role, and all roles.
pub struct Snapshot {
    role: Arc<ClusterRole>,
    all: Vec<Arc<ClusterRole>>,
}

impl Controller for ClusterRoles {
    type Snapshot = Snapshot;

    const NAME: &'static str = "clusterrole-aggregation-controller";

    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<ClusterRole>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let role = self.caches.cluster_roles.get(None, &key.name)?;
        Some(Snapshot { role, all: self.caches.cluster_roles.list() })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        plan(snapshot)
    }
}

fn plan(Snapshot { role, all }: &Snapshot) -> Plan {
    let Some(aggregation) = &role.aggregation_rule else { return Plan::default() };
    let mut others: Vec<&Arc<ClusterRole>> =
        all.iter().filter(|other| other.metadata.name != role.metadata.name).collect();
    others.sort_by_key(|other| owners::name(&other.metadata));
    let mut rules: Vec<PolicyRule> = Vec::new();
    for wanted in aggregation.cluster_role_selectors.iter().flatten() {
        let is_wanted = |role: &&&Arc<ClusterRole>| selector::matches(wanted, role.metadata.labels.as_ref());
        for found in others.iter().filter(is_wanted) {
            for rule in found.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    let changed = ClusterRole { rules: Some(rules).filter(|rules| !rules.is_empty()), ..(**role).clone() };
    Plan { actions: Action::change(&**role, &changed, None).into_iter().collect(), ..Plan::default() }
}

#[cfg(test)]
mod tests;
