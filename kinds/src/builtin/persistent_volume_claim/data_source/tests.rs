use serde_json::{Value, json};

use super::super::PersistentVolumeClaim;
use crate::builtin::testing::{changed, made, wrong};

fn claim(source: &Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut spec, source);
    let raw =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec});
    made::<PersistentVolumeClaim>(raw)
}

#[test]
fn either_source_fills_the_other() {
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    let foreign = json!({"apiGroup": "example.org", "kind": "Image", "name": "i"});
    for (given, source, reference) in [
        (json!({}), &Value::Null, &Value::Null),
        (json!({"dataSource": snapshot}), &snapshot, &snapshot),
        (json!({"dataSourceRef": snapshot}), &snapshot, &snapshot),
        (json!({"dataSource": foreign}), &Value::Null, &Value::Null),
        (json!({"dataSourceRef": foreign}), &foreign, &foreign),
    ] {
        let made = claim(&given);
        assert_eq!(
            (&made["spec"]["dataSource"], &made["spec"]["dataSourceRef"]),
            (source, reference),
            "{given}"
        );
        assert_eq!(wrong::<PersistentVolumeClaim>(&made), Vec::<String>::new());
        assert_eq!(changed::<PersistentVolumeClaim>(&claim(&given), &made), Vec::<String>::new());
    }
    let mut elsewhere = foreign.clone();
    elsewhere["namespace"] = "other".into();
    assert_eq!(claim(&json!({"dataSourceRef": elsewhere}))["spec"]["dataSourceRef"], foreign);
}

#[test]
fn a_source_is_named_well() {
    let claim_named = |name: &str| json!({"kind": "PersistentVolumeClaim", "name": name});
    for (given, expected) in [
        (
            json!({"dataSourceRef": {"kind": "Image", "name": "i"}}),
            vec![
                "spec.dataSource: Invalid value: \"Image\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                "spec.dataSourceRef: Invalid value: \"Image\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ],
        ),
        (
            json!({"dataSource": claim_named("a"), "dataSourceRef": claim_named("b")}),
            vec!["spec: Invalid value: {}: must match dataSourceRef"],
        ),
        (
            json!({"dataSource": claim_named("")}),
            vec!["spec.dataSource.name: Required value", "spec.dataSourceRef.name: Required value"],
        ),
    ] {
        assert_eq!(wrong::<PersistentVolumeClaim>(&claim(&given)), expected, "{given}");
    }
}
