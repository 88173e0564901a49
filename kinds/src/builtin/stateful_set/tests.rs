use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

fn stateful_set(change: &Value) -> Value {
    let mut spec = json!({
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}},
                     "spec": {"containers": [{"name": "db", "image": "db:1"}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}],
    });
    json_patch::merge(&mut spec, change);
    let raw =
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": spec});
    made::<StatefulSet>(raw)
}

#[test]
fn claims_are_filled_in() {
    assert_eq!(
        stateful_set(&json!({}))["spec"]["volumeClaimTemplates"],
        json!([{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeMode": "Filesystem"},
                "status": {"phase": "Pending"}}])
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
            vec![
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'",
            ],
        ),
        (
            json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Hide"}}),
            vec![
                "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Hide\": supported values: \"Retain\", \"Delete\"",
            ],
        ),
        (
            json!({"selector": null, "replicas": -1}),
            vec![
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`",
            ],
        ),
    ] {
        assert_eq!(wrong::<StatefulSet>(&stateful_set(&change)), expected, "{change}");
    }
}

#[test]
fn what_pods_and_claims_are_made_from_can_work() {
    let claims =
        |spec: Value| json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]});
    for (change, expected) in [
        (
            json!({"serviceName": "A B"}),
            "spec.serviceName: Invalid value: \"A B\": a lowercase RFC 1123 label must consist",
        ),
        (
            claims(json!({"accessModes": ["Sometimes"], "resources": {"requests": {"storage": "1"}}})),
            "spec.volumeClaimTemplates[0].spec.accessModes: Unsupported value: \"Sometimes\": supported",
        ),
        (
            claims(json!({"accessModes": ["ReadWriteOnce"]})),
            "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
        ),
    ] {
        let made = stateful_set(&change);
        let found = wrong::<StatefulSet>(&made);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{change}: {found:?}");
        assert_eq!(changed::<StatefulSet>(&made, &made), Vec::<String>::new(), "one that is there stays");
    }
}

#[test]
fn some_of_the_spec_may_change() {
    let old = stateful_set(&json!({}));
    let free = stateful_set(&json!({"replicas": 5, "template": {"spec": {"hostNetwork": true}}}));
    assert_eq!(changed::<StatefulSet>(&free, &old), Vec::<String>::new());
    let fixed = stateful_set(&json!({"podManagementPolicy": "Parallel"}));
    assert!(
        changed::<StatefulSet>(&fixed, &old)[0].starts_with("spec: Forbidden: updates to statefulset spec")
    );
}
