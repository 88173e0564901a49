use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;

fn node(name: &str, status: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name}, "status": {
            "allocatable": {"cpu": "4", "pods": "10"},
            "conditions": [{"type": "Ready", "status": status}]}}))
    .unwrap()
}

fn needs(owner: &str) -> Arc<Needs> {
    let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": owner, "controller": true}]},
            "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}],
                "resources": {"requests": {"cpu": "1"}}}]}}))
        .unwrap();
    Arc::new(Needs::of(&pod))
}

fn brief(cluster: &Cluster) -> String {
    let one = |view: &NodeView| {
        format!(
            "{}: {} cpu, {} pods, {} ports, {} owners",
            view.name,
            view.used.get("cpu"),
            view.pods.len(),
            view.host_ports.len(),
            view.owners.len()
        )
    };
    cluster.nodes().map(one).collect::<Vec<_>>().join("; ")
}

#[test]
fn pods_are_counted_once_and_taken_away_whole() {
    let mut cluster = Cluster::default();
    cluster.set_node(&node("a", "True"));
    cluster.assume("u1", "a", &needs("r"));
    cluster.assume("u2", "a", &needs("r"));
    assert_eq!(brief(&cluster), "a: 2000 cpu, 2 pods, 2 ports, 1 owners");
    cluster.confirm("u1", "a", &needs("r"));
    cluster.unassume("u1");
    assert_eq!(cluster.sizes(), (1, 2, 1), "what is confirmed is not taken back");
    cluster.unassume("u2");
    assert!(cluster.remove_pod("u1") && !cluster.remove_pod("u1"));
    assert_eq!(brief(&cluster), "a: 0 cpu, 0 pods, 0 ports, 0 owners");
}

#[test]
fn pods_that_ask_for_more_than_there_is_in_the_world_are_counted_exactly() {
    let asking = |memory: &str| {
        let resources = json!({"requests": {"memory": memory}});
        let spec = json!({"containers": [{"name": "c", "resources": resources}]});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
        Arc::new(Needs::of(&pod))
    };
    let used = |cluster: &Cluster| cluster.nodes().next().unwrap().used.get("memory").to_string();
    let mut cluster = Cluster::default();
    cluster.set_node(&node("a", "True"));
    for (uid, memory) in [("u1", "9223372036854775807"), ("u2", "8Ei"), ("u3", "1Ki")] {
        cluster.confirm(uid, "a", &asking(memory));
    }
    assert_eq!(used(&cluster), "18446744073709552638");
    assert!(crate::place::place(&cluster, &asking("1"), "").is_err());
    cluster.remove_pod("u1");
    cluster.remove_pod("u2");
    assert_eq!(used(&cluster), "1024");
}

#[test]
fn a_node_that_comes_back_still_has_its_pods() {
    let mut cluster = Cluster::default();
    cluster.confirm("u1", "a", &needs("r"));
    assert_eq!(cluster.nodes().count(), 0);
    cluster.set_node(&node("a", "True"));
    cluster.remove_node("a");
    cluster.set_node(&node("a", "True"));
    assert_eq!(brief(&cluster), "a: 1000 cpu, 1 pods, 1 ports, 1 owners");
    cluster.remove_node("a");
    cluster.remove_pod("u1");
    assert!(cluster.nodes.is_empty());
}

#[test]
fn only_what_matters_about_a_node_is_a_change() {
    let mut cluster = Cluster::default();
    let nothing = NodeChange::default();
    assert_eq!(
        cluster.set_node(&node("a", "True")),
        NodeChange { allocatable: true, labels: true, taints: true }
    );
    let mut heartbeat = node("a", "True");
    heartbeat.metadata.resource_version = Some("7".into());
    assert_eq!(cluster.set_node(&heartbeat), nothing);
    for status in ["False", "Unknown", "True"] {
        assert_eq!(cluster.set_node(&node("a", status)), NodeChange { taints: true, ..nothing }, "{status}");
    }
    heartbeat.metadata.labels = Some([("disk".to_owned(), "ssd".to_owned())].into());
    assert_eq!(cluster.set_node(&heartbeat), NodeChange { labels: true, ..nothing });
}
