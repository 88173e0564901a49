use api::Message;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::downward::NodeFacts;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the test's object is one")
}

#[test]
fn a_claim_must_be_bound_and_stay() {
    let claim = |finalizers: Value, deleted: bool, phase: &str, volume: &str| {
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        read::<PersistentVolumeClaim>(json!({
            "metadata": {"finalizers": finalizers, "deletionTimestamp": deleted},
            "spec": {"volumeName": volume},
            "status": {"phase": phase},
        }))
    };
    assert_eq!(bound_to(&claim(json!([]), false, "Bound", "pv")), Ok("pv"));
    assert_eq!(
        bound_to(&claim(json!([PROTECTED]), true, "Bound", "pv")),
        Ok("pv"),
        "other pods still use it"
    );
    assert_eq!(bound_to(&claim(json!(["other"]), true, "Bound", "pv")), Err("PVC is being deleted"));
    assert_eq!(bound_to(&claim(json!([]), false, "Pending", "pv")), Err("PVC is not bound"));
    assert_eq!(bound_to(&claim(json!([]), false, "Lost", "pv")), Err("PVC is not bound"));
    assert_eq!(bound_to(&claim(json!([]), false, "Bound", "")), Err("PVC has empty pvc.Spec.VolumeName"));
}

#[test]
fn a_volume_must_belong_to_the_claim() {
    let claim = read::<PersistentVolumeClaim>(json!({"metadata": {"uid": "u1"}}));
    let volume = |claim: Value| read::<PersistentVolume>(json!({"spec": {"claimRef": claim}}));
    assert!(belonging_to(volume(json!({"uid": "u1"})), "pv", &claim).is_ok());
    let other = "found PV object pv but its pv.Spec.ClaimRef.UID u2 does not point to claim.UID u1";
    assert_eq!(
        belonging_to(volume(json!({"uid": "u2"})), "pv", &claim),
        Err(Message::from(other.to_owned()))
    );
    let unbound =
        "found PV object pv but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim";
    assert_eq!(belonging_to(volume(Value::Null), "pv", &claim), Err(Message::from(unbound.to_owned())));
}

#[test]
fn a_claim_for_one_pod_is_for_no_other() {
    let pod = read::<Pod>(json!({"metadata": {"uid": "u1"}, "spec": {"containers": []}}));
    let claim = |uid: &str, controller: bool| {
        let owner =
            json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": controller});
        read::<PersistentVolumeClaim>(json!({"metadata": {"ownerReferences": [owner]}}))
    };
    assert!(is_for(&pod, &claim("u1", true)));
    assert!(!is_for(&pod, &claim("u1", false)));
    assert!(!is_for(&pod, &claim("u2", true)));
}

#[test]
fn a_volume_is_used_on_its_node_and_in_its_mode() {
    let facts = NodeFacts::default();
    let node = read::<v1::Node>(json!({"metadata": {"name": "n", "labels": {"disk": "fast"}}}));
    let used = |container: Value, mut spec: Value| {
        let pod = read::<Pod>(json!({"spec": {"containers": [container], "volumes": [{"name": "v"}]}}));
        spec["local"] = json!({"path": "/disk"});
        let around = Around { facts: &facts, node: Some(&node) };
        let volume = &pod_spec::spec(&pod).volumes.as_ref().expect("it has one")[0];
        let found = wanted(
            &pod,
            volume,
            &read(spec),
            around,
            Found { name: "pv".to_owned(), claim: "c".to_owned(), read_only: false },
        );
        found.map(|wanted| wanted.alone).map_err(|error| error.to_string())
    };
    let mounts = json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let device = json!({"name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/v"}]});
    let on = |value: &str| {
        let expression = json!({"key": "disk", "operator": "In", "values": [value]});
        json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}})
    };
    assert_eq!(used(mounts.clone(), on("fast")), Ok(false));
    assert_eq!(
        used(mounts.clone(), on("slow")),
        Err("MountVolume.NodeAffinity check failed for volume \"pv\" : no matching NodeSelectorTerms"
            .to_owned())
    );
    let named = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]});
    let named = json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [named]}}});
    let found = used(mounts.clone(), named).expect_err("only labels count, as for the scheduler");
    assert!(found.contains("no matching NodeSelectorTerms"), "{found}");
    assert_eq!(used(mounts.clone(), json!({"accessModes": ["ReadWriteOncePod"]})), Ok(true));
    let processed = |why: &str| {
        Err(format!(
            "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[], \
             failed to process volumes=[v]: volume v has volumeMode {why}"
        ))
    };
    let block = json!({"volumeMode": "Block"});
    assert_eq!(used(mounts, block.clone()), processed("Block, but is specified in volumeMounts"));
    assert_eq!(used(device.clone(), block), processed("Block, which this node does not offer"));
    assert_eq!(used(device, json!({})), processed("Filesystem, but is specified in volumeDevices"));
}
