use super::*;
use api::Message;

fn peer(name: &str, ip: &str, pods: &str) -> Peer {
    Peer { made: None, name: name.into(), ip: ip.parse().unwrap(), pods: pods.parse().unwrap() }
}

fn planned(own: &str, nodes: &[Peer]) -> Option<Plan> {
    plan(own, nodes, &uplinks(), "10.244.0.0/16".parse().ok()).unwrap()
}

fn uplinks() -> Vec<Uplink> {
    vec![Uplink { index: 7, mac: [2; 6], address: "192.0.2.1/24".parse().unwrap(), mtu: 9000 }]
}

#[test]
fn neighbours_are_reached_directly_and_others_through_the_tunnel() {
    let nodes = [
        peer("a", "192.0.2.1", "10.244.0.0/24"),
        peer("b", "192.0.2.2", "10.244.1.0/24"),
        peer("c", "198.51.100.3", "10.244.2.0/24"),
    ];
    let near = planned("a", &nodes[..2]).unwrap();
    let direct = Via::Neighbour { gateway: nodes[1].ip, index: 7 };
    assert_eq!(near.routes, BTreeMap::from([(nodes[1].pods, direct)]));
    assert_eq!((near.tunnel.len(), near.pod_mtu), (0, 9000));

    let far = planned("a", &nodes).unwrap();
    let tunnel = Via::Tunnel { gateway: [10, 244, 2, 0].into() };
    assert_eq!(far.routes, BTreeMap::from([(nodes[1].pods, direct), (nodes[2].pods, tunnel)]));
    assert_eq!((far.tunnel.as_slice(), far.pod_mtu), (&nodes[2..], 8950));
    assert_eq!(planned("d", &nodes), None, "a node without a range");
}

#[test]
fn a_range_or_address_used_twice_does_no_harm() {
    let nodes = [
        peer("a", "192.0.2.1", "10.244.0.0/24"),
        peer("b", "192.0.2.2", "10.244.0.0/24"),
        peer("c", "192.0.2.1", "10.244.1.0/24"),
        peer("d", "192.0.2.4", "10.244.4.0/24"),
        peer("e", "192.0.2.5", "10.244.4.0/25"),
    ];
    let plan = planned("a", &nodes).unwrap();
    assert_eq!(plan.routes.keys().collect::<Vec<_>>(), [&nodes[3].pods]);
    assert_eq!(plan.left_out.len(), 3);
}

#[test]
fn a_node_object_cannot_lead_packets_elsewhere() {
    let made = |second: i64| k8s_openapi::jiff::Timestamp::from_second(second).ok().map(Time);
    for (ip, pods, why) in [
        ("192.0.2.3", "0.0.0.0/0", "0.0.0.0/0 is no part of the pods' range 10.244.0.0/16"),
        ("192.0.2.3", "192.0.2.128/25", "192.0.2.128/25 is no part of the pods' range 10.244.0.0/16"),
        ("192.0.2.3", "10.244.0.0/16", "10.244.0.0/16 is larger than a node's part of the pods' range, /24"),
        (
            "192.0.2.3",
            "10.244.128.0/17",
            "10.244.128.0/17 is larger than a node's part of the pods' range, /24",
        ),
        ("192.0.2.3", "10.244.1.0/25", "10.244.1.0/25 at 192.0.2.3 is in conflict with node z"),
        ("192.0.2.2", "10.244.9.0/24", "10.244.9.0/24 at 192.0.2.2 is in conflict with node z"),
        ("192.0.2.1", "10.244.9.0/24", "192.0.2.1 is no address of another node"),
        ("192.0.2.255", "10.244.9.0/24", "192.0.2.255 is no address of another node"),
        ("127.0.0.1", "10.244.9.0/24", "127.0.0.1 is no address of another node"),
        ("10.244.1.7", "10.244.9.0/24", "10.244.1.7 is no address of another node"),
        ("224.0.0.1", "10.244.9.0/24", "224.0.0.1 is no address of another node"),
    ] {
        let nodes = [
            peer("a", "192.0.2.1", "10.244.0.0/24"),
            Peer { made: made(9), ..peer("bad", ip, pods) },
            Peer { made: made(5), ..peer("z", "192.0.2.2", "10.244.1.0/24") },
        ];
        let plan = planned("a", &nodes).unwrap();
        assert_eq!(plan.routes.keys().collect::<Vec<_>>(), [&nodes[2].pods], "{ip} {pods}");
        assert_eq!(plan.left_out, [format!("node bad: {why}")]);
    }
    // Without a range of all pods, at least what the node is plugged into stays.
    let nodes = [peer("a", "192.0.2.1", "10.244.0.0/24"), peer("b", "198.51.100.2", "0.0.0.0/0")];
    assert!(plan("a", &nodes, &uplinks(), None).unwrap().unwrap().routes.is_empty());
    assert!(plan("b", &nodes, &uplinks(), None).is_err(), "nor may its own range be that");
}

