use super::*;

fn port(ip: &str, protocol: &str) -> HostPort {
    let port = ContainerPort {
        host_port: Some(80),
        host_ip: Some(ip.to_owned()),
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    };
    HostPort::of(&port).expect("it asks for one of the node")
}

#[test]
fn ports_conflict_by_address_however_it_is_written() {
    for (one, other, expected) in [
        (port("10.0.0.1", "TCP"), port("10.0.0.1", ""), true),
        (port("10.0.0.1", "TCP"), port("10.0.0.2", "TCP"), false),
        (port("10.0.0.1", "TCP"), port("0.0.0.0", "TCP"), true),
        (port("10.0.0.1", "TCP"), port("::", "TCP"), true),
        (port("10.0.0.1", "TCP"), port("0:0::0", "TCP"), true),
        (port("10.0.0.1", "TCP"), port("", "TCP"), true),
        (port("10.0.0.1", "TCP"), port("::ffff:10.0.0.1", "TCP"), true),
        (port("::1", "TCP"), port("0:0::1", "TCP"), true),
        (port("::1", "TCP"), port("10.0.0.1", "TCP"), false),
        (port("fe80::1%a", "TCP"), port("fe80::1%a", "TCP"), true),
        (port("fe80::1%a", "TCP"), port("fe80::1%b", "TCP"), false),
        (port("0.0.0.0", "UDP"), port("0.0.0.0", "TCP"), false),
    ] {
        let alone = |port: &HostPort| HostPorts::from_iter([port.clone()]);
        assert_eq!(alone(&one).conflict(&other), expected, "{one:?} {other:?}");
        assert_eq!(alone(&other).conflict(&one), expected, "{other:?} {one:?}");
    }
}

#[test]
fn ports_are_taken_and_given_back() {
    let (all, one) = (port("", "TCP"), port("10.0.0.1", "TCP"));
    let mut taken = HostPorts::from_iter([all.clone(), one.clone(), one.clone()]);
    assert_eq!(taken.len(), 3);
    taken.remove(&port("10.0.0.2", "TCP"));
    taken.remove(&all);
    taken.remove(&all);
    assert_eq!(taken.len(), 2);
    assert!(!taken.conflict(&port("10.0.0.2", "TCP")));
    taken.remove(&one);
    assert!(taken.conflict(&one));
    taken.remove(&one);
    assert!(taken.is_empty());
}
