//! Node: a machine that runs pods.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::Value;

use crate::{
    kind::{Column, Part, Strategy, cell},
    kinds::{
        cells::{list, text_or},
        defaults::{absent_when_zero, canonical},
    },
    object::ObjectExt,
};

/// The rules of nodes.
pub struct Nodes;

impl Strategy for Nodes {
    type Object = Node;

    const STATUS_AT_CREATION: bool = true;

    fn default(&self, node: &mut Node) {
        let spec = node.spec.get_or_insert_default();
        absent_when_zero(&mut spec.unschedulable);
        absent_when_zero(&mut spec.taints);
        let status = node.status.get_or_insert_default();
        status.daemon_endpoints.get_or_insert_default().kubelet_endpoint.get_or_insert_default();
        status.node_info.get_or_insert_default();
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
        for wire in
            [&mut status.capacity, &mut status.allocatable].into_iter().flatten().flat_map(|l| l.values_mut())
        {
            canonical(wire);
        }
    }

    fn prepare_update(&self, new: &mut Node, old: &Node, part: Part<'_>) {
        if part == Part::Status {
            new.spec.clone_from(&old.spec);
        }
    }

    fn columns(&self) -> Vec<Column> {
        let wide = |name, text| Column::new(name, "string", text).wide();
        vec![
            Column::name(),
            Column::new("Status", "string", "Whether the node is ready and takes pods."),
            Column::new("Roles", "string", "The node's roles, from its labels."),
            Column::age(),
            Column::new("Version", "string", "The kubelet's version."),
            wide("Internal-IP", "The node's address inside the cluster."),
            wide("External-IP", "The node's address outside the cluster."),
            wide("OS-Image", "The node's operating system."),
            wide("Kernel-Version", "The node's kernel."),
            wide("Container-Runtime", "What runs the containers."),
        ]
    }

    fn cells(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        let address = |kind: &str| {
            list(node, &["status", "addresses"])
                .iter()
                .find(|a| a.str_at(&["type"]) == kind)
                .map_or_else(|| "<none>".into(), |a| Value::from(a.str_at(&["address"])))
        };
        let info = |field: &str| text_or(node, &["status", "nodeInfo", field], "<unknown>");
        vec![
            cell::name(node),
            state(node).into(),
            roles(node).into(),
            cell::age(node, now),
            node.str_at(&["status", "nodeInfo", "kubeletVersion"]).into(),
            address("InternalIP"),
            address("ExternalIP"),
            info("osImage"),
            info("kernelVersion"),
            info("containerRuntimeVersion"),
        ]
    }

    fn selectable_fields(&self, node: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", is_unschedulable(node).to_string())]
    }
}

fn is_unschedulable(node: &Value) -> bool {
    node.at(&["spec", "unschedulable"]).and_then(Value::as_bool).unwrap_or(false)
}

/// `Ready`, `NotReady` or `Unknown`, and `SchedulingDisabled`.
fn state(node: &Value) -> String {
    let ready = list(node, &["status", "conditions"]).iter().find(|c| c.str_at(&["type"]) == "Ready");
    let ready = match ready.map(|c| c.str_at(&["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if is_unschedulable(node) { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

/// The roles that the labels name, sorted.
fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (label, value) in node.at(&["metadata", "labels"]).and_then(Value::as_object).into_iter().flatten() {
        match label.strip_prefix("node-role.kubernetes.io/") {
            Some("") => {}
            Some(role) => roles.push(role),
            None if label == "kubernetes.io/role" => roles.extend(value.as_str().filter(|v| !v.is_empty())),
            None => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn state_and_roles_are_shown() {
        for (node, expected_state, expected_roles) in [
            (json!({}), "Unknown", "<none>"),
            (
                json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]},
                       "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}}}),
                "Ready",
                "control-plane,worker",
            ),
            (
                json!({"spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
                       "metadata": {"labels": {"kubernetes.io/role": "edge"}}}),
                "NotReady,SchedulingDisabled",
                "edge",
            ),
        ] {
            assert_eq!(state(&node), expected_state);
            assert_eq!(roles(&node), expected_roles);
        }
    }
}
