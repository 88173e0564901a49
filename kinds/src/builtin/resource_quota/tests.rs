use serde_json::json;

use super::*;
use crate::builtin::testing::{cells, changed_in, made, wrong};

#[test]
fn quotas_count_what_they_know() {
    let quota = |spec: Value| {
        made::<ResourceQuota>(
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec}),
        )
    };
    for (spec, expected) in [
        (
            json!({"hard": {"count/deployments.apps": "3", "requests.cpu": "2", "requests.example.com/gpu": "1",
                "gold.storageclass.storage.k8s.io/requests.storage": "1Gi"}}),
            vec![],
        ),
        (
            json!({"hard": {"pods": "1500m"}}),
            vec!["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"],
        ),
        (
            json!({"hard": {"gpus": "1"}}),
            vec![
                "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource type or fully qualified",
                "spec.hard[gpus]: Invalid value: \"gpus\": must be a standard resource for quota",
            ],
        ),
        (
            json!({"scopes": ["Terminating", "NotTerminating"]}),
            vec!["spec.scopes: Invalid value: [\"Terminating\",\"NotTerminating\"]: conflicting scopes"],
        ),
        (
            json!({"hard": {"cpu": "1", "pods": "1", "example.com/gpu": "1", "count/jobs.batch": "1"}, "scopes": ["BestEffort"]}),
            vec!["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
        ),
        (json!({"hard": {"requests.memory": "1", "pods": "1"}, "scopes": ["NotBestEffort"]}), vec![]),
        (
            json!({"hard": {"requests.storage": "1", "pods": "1"}, "scopes": ["VolumeAttributesClass"]}),
            vec![
                "spec.scopes: Invalid value: [\"VolumeAttributesClass\"]: unsupported scope applied to resource",
            ],
        ),
        (
            json!({"hard": {"services": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}),
            vec![
                "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\"PriorityClass\",\"Operator\":\"In\",\"Values\":[\"high\"]}]}: unsupported scope applied to resource",
            ],
        ),
        (
            json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [{"scopeName": "Terminating", "operator": "In", "values": ["a"]}]}}),
            vec![
                "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ],
        ),
        (
            json!({"hard": {"pods": "1"}, "scopes": ["Often"]}),
            vec!["spec.scopes: Invalid value: [\"Often\"]: unsupported scope"],
        ),
    ] {
        assert_eq!(wrong::<ResourceQuota>(&quota(spec.clone())), expected, "{spec}");
    }
}

#[test]
fn use_is_shown_beside_the_limit() {
    let cells = cells::<ResourceQuota>(&json!({"metadata": {"name": "q"}, "status": {
                "hard": {"pods": "10", "limits.cpu": "4", "cpu": "2"}, "used": {"pods": "3", "limits.cpu": "1", "cpu": "0"}}}));
    assert_eq!((&cells[1], &cells[2]), (&json!("cpu: 0/2, pods: 3/10"), &json!("limits.cpu: 1/4")));
}

#[test]
fn a_status_says_known_amounts() {
    let old = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {}});
    for (status, expected) in [
        (json!({"hard": {"pods": "2", "requests.cpu": "1500m"}, "used": {"count/jobs.batch": "1"}}), vec![]),
        (
            json!({"used": {"pods": "-1"}}),
            vec!["status.used[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
        ),
        (
            json!({"hard": {"count/jobs.batch": "1500m"}, "used": {"pods": "500m"}}),
            vec![
                "status.hard[count/jobs.batch]: Invalid value: \"1500m\": must be an integer",
                "status.used[pods]: Invalid value: \"500m\": must be an integer",
            ],
        ),
        (
            json!({"hard": {"bananas": "1"}}),
            vec![
                "status.hard[bananas]: Invalid value: \"bananas\": must be a standard resource type or fully qualified",
                "status.hard[bananas]: Invalid value: \"bananas\": must be a standard resource for quota",
            ],
        ),
    ] {
        let mut new = old.clone();
        new["status"] = status.clone();
        assert_eq!(changed_in::<ResourceQuota>(Part::Status, &new, &old), expected, "{status}");
    }
}
