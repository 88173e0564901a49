use super::*;
use serde_yaml_ng::Value;

/// The cluster of most cases, seen from the node `here`.
const CLUSTER: &str = "
{kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{kind: Namespace, metadata: {name: back, labels: {team: b}}}
---
{kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}}, spec: {nodeName: here, containers: [{name: c,
  ports: [{name: http, containerPort: 8080}, {name: http, containerPort: 9090, protocol: UDP}]}]}, status: {podIPs: [{ip: 10.244.1.2}]}}
---
{kind: Pod, metadata: {namespace: shop, name: cart, labels: {app: cart}}, spec: {nodeName: there, containers: [{name: c}],
  initContainers: [{name: side, restartPolicy: Always, ports: [{name: http, containerPort: 81}]}]}, status: {podIPs: [{ip: 'fd00::3'}, {ip: 10.244.2.3}]}}
---
{kind: Pod, metadata: {namespace: back, name: db, labels: {app: db}}, spec: {nodeName: here, containers: []}, status: {podIPs: [{ip: 10.244.1.4}]}}
---
{kind: Pod, metadata: {namespace: back, name: web, labels: {app: web}}, spec: {nodeName: there, containers: []}, status: {podIPs: [{ip: 10.244.2.5}]}}
---
{kind: Pod, metadata: {namespace: shop, name: done, labels: {app: web}}, spec: {nodeName: here, containers: []}, status: {phase: Succeeded, podIPs: [{ip: 10.244.1.6}]}}
---
{kind: Pod, metadata: {namespace: shop, name: agent, labels: {app: web}}, spec: {nodeName: here, hostNetwork: true, containers: []}, status: {podIPs: [{ip: 192.0.2.1}]}}
";

fn snapshot(yaml: &str) -> Snapshot {
    let mut snapshot =
        Snapshot { node: "here".into(), pod_range: "10.244.1.0/24".parse().ok(), ..Snapshot::default() };
    for document in yaml.split("\n---\n") {
        let value: Value = serde_yaml_ng::from_str(document).unwrap();
        match value.get("kind").and_then(Value::as_str) {
            Some("Namespace") => {
                snapshot.namespaces.push(Arc::new(serde_yaml_ng::from_value(value).unwrap()))
            }
            Some("Pod") => snapshot.pods.push(Arc::new(serde_yaml_ng::from_value(value).unwrap())),
            _ => snapshot.policies.push(Arc::new(serde_yaml_ng::from_value(value).unwrap())),
        }
    }
    snapshot
}

/// The table of the cluster with policies of `shop`, given by their specs.
fn with(specs: &[&str]) -> Table {
    let policies = specs.iter().enumerate();
    let policies =
        policies.map(|(n, spec)| format!("\n---\nmetadata: {{namespace: shop, name: p{n}}}\nspec: {spec}"));
    plan(&snapshot(&(CLUSTER.to_owned() + &policies.collect::<String>())))
}

#[test]
fn everything_at_once() {
    let table = with(&[
        "{podSelector: {}, policyTypes: [Ingress, Egress]}",
        "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [
            {from: [{podSelector: {matchLabels: {app: cart}}}, {ipBlock: {cidr: 10.0.0.9/8, except: [10.244.0.0/16, 010.1.0.0/16, 10.1.2.0/24]}}, {ipBlock: {cidr: 'fd00::/8'}}],
             ports: [{port: 80}, {protocol: UDP, port: 5000, endPort: 5010}, {protocol: SCTP}, {port: http}]},
            {from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: web}}}]}]}",
        "{podSelector: {matchExpressions: [{key: app, operator: In, values: [web]}]}, policyTypes: [Egress], egress: [
            {ports: [{protocol: UDP, port: 53}]}, {to: [{namespaceSelector: {}}]}]}",
    ]);
    insta::assert_snapshot!(table.replace());
}

/// The rules of the first policy's chain, with the pods that a set stands for in its place.
fn rules(spec: &str, direction: &str) -> String {
    let table = with(&[spec]);
    let Some(chain) = table.chains.get(&format!("{direction}/shop/p0")) else { return "not isolated".into() };
    let mut text = chain.rules.join("; ");
    for (name, set) in &table.sets {
        let elements: Vec<&str> = set.elements.iter().map(String::as_str).collect();
        text = text.replace(&format!("@{name}"), &format!("{{{}}}", elements.join(", ")));
    }
    text.replace("ct original ip saddr", "caller").replace("ct reply ip saddr", "answerer")
}

