use serde_json::{Value, json};

use super::*;

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": {"name": "data", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "spec": {"volumeName": "v", "resources": {"requests": {"storage": "2Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
    });
    json_patch::merge(&mut claim, &more);
    serde_json::from_value(claim).expect("a claim")
}

fn volume(size: &str, provisioner: &str) -> PersistentVolume {
    let volume = json!({
        "metadata": {"name": "v", "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
        "spec": {"capacity": {"storage": size}, "hostPath": {"path": "/x"}},
    });
    serde_json::from_value(volume).expect("a volume")
}

fn steps(claim: PersistentVolumeClaim, volume: PersistentVolume) -> Vec<Value> {
    let snapshot = Snapshot { claim: Arc::new(claim), volume: Arc::new(volume) };
    let actions = plan(&snapshot, Timestamp::UNIX_EPOCH);
    let shown = |action: Action| match action {
        Action::Patch { body, .. } => {
            let part = if body["status"].is_null() { "spec" } else { "status" };
            json!({part: body[part]})
        }
        Action::Tell { reason, message, warning, .. } => json!([reason, message, warning]),
        other => panic!("{other:?}"),
    };
    actions.into_iter().map(shown).collect()
}

#[test]
fn a_claim_grows_in_steps_of_which_any_may_be_the_last_before_a_crash() {
    let ours = "skiff.local/volumes";
    let begun = json!({"status": {
        "conditions": [{"type": "Resizing", "status": "True"}],
        "allocatedResources": {"storage": "2Gi"},
        "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
    }});
    let first = json!({"status": {
        "conditions": [{"type": "Resizing", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}],
        "allocatedResources": {"storage": "2Gi"},
        "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
    }});
    let said = json!(["Resizing", "External resizer is resizing volume v", false]);
    assert_eq!(steps(claim(json!({})), volume("1Gi", ours)), [first, said]);
    let grown = json!({"spec": {"capacity": {"storage": "2Gi"}}});
    assert_eq!(steps(claim(begun.clone()), volume("1Gi", ours)), [grown]);
    let last = json!({"status": {
        "capacity": {"storage": "2Gi"}, "conditions": null, "allocatedResourceStatuses": null,
    }});
    let said = json!(["VolumeResizeSuccessful", "Resize volume succeeded", false]);
    assert_eq!(steps(claim(begun), volume("2Gi", ours)), [last, said]);
}

#[test]
fn others_volumes_are_left_to_others() {
    let said = json!(["ExternalExpanding", "waiting for an external controller to expand this PVC", true]);
    assert_eq!(steps(claim(json!({})), volume("1Gi", "rancher.io/local-path")), [said]);
}

#[test]
fn only_a_bound_claim_that_asks_for_more_is_looked_at() {
    assert!(wants_more(&claim(json!({}))));
    assert!(!wants_more(&claim(json!({"status": {"phase": "Pending"}}))));
    assert!(!wants_more(&claim(json!({"status": {"capacity": {"storage": "2Gi"}}}))));
}
