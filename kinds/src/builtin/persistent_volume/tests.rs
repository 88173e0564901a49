use serde_json::{Value, json};

use super::*;
use crate::builtin::testing::{changed, made, wrong};

fn volume(change: &Value) -> Value {
    let mut spec =
        json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/v"}});
    json_patch::merge(&mut spec, change);
    let raw =
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": spec});
    made::<PersistentVolume>(raw)
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"capacity": {"storage": "0"}}),
            vec!["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"],
        ),
        (
            json!({"nfs": {"server": "s", "path": "/p"}}),
            vec!["spec.nfs: Forbidden: may not specify more than 1 volume type"],
        ),
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}),
            vec!["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            json!({"hostPath": {"path": "/./"}, "persistentVolumeReclaimPolicy": "Recycle"}),
            vec![
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ],
        ),
        (
            json!({"volumeMode": "", "nodeAffinity": {}}),
            vec![
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
                "spec.volumeMode: Unsupported value: \"\": supported values: \"Block\", \"Filesystem\"",
            ],
        ),
        (
            json!({"volumeAttributesClassName": ""}),
            vec![
                "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ],
        ),
        (
            json!({"volumeAttributesClassName": "a", "hostPath": null, "csi": {"driver": "d", "volumeHandle": "h"}}),
            vec![],
        ),
        (
            json!({"hostPath": null, "local": {"path": "/l"}}),
            vec!["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
    ] {
        assert_eq!(wrong::<PersistentVolume>(&volume(&change)), expected, "{change}");
    }
}

#[test]
fn the_source_stays() {
    let old = volume(&json!({}));
    let taken = volume(&json!({"claimRef": {"name": "c", "namespace": "n"}}));
    assert_eq!(changed::<PersistentVolume>(&taken, &old), Vec::<String>::new());
    let moved = volume(&json!({"hostPath": {"path": "/w"}}));
    assert_eq!(
        changed::<PersistentVolume>(&moved, &old),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
    );
}
