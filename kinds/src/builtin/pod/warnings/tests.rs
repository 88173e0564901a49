use serde_json::json;

use super::*;

#[test]
fn deprecated_labels_of_nodes_are_named() {
    let terms = json!([{"matchExpressions": [
            {"key": "a", "operator": "Exists"}, {"key": "beta.kubernetes.io/arch", "operator": "Exists"}]}]);
    let spec: PodSpec = serde_json::from_value(json!({
            "containers": [],
            "nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux"},
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": terms[0]}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {},
                "topologyKey": "failure-domain.beta.kubernetes.io/zone"}]}))
        .expect("a spec");
    assert_eq!(
        of_pod(&ObjectMeta { name: Some("p".into()), ..ObjectMeta::default() }, &spec),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[1].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
            "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        ]
    );
}

#[test]
fn what_is_unwise_is_said() {
    let spec: PodSpec = serde_json::from_value(json!({
            "terminationGracePeriodSeconds": -1,
            "imagePullSecrets": [{"name": "a"}, {"name": "a"}],
            "containers": [{"name": "c",
                "env": [{"name": "A"}, {"name": "A"}],
                "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "100m"}}}]}))
    .expect("a spec");
    assert_eq!(
        of_pod(&ObjectMeta { name: Some("p".into()), ..ObjectMeta::default() }, &spec),
        [
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ]
    );
}

#[test]
fn what_means_nothing_any_more_is_said() {
    let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"annotations": {
                "scheduler.alpha.kubernetes.io/critical-pod": "",
                "container.apparmor.security.beta.kubernetes.io/c": "runtime/default",
                "container.seccomp.security.alpha.kubernetes.io/c": "unconfined",
            }},
            "spec": {
                "containers": [
                    {"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}],
                     "ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 80, "hostPort": 90}]},
                    {"name": "d", "ports": [{"containerPort": 81, "name": "a"}]},
                ],
                "hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}],
                "volumes": [{"name": "g", "gitRepo": {"repository": "r"}}, {"name": "p", "projected": {"sources": [{}]}}],
                "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": {"topologyKey": "t"}}]}},
                "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "topologyKey": "t"}],
            }}))
        .expect("a template");
    assert_eq!(
        of_template(&template, &Path::new("spec.template")),
        [
            "spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            "spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
            "spec.template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "volume \"p\" (Projected) has no sources provided",
            "spec.template.spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\"",
            "spec.template.metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
            "spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
            "spec.template.spec.containers[0].ports[1]: overlapping port definition with spec.template.spec.containers[0].ports[0]",
            "spec.template.spec.containers[1].ports[0]: duplicate port name \"a\" with spec.template.spec.containers[0].ports[0], services and probes that select ports by name will use spec.template.spec.containers[0].ports[0]",
            "spec.template.spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
        ]
    );
}

#[test]
fn files_that_meet_and_ports_of_no_host_are_told() {
    let items = json!([{"key": "a", "path": "a/b"}, {"key": "b", "path": "a/b/"}, {"key": "c", "path": "a"}, {"key": "d", "path": "ab"}]);
    let name = json!({"path": "p", "fieldRef": {"fieldPath": "metadata.name"}});
    let spec: PodSpec = serde_json::from_value(json!({
        "initContainers": [{"name": "i", "ports": [{"containerPort": 80, "hostIP": "1.2.3.4", "protocol": "UDP"}]}],
        "containers": [{"name": "c", "ports": [{"containerPort": 81, "hostIP": "1.2.3.4", "hostPort": 81}]}],
        "volumes": [
            {"name": "m", "configMap": {"name": "c", "items": items}},
            {"name": "d", "downwardAPI": {"items": [name, name]}},
            {"name": "p", "projected": {"sources": [
                {"secret": {"name": "s", "items": [{"key": "a", "path": "t/x"}]}}, {}, {"serviceAccountToken": {"path": "t"}}]}},
        ]}))
    .expect("a spec");
    assert_eq!(
        of_pod(&ObjectMeta { name: Some("p".into()), ..ObjectMeta::default() }, &spec),
        [
            "volume \"m\" (ConfigMap \"c\"): overlapping paths: \"a/b\" with \"a/b\"",
            "volume \"m\" (ConfigMap \"c\"): overlapping paths: \"a\" with \"a/b\"",
            "volume \"m\" (ConfigMap \"c\"): overlapping paths: \"a\" with \"a/b\"",
            "volume \"d\" (DownwardAPI): overlapping paths: \"p\" with \"p\"",
            "volume \"p\" (Projected) has no sources provided",
            "volume \"p\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t/x\" (Secret \"s\")",
            "spec.initContainers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:UDP HostIP:1.2.3.4}",
        ]
    );
}
