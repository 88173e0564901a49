use serde_json::{Value, json};
use std::sync::Arc;

use super::*;

fn volume(name: &str, size: &str, more: Value) -> PersistentVolume {
    let mut object = json!({
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Available"},
    });
    json_patch::merge(&mut object, &more);
    serde_json::from_value(object).expect("a volume")
}

fn claim(size: &str, more: Value) -> PersistentVolumeClaim {
    let mut object = json!({
        "metadata": {"name": "data", "namespace": "default", "uid": "u1"},
        "spec": {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"]},
    });
    json_patch::merge(&mut object, &more);
    serde_json::from_value(object).expect("a claim")
}

fn index(volumes: impl IntoIterator<Item = PersistentVolume>) -> VolumeIndex {
    let mut index = VolumeIndex::default();
    volumes.into_iter().for_each(|volume| index.insert(&Arc::new(volume)));
    index
}

fn found(index: &VolumeIndex, claim: &PersistentVolumeClaim) -> String {
    let found = index.find(claim, Seeker::Binder { waits: false });
    found.and_then(|volume| volume.metadata.name.clone()).unwrap_or_default()
}

#[test]
fn a_claim_gets_the_smallest_volume_that_fits() {
    let rwx = json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}});
    let named = |name: &str, uid: &str| {
        let claim = json!({"name": name, "namespace": "default", "uid": uid});
        json!({"spec": {"claimRef": claim}})
    };
    let cases = [
        ("the smallest", vec![volume("a", "9Gi", json!({})), volume("b", "5Gi", json!({}))], json!({}), "b"),
        ("too small", vec![volume("a", "1Gi", json!({}))], json!({}), ""),
        ("size alone in other words", vec![volume("a", "2048Mi", json!({}))], json!({}), "a"),
        (
            "few modes first",
            vec![volume("a", "3Gi", rwx.clone()), volume("b", "5Gi", json!({}))],
            json!({}),
            "b",
        ),
        ("more modes", vec![volume("a", "3Gi", rwx.clone())], json!({}), "a"),
        (
            "not enough modes",
            vec![volume("a", "3Gi", json!({}))],
            json!({"spec": {"accessModes": ["ReadWriteMany"]}}),
            "",
        ),
        (
            "another class",
            vec![volume("a", "3Gi", json!({"spec": {"storageClassName": "x"}}))],
            json!({}),
            "",
        ),
        (
            "the class",
            vec![
                volume("a", "3Gi", json!({"spec": {"storageClassName": "w"}})),
                volume("b", "4Gi", json!({"spec": {"storageClassName": "x"}})),
                volume("c", "3Gi", json!({"spec": {"storageClassName": "y"}})),
            ],
            json!({"spec": {"storageClassName": "x"}}),
            "b",
        ),
        ("a device", vec![volume("a", "3Gi", json!({"spec": {"volumeMode": "Block"}}))], json!({}), ""),
        (
            "other attributes",
            vec![volume("a", "3Gi", json!({"spec": {"volumeAttributesClassName": "gold"}}))],
            json!({}),
            "",
        ),
        (
            "labels",
            vec![
                volume("a", "3Gi", json!({})),
                volume("b", "4Gi", json!({"metadata": {"labels": {"disk": "ssd"}}})),
            ],
            json!({"spec": {"selector": {"matchLabels": {"disk": "ssd"}}}}),
            "b",
        ),
        ("in use", vec![volume("a", "3Gi", json!({"status": {"phase": "Released"}}))], json!({}), ""),
        (
            "going",
            vec![volume("a", "3Gi", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))],
            json!({}),
            "",
        ),
        (
            "kept for it",
            vec![volume("a", "2Gi", json!({})), volume("b", "9Gi", named("data", ""))],
            json!({}),
            "b",
        ),
        ("kept for it, too small", vec![volume("b", "1Gi", named("data", ""))], json!({}), ""),
        ("kept for its forerunner", vec![volume("b", "9Gi", named("data", "u0"))], json!({}), ""),
        ("kept for another", vec![volume("b", "9Gi", named("other", ""))], json!({}), ""),
    ];
    for (what, volumes, more, expected) in cases {
        assert_eq!(found(&index(volumes), &claim("2Gi", more)), expected, "{what}");
    }
}

#[test]
fn the_scheduler_looks_at_the_node() {
    let on = |node: &str| {
        let term = json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
        json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}})
    };
    let index =
        index([volume("a", "3Gi", on("n1")), volume("b", "5Gi", on("n2")), volume("c", "9Gi", json!({}))]);
    let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), "n2".to_owned())]);
    let find = |is_taken: &dyn Fn(&str) -> bool| {
        let found = index.find(&claim("2Gi", json!({})), Seeker::Scheduler { labels: &labels, is_taken });
        found.and_then(|volume| volume.metadata.name.clone()).unwrap_or_default()
    };
    assert_eq!(find(&|_| false), "b");
    assert_eq!(find(&|name| name == "b"), "c");
    assert_eq!(find(&|_| true), "");
    assert!(index.find(&claim("2Gi", json!({})), Seeker::Binder { waits: true }).is_none());
}

#[test]
fn a_volume_that_is_taken_out_is_not_found() {
    let volume = Arc::new(volume("a", "3Gi", json!({})));
    let mut index = VolumeIndex::default();
    index.insert(&volume);
    assert_eq!(found(&index, &claim("2Gi", json!({}))), "a");
    index.remove(&volume);
    assert_eq!(found(&index, &claim("2Gi", json!({}))), "");
}

#[test]
fn claims_that_come_together_want_different_volumes() {
    let index = index((0..1000).map(|i| volume(&format!("v{i}"), "2Gi", json!({}))));
    let wanted: std::collections::BTreeSet<String> = (0..100)
        .map(|i| found(&index, &claim("1Gi", json!({"metadata": {"uid": format!("u{i}")}}))))
        .collect();
    assert!(wanted.len() > 80, "{} of 100", wanted.len());
}

#[test]
fn binding_says_who_chose() {
    let free = volume("a", "3Gi", json!({}));
    let bound = bind(&free, &claim("2Gi", json!({})));
    assert_eq!(annotation(&bound.metadata, BOUND_BY_CONTROLLER), Some("yes"));
    assert_eq!(claim_ref(&bound).and_then(|claim| claim.uid.as_deref()), Some("u1"));
    assert_eq!(bind(&bound, &claim("2Gi", json!({}))), bound);
    let kept = volume("a", "3Gi", json!({"spec": {"claimRef": {"name": "data", "namespace": "default"}}}));
    let bound = bind(&kept, &claim("2Gi", json!({})));
    assert!(!has_annotation(&bound.metadata, BOUND_BY_CONTROLLER), "the user chose");
    assert_eq!(claim_ref(&bound).and_then(|claim| claim.uid.as_deref()), Some("u1"));
}

#[test]
fn a_volume_that_was_asked_for_by_name_is_judged() {
    let cases = [
        (volume("a", "1Gi", json!({})), Some("requested PV is too small")),
        (
            volume("a", "2Gi", json!({"spec": {"storageClassName": "x"}})),
            Some("storageClassName does not match"),
        ),
        (volume("a", "2Gi", json!({"spec": {"volumeMode": "Block"}})), Some("incompatible volumeMode")),
        (
            volume("a", "2Gi", json!({"spec": {"accessModes": ["ReadOnlyMany"]}})),
            Some("incompatible accessMode"),
        ),
        (volume("a", "2Gi", json!({})), None),
    ];
    for (volume, expected) in cases {
        assert_eq!(mismatch(&volume, &claim("2Gi", json!({}))).as_deref(), expected);
    }
}
