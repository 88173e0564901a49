mod security;
mod volumes;
mod whole;

use serde_json::{Value, json};

use crate::{
    builtin::pod::Pod,
    kind::{Part, Rules, Typed},
};

fn pod(spec: Value) -> Value {
    let raw =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": spec});
    Typed::<Pod>::RULES.default(raw).expect("a pod that can be read")
}

/// What is wrong with a pod, without the long explanations of name forms.
fn wrong(spec: Value) -> Vec<String> {
    let found = Typed::<Pod>::RULES.validate(&pod(spec));
    found.errors.iter().map(|e| e.to_string().split(" (e.g.").next().unwrap_or_default().to_owned()).collect()
}

fn container(extra: Value) -> Value {
    let mut c = json!({"name": "web", "image": "web:1"});
    for (key, value) in extra.as_object().into_iter().flatten() {
        c[key] = value.clone();
    }
    json!({"containers": [c]})
}

fn with(extra: Value) -> Value {
    let mut spec = container(json!({}));
    for (key, value) in extra.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

fn check(cases: Vec<(Value, &[&str])>) {
    for (spec, expected) in cases {
        assert_eq!(wrong(spec.clone()), *expected, "{spec}");
    }
}

#[test]
fn containers_have_names_and_images() {
    check(vec![
        (container(json!({})), &[]),
        (json!({"containers": []}), &["spec.containers: Required value"]),
        (
            container(json!({"image": " web"})),
            &[
                "spec.containers[0].image: Invalid value: \" web\": must not have leading or trailing whitespace",
            ],
        ),
        (
            json!({"containers": [{}]}),
            &["spec.containers[0].name: Required value", "spec.containers[0].image: Required value"],
        ),
        (
            json!({"containers": [{"name": "a.b", "image": "i"}]}),
            &["spec.containers[0].name: Invalid value: \"a.b\": must not contain dots"],
        ),
        (
            with(
                json!({"initContainers": [{"name": "web", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}}]}),
            ),
            &[
                "spec.initContainers[0].name: Duplicate value: \"web\"",
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            ],
        ),
        (
            with(json!({"ephemeralContainers": [{"name": "e", "image": "i"}]})),
            &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
    ]);
}

#[test]
fn ports_are_ports() {
    check(vec![
        (
            container(
                json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            ),
            &["spec.containers[0].ports[1].name: Duplicate value: \"a\""],
        ),
        (
            container(json!({"ports": [{"containerPort": 1, "hostPort": 70000}]})),
            &[
                "spec.containers[0].ports[0].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            container(
                json!({"ports": [{"containerPort": 1, "hostPort": 5, "protocol": "UDP"}, {"containerPort": 1, "hostPort": 5}]}),
            ),
            &[],
        ),
        (
            container(json!({"ports": [
            {"containerPort": 1, "hostPort": 5, "hostIP": "10.0.0.1"}, {"containerPort": 2, "hostPort": 5, "hostIP": "10.0.0.1"}]})),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP/10.0.0.1/5\""],
        ),
        (
            container(json!({"ports": [
                {"containerPort": 1, "hostPort": 5, "hostIP": "::1"}, {"containerPort": 2, "hostPort": 5, "hostIP": "0:0::1"},
                {"containerPort": 3, "hostPort": 5}, {"containerPort": 4, "hostPort": 5, "hostIP": "0.0.0.0"}]})),
            &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP/0:0::1/5\""],
        ),
    ]);
}

#[test]
fn variables_come_from_one_place() {
    check(vec![
        (
            container(json!({"env": [{"name": "A", "valueFrom": {}}]})),
            &[
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ],
        ),
        (
            container(json!({"env": [{"name": "A", "valueFrom": {
            "configMapKeyRef": {"name": "", "key": "a b"}}}]})),
            &[
                "spec.containers[0].env[0].valueFrom.configMapKeyRef.name: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
                "spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            ],
        ),
        (
            container(
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}),
            ),
            &[],
        ),
        (
            container(
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ],
        ),
        (
            container(json!({"envFrom": [{"prefix": "a="}]})),
            &[
                "spec.containers[0].envFrom[0].prefix: Invalid value: \"a=\": a valid environment variable name must consist only of printable ASCII characters other than '='",
                "spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
            ],
        ),
    ]);
}