#[test]
fn what_a_policy_allows() {
    let cases = [
        ("no rule allows nothing", "Ingress", "[]", ""),
        ("an empty rule allows all", "Ingress", "[{}]", "accept"),
        ("empty lists do, too", "Ingress", "[{from: [], ports: []}]", "accept"),
        (
            "ports of anybody",
            "Ingress",
            "[{ports: [{port: 80}]}]",
            "ct original protocol tcp ct reply proto-src 80 accept",
        ),
        (
            "pods of the same namespace",
            "Ingress",
            "[{from: [{podSelector: {}}]}]",
            "caller {10.244.1.2, 10.244.2.3} accept",
        ),
        (
            "by label",
            "Ingress",
            "[{from: [{podSelector: {matchLabels: {app: cart}}}]}]",
            "caller {10.244.2.3} accept",
        ),
        (
            "nobody has the label",
            "Ingress",
            "[{from: [{podSelector: {matchLabels: {app: none}}}]}]",
            "caller {} accept",
        ),
        (
            "all pods",
            "Ingress",
            "[{from: [{namespaceSelector: {}}]}]",
            "caller {10.244.1.2, 10.244.1.4, 10.244.2.3, 10.244.2.5} accept",
        ),
        (
            "pods of namespaces",
            "Ingress",
            "[{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]",
            "caller {10.244.1.4, 10.244.2.5} accept",
        ),
        (
            "some of them",
            "Ingress",
            "[{from: [{namespaceSelector: {matchLabels: {team: b}}, podSelector: {matchLabels: {app: web}}}]}]",
            "caller {10.244.2.5} accept",
        ),
        (
            "one or the other",
            "Ingress",
            "[{from: [{namespaceSelector: {matchLabels: {team: b}}}, {podSelector: {matchLabels: {app: web}}}]}]",
            "caller {10.244.1.4, 10.244.2.5} accept; caller {10.244.1.2} accept",
        ),
        (
            "a name is another port in each pod",
            "Egress",
            "[{to: [{podSelector: {}}], ports: [{port: http}]}]",
            "answerer {10.244.1.2, 10.244.2.3} ct original protocol tcp answerer . ct reply proto-src {10.244.1.2 . 8080, 10.244.2.3 . 81} accept",
        ),
        (
            "and another for each protocol",
            "Egress",
            "[{ports: [{port: http, protocol: UDP}]}]",
            "ct original protocol udp answerer . ct reply proto-src {10.244.1.2 . 9090} accept",
        ),
        ("everywhere", "Egress", "[{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]", "answerer 0.0.0.0/0 accept"),
    ];
    for (what, kind, allowed, expected) in cases {
        let direction = kind.to_lowercase();
        let spec = format!(
            "{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [{kind}], {direction}: {allowed}}}"
        );
        assert_eq!(rules(&spec, &direction), expected, "{what}");
        let other = if kind == "Ingress" { "egress" } else { "ingress" };
        assert_eq!(rules(&spec, other), "not isolated", "{what}");
    }
}

#[test]
fn only_pods_of_this_node_are_isolated() {
    let isolated = |spec: &str| {
        let table = with(&[spec]);
        let set = table
            .sets
            .get("isolated-ingress")
            .map(|set| set.elements.iter().cloned().collect::<Vec<_>>().join(", "));
        set.unwrap_or("no table".into())
    };
    let all = "{podSelector: {}, policyTypes: [Ingress]}";
    assert_eq!(
        isolated(all),
        "10.244.1.2 : goto ingress-10.244.1.2",
        "not those that ended, nor on the node's network"
    );
    assert_eq!(isolated("{podSelector: {matchLabels: {app: cart}}, policyTypes: [Ingress]}"), "no table");
}

#[test]
fn a_pod_that_has_no_address_yet_is_isolated_too() {
    let starting =
        "\n---\n{kind: Pod, metadata: {namespace: shop, name: new}, spec: {nodeName: here, containers: []}}
---\nmetadata: {namespace: shop, name: p0}\nspec: {podSelector: {}, policyTypes: [Egress]}";
    let table = plan(&snapshot(&(CLUSTER.to_owned() + starting)));
    let drop = "ct original ip saddr 10.244.1.0/24 ct original ip saddr != @known drop";
    assert_eq!(table.chains["check-egress"].rules[0], drop);
    assert_eq!(table.sets["known"].elements, ["10.244.1.2", "10.244.1.4"].map(String::from).into());
}

#[test]
fn names_are_never_longer_than_the_kernel_takes() {
    let name = chain_name(&DIRECTIONS[0], &format!("{}/{}", "n".repeat(63), "p".repeat(253)));
    assert!(name.len() < 255 && name.starts_with("ingress/"), "{name}");
}
