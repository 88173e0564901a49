use serde_json::{Value, json};

use super::*;
use crate::testing::{self, pod};

const CORDONED: &str = "node(s) were unschedulable";
const TAINTED: &str = "node(s) had untolerated taint(s)";
const UNMATCHED: &str = "node(s) didn't match Pod's node affinity/selector";
const PORTS: &str = "node(s) didn't have free ports for the requested pod ports";

/// What is said about a pod with this spec on a node that differs so from a plain one, on
/// which a pod already uses 1 cpu and port 8080.
fn check_on(differently: &Value, spec: &Value) -> (Vec<String>, bool) {
    let mut node = json!({"metadata": {"labels": {"disk": "ssd", "cores": "8"}},
        "status": {"allocatable": {"ephemeral-storage": "10Gi", "pods": "3", "example.com/dongle": "1"}}});
    testing::merge(&mut node, differently);
    let other = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}],
        "resources": {"requests": {"cpu": "1"}}}]});
    let mut cluster = Cluster::default();
    cluster.set_node(&testing::node("node-1", &node));
    cluster.confirm("other", "node-1", &pod("other", &json!({"spec": other})));
    let pod = pod("p", &json!({"spec": spec}));
    match Plugins::prepare(&cluster, &pod).unwrap().check(cluster.nodes().next().unwrap()) {
        Ok(()) => (Vec::new(), false),
        Err(rejection) => (rejection.reasons, rejection.for_good),
    }
}

fn requests(amounts: &Value) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": amounts}}]})
}

fn affinity(terms: &Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": terms}}}})
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}])
}

