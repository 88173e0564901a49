//! DaemonSets: a pod on each node that may run one, replaced as the template changes. Upstream:
//! `pkg/controller/daemon`.

mod failures;
mod nodes;
mod plan;
mod rolling;
mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::cache::Change;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners, pods, revisions, selector};
use failures::Failures;
use plan::Snapshot;

/// The controller.
pub struct DaemonSets {
    caches: Caches,
    failures: Failures,
}

impl DaemonSets {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.daemon_sets, queue);
        follow::dependents(&caches.daemon_sets, &caches.pods, queue, pods::changed_for_owner, selects);
        follow::dependents(&caches.daemon_sets, &caches.controller_revisions, queue, |_| true, selects);
        let (keys, sets) = (queue.clone(), caches.daemon_sets.clone());
        caches.nodes.on_change(move |change| {
            if changed_for_placement(change) {
                sets.list().iter().for_each(|set| keys.add(Key::of(&set.metadata)));
            }
        });
        DaemonSets { caches: caches.clone(), failures: Failures::default() }
    }
}

fn selects(set: &DaemonSet, dependent: &ObjectMeta) -> bool {
    set.spec.as_ref().is_some_and(|spec| selector::wants(&spec.selector, dependent.labels.as_ref()))
}

/// Whether other pods may run on the node now.
fn changed_for_placement(change: &Change<Node>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
    let cordoned = |node: &Node| node.spec.as_ref().and_then(|spec| spec.unschedulable);
    old.metadata.labels != new.metadata.labels || taints(old) != taints(new) || cordoned(old) != cordoned(new)
}

impl Controller for DaemonSets {
    type Snapshot = Snapshot;

    const NAME: &'static str = "daemonset";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<DaemonSet>(), Kind::of::<Pod>(), Kind::of::<ControllerRevision>()]
    }

    fn observe(&self, key: &Key, now: Timestamp) -> Option<Snapshot> {
        let set = self.caches.daemon_sets.get(Some(&key.namespace), &key.name)?;
        let uid = owners::uid(&set.metadata);
        let pods = self.caches.pods_of(&key.namespace, uid);
        Some(Snapshot {
            failed_until: self.failures.holds(uid, &pods, now),
            revisions: revisions::around(&self.caches.controller_revisions, &key.namespace, uid),
            nodes: self.caches.nodes.list(),
            pods,
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
