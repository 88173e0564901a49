//! Which pods have to leave a node because of its NoExecute taints, and when:
//! each pod after the time it tolerates them, and not at all when the taint
//! goes before. Upstream: `pkg/controller/tainteviction`.

use std::collections::HashMap;
use std::sync::Arc;

use api::conditions;
use api::pod::placement::tolerates;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, Taint};

use crate::frame::{Action, Kind, Plan, Timestamp, api_time, plus_seconds, reference};
use crate::kit::{owners, pods};

/// What tells one taint of a node from another.
pub type TaintName = (String, String);

/// All that a plan for one node's evictions looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node.
    pub node: Arc<Node>,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// When each taint was first seen by this process: pods get their whole time
    /// also after the controllers have been away.
    pub first_seen: HashMap<TaintName, Timestamp>,
}

/// When a pod has to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// It may stay.
    Never,
    /// At this time, if nothing changes.
    At(Timestamp),
}

/// The NoExecute taints of a node.
pub fn evicting_taints(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute")
}

/// The name of a taint.
pub fn taint_name(taint: &Taint) -> TaintName {
    (taint.key.clone(), taint.value.clone().unwrap_or_default())
}

/// What to do about the node's pods.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let taints: Vec<(&Taint, Timestamp)> = evicting_taints(&snapshot.node)
        .map(|taint| (taint, snapshot.first_seen.get(&taint_name(taint)).copied().unwrap_or(now)))
        .collect();
    if taints.is_empty() {
        return plan;
    }
    for pod in snapshot.pods.iter().filter(|pod| !pods::is_terminating(pod)) {
        match leaves(pod, &taints) {
            Leaves::Never => {}
            Leaves::At(time) if time <= now => plan.actions.extend(evict(pod, now)),
            Leaves::At(time) => plan.look_again_at(time, now),
        }
    }
    // Conditions first, so that the deletions stand side by side and run so.
    plan.actions.sort_by_key(|action| matches!(action, Action::Delete { .. }));
    plan
}

fn leaves(pod: &Pod, taints: &[(&Taint, Timestamp)]) -> Leaves {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let mut first = Leaves::Never;
    for (taint, since) in taints {
        let Some(toleration) = tolerations.iter().find(|toleration| tolerates(toleration, taint)) else {
            return Leaves::At(Timestamp::MIN);
        };
        let Some(seconds) = toleration.toleration_seconds else { continue };
        let end = plus_seconds(*since, seconds.max(0));
        first = match first {
            Leaves::At(before) if before <= end => first,
            _ => Leaves::At(end),
        };
    }
    first
}

fn evict(pod: &Pod, now: Timestamp) -> Vec<Action> {
    let old = pod.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(api_time(now)),
        ..Default::default()
    };
    conditions::set(new.conditions.get_or_insert_default(), condition);
    let meta = &pod.metadata;
    let tell = Action::Tell {
        about: reference(pod),
        warning: false,
        reason: "TaintManagerEviction",
        message: format!("Marking for deletion Pod {}/{}", owners::namespace(meta), owners::name(meta)),
    };
    let mark = Action::status(Kind::of::<Pod>(), meta, &old, &new);
    [tell].into_iter().chain(mark).chain([Action::delete(pod, None)]).collect()
}