#[test]
fn filters() {
    let plain = json!({});
    let anything = json!({});
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "team", "value": "a", "effect": effect}]}});
    let tolerating = |toleration: Value| json!({"tolerations": [toleration]});
    let status = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    let cordoned = json!({"spec": {"unschedulable": true}});
    let for_good = |reason: &'static str| (vec![reason], true);
    let for_now = |reason: &'static str| (vec![reason], false);
    let fits = (vec![], false);
    let cases = [
        (&plain, anything.clone(), fits.clone()),
        // The cordon.
        (&cordoned, anything.clone(), for_good(CORDONED)),
        (
            &cordoned,
            tolerating(
                json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}),
            ),
            fits.clone(),
        ),
        // Readiness.
        (&status("False"), anything.clone(), for_good(TAINTED)),
        (&status("Unknown"), anything.clone(), for_good(TAINTED)),
        (&json!({"status": {"conditions": []}}), anything.clone(), for_good(TAINTED)),
        (&status("False"), tolerating(json!({"operator": "Exists"})), fits.clone()),
        (
            &status("Unknown"),
            tolerating(
                json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}),
            ),
            for_good(TAINTED),
        ),
        // Taints.
        (&taint("NoSchedule"), anything.clone(), for_good(TAINTED)),
        (&taint("NoExecute"), anything.clone(), for_good(TAINTED)),
        (&taint("PreferNoSchedule"), anything.clone(), fits.clone()),
        (&taint("NoSchedule"), tolerating(json!({"key": "team", "value": "a"})), fits.clone()),
        (
            &taint("NoSchedule"),
            tolerating(json!({"key": "team", "operator": "Equal", "value": "b"})),
            for_good(TAINTED),
        ),
        (&taint("NoSchedule"), tolerating(json!({"key": "team", "operator": "Exists"})), fits.clone()),
        (
            &taint("NoSchedule"),
            tolerating(json!({"key": "team", "operator": "Exists", "effect": "NoExecute"})),
            for_good(TAINTED),
        ),
        (&taint("NoSchedule"), tolerating(json!({"key": "other", "operator": "Exists"})), for_good(TAINTED)),
        // Labels.
        (&plain, json!({"nodeSelector": {"disk": "ssd"}}), fits.clone()),
        (&plain, json!({"nodeSelector": {"disk": "ssd", "gpu": "yes"}}), for_good(UNMATCHED)),
        (&plain, affinity(&expression("disk", "In", &["hdd", "ssd"])), fits.clone()),
        (&plain, affinity(&expression("disk", "In", &["hdd"])), for_good(UNMATCHED)),
        (&plain, affinity(&expression("disk", "NotIn", &["hdd"])), fits.clone()),
        (&plain, affinity(&expression("gpu", "NotIn", &["yes"])), fits.clone()),
        (&plain, affinity(&expression("disk", "NotIn", &["ssd"])), for_good(UNMATCHED)),
        (&plain, affinity(&expression("disk", "Exists", &[])), fits.clone()),
        (&plain, affinity(&expression("gpu", "Exists", &[])), for_good(UNMATCHED)),
        (&plain, affinity(&expression("gpu", "DoesNotExist", &[])), fits.clone()),
        (&plain, affinity(&expression("cores", "Gt", &["7"])), fits.clone()),
        (&plain, affinity(&expression("cores", "Gt", &["8"])), for_good(UNMATCHED)),
        (&plain, affinity(&expression("cores", "Lt", &["9"])), fits.clone()),
        (&plain, affinity(&expression("disk", "Lt", &["9"])), for_good(UNMATCHED)),
        (&plain, affinity(&json!([{}])), for_good(UNMATCHED)),
        (
            &plain,
            affinity(
                &json!([{}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]),
            ),
            fits.clone(),
        ),
        (
            &plain,
            affinity(
                &json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]}]),
            ),
            for_good(UNMATCHED),
        ),
        // Ports.
        (
            &plain,
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}]}]}),
            for_now(PORTS),
        ),
        (
            &plain,
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]}]}),
            fits.clone(),
        ),
        (
            &plain,
            json!({"initContainers": [{"name": "s", "restartPolicy": "Always",
                "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": "10.0.0.1"}]}]}),
            for_now(PORTS),
        ),
        // Resources.
        (&plain, requests(&json!({"cpu": "3"})), fits.clone()),
        (&plain, requests(&json!({"cpu": "3001m"})), for_now("Insufficient cpu")),
        (&plain, requests(&json!({"cpu": "4001m"})), for_good("Insufficient cpu")),
        (&plain, requests(&json!({"memory": "9Gi"})), for_good("Insufficient memory")),
        (&plain, requests(&json!({"ephemeral-storage": "11Gi"})), for_good("Insufficient ephemeral-storage")),
        (&plain, requests(&json!({"example.com/dongle": "1"})), fits.clone()),
        (&plain, requests(&json!({"example.com/dongle": "2"})), for_good("Insufficient example.com/dongle")),
        (&plain, requests(&json!({"example.com/other": "1"})), for_good("Insufficient example.com/other")),
        (&plain, requests(&json!({"example.com/other": "0"})), fits.clone()),
        (
            &json!({"status": {"allocatable": {"pods": "1"}}}),
            requests(&json!({"cpu": "3500m", "memory": "9Gi"})),
            (vec!["Too many pods", "Insufficient cpu", "Insufficient memory"], true),
        ),
        (&json!({"status": {"allocatable": {"pods": "1"}}}), anything.clone(), for_now("Too many pods")),
        // Only the first filter that refuses speaks.
        (&cordoned, requests(&json!({"cpu": "100"})), for_good(CORDONED)),
    ];
    for (node, spec, (reasons, good)) in cases {
        let (said, said_good) = check_on(node, &spec);
        assert_eq!(
            (said, said_good),
            (reasons.iter().map(ToString::to_string).collect(), good),
            "{node} {spec}"
        );
    }
}

#[test]
fn preferred_nodes_and_taints_weigh() {
    let mut cluster = testing::cluster(&["a/a1", "b/b1", "/c1"], &[]);
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "k", "effect": effect}]}});
    cluster.set_node(&testing::node("c1", &taint("PreferNoSchedule")));
    let prefer = |zone: &str, weight: i32| {
        json!({"weight": weight, "preference": {"matchExpressions":
            [{"key": "zone", "operator": "In", "values": [zone]}]}})
    };
    let preferring = |terms: &[Value]| json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": terms}}}});
    for (spec, expected) in [
        (json!({}), [300, 300, 0]),
        (json!({"spec": {"tolerations": [{"key": "k", "operator": "Exists"}]}}), [0, 0, 0]),
        (preferring(&[prefer("a", 10)]), [500, 300, 0]),
        (preferring(&[prefer("a", 10), prefer("b", 5)]), [500, 400, 0]),
        (preferring(&[json!({"weight": 1, "preference": {}})]), [300, 300, 0]),
    ] {
        assert_eq!(testing::scores(&cluster, &pod("p", &spec)), expected, "{spec}");
    }
}
