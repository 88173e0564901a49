//! Volumes, and what mounts them.

use super::*;

#[test]
fn volumes_have_one_source_and_mounts_a_volume() {
    let mounted = |volume: Value, mount: Value| json!({"volumes": [volume], "containers": [{"name": "c", "image": "i", "volumeMounts": [mount]}]});
    check(vec![
        (mounted(json!({"name": "v", "emptyDir": {}}), json!({"name": "v", "mountPath": "/v"})), &[]),
        (
            mounted(json!({"name": "v", "secret": {}}), json!({"name": "v", "mountPath": "/v"})),
            &[
                "spec.volumes[0].secret.secretName: Required value",
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
            ],
        ),
        (
            mounted(
                json!({"name": "v", "emptyDir": {}}),
                json!({"name": "v", "mountPath": "/v", "subPath": "../x"}),
            ),
            &["spec.containers[0].volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'"],
        ),
        (
            mounted(
                json!({"name": "v", "emptyDir": {}}),
                json!({"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}),
            ),
            &[
                "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            with(
                json!({"volumes": [{"name": "v", "configMap": {"name": "m", "defaultMode": 512, "items": [{"key": "k", "path": "/abs"}]}}]}),
            ),
            &[
                "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                "spec.volumes[0].configMap.items[0].path: Invalid value: \"/abs\": must be a relative path",
            ],
        ),
        (
            with(json!({"volumes": [{"name": "v", "hostPath": {"path": "/x", "type": "Odd"}}]})),
            &[
                "spec.volumes[0].hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
            ],
        ),
        (
            with(json!({"volumes": [{"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "t", "expirationSeconds": 5}},
            {"secret": {"name": "s", "items": [{"key": "k", "path": "t"}]}}]}}]})),
            &[
                "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            ],
        ),
        (
            with(json!({"volumes": [{"name": "v", "projected": {"sources": [
            {"configMap": {"name": "m", "items": [{"key": "k", "path": "t"}]}},
            {"secret": {"name": "s", "items": [{"key": "k", "path": "t"}]}}]}}]})),
            &["spec.volumes[0].projected: Invalid value: \"s\": conflicting duplicate paths"],
        ),
        (
            with(json!({"volumes": [{"name": "v", "projected": {"sources": [
            {"clusterTrustBundle": {"path": "a", "name": "example.com:s:b"}},
            {"clusterTrustBundle": {"path": "b", "signerName": "example.com/s", "labelSelector": {}}}]}}]})),
            &[],
        ),
        (
            with(json!({"volumes": [{"name": "v", "projected": {"sources": [
            {"clusterTrustBundle": {"path": "../x"}},
            {"clusterTrustBundle": {"path": "a", "name": "A", "labelSelector": {}}},
            {"clusterTrustBundle": {"path": "a", "signerName": ""}}]}}]})),
            &[
                "spec.volumes[0].projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified",
                "spec.volumes[0].projected.sources[0].clusterTrustBundle.path: Invalid value: \"../x\": must not contain '..'",
                "spec.volumes[0].projected.sources[1].clusterTrustBundle.name: Invalid value: \"A\": not a valid clustertrustbundlename: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                "spec.volumes[0].projected.sources[1].clusterTrustBundle.labelSelector: Invalid value: {}: labelSelector must be unset if name is specified",
                "spec.volumes[0].projected.sources[2].clusterTrustBundle.signerName: Required value: must be a valid signer name",
                "spec.volumes[0].projected.sources[2].clusterTrustBundle.signerName: Required value",
                "spec.volumes[0].projected: Invalid value: \"a\": conflicting duplicate paths",
            ],
        ),
    ]);
}

#[test]
fn claims_and_targets_of_volumes_are_formed() {
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        volume.as_object_mut().unwrap().extend(source.as_object().cloned().unwrap());
        with(json!({"volumes": [volume]}))
    };
    let claim = |meta: Value| {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}});
        volume(json!({"ephemeral": {"volumeClaimTemplate": {"metadata": meta, "spec": spec}}}))
    };
    let iscsi = |iqn: &str, lun: i32| volume(json!({"iscsi": {"targetPortal": "a", "iqn": iqn, "lun": lun}}));
    check(vec![
        (claim(json!({"labels": {"a": "b"}, "annotations": {"a": "b!"}})), &[]),
        (
            claim(json!({"labels": {"a": "b!"}, "name": "x", "finalizers": ["a/b"]})),
            &[
                "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.labels: Invalid value: \"b!\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
                "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.finalizers: Forbidden: cannot be set",
            ],
        ),
        (
            iscsi("Bad", 256),
            &[
                "spec.volumes[0].iscsi.iqn: Invalid value: \"Bad\": must be valid format starting with iqn, eui, or naa",
                "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            ],
        ),
        (iscsi("eui.x", 0), &["spec.volumes[0].iscsi.iqn: Invalid value: \"eui.x\": must be valid format"]),
        (
            volume(
                json!({"iscsi": {"targetPortal": "a", "iqn": "eui.0123456789abcdef", "lun": 0, "chapAuthSession": true, "initiatorName": "x"}}),
            ),
            &[
                "spec.volumes[0].iscsi.secretRef: Required value",
                "spec.volumes[0].iscsi.initiatorname: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa",
            ],
        ),
    ]);
}
