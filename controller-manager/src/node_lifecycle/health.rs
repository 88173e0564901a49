//! Whether a node still lives, and the conditions and taints that follow.
//! A node that stops renewing its Lease for the grace period is Unknown.
//! Upstream: `pkg/controller/nodelifecycle/node_lifecycle_controller.go`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};

use crate::frame::{Action, Kind, Plan, Timestamp, api_time, reference};
use crate::kit::{owners, pods};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// Conditions that only a living kubelet can vouch for, and the one that decides, last.
const VOUCHED_FOR: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// Taints of conditions that are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// All that a plan for one node's health looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node.
    pub node: Arc<Node>,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// When a sign of life was last seen, by our own clock.
    pub seen: Timestamp,
    /// How long it may be silent.
    pub grace: Duration,
    /// Whether it is looked at for the first time.
    pub is_new: bool,
}

/// What to do about the node.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let node = &*snapshot.node;
    let mut plan = Plan::default();
    let silent_from = snapshot
        .seen
        .checked_add(k8s_openapi::jiff::SignedDuration::try_from(snapshot.grace).unwrap_or_default());
    let silent_from = silent_from.unwrap_or(Timestamp::MAX);
    let name = owners::name(&node.metadata);
    if snapshot.is_new {
        plan.actions.push(Action::Tell {
            about: reference(node),
            warning: false,
            reason: "RegisteredNode",
            message: format!("Node {name} event: Registered Node {name} in Controller"),
        });
    }
    let mut judged = node.clone();
    if silent_from <= now {
        make_unknown(&mut judged, now);
    } else if ready(node) != Some("Unknown") {
        plan.look_again_at(silent_from, now);
    }
    let old = node.status.clone().unwrap_or_default();
    let new = judged.status.clone().unwrap_or_default();
    let status = Action::status(Kind::of::<Node>(), &node.metadata, &old, &new);
    if status.is_some() && is_ready(node) {
        plan.actions.push(Action::Tell {
            about: reference(node),
            warning: false,
            reason: "NodeNotReady",
            message: format!("Node {name} status is now: NodeNotReady"),
        });
    }
    plan.actions.extend(status);
    plan.actions.extend(taint(node, &judged, now));
    // A living kubelet speaks for its pods itself, ready or not.
    if ready(&judged) == Some("Unknown") {
        for pod in snapshot.pods.iter().filter(|pod| pods::is_ready(pod)) {
            plan.actions.extend(unready(pod, now));
        }
    }
    plan
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The status of the Ready condition; `None` while a new node has not said.
fn ready(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|ready| ready.status.as_str())
}

/// Whether the node is known to be ready.
pub fn is_ready(node: &Node) -> bool {
    ready(node) == Some("True")
}

fn make_unknown(node: &mut Node, now: Timestamp) {
    let created = node.metadata.creation_timestamp.clone();
    let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
    for kind in VOUCHED_FOR {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(api_time(now));
            }
            None => conditions.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: created.clone(),
                last_transition_time: Some(api_time(now)),
            }),
        }
    }
}

/// The taints that follow from a node's state, as key and effect.
fn wanted_taints(node: &Node) -> Vec<(&'static str, &'static str)> {
    let mut taints = Vec::new();
    match ready(node) {
        Some("True") => {}
        Some("False") => taints.extend([(NOT_READY, NO_SCHEDULE), (NOT_READY, NO_EXECUTE)]),
        // As it was admitted.
        None => taints.push((NOT_READY, NO_SCHEDULE)),
        Some(_) => taints.extend([(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)]),
    }
    for (kind, key) in PRESSURES {
        if condition(node, kind).is_some_and(|condition| condition.status == "True") {
            taints.push((key, NO_SCHEDULE));
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        taints.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    taints
}

/// Whether this controller decides about the taint.
fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    match taint.effect.as_str() {
        NO_EXECUTE => matches!(key, NOT_READY | UNREACHABLE),
        NO_SCHEDULE => {
            matches!(key, NOT_READY | UNREACHABLE | UNSCHEDULABLE)
                || PRESSURES.iter().any(|(_, ours)| *ours == key)
        }
        _ => false,
    }
}

fn taint(node: &Node, judged: &Node, now: Timestamp) -> Option<Action> {
    let wanted = wanted_taints(judged);
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut changed = node.clone();
    let taints = changed.spec.get_or_insert_default().taints.get_or_insert_default();
    taints.retain(|taint| !is_ours(taint) || is_wanted(taint));
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(api_time(now)),
                value: None,
            });
        }
    }
    if taints.is_empty() {
        changed.spec.get_or_insert_default().taints = None;
    }
    if changed.spec.as_ref().and_then(|spec| spec.taints.as_ref())
        == node.spec.as_ref().and_then(|spec| spec.taints.as_ref())
    {
        return None;
    }
    let mut action = Action::change(node, &changed, None)?;
    if let Action::Patch { body, .. } = &mut action {
        // The status written just before has moved the version on, and nobody
        // else decides about these taints; the list as a whole is still ours to
        // check, so the version goes only when we moved it ourselves.
        if node.status != judged.status {
            body["metadata"]["resourceVersion"].take();
            if let Some(metadata) = body["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
        }
    }
    Some(action)
}

/// A pod on a node that does not answer is not ready, so that services leave it out.
fn unready(pod: &Pod, now: Timestamp) -> Vec<Action> {
    let (Some(old), mut new) = (pod.status.as_ref(), pod.status.clone().unwrap_or_default()) else {
        return vec![];
    };
    let conditions = new.conditions.iter_mut().flatten();
    for ready in conditions.filter(|condition| condition.type_ == "Ready") {
        ready.status = "False".to_owned();
        ready.last_transition_time = Some(api_time(now));
    }
    let tell = Action::Tell {
        about: reference(pod),
        warning: true,
        reason: "NodeNotReady",
        message: "Node is not ready".to_owned(),
    };
    let write = Action::status(Kind::of::<Pod>(), &pod.metadata, old, &new);
    write.map(|write| vec![tell, write]).unwrap_or_default()
}
