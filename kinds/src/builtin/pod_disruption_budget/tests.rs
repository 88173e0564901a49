use serde_json::json;

use super::*;
use crate::builtin::testing::{changed_in, made, wrong};

#[test]
fn a_budget_is_one_amount() {
    let budget = |spec: Value| {
        made::<PodDisruptionBudget>(
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": spec}),
        )
    };
    for (spec, expected) in [
        (json!({"minAvailable": 2}), vec![]),
        (
            json!({"maxUnavailable": "120%"}),
            vec!["spec.maxUnavailable: Invalid value: \"120%\": must not be greater than 100%"],
        ),
        (
            json!({"minAvailable": "1%", "maxUnavailable": 0}),
            vec![
                "spec: Invalid value: {\"MinAvailable\":\"1%\",\"Selector\":null,\"MaxUnavailable\":0,\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
            ],
        ),
    ] {
        assert_eq!(wrong::<PodDisruptionBudget>(&budget(spec.clone())), expected, "{spec}");
    }
}

#[test]
fn a_status_counts_from_nothing() {
    let old = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}, "spec": {}});
    let condition = |change: Value| {
        let mut whole = json!({"type": "DisruptionAllowed", "status": "True", "reason": "SufficientPods",
                "message": "", "lastTransitionTime": "2024-05-01T00:00:00Z"});
        json_patch::merge(&mut whole, &change);
        json!({"conditions": [whole]})
    };
    for (status, expected) in [
        (json!({"disruptionsAllowed": 0, "expectedPods": 1}), vec![]),
        (
            json!({"disruptionsAllowed": -1, "desiredHealthy": -2}),
            vec![
                "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0",
                "status.desiredHealthy: Invalid value: -2: must be greater than or equal to 0",
            ],
        ),
        (condition(json!({})), vec![]),
        (
            condition(json!({"lastTransitionTime": api::object::ZERO_TIME})),
            vec!["status.conditions[0].lastTransitionTime: Required value"],
        ),
        (
            condition(json!({"status": "Yes", "reason": ""})),
            vec![
                "status.conditions[0].status: Unsupported value: \"Yes\": supported values: \"False\", \"True\", \"Unknown\"",
                "status.conditions[0].reason: Required value",
            ],
        ),
        (
            condition(json!({"reason": "no such"})),
            vec![
                "status.conditions[0].reason: Invalid value: \"no such\": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
            ],
        ),
    ] {
        let mut new = old.clone();
        new["status"] = status.clone();
        assert_eq!(changed_in::<PodDisruptionBudget>(Part::Status, &new, &old), expected, "{status}");
    }
}
