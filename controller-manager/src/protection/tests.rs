//! What holds claims, volumes and classes, and for how long.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn planned<K: Protected>(meta: Value, used: bool) -> Option<Value> {
    let object: K = serde_json::from_value(json!({"metadata": meta, "driverName": "d"})).unwrap();
    let snapshot = Snapshot { object: Arc::new(object), used };
    let mut planned = plan(&snapshot);
    if let Some(Action::CatchUp { .. }) = planned.actions.first() {
        planned = let_go(&snapshot);
    }
    match planned.actions.pop() {
        Some(Action::Patch { body, .. }) => Some(body["metadata"]["finalizers"].clone()),
        other => other.map(|action| panic!("{action:?}")),
    }
}

#[test]
fn finalizers_come_at_once_and_go_with_the_last_user() {
    let claim = |meta, used| planned::<PersistentVolumeClaim>(meta, used);
    let deleting = "2026-01-01T00:00:00Z";
    let ours = "kubernetes.io/pvc-protection";
    let going: PersistentVolumeClaim = serde_json::from_value(
        json!({"metadata": {"namespace": "a", "deletionTimestamp": deleting, "finalizers": [ours]}}),
    )
    .unwrap();
    let snapshot = Snapshot { object: Arc::new(going), used: false };
    let pods = Action::CatchUp { kind: Kind::of::<Pod>(), namespace: "a".to_owned() };
    assert_eq!(plan(&snapshot).actions, [pods], "no pod may be overlooked");
    let cases = [
        (json!({"finalizers": [ours]}), true, None),
        (json!({"finalizers": ["a/b"]}), true, Some(json!(["a/b", ours]))),
        (json!({"deletionTimestamp": deleting, "finalizers": [ours]}), true, None),
        (json!({"deletionTimestamp": deleting, "finalizers": [ours]}), false, Some(Value::Null)),
        (json!({"deletionTimestamp": deleting, "finalizers": ["a/b", ours]}), false, Some(json!(["a/b"]))),
        (json!({"deletionTimestamp": deleting, "finalizers": ["a/b"]}), false, None),
    ];
    for (meta, used, expected) in cases {
        assert_eq!(claim(meta.clone(), used), expected, "{meta} {used}");
    }
    let [volume, class] = ["kubernetes.io/pv-protection", "kubernetes.io/vac-protection"];
    assert_eq!(planned::<PersistentVolume>(json!({}), true), Some(json!([volume])));
    assert_eq!(planned::<VolumeAttributesClass>(json!({}), true), Some(json!([class])));
}

#[test]
fn a_pod_uses_the_claims_of_its_volumes() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [], "volumes": [
        {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "b", "ephemeral": {}},
        {"name": "c", "emptyDir": {}},
    ]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    assert_eq!(claims_of(&pod).collect::<Vec<_>>(), ["data", "p-b"]);
}

#[test]
fn a_claim_made_for_a_pod_does_not_wait_for_what_waits_for_it() {
    let claim: ObjectMeta = serde_json::from_value(json!({"ownerReferences": [
        {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1", "controller": true}]}))
    .unwrap();
    let pod = |uid: &str, node: &str, grace: Value| -> Pod {
        let deleted = if grace.is_null() { Value::Null } else { json!("2026-01-01T00:00:00Z") };
        serde_json::from_value(json!({
            "metadata": {"uid": uid, "deletionTimestamp": deleted, "deletionGracePeriodSeconds": grace},
            "spec": {"nodeName": node, "containers": []},
        }))
        .unwrap()
    };
    for (pod, used) in [
        (pod("u1", "n", Value::Null), true),
        (pod("u1", "n", json!(30)), true),
        (pod("u1", "n", json!(0)), false),
        (pod("u2", "n", json!(0)), true),
        (pod("u1", "", Value::Null), false),
    ] {
        assert_eq!(uses(&pod, &claim), used, "{:?}", pod.metadata);
    }
}
