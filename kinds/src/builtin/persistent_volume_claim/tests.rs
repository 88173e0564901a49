use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, changed_in, made, wrong};

fn claim(change: &Value) -> Value {
    let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    json_patch::merge(&mut spec, change);
    let raw =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec});
    made::<PersistentVolumeClaim>(raw)
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}),
            vec!["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            json!({"volumeMode": "Tape"}),
            vec!["spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\""],
        ),
    ] {
        assert_eq!(wrong::<PersistentVolumeClaim>(&claim(&change)), expected, "{change}");
    }
}

#[test]
fn a_status_says_storage() {
    let old = claim(&json!({}));
    for (status, expected) in [
        (
            json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "2Gi"},
                    "allocatedResourceStatuses": {"storage": "NodeResizePending"}}),
            vec![],
        ),
        (
            json!({"capacity": {"storage": "-1"}}),
            vec!["status.capacity[storage]: Invalid value: -1: must be a valid resource quantity"],
        ),
        (
            json!({"allocatedResourceStatuses": {"storage": "Thinking"}}),
            vec![
                "status.allocatedResourceStatus: Unsupported value: \"storage\": supported values: \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \"NodeResizeInfeasible\", \"NodeResizePending\"",
            ],
        ),
        (
            json!({"allocatedResources": {"cpu": "1"}}),
            vec!["status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\""],
        ),
    ] {
        let mut new = old.clone();
        new["status"] = status.clone();
        assert_eq!(changed_in::<PersistentVolumeClaim>(Part::Status, &new, &old), expected, "{status}");
    }
}

#[test]
fn bound_claims_grow_and_do_not_shrink() {
    let mut old = claim(&json!({}));
    let bigger = claim(&json!({"resources": {"requests": {"storage": "2Gi"}}}));
    assert!(
        changed::<PersistentVolumeClaim>(&bigger, &old)[0].starts_with("spec: Forbidden: spec is immutable")
    );
    let bind = claim(&json!({"volumeName": "pv"}));
    assert_eq!(changed::<PersistentVolumeClaim>(&bind, &old), Vec::<String>::new());
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    assert_eq!(changed::<PersistentVolumeClaim>(&bigger, &old), Vec::<String>::new());
    let smaller = claim(&json!({"resources": {"requests": {"storage": "5Mi"}}}));
    assert_eq!(
        changed::<PersistentVolumeClaim>(&smaller, &old),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
}

#[test]
fn a_class_is_named_once() {
    let old = claim(&json!({}));
    let named = claim(&json!({"storageClassName": "standard"}));
    assert_eq!(changed::<PersistentVolumeClaim>(&named, &old), Vec::<String>::new());
    let other = claim(&json!({"storageClassName": "other"}));
    for (new, old) in [(&other, &named), (&old, &named)] {
        assert!(
            changed::<PersistentVolumeClaim>(new, old)[0].starts_with("spec: Forbidden: spec is immutable")
        );
    }
    let annotated = |claim: &Value, class: &str| {
        let mut claim = claim.clone();
        claim["metadata"]["annotations"] = json!({BETA_CLASS: class});
        claim
    };
    assert_eq!(changed::<PersistentVolumeClaim>(&named, &annotated(&old, "standard")), Vec::<String>::new());
    assert_eq!(
        changed::<PersistentVolumeClaim>(&annotated(&old, "b"), &annotated(&old, "a")),
        [
            "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \"b\": field is immutable"
        ]
    );
}

#[test]
fn attributes_that_a_volume_has_are_not_taken_away() {
    let mut old = claim(&json!({"volumeAttributesClassName": "gold"}));
    old["status"] = json!({"phase": "Bound", "currentVolumeAttributesClassName": "gold"});
    let at = "spec.volumeAttributesClassName: Forbidden: update to";
    let why = "is forbidden when status.currentVolumeAttributesClassName is not nil";
    for (class, to) in [(json!(null), "nil"), (json!(""), "empty string")] {
        let new = claim(&json!({"volumeAttributesClassName": class}));
        assert_eq!(changed::<PersistentVolumeClaim>(&new, &old), [format!("{at} {to} {why}")]);
    }
    let silver = claim(&json!({"volumeAttributesClassName": "silver"}));
    assert_eq!(changed::<PersistentVolumeClaim>(&silver, &old), Vec::<String>::new());
}
