#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;

fn node(name: &str, age: u8, range: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:{:02}Z", 60 - age)},
        "spec": {"podCIDR": range},
        "status": {"addresses": [
            {"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]},
    })
}

/// The routes of the first cluster to these nodes and those that get none.
fn routes(nodes: &[Value]) -> (Vec<String>, Vec<String>) {
    let nodes: Vec<Arc<Node>> =
        nodes.iter().map(|node| Arc::new(serde_json::from_value(node.clone()).unwrap())).collect();
    let (routes, wrong) = pod_routes(&Ranges::of(0), &nodes);
    (routes.iter().map(|(pods, hop)| format!("{pods} {hop}")).collect(), wrong.into_iter().collect())
}

#[test]
fn a_route_needs_both_ends() {
    let mut halves =
        [node("a", 1, "10.244.0.0/24", "10.60.0.11"), node("b", 1, "10.244.1.0/24", "10.60.0.12")];
    halves[0]["spec"] = json!({});
    halves[1]["status"] = json!({});
    assert_eq!(routes(&halves), (vec![], vec![]));
    let whole = node("a", 1, "10.244.0.0/24", "10.60.0.11");
    let route = (vec!["10.244.0.0/24 10.60.0.11".to_owned()], vec![]);
    assert_eq!(routes(std::slice::from_ref(&whole)), route);
    let mut both = whole;
    let v6 = json!({"type": "InternalIP", "address": "fd00::1"});
    both["status"]["addresses"].as_array_mut().unwrap().insert(0, v6);
    assert_eq!(routes(&[both]), route);
}

#[test]
fn a_node_object_cannot_lead_the_hosts_packets_elsewhere() {
    let good = node("good", 50, "10.244.0.0/24", "10.60.0.11");
    for (range, address, why) in [
        ("0.0.0.0/0", "10.60.0.12", "0.0.0.0/0 is no node's part of the pods' range 10.244.0.0/16"),
        ("192.0.2.0/24", "10.60.0.12", "192.0.2.0/24 is no node's part of the pods' range 10.244.0.0/16"),
        ("10.96.0.0/24", "10.60.0.12", "10.96.0.0/24 is no node's part of the pods' range 10.244.0.0/16"),
        ("10.244.0.0/16", "10.60.0.12", "10.244.0.0/16 is no node's part of the pods' range 10.244.0.0/16"),
        ("10.244.1.7/24", "10.60.0.12", "10.244.1.7/24 is no node's part of the pods' range 10.244.0.0/16"),
        ("fd00::/64", "10.60.0.12", "\"fd00::/64\" is no IPv4 range"),
        ("10.244.1.0/24 dev lo", "10.60.0.12", "\"10.244.1.0/24 dev lo\" is no IPv4 range"),
        ("10.244.1.0/24", "fd00::1", "no IPv4 among fd00::1"),
        ("10.244.1.0/24", "192.0.2.1", "192.0.2.1 is no node's address in 10.60.0.0/24"),
        ("10.244.1.0/24", "127.0.0.1", "127.0.0.1 is no node's address in 10.60.0.0/24"),
        ("10.244.1.0/24", "10.60.0.1", "10.60.0.1 is no node's address in 10.60.0.0/24"),
        ("10.244.1.0/24", "10.60.0.255", "10.60.0.255 is no node's address in 10.60.0.0/24"),
        (
            "10.244.0.128/25",
            "10.60.0.12",
            "10.244.0.128/25 at 10.60.0.12 is in conflict with 10.244.0.0/24 at 10.60.0.11",
        ),
        (
            "10.244.1.0/24",
            "10.60.0.11",
            "10.244.1.0/24 at 10.60.0.11 is in conflict with 10.244.0.0/24 at 10.60.0.11",
        ),
    ] {
        let expected = vec![format!("node bad gets no route: {why}")];
        let found = routes(&[node("bad", 1, range, address), good.clone()]);
        assert_eq!(found, (vec!["10.244.0.0/24 10.60.0.11".to_owned()], expected), "{range} {address}");
    }
}
