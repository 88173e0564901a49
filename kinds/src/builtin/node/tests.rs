use serde_json::json;

use super::*;
use crate::builtin::testing::{changed_in, made, wrong};

#[test]
fn a_status_says_amounts_and_different_addresses() {
    let node = |status: Value| {
        made::<Node>(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": status}))
    };
    let address = |kind: &str| json!({"type": kind, "address": "192.0.2.1"});
    for (status, expected) in [
        (
            json!({"capacity": {"cpu": "1500m", "pods": "110"}, "addresses": [address("InternalIP"), address("Hostname")]}),
            vec![],
        ),
        (
            json!({"capacity": {"memory": "-1"}, "allocatable": {"example.org/gpu": "500m"}}),
            vec![
                "status.capacity.memory: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.allocatable.example.org/gpu: Invalid value: \"500m\": must be an integer",
            ],
        ),
        (
            json!({"addresses": [address("InternalIP"), address("InternalIP")]}),
            vec!["status.addresses[1]: Duplicate value: {\"Type\":\"InternalIP\",\"Address\":\"192.0.2.1\"}"],
        ),
    ] {
        let new = node(status.clone());
        assert_eq!(changed_in::<Node>(Part::Status, &new, &node(json!({}))), expected, "{status}");
    }
    assert_eq!(
        wrong::<Node>(&node(json!({"capacity": {"pods": "-1"}}))).len(),
        2,
        "capacity and allocatable"
    );
}

#[test]
fn taints_are_well_formed_and_ranges_stay() {
    use crate::kind::{Rules, Typed};
    let node = |spec: Value| {
        let raw = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": spec});
        Typed::<Node>::RULES.default(raw).expect("a node that can be read")
    };
    let found = Typed::<Node>::RULES.validate(&node(json!({"taints": [
            {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "b"},
            {"key": "", "effect": "Never"}]})));
    let fields: Vec<&str> = found.errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "metadata.taints[1]",
            "metadata.taints[2].key",
            "metadata.taints[2].key",
            "metadata.taints[2].effect"
        ]
    );
    let old = node(json!({"podCIDR": "10.244.0.0/24"}));
    assert_eq!(old["spec"]["podCIDRs"], json!(["10.244.0.0/24"]));
    let found =
        Typed::<Node>::RULES.validate_update(&node(json!({"podCIDR": "10.244.1.0/24"})), &old, Part::Main);
    assert_eq!(
        found.errors.iter().next().unwrap().to_string(),
        "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"
    );
}

#[test]
fn a_node_has_a_range_of_each_family() {
    let said = |spec: Value| {
        wrong::<Node>(&made::<Node>(
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": spec}),
        ))
    };
    let form = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    for (spec, expected) in [
        (json!({"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}), vec![]),
        // The single range says what the list is.
        (json!({"podCIDR": "10.0.0.0/24", "podCIDRs": ["x", "10.0.0.0/24"]}), vec![]),
        (json!({"podCIDR": "x"}), vec![format!("spec.podCIDRs[0]: Invalid value: \"x\": {}", form.split(" (e.g.").next().unwrap())]),
        (
            json!({"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}),
            vec!["spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family".to_owned()],
        ),
        (
            json!({"podCIDRs": ["10.0.0.0/24", "x"]}),
            vec![
                format!("spec.podCIDRs[1]: Invalid value: \"x\": {}", form.split(" (e.g.").next().unwrap()),
                "spec.podCIDRs: Internal error: invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[1]: <nil> (invalid CIDR address: x)".to_owned(),
                "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"x\"]: may specify no more than one CIDR for each IP family".to_owned(),
            ],
        ),
    ] {
        assert_eq!(said(spec.clone()), expected, "{spec}");
    }
}

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