#[test]
fn a_node_is_read_once_it_has_address_and_range() {
    let node = |spec, status| {
        let node = json!({"metadata": {"name": "n"}, "spec": spec, "status": status});
        Peer::of(&serde_json::from_value(node).unwrap())
    };
    let addresses = json!({"addresses": [
            {"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "192.0.2.1"}]});
    let spec = json!({"podCIDR": "10.244.1.0/24", "podCIDRs": ["fd00::/64", "10.244.1.0/24"]});
    assert_eq!(node(spec.clone(), addresses.clone()), Ok(Some(peer("n", "192.0.2.1", "10.244.1.0/24"))));
    assert_eq!(node(json!({}), addresses.clone()), Ok(None));
    assert_eq!(node(spec, json!({})), Ok(None));
    for (range, why) in [
        ("10.244.1.7/24", "node n: 10.244.1.7/24 is an address in a range and no range"),
        ("fd00::/64", "node n: no IPv4 among fd00::/64 at 192.0.2.1"),
    ] {
        assert_eq!(node(json!({"podCIDR": range}), addresses.clone()), Err(Message::from(why.to_owned())));
    }
}

#[test]
fn rules_and_configuration_as_text() {
    let nodes = [peer("a", "192.0.2.1", "10.244.0.0/24")];
    let plan = planned("a", &nodes).unwrap();
    insta::assert_snapshot!(rules(&plan, "10.244.0.0/16".parse().ok(), &JUMPS[..1]), @r#"
        *nat
        :SKIFF-POSTROUTING - [0:0]
        -A SKIFF-POSTROUTING -s 10.244.0.0/24 -d 10.244.0.0/16 -m comment --comment "pods to pods" -j RETURN
        -A SKIFF-POSTROUTING -s 10.244.0.0/24 ! -d 224.0.0.0/4 -m comment --comment "pods to outside the cluster" -j MASQUERADE --random-fully
        -A POSTROUTING -j SKIFF-POSTROUTING
        COMMIT
        *filter
        :SKIFF-FORWARD - [0:0]
        -A SKIFF-FORWARD -s 10.244.0.0/16 -m comment --comment "from pods" -j ACCEPT
        -A SKIFF-FORWARD -d 10.244.0.0/16 -m comment --comment "to pods" -j ACCEPT
        COMMIT
        "#);
    let list: serde_json::Value = serde_json::from_str(&conflist(&plan, Path::new("/d"))).unwrap();
    assert_eq!(
        list["plugins"],
        json!([{"type": "skiff-cni", "bridge": "cni0", "podCIDR": "10.244.0.0/24", "mtu": 9000,
                    "dataDir": "/d", "capabilities": {"portMappings": true}}])
    );
}

#[test]
fn a_node_answers_for_the_load_balancers_that_are_given_to_it() {
    let service = |node: &str, ingress: serde_json::Value| {
        let service = json!({
            "metadata": {"annotations": {"skiff.local/load-balancer-node": node}},
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        Arc::new(serde_json::from_value(service).unwrap())
    };
    let services = [
        service("a", json!([{"ip": "192.0.2.129", "ipMode": "VIP"}])),
        service("b", json!([{"ip": "192.0.2.130", "ipMode": "VIP"}])),
        service("a", json!([{"ip": "192.0.2.131", "ipMode": "Proxy"}, {"hostname": "lb.example.org"}])),
        // Addresses of machines.
        service("a", json!([{"ip": "192.0.2.2", "ipMode": "VIP"}, {"ip": "192.0.2.254", "ipMode": "VIP"}])),
    ];
    let pool = |text: &str| Some(text.parse().unwrap());
    let told = |pool, uplinks: &[Uplink]| answers("a", &services, pool, uplinks);
    let here: Ipv4Addr = "192.0.2.129".parse().unwrap();
    assert_eq!(told(pool("192.0.2.128/26"), &uplinks()), BTreeMap::from([(here, Some(uplinks().remove(0)))]));
    assert_eq!(told(pool("192.0.2.128/26"), &[]), BTreeMap::from([(here, None)]));
    assert!(told(None, &uplinks()).is_empty());
}
