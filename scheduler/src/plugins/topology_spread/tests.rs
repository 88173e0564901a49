use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::testing::{cluster, fitting, judged, merge, node, pod, scores};

fn web(name: &str) -> Arc<Needs> {
    pod(name, &json!({"metadata": {"labels": {"app": "web"}}}))
}

fn spread(key: &str, when: &str, more: &Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}});
    merge(&mut constraint, more);
    constraint
}

fn asking(constraints: &[Value]) -> Arc<Needs> {
    let spec = json!({"topologySpreadConstraints": constraints});
    pod("new", &json!({"metadata": {"labels": {"app": "web"}}, "spec": spec}))
}

/// Two pods in zone a, one in zone b, none in zone c.
fn uneven() -> Cluster {
    let nodes = ["a/a1", "a/a2", "b/b1", "c/c1", "/x1"];
    cluster(&nodes, &[("a1", web("1")), ("a2", web("2")), ("b1", web("3"))])
}

#[test]
fn pods_go_where_there_are_fewest() {
    let (must, key) = ("DoNotSchedule", "zone");
    let plain = json!({});
    for (constraints, expected) in [
        (vec![spread(key, must, &plain)], vec!["c1"]),
        (vec![spread(key, must, &json!({"maxSkew": 2}))], vec!["b1", "c1"]),
        (vec![spread(key, must, &json!({"maxSkew": 3}))], vec!["a1", "a2", "b1", "c1"]),
        // Fewer places than there should be.
        (vec![spread(key, must, &json!({"minDomains": 4, "maxSkew": 2}))], vec!["b1", "c1"]),
        (vec![spread("kubernetes.io/hostname", must, &plain)], vec!["c1", "x1"]),
        // Both have to hold, and a node without one of the labels counts for neither.
        (vec![spread(key, must, &plain), spread("kubernetes.io/hostname", must, &plain)], vec!["c1"]),
        // Pods that are not selected do not count.
        (
            vec![spread(key, must, &json!({"labelSelector": {"matchLabels": {"app": "db"}}}))],
            vec!["a1", "a2", "b1", "c1"],
        ),
        (vec![spread(key, "ScheduleAnyway", &plain)], vec!["a1", "a2", "b1", "c1", "x1"]),
    ] {
        assert_eq!(fitting(&uneven(), &asking(&constraints)), expected, "{constraints:?}");
    }
}

#[test]
fn what_is_said_of_nodes() {
    let said = judged(&uneven(), &asking(&[spread("zone", "DoNotSchedule", &json!({}))]));
    assert_eq!(said[0].1, "node(s) didn't match pod topology spread constraints");
    assert_eq!(said[4].1, "node(s) didn't match pod topology spread constraints (missing required label)");
}

#[test]
fn nodes_that_the_pod_cannot_have_count_as_the_policies_say() {
    let mut cluster = uneven();
    let tainted = json!({"metadata": {"labels": {"zone": "c"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    cluster.set_node(&node("c1", &tainted));
    let asking = |more: Value, selector: Value| {
        let constraint = spread("zone", "DoNotSchedule", &more);
        let spec = json!({"topologySpreadConstraints": [constraint], "nodeSelector": selector});
        pod("new", &json!({"metadata": {"labels": {"app": "web"}}, "spec": spec}))
    };
    let none = Vec::<String>::new();
    assert_eq!(fitting(&cluster, &asking(json!({}), json!({}))), none, "the empty zone is closed");
    assert_eq!(fitting(&cluster, &asking(json!({"nodeTaintsPolicy": "Honor"}), json!({}))), ["b1"]);
    let only_a = json!({"zone": "a"});
    assert_eq!(fitting(&cluster, &asking(json!({}), only_a.clone())), ["a1", "a2"]);
    assert_eq!(fitting(&cluster, &asking(json!({"nodeAffinityPolicy": "Ignore"}), only_a)), none);
}

#[test]
fn pods_of_others_and_pods_that_leave_do_not_count() {
    let mut cluster = cluster(&["a/a1", "b/b1"], &[]);
    let constraint = [spread("zone", "DoNotSchedule", &json!({}))];
    let leaving =
        json!({"metadata": {"labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    cluster.confirm("1", "a1", &pod("1", &leaving));
    let other = json!({"metadata": {"labels": {"app": "web"}, "namespace": "other"}});
    cluster.confirm("2", "a1", &pod("2", &other));
    assert_eq!(fitting(&cluster, &asking(&constraint)), ["a1", "b1"]);
    cluster.confirm("3", "a1", &web("3"));
    assert_eq!(fitting(&cluster, &asking(&constraint)), ["b1"]);
}

#[test]
fn soft_constraints_prefer_the_emptiest() {
    let scores = scores(&uneven(), &asking(&[spread("zone", "ScheduleAnyway", &json!({}))]));
    assert_eq!((scores[0], scores[0] < scores[2], scores[3], scores[4]), (scores[1], true, 200, 0));
    assert_eq!(scores[0], 0);
}
