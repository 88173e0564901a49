//! What the parts of a pod have to do with one another.

use super::*;

#[test]
fn a_pod_asks_for_what_its_system_has() {
    let windows = |mut spec: Value| {
        spec["os"] = json!({"name": "windows"});
        spec
    };
    let options = json!({"windowsOptions": {"runAsUserName": "me"}});
    check(vec![
        (windows(with(json!({"securityContext": options.clone()}))), &[]),
        (
            windows(with(json!({"hostPID": true, "securityContext": {"runAsUser": 1, "fsGroup": 1}}))),
            &[
                "spec.hostPID: Forbidden: cannot be set for a windows pod",
                "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
                "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
            ],
        ),
        (
            windows(container(
                json!({"securityContext": {"privileged": true, "capabilities": {"add": ["NET_ADMIN"]}}}),
            )),
            &[
                "spec.containers[0].securityContext.capabilities: Forbidden: cannot be set for a windows pod",
                "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
            ],
        ),
        (
            with(json!({"os": {"name": "linux"}, "securityContext": options.clone(),
                "initContainers": [{"name": "i", "image": "i:1", "securityContext": options}]})),
            &[
                "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
                "spec.initContainers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
            ],
        ),
        (
            with(json!({"os": {"name": "plan9"}})),
            &["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""],
        ),
    ]);
}

#[test]
fn storage_of_particular_makers_says_what_it_is() {
    let volume = |source: &str, what: Value| with(json!({"volumes": [{"name": "v", source: what}]}));
    check(vec![
        (
            volume("rbd", json!({})),
            &["spec.volumes[0].rbd.monitors: Required value", "spec.volumes[0].rbd.image: Required value"],
        ),
        (volume("cephfs", json!({})), &["spec.volumes[0].cephfs.monitors: Required value"]),
        (
            volume("fc", json!({"targetWWNs": ["w"], "wwids": ["x"]})),
            &[
                "spec.volumes[0].fc.targetWWNs: Invalid value: [\"w\"]: targetWWNs and wwids can not be specified simultaneously",
                "spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified",
            ],
        ),
        (
            volume("gcePersistentDisk", json!({"pdName": "x", "partition": 300})),
            &[
                "spec.volumes[0].persistentDisk.partition: Invalid value: 300: must be between 1 and 255, inclusive",
            ],
        ),
        (
            volume("azureDisk", json!({"diskName": "d", "diskURI": "u", "kind": "Managed"})),
            &[
                "spec.volumes[0].azureDisk.diskURI: Unsupported value: \"u\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
            ],
        ),
        (
            volume("flocker", json!({"datasetName": "a/b", "datasetUUID": "u"})),
            &[
                "spec.volumes[0].flocker: Invalid value: \"resource\": datasetName and datasetUUID can not be specified simultaneously",
                "spec.volumes[0].flocker.datasetName: Invalid value: \"a/b\": must not contain '/'",
            ],
        ),
        (
            volume("quobyte", json!({"registry": "one", "volume": "v"})),
            &[
                "spec.volumes[0].quobyte.registry: Invalid value: \"one\": must be a host:port pair or multiple pairs separated by commas",
            ],
        ),
        (
            volume("flexVolume", json!({"driver": "d", "options": {"x.k8s.io/a": "b"}})),
            &[
                "spec.volumes[0].flexVolume.options[x.k8s.io/a]: Invalid value: \"x.k8s.io/a\": kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
        (volume("portworxVolume", json!({})), &["spec.volumes[0].portworxVolume.volumeID: Required value"]),
    ]);
}

#[test]
fn what_a_pod_says_in_two_places_fits_together() {
    let never = |mut spec: Value| {
        spec["restartPolicy"] = "Never".into();
        spec
    };
    let resize = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    let file = |volume: Value| {
        json!({"volumes": [volume], "containers": [{"name": "c", "image": "i", "env": [
            {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "K"}}}]}]})
    };
    check(vec![
        (
            with(json!({"hostnameOverride": "a_b", "hostNetwork": true, "setHostnameAsFQDN": true})),
            &[
                "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
                "spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true",
                "spec.hostnameOverride: Invalid value: \"a_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            ],
        ),
        (
            json!({"hostUsers": false, "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}],
                "containers": [{"name": "c", "image": "i", "volumeDevices": [{"name": "v", "devicePath": "/d"}]}]}),
            &["spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false"],
        ),
        (
            container(json!({"securityContext": {"procMount": "Unmasked"}})),
            &[
                "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
            ],
        ),
        (
            container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}})),
            &[
                "spec.containers[0].securityContext: Invalid value: {\"Capabilities\":null,\"Privileged\":true,\"SELinuxOptions\":null,\"WindowsOptions\":null,\"RunAsUser\":null,\"RunAsGroup\":null,\"RunAsNonRoot\":null,\"ReadOnlyRootFilesystem\":null,\"AllowPrivilegeEscalation\":false,\"ProcMount\":null,\"SeccompProfile\":null,\"AppArmorProfile\":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ],
        ),
        (
            never(container(json!({"resizePolicy": resize}))),
            &[
                "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is 'Never'",
            ],
        ),
        (
            with(json!({"initContainers": [{"name": "d", "image": "i", "resizePolicy": resize}]})),
            &[
                "spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers",
            ],
        ),
        (
            with(
                json!({"initContainers": [{"name": "d", "image": "i", "restartPolicy": "Always", "restartPolicyRules": [
                {"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}]}),
            ),
            &[],
        ),
        (
            with(
                json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net/ipv4/x", "value": "1"}]}}),
            ),
            &[
                "spec.securityContext.sysctls[0].name: Invalid value: \"net/ipv4/x\": may not be specified when 'hostNetwork' is true",
            ],
        ),
        (
            with(json!({"securityContext": {"seLinuxChangePolicy": "MountOption"}})),
            &[
                "spec.securityContext.seLinuxChangePolicy: Unsupported value: \"MountOption\": supported values: \"Recursive\"",
            ],
        ),
        (file(json!({"name": "v", "emptyDir": {}})), &[]),
        (
            file(json!({"name": "v", "configMap": {"name": "m"}})),
            &[
                "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: \"v\": referenced volume must be of type emptyDir",
            ],
        ),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "c", "image": "i", "env": [
                {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "a/../b", "key": "K=V"}}}]}]}),
            &[
                "spec.containers[0].env[0].valueFrom.fileKeyRef.key: Invalid value: \"K=V\": a valid environment variable name must consist only of printable ASCII characters other than '='",
                "spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: \"a/../b\": must not contain '..'",
            ],
        ),
        (
            file(json!({"name": "w", "emptyDir": {}})),
            &["spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Not found: \"v\""],
        ),
        (
            with(json!({"resources": {"requests": {"x.io/y": "1"}, "claims": [{"name": "a"}]}})),
            &[
                "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level",
                "spec.resources.requests[x.io/y]: Unsupported value: \"x.io/y\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
                "spec.resources.limits: Required value: Limit must be set for non overcommitable resources",
                "spec.resources.claims[0]: Not found: \"a\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
        (
            json!({"resourceClaims": [{"name": "a", "resourceClaimName": "X"}, {"name": "b"}],
                "containers": [{"name": "c", "image": "i", "resources": {"claims": [
                    {"name": "a", "request": "r"}, {"name": "a", "request": "s"}, {"name": "a"}, {"name": "z"}]}}]}),
            &[
                "spec.resourceClaims[0].resourceClaimName: Invalid value: \"X\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                "spec.resourceClaims[1]: Invalid value: {\"Name\":\"b\",\"ResourceClaimName\":null,\"ResourceClaimTemplateName\":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                "spec.containers[0].resources.claims[2]: Duplicate value: \"a\"",
                "spec.containers[0].resources.claims[3]: Not found: \"z\": must be one of the names in pod.spec.resourceClaims: a, b",
            ],
        ),
        (
            with(json!({"dnsConfig": {"searches": ["_a.b_c.d", ".", "a..b"], "options": [{"value": "1"}]}})),
            &[
                "spec.dnsConfig.searches[2]: Invalid value: \"a..b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
                "spec.dnsConfig.options[0]: Required value: must not be empty",
            ],
        ),
        (with(json!({"imagePullSecrets": [{}], "terminationGracePeriodSeconds": -5})), &[]),
    ]);
}