#[test]
fn resources_are_known_and_requests_within_limits() {
    let resources = |r: Value| container(json!({"resources": r}));
    check(vec![
        (
            resources(json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}})),
            &[
                "spec.containers[0].resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
            ],
        ),
        (
            resources(json!({"requests": {"example.com/gpu": "1"}})),
            &[
                "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
            ],
        ),
        (
            resources(json!({"limits": {"example.com/gpu": "1500m"}})),
            &[
                "spec.containers[0].resources.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
                "spec.containers[0].resources.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer",
            ],
        ),
        (
            resources(json!({"limits": {"hugepages-2Mi": "3Mi"}})),
            &[
                "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": quantity must be a multiple of the page size",
                "spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": quantity must be a multiple of the page size",
                "spec.containers[0].resources: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            resources(json!({"limits": {"pods": "1"}, "requests": {"pods": "1"}})),
            &[
                "spec.containers[0].resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
                "spec.containers[0].resources.requests[pods]: Invalid value: \"pods\": must be a standard resource for containers",
            ],
        ),
    ]);
}

#[test]
fn probes_have_one_handler() {
    check(vec![
        (
            container(json!({"readinessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["x"]}}})),
            &[
                "spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ],
        ),
        (
            container(json!({"startupProbe": {"exec": {}, "periodSeconds": -1}})),
            &[
                "spec.containers[0].startupProbe.exec.command: Required value",
                "spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            container(json!({"readinessProbe": {"grpc": {"port": 1}, "terminationGracePeriodSeconds": 5}})),
            &[
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
            ],
        ),
        (
            container(json!({"lifecycle": {"preStop": {}}})),
            &["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"],
        ),
    ]);
}

#[test]
fn placement_is_well_formed() {
    check(vec![
        (
            with(
                json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "k", "operator": "Gt", "values": ["1", "2"]}],
             "matchFields": [{"key": "metadata.uid", "operator": "In", "values": ["x"]}]}]}}}}),
            ),
            &[
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key",
            ],
        ),
        (
            with(
                json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 0, "podAffinityTerm": {"topologyKey": ""}}]}}}),
            ),
            &[
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: \"\": name part must be non-empty",
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            ],
        ),
        (
            with(
                json!({"tolerations": [{"operator": "Equal", "value": "v"}, {"key": "k", "tolerationSeconds": 5}, {"key": "k", "effect": "Never"}]}),
            ),
            &[
                "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                "spec.tolerations[1].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                "spec.tolerations[2].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        ),
    ]);
}

