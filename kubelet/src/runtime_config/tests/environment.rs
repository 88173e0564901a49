//! What a container finds in its environment.

use super::*;

fn variables(container: Value, services: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
    let mut container = container;
    container["name"] = json!("c");
    let pod = pod(&json!({"nodeName": "n", "containers": [container]}));
    let data =
        |key: &str| BTreeMap::from([("k".to_owned(), key.to_owned()), ("l".to_owned(), "2".to_owned())]);
    let objects = env::Objects {
        config_maps: [("m".to_owned(), data("of map"))].into(),
        secrets: [("s".to_owned(), data("of secret"))].into(),
        files: [
            ("good", "# of\n\n A='of file' # so\nB= 'x'\nC=''\nD='1\n2'\n"),
            ("bad", "A='1'\nB=2\nC='3'\n"),
        ]
        .map(|(path, text)| (("v".to_owned(), path.to_owned()), text.to_owned()))
        .into(),
    };
    let node = NodeFacts {
        host_ips: vec!["192.0.2.1".to_owned()],
        allocatable: serde_json::from_value(json!({"cpu": "4"})).expect("amounts are well-formed"),
    };
    let pod_ips = ["10.0.0.2".to_owned()];
    env::variables(
        only(&pod),
        &env::Input { pod: &pod, pod_ips: &pod_ips, node: &node, services, objects: &objects },
    )
    .map(|set| set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    .map_err(String::from)
}

#[test]
fn variables_that_double_each_other_are_refused() {
    let mut env = vec![json!({"name": "E0", "value": "x".repeat(1024)})];
    env.extend((1..30).map(|n| json!({"name": format!("E{n}"), "value": format!("$(E{0})$(E{0})", n - 1)})));
    let refused = variables(json!({"env": env}), &[]);
    let words = "environment variable \"E11\" is too long: its variables make it longer than 1048576 bytes";
    assert_eq!(refused, Err(words.to_owned()));
}

#[test]
fn environments() {
    let from = |value: Value| json!({"env": [{"name": "A", "valueFrom": value}]});
    let a = |value: &str| Ok(vec![("A".to_owned(), value.to_owned())]);
    let map = |name: &str, key: &str, optional: bool| {
        from(json!({"configMapKeyRef": {"name": name, "key": key, "optional": optional}}))
    };
    let file = |path: &str, key: &str, optional: bool| {
        from(json!({"fileKeyRef": {"volumeName": "v", "path": path, "key": key, "optional": optional}}))
    };
    let not_in_file =
        |key: &str| Err(format!("environment variable key \"{key}\" not found in file \"good\""));
    for (container, expected) in [
        (json!({"env": [{"name": "A", "value": "x"}]}), a("x")),
        (json!({"env": [{"name": "A"}]}), a("")),
        (map("m", "k", false), a("of map")),
        (map("m", "x", false), Err("couldn't find key x in ConfigMap d/m".to_owned())),
        (map("m", "x", true), Ok(vec![])),
        (map("nope", "k", false), Err("configmap \"nope\" not found".to_owned())),
        (map("nope", "k", true), Ok(vec![])),
        (from(json!({"secretKeyRef": {"name": "s", "key": "k"}})), a("of secret")),
        (
            from(json!({"secretKeyRef": {"name": "nope", "key": "k"}})),
            Err("secret \"nope\" not found".to_owned()),
        ),
        (file("good", "A", false), a("of file")),
        (file("good", "D", false), a("1\n2")),
        (file("good", "B", true), Ok(vec![])),
        (file("good", "C", false), not_in_file("C")),
        (file("good", "E", false), not_in_file("E")),
        (file("good", "E", true), Ok(vec![])),
        (file("bad", "A", false), a("1")),
        (file("bad", "C", true), Err("couldn't parse env file".to_owned())),
        (file("none", "A", true), Err("couldn't parse env file".to_owned())),
        (from(json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}})), a("x")),
        (from(json!({"fieldRef": {"fieldPath": "status.podIP"}})), a("10.0.0.2")),
        (from(json!({"fieldRef": {"fieldPath": "status.hostIP"}})), a("192.0.2.1")),
        (from(json!({"fieldRef": {"fieldPath": "spec.nodeName"}})), a("n")),
        (from(json!({"resourceFieldRef": {"resource": "limits.cpu"}})), a("4")),
        (from(json!({"resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}})), a("4")),
        (
            from(json!({"resourceFieldRef": {"containerName": "d", "resource": "limits.cpu"}})),
            Err("container d not found".to_owned()),
        ),
        (from(json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}})), a("4000")),
        (from(json!({"resourceFieldRef": {"resource": "requests.cpu"}})), a("0")),
    ] {
        assert_eq!(variables(container.clone(), &[]), expected, "{container}");
    }
    let services = [("A".to_owned(), "of service".to_owned()), ("S".to_owned(), "9".to_owned())];
    let container = json!({
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "m"}}, {"secretRef": {"name": "nope", "optional": true}}],
        "env": [{"name": "A", "value": "$(P_l)$(S)"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "P_k", "value": "own"}],
    });
    let all: Vec<String> = variables(container, &services)
        .expect("all that is needed is there")
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(all, ["P_k=own", "P_l=2", "A=29", "B=29$(C)", "S=9"]);
}

#[test]
fn services_are_told_of() {
    let service = |namespace: &str, name: &str, ip: &str, ports: Value| -> Service {
        let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}});
        serde_json::from_value(service).expect("the test's service is well-formed")
    };
    let all = [
        service("default", "kubernetes", "10.96.0.1", json!([{"name": "https", "port": 443}])),
        service(
            "d",
            "my-web",
            "10.96.0.2",
            json!([{"port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]),
        ),
        service("d", "headless", "None", json!([{"port": 80}])),
        service("other", "far", "10.96.0.3", json!([{"port": 80}])),
    ];
    let told = |links: bool| {
        let pod = pod(&json!({"enableServiceLinks": links, "containers": []}));
        let told = env::services(&pod, &all);
        told.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let kubernetes = [
        "KUBERNETES_SERVICE_HOST=10.96.0.1",
        "KUBERNETES_SERVICE_PORT=443",
        "KUBERNETES_SERVICE_PORT_HTTPS=443",
        "KUBERNETES_PORT=tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO=tcp",
        "KUBERNETES_PORT_443_TCP_PORT=443",
        "KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1",
    ];
    assert_eq!(told(false), kubernetes);
    let web = [
        "MY_WEB_SERVICE_HOST=10.96.0.2",
        "MY_WEB_SERVICE_PORT=80",
        "MY_WEB_SERVICE_PORT_DNS=53",
        "MY_WEB_PORT=tcp://10.96.0.2:80",
        "MY_WEB_PORT_80_TCP=tcp://10.96.0.2:80",
        "MY_WEB_PORT_80_TCP_PROTO=tcp",
        "MY_WEB_PORT_80_TCP_PORT=80",
        "MY_WEB_PORT_80_TCP_ADDR=10.96.0.2",
        "MY_WEB_PORT_53_UDP=udp://10.96.0.2:53",
        "MY_WEB_PORT_53_UDP_PROTO=udp",
        "MY_WEB_PORT_53_UDP_PORT=53",
        "MY_WEB_PORT_53_UDP_ADDR=10.96.0.2",
    ];
    assert_eq!(told(true), [&kubernetes[..], &web].concat());
}
