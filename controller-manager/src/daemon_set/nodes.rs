//! Where a daemon belongs: which nodes may run one, and which node a pod was made for. The scheduler binds the pods;
//! each wants its own node by name, and bears what the node says of its own troubles.

use std::collections::BTreeMap;

use api::pod::placement;
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint,
    Toleration,
};

use crate::kit::{owners, pods};

/// The field by which a pod wants one node.
const NAME: &str = "metadata.name";

/// What a node means to a DaemonSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// A pod is to be made for it.
    pub should_run: bool,
    /// A pod that is there may stay.
    pub may_stay: bool,
}

/// Judges a node for pods of this spec, which bears what daemons bear.
pub fn judge(pod: &PodSpec, node: &Node) -> Verdict {
    let name = owners::name(&node.metadata);
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let wanted = pod.node_name.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == name)
        && placement::wants_node(pod, name, labels);
    if !wanted {
        return Verdict { should_run: false, may_stay: false };
    }
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let taints = || node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let bears = |taint: &Taint| placement::tolerated(taint, tolerations);
    let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    Verdict {
        should_run: taints().filter(keeps_away).all(bears),
        may_stay: taints().filter(|taint| taint.effect == "NoExecute").all(bears),
    }
}

/// The spec of a DaemonSet's pods, with what every daemon bears.
pub fn spec_of(template: &PodSpec) -> PodSpec {
    let mut spec = template.clone();
    let bear = |spec: &mut PodSpec, key: &str, effect: &str| {
        let tolerations = spec.tolerations.get_or_insert_default();
        let always = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        // What bears it for some time is made to bear it always: of two the shorter would hold.
        let is_same =
            |known: &&mut Toleration| Toleration { toleration_seconds: None, ..(**known).clone() } == always;
        let mut known = tolerations.iter_mut().filter(is_same).peekable();
        if known.peek().is_some() {
            known.for_each(|known| *known = always.clone());
        } else {
            tolerations.push(always);
        }
    };
    bear(&mut spec, "node.kubernetes.io/not-ready", "NoExecute");
    bear(&mut spec, "node.kubernetes.io/unreachable", "NoExecute");
    bear(&mut spec, "node.kubernetes.io/disk-pressure", "NoSchedule");
    bear(&mut spec, "node.kubernetes.io/memory-pressure", "NoSchedule");
    bear(&mut spec, "node.kubernetes.io/pid-pressure", "NoSchedule");
    bear(&mut spec, "node.kubernetes.io/unschedulable", "NoSchedule");
    if spec.host_network == Some(true) {
        bear(&mut spec, "node.kubernetes.io/network-unavailable", "NoSchedule");
    }
    spec
}

/// Has a pod want this node and no other.
pub fn aim(spec: &mut PodSpec, node: &str) {
    let term = NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: NAME.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        }]),
        match_expressions: None,
    };
    let affinity: &mut NodeAffinity =
        spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node that a pod is on or was made for.
pub fn target(pod: &Pod) -> Option<&str> {
    let on = pods::node_name(pod);
    if !on.is_empty() {
        return Some(on);
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten()).find_map(
        |field| match (field.key.as_str(), field.operator.as_str(), field.values.as_deref()) {
            (NAME, "In", Some([name])) => Some(name.as_str()),
            _ => None,
        },
    )
}