fn change(old: Value, new: Value, part: Part<'_>) -> Vec<String> {
    let (old, mut new) = (pod(old), pod(new));
    Typed::<Pod>::RULES.prepare_update(&mut new, &old, part);
    let found = Typed::<Pod>::RULES.validate_update(&new, &old, part);
    found.errors.iter().map(|e| e.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn little_of_a_pod_may_change() {
    let fixed = "spec: Forbidden: pod updates may not change fields other than";
    let old = with(json!({"tolerations": [{"key": "a", "operator": "Exists"}]}));
    let mut image = old.clone();
    image["containers"][0]["image"] = "web:2".into();
    assert!(change(old.clone(), image, Part::Main).is_empty());
    let mut tolerations = old.clone();
    tolerations["tolerations"] =
        json!([{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]);
    assert!(change(old.clone(), tolerations, Part::Main).is_empty());
    let mut fewer = old.clone();
    fewer["tolerations"] = json!([]);
    assert_eq!(
        change(old.clone(), fewer, Part::Main),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
    let mut host = old.clone();
    host["hostname"] = "h".into();
    let said = change(old.clone(), host, Part::Main);
    assert!(said.len() == 1 && said[0].starts_with(fixed), "{said:?}");
    let mut more = old.clone();
    more["containers"] = json!([{"name": "web", "image": "web:1"}, {"name": "more", "image": "x"}]);
    assert_eq!(
        change(old, more, Part::Main),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
}

#[test]
fn ephemeral_containers_only_come() {
    let debug = json!({"ephemeralContainers": [{"name": "debug", "image": "sh"}]});
    assert!(change(with(json!({})), with(debug.clone()), Part::Other("ephemeralcontainers")).is_empty());
    let was = with(debug);
    assert_eq!(
        change(was, with(json!({})), Part::Other("ephemeralcontainers")),
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed"]
    );
}

#[test]
fn an_ephemeral_container_lives_by_no_rules() {
    let probe = json!({"exec": {"command": ["x"]}});
    let mut debug = json!({"name": "debug", "image": "sh"});
    let fields = [
        ("ports", json!([{"containerPort": 80}])),
        ("livenessProbe", probe.clone()),
        ("readinessProbe", probe.clone()),
        ("startupProbe", probe),
        ("lifecycle", json!({"preStop": {"sleep": {"seconds": 1}}})),
        ("resources", json!({"requests": {"cpu": "1"}})),
        ("restartPolicy", json!("Never")),
        (
            "restartPolicyRules",
            json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]),
        ),
        ("resizePolicy", json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}])),
    ];
    let words = |field| {
        format!("spec.ephemeralContainers[0].{field}: Forbidden: cannot be set for an Ephemeral Container")
    };
    let expected = fields.each_ref().map(|(field, _)| words(field));
    for (field, value) in fields {
        debug[field] = value;
    }
    let with_debug = with(json!({"ephemeralContainers": [debug]}));
    assert_eq!(change(with(json!({})), with_debug, Part::Other("ephemeralcontainers")), expected);
}

#[test]
fn nobody_makes_a_pod_a_mirror_or_a_mirror_a_pod() {
    let noted = |annotations: Value| {
        let mut pod = pod(with(json!({"nodeName": "n"})));
        pod["metadata"]["annotations"] = annotations;
        pod
    };
    let mirror = |hash: &str| noted(json!({"kubernetes.io/config.mirror": hash}));
    let at = "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not";
    for (old, new, wrong) in [
        (mirror("1"), mirror("1"), None),
        (mirror("1"), noted(json!({"kubernetes.io/config.mirror": "1", "other": "2"})), None),
        (mirror("1"), mirror("2"), Some("remove or update")),
        (mirror("1"), noted(json!({})), Some("remove or update")),
        (noted(json!({})), mirror("1"), Some("add")),
    ] {
        let found = Typed::<Pod>::RULES.validate_update(&new, &old, Part::Main);
        let found: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let expected: Vec<String> =
            wrong.iter().map(|done| format!("{at} {done} mirror pod annotation")).collect();
        assert_eq!(found, expected, "{old} {new}");
    }
}

#[test]
fn what_a_node_is_only_hoped_to_have_may_be_what_no_label_is() {
    let spread = json!({"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"});
    let term = json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b!"]}]});
    let hoped =
        json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]});
    check(vec![
        (with(json!({"affinity": {"nodeAffinity": hoped}})), &[]),
        (
            with(json!({"topologySpreadConstraints": [spread, spread]})),
            &[
                "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{a, DoNotSchedule}\"",
            ],
        ),
        (
            with(json!({"tolerations": [{"key": "a/b/c", "operator": "Exists"}]})),
            &[
                "spec.tolerations[0].key: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            ],
        ),
        (
            container(json!({"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}})),
            &[
                "spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-'",
            ],
        ),
        (
            container(
                json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.ephemeral-storage", "divisor": "3"}}}]}),
            ),
            &[
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.ephemeral-storage\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the local ephemeral storage resource",
            ],
        ),
    ]);
}
