use serde_json::{Value, json};

use super::*;

fn claim(more: Value) -> PersistentVolumeClaim {
    let mut claim = json!({
        "metadata": {"name": "data", "namespace": "n", "uid": "u1"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "storageClassName": "standard",
            "resources": {"requests": {"storage": "2Gi"}},
        },
    });
    json_patch::merge(&mut claim, &more);
    serde_json::from_value(claim).expect("a claim")
}

fn class(more: Value) -> StorageClass {
    let mut class = json!({
        "metadata": {"name": "standard"}, "provisioner": "skiff.local/volumes", "reclaimPolicy": "Delete",
    });
    json_patch::merge(&mut class, &more);
    serde_json::from_value(class).expect("a class")
}

fn nodes() -> Vec<Arc<Node>> {
    let node = |name: &str, ready: &str, folder: Option<&str>| {
        let annotations = folder.map(|folder| json!({"skiff.local/volumes": folder}));
        let labels = json!({"kubernetes.io/hostname": format!("{name}.local"), "zone": name});
        let node = json!({
            "metadata": {"name": name, "labels": labels, "annotations": annotations},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        });
        Arc::new(serde_json::from_value(node).expect("a node"))
    };
    vec![
        node("a", "True", Some("/nodes/a/volumes")),
        node("b", "False", Some("/nodes/b/volumes")),
        node("c", "True", None),
    ]
}

fn selected(node: &str) -> Value {
    json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": node}}})
}

#[test]
fn a_volume_is_a_folder_on_the_selected_node() {
    let volume = volume(&claim(selected("a")), &class(json!({})), &nodes()).expect("a volume");
    let claim_ref = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "data", "namespace": "n", "uid": "u1",
    });
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["a.local"]});
    let expected = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-u1",
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "skiff.local/volumes",
                "pv.kubernetes.io/bound-by-controller": "yes",
            },
            "finalizers": ["external-provisioner.volume.kubernetes.io/finalizer"],
        },
        "spec": {
            "capacity": {"storage": "2Gi"},
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "standard",
            "claimRef": claim_ref,
            "local": {"path": "/nodes/a/volumes/pvc-u1"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    });
    assert_eq!(serde_json::to_value(&volume).expect("JSON"), expected);
}

#[test]
fn without_a_selected_node_a_ready_one_is_taken() {
    let volume = volume(&claim(json!({})), &class(json!({})), &nodes()).expect("a volume");
    assert!(has_node(&volume, &nodes()));
    assert!(!has_node(&volume, &nodes()[1..]));
}

#[test]
fn what_cannot_be_made_is_said() {
    let spec = |spec: Value| json!({"spec": spec});
    let asked = |why: &str| Refusal::Asked(why.to_owned().into());
    let cases = [
        (
            selected("z"),
            json!({}),
            Refusal::Node("Failed to get target node: node \"z\" not found".to_owned()),
        ),
        (selected("c"), json!({}), Refusal::Node("node \"c\" offers no folder for volumes".to_owned())),
        (
            spec(json!({"accessModes": ["ReadWriteMany"]})),
            json!({}),
            asked(
                "invalid AccessModes [ReadWriteMany]: only AccessModes [ReadWriteOnce ReadWriteOncePod] are supported",
            ),
        ),
        (
            spec(json!({"volumeMode": "Block"})),
            json!({}),
            asked("skiff.local/volumes does not support block volume provisioning"),
        ),
        (
            spec(json!({"selector": {}})),
            json!({}),
            asked("claim.Spec.Selector is not supported for dynamic provisioning"),
        ),
        (
            spec(json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}})),
            json!({}),
            asked(
                "plugin \"skiff.local/volumes\" is not a CSI plugin. Only CSI plugin can provision a claim with a datasource",
            ),
        ),
        (
            json!({}),
            json!({"parameters": {"type": "fast"}}),
            asked("invalid option \"type\" for volume plugin skiff.local/volumes"),
        ),
        (
            json!({}),
            json!({"mountOptions": ["ro"]}),
            asked(
                "Mount options are not supported by the provisioner but StorageClass \"standard\" has mount options [ro]",
            ),
        ),
        (
            json!({}),
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": ["z"]}]}]}),
            asked("no node offers a folder for volumes"),
        ),
    ];
    for (more, of_class, expected) in cases {
        assert_eq!(volume(&claim(more), &class(of_class), &nodes()), Err(expected));
    }
}
