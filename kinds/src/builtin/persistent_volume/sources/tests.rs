use serde_json::{Value, json};

use super::super::PersistentVolume;
use crate::builtin::testing::{made, wrong};

#[test]
fn each_source_has_what_it_needs() {
    let iqn = "iqn.2001-04.com.example:storage.disk1";
    for (source, expected) in [
        (json!({"nfs": {"server": "s", "path": "/p"}}), vec![]),
        (
            json!({"nfs": {"server": "", "path": "p"}}),
            vec![
                "spec.nfs.server: Required value",
                "spec.nfs.path: Invalid value: \"p\": must be an absolute path",
            ],
        ),
        (json!({"csi": {"driver": "Disk.example.org", "volumeHandle": "v"}}), vec![]),
        (
            json!({"csi": {"driver": "d", "volumeHandle": "", "nodePublishSecretRef": {"name": "s"}}}),
            vec![
                "spec.csi.volumeHandle: Required value",
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ],
        ),
        (json!({"iscsi": {"targetPortal": "192.0.2.1", "iqn": iqn, "lun": 0}}), vec![]),
        (json!({"iscsi": {"targetPortal": "192.0.2.1", "iqn": "eui.0123456789ABCDEF", "lun": 0}}), vec![]),
        (
            json!({"iscsi": {"targetPortal": "", "iqn": "iqn.2001-04.com.example", "lun": 256, "chapAuthSession": true}}),
            vec![
                "spec.iscsi.targetPortal: Required value",
                "spec.iscsi.iqn: Invalid value: \"iqn.2001-04.com.example\": must be valid format",
                "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                "spec.iscsi.secretRef: Required value",
            ],
        ),
        (json!({"fc": {"wwids": ["w"]}}), vec![]),
        (
            json!({"fc": {}}),
            vec!["spec.fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"],
        ),
        (
            json!({"fc": {"targetWWNs": ["t"]}}),
            vec!["spec.fc.lun: Required value: lun is required if targetWWNs is specified"],
        ),
    ] {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
        json_patch::merge(&mut spec, &source);
        let raw: Value =
            json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": spec});
        assert_eq!(wrong::<PersistentVolume>(&made::<PersistentVolume>(raw)), expected, "{source}");
    }
}
