//! Deployments: roll-outs by way of ReplicaSets. Upstream: `pkg/controller/deployment`.

pub mod plan;
mod revisions;
mod scaling;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners, selector};

/// The controller.
pub struct Deployments {
    caches: Caches,
}

impl Deployments {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.deployments, queue);
        follow::dependents(&caches.deployments, &caches.replica_sets, queue, |_| true, selects);
        Deployments { caches: caches.clone() }
    }
}

fn selects(deployment: &Deployment, set: &ObjectMeta) -> bool {
    deployment.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, set.labels.as_ref()))
}

impl Controller for Deployments {
    type Snapshot = plan::Snapshot;

    const NAME: &'static str = "deployment";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Deployment>(), Kind::of::<ReplicaSet>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<plan::Snapshot> {
        let deployment = self.caches.deployments.get(Some(&key.namespace), &key.name)?;
        let spec = deployment.spec.as_ref()?;
        let uid = owners::uid(&deployment.metadata);
        let mine_or_free = |set: &Arc<ReplicaSet>| match owners::controller_of(&set.metadata) {
            Some(owner) => owner.uid == uid,
            None => selects(&deployment, &set.metadata),
        };
        let sets: Vec<_> =
            self.caches.replica_sets.list_in(&key.namespace).into_iter().filter(mine_or_free).collect();
        let pods = if plan::is_recreate(spec) {
            sets.iter().flat_map(|set| self.caches.pods_by_owner.get(owners::uid(&set.metadata))).collect()
        } else {
            Vec::new()
        };
        Some(plan::Snapshot { deployment, sets, pods })
    }

    fn plan(&self, snapshot: &plan::Snapshot, _now: Timestamp) -> Plan {
        plan::plan(snapshot)
    }

    fn report(&self, snapshot: &plan::Snapshot, outcome: &Outcome, now: Timestamp) -> Plan {
        let (new, mut plan) = status::status(snapshot, outcome, now);
        let deployment = &*snapshot.deployment;
        let old = deployment.status.clone().unwrap_or_default();
        plan.actions.extend(Action::status(Kind::of::<Deployment>(), &deployment.metadata, &old, &new));
        plan
    }
}
