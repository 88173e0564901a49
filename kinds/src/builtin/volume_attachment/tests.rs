use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn one_volume_goes_to_one_node() {
    let attachment = |spec: Value| {
        made::<VolumeAttachment>(
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "a"}, "spec": spec}),
        )
    };
    let old = attachment(
        json!({"attacher": "d.example", "nodeName": "n", "source": {"persistentVolumeName": "v"}}),
    );
    assert_eq!(wrong::<VolumeAttachment>(&old), Vec::<String>::new());
    assert_eq!(
        wrong::<VolumeAttachment>(&attachment(
            json!({"attacher": "d.example", "nodeName": "n", "source": {}})
        )),
        [
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        ]
    );
    let form = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
    assert_eq!(
        wrong::<VolumeAttachment>(&attachment(
            json!({"attacher": "a/b", "nodeName": "n", "source": {"persistentVolumeName": ""}})
        )),
        [
            format!("spec.attacher: Invalid value: \"a/b\": {form}"),
            "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName"
                .to_owned(),
            format!("spec.source.persistentVolumeName: Invalid value: \"\": {form}"),
        ]
    );
    let moved = attachment(
        json!({"attacher": "d.example", "nodeName": "m", "source": {"persistentVolumeName": "v"}}),
    );
    assert!(changed::<VolumeAttachment>(&moved, &old)[0].ends_with("field is immutable"));
}
