#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::kind::{Rules, Typed};

fn deployment(change: &Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
                     "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
    });
    json_patch::merge(&mut spec, change);
    let raw = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec});
    Typed::<Deployment>::RULES.default(raw).unwrap()
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"selector": null}),
            vec![
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({"selector": {"matchLabels": {"app": null}}}),
            vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            json!({"template": {"metadata": {"labels": null}}}),
            vec![
                "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({"template": {"spec": {"restartPolicy": "OnFailure", "activeDeadlineSeconds": 5}}}),
            vec![
                "spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\"",
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ],
        ),
        (
            json!({"selector": {"matchLabels": {"a": "b!"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}}),
            vec![
                "spec.selector.matchLabels: Invalid value: \"b!\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b!\",\"app\":\"web\"},\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Exists\"}]}: invalid label selector",
            ],
        ),
        (
            json!({"strategy": {"type": "Slow", "rollingUpdate": {"maxSurge": "1%"}}}),
            vec![
                "spec.strategy: Unsupported value: {\"Type\":\"Slow\",\"RollingUpdate\":{\"MaxUnavailable\":0,\"MaxSurge\":\"1%\"}}: supported values: \"Recreate\", \"RollingUpdate\"",
            ],
        ),
        (
            json!({"strategy": {"type": "Slow"}}),
            vec![
                "spec.strategy: Unsupported value: {\"Type\":\"Slow\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\"",
            ],
        ),
        (
            json!({"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}}),
            vec![
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ],
        ),
        (
            json!({"minReadySeconds": 600}),
            vec!["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"],
        ),
    ] {
        let found = Typed::<Deployment>::RULES.validate(&deployment(&change));
        let said: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        assert_eq!(said, expected, "{change}");
    }
}

#[test]
fn the_selector_stays_and_the_status_adds_up() {
    let old = deployment(&json!({}));
    let new = deployment(&json!({"selector": {"matchLabels": {"app": "web", "tier": "front"}},
            "template": {"metadata": {"labels": {"tier": "front"}}}}));
    let found = Typed::<Deployment>::RULES.validate_update(&new, &old, Part::Main);
    assert_eq!(found.errors.len(), 1);
    assert_eq!(found.errors.iter().next().unwrap().field, "spec.selector");
    let mut status = old.clone();
    status["status"] = json!({"replicas": 1, "readyReplicas": 2, "observedGeneration": 1});
    let found = Typed::<Deployment>::RULES.validate_update(&status, &old, Part::Status);
    assert_eq!(
        found.errors.iter().next().unwrap().to_string(),
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    );
}
