use std::path::PathBuf;

use super::*;

#[test]
fn connections_of_before_and_of_the_pod_are_stale() {
    let (node, pod) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(10, 244, 1, 9));
    let upstream = Ipv4Addr::new(203, 0, 113, 53);
    let port =
        PortMapping { host_port: 53, container_port: 5353, protocol: "udp".into(), host_ip: String::new() };
    for (what, to, answered_by, stale) in [
        ("before the pod was there", (node, 53), (node, 53), true),
        ("the pod's", (node, 53), (pod, 5353), true),
        ("another port", (node, 54), (node, 54), false),
        ("through the node to elsewhere", (upstream, 53), (upstream, 53), false),
        ("through a service", (node, 53), (upstream, 53), false),
    ] {
        let connection = Connection::made_up(Protocol::Udp, to, answered_by);
        assert_eq!(is_stale(&connection, pod, &port, &[node]), stale, "{what}");
    }
}

#[test]
fn each_port_is_translated_and_hairpins_are_masqueraded() {
    let port = |host_port, host_ip: &str| PortMapping {
        host_port,
        container_port: 80,
        protocol: "TCP".into(),
        host_ip: host_ip.into(),
    };
    let mut table = Table::default();
    table.holdings.insert(
        "0123456789abcdef/eth0".into(),
        Holding {
            ip: Ipv4Addr::new(10, 244, 1, 9),
            netns: PathBuf::new(),
            ports: vec![port(8080, "::"), port(8081, "::ffff:192.0.2.1"), port(0, ""), port(8082, "::1")],
        },
    );
    insta::assert_snapshot!(render(&table, &JUMPS[2..]), @r#"
        *nat
        :SKIFF-HOSTPORTS - [0:0]
        :SKIFF-HOSTPORTS-MASQ - [0:0]
        -A SKIFF-HOSTPORTS -p tcp -m comment --comment "host port of 0123456789ab" -m tcp --dport 8080 -j DNAT --to-destination 10.244.1.9:80
        -A SKIFF-HOSTPORTS-MASQ -s 10.244.1.9/32 -d 10.244.1.9/32 -p tcp -m tcp --dport 80 -j MASQUERADE
        -A SKIFF-HOSTPORTS-MASQ -s 127.0.0.0/8 -d 10.244.1.9/32 -p tcp -m tcp --dport 80 -j MASQUERADE
        -A SKIFF-HOSTPORTS -d 192.0.2.1/32 -p tcp -m comment --comment "host port of 0123456789ab" -m tcp --dport 8081 -j DNAT --to-destination 10.244.1.9:80
        -A SKIFF-HOSTPORTS-MASQ -s 10.244.1.9/32 -d 10.244.1.9/32 -p tcp -m tcp --dport 80 -j MASQUERADE
        -A SKIFF-HOSTPORTS-MASQ -s 127.0.0.0/8 -d 10.244.1.9/32 -p tcp -m tcp --dport 80 -j MASQUERADE
        -A POSTROUTING -j SKIFF-HOSTPORTS-MASQ
        COMMIT
        "#);
}
