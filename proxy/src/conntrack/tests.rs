use super::*;
use crate::services::{Snapshot, resolve};
use std::sync::Arc;

fn dns() -> UdpServices {
    let service = "metadata: {namespace: n, name: dns}
spec: {type: NodePort, clusterIP: 10.96.0.10, externalIPs: [192.0.2.77],
  ports: [{port: 53, protocol: UDP, nodePort: 30053}]}";
    let slice = "metadata: {namespace: n, name: dns-1, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{name: '', port: 5353, protocol: UDP}]
endpoints:
- {addresses: [10.244.1.2], nodeName: here}
- {addresses: [10.244.1.3], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.244.1.4], conditions: {ready: false}}";
    let snapshot = Snapshot {
        services: vec![Arc::new(serde_yaml_ng::from_str(service).unwrap())],
        slices: vec![Arc::new(serde_yaml_ng::from_str(slice).unwrap())],
        zone: None,
    };
    UdpServices::of(&resolve(&snapshot, "here"), "here", None)
}

#[test]
fn stale_is_what_goes_through_us_to_no_endpoint() {
    let ip = |last: u8| Ipv4Addr::new(10, 244, 1, last);
    let (cluster, external, node) =
        ([10, 96, 0, 10].into(), [192, 0, 2, 77].into(), Ipv4Addr::from([192, 0, 2, 1]));
    let cases = [
        ("to an endpoint", (cluster, 53), (ip(2), 5353), false),
        ("to one that terminates and serves", (cluster, 53), (ip(3), 5353), false),
        ("to one that is not ready", (cluster, 53), (ip(4), 5353), true),
        ("to one that is gone", (cluster, 53), (ip(9), 5353), true),
        ("over an external address", (external, 53), (ip(9), 5353), true),
        ("untranslated, from when there was no endpoint", (cluster, 53), (cluster, 53), true),
        ("another port of the address", (cluster, 54), (ip(9), 5353), false),
        ("over a node port", (node, 30053), (ip(9), 5353), true),
        ("over a node port to an endpoint", (node, 30053), (ip(2), 5353), false),
        ("someone else's server on such a port", (node, 30053), (node, 30053), false),
        ("nothing to do with us", (node, 53), (ip(9), 53), false),
    ];
    for (what, to, answered_by, stale) in cases {
        let connection = Connection::made_up(Protocol::Udp, to, answered_by);
        assert_eq!(dns().is_stale(&connection), stale, "{what}");
    }
    let tcp = Connection::made_up(Protocol::Tcp, (cluster, 53), (ip(9), 5353));
    assert!(!dns().is_stale(&tcp), "TCP ends by itself");
}
