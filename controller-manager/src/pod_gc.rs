//! Deletes pods that nobody will ever end properly: those of nodes that are
//! gone, those that were deleted before they had a node, and the oldest finished
//! ones beyond a threshold. Upstream: `pkg/controller/podgc`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::conditions;
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use machinery::queue::Queue;
use parking_lot::Mutex;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp, api_time, plus_seconds};
use crate::kit::{owners, pods};

/// How long finished pods may pile up before they are counted.
const COUNT_AFTER: Duration = Duration::from_secs(20);

/// The controller. Its keys are names of nodes; the empty one stands for pods
/// whose node does not matter.
pub struct PodGc {
    caches: Caches,
    missed: Mutex<HashMap<String, Timestamp>>,
}

/// What is looked at under one key.
pub enum Snapshot {
    /// The pods of a node that is missing.
    Orphans(Orphans),
    /// All pods.
    All(Vec<Arc<Pod>>),
}

impl PodGc {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.nodes.on_change(move |change| {
            if change.old.is_none() || change.new.is_none() {
                keys.add(Key::cluster(owners::name(&change.latest().metadata)));
            }
        });
        let (keys, nodes) = (queue.clone(), caches.nodes.clone());
        caches.pods.on_change(move |change| {
            let Some(pod) = &change.new else { return };
            let node = pods::node_name(pod);
            if node.is_empty() {
                if pods::is_terminating(pod) {
                    keys.add(Key::cluster(""));
                }
            } else if nodes.get(None, node).is_none() {
                keys.add(Key::cluster(node));
            }
            if pods::is_finished(pod) && !change.old.as_deref().is_some_and(pods::is_finished) {
                keys.add_after(Key::cluster(""), COUNT_AFTER);
            }
        });
        PodGc { caches: caches.clone(), missed: Mutex::default() }
    }
}

impl Controller for PodGc {
    type Snapshot = Snapshot;

    const NAME: &'static str = "gc_controller";

    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, now: Timestamp) -> Option<Snapshot> {
        if key.name.is_empty() {
            return Some(Snapshot::All(self.caches.pods.list()));
        }
        let mut missed = self.missed.lock();
        let pods = self.caches.pods_by_node.get(&key.name);
        if pods.is_empty() || self.caches.nodes.get(None, &key.name).is_some() {
            missed.remove(&*key.name);
            return None;
        }
        let missed_since = *missed.entry(key.name.to_string()).or_insert(now);
        Some(Snapshot::Orphans(Orphans { pods, missed_since }))
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        match snapshot {
            Snapshot::Orphans(orphans) => plan_orphans(orphans, now),
            Snapshot::All(pods) => plan_rest(pods, MOST_FINISHED),
        }
    }
}

/// How long a node may be missing before its pods go.
const QUARANTINE: i64 = 40;

/// Finished pods beyond this number go, oldest first.
pub const MOST_FINISHED: usize = 12_500;

/// All that a plan for the pods of a missing node looks at.
#[derive(Clone, Debug)]
pub struct Orphans {
    /// Pods bound to a node that does not exist.
    pub pods: Vec<Arc<Pod>>,
    /// Since when the node is missed.
    pub missed_since: Timestamp,
}

/// Deletes the pods once the node has been missing for long enough.
pub fn plan_orphans(snapshot: &Orphans, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let due = plus_seconds(snapshot.missed_since, QUARANTINE);
    if snapshot.pods.is_empty() {
        return plan;
    }
    if now < due {
        plan.look_again_at(due, now);
        return plan;
    }
    plan.actions.extend(snapshot.pods.iter().filter_map(|pod| fail(pod, now)));
    plan.actions.extend(snapshot.pods.iter().map(|pod| remove(pod)));
    plan
}

/// Deletes what needs no node to be missing: deleted but never bound, and too many finished.
pub fn plan_rest(pods: &[Arc<Pod>], most_finished: usize) -> Plan {
    let unbound = |pod: &&Arc<Pod>| pods::is_terminating(pod) && pods::node_name(pod).is_empty();
    let mut actions: Vec<Action> = pods.iter().filter(unbound).map(|pod| remove(pod)).collect();
    let mut finished: Vec<&Arc<Pod>> =
        pods.iter().filter(|pod| pods::is_finished(pod) && !pods::is_terminating(pod)).collect();
    let surplus = finished.len().saturating_sub(most_finished);
    if surplus > 0 {
        finished.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
        actions.extend(finished.into_iter().take(surplus).map(|pod| remove(pod)));
    }
    Plan { actions, requeue_after: None }
}

fn remove(pod: &Pod) -> Action {
    let mut action = Action::delete(pod, None);
    if let Action::Delete { grace, .. } = &mut action {
        *grace = Some(0);
    }
    action
}

/// A pod that did not finish has failed, for those who count outcomes.
fn fail(pod: &Pod, now: Timestamp) -> Option<Action> {
    if pods::is_finished(pod) {
        return None;
    }
    let old = pod.status.clone().unwrap_or_default();
    let mut new = old.clone();
    new.phase = Some("Failed".to_owned());
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByPodGC".to_owned()),
        message: Some("PodGC: node no longer exists".to_owned()),
        last_transition_time: Some(api_time(now)),
        ..Default::default()
    };
    conditions::set(new.conditions.get_or_insert_default(), condition);
    Action::status(Kind::of::<Pod>(), &pod.metadata, &old, &new)
}

#[cfg(test)]
mod tests;
