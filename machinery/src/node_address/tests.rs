use super::*;

#[test]
fn a_node_is_reached_at_its_first_ipv4() {
    for (addresses, expected) in [
        (&[][..], None),
        (
            &[("Hostname", "192.0.2.9"), ("InternalIP", "192.0.2.1"), ("InternalIP", "192.0.2.2")],
            Some("192.0.2.1"),
        ),
        (&[("InternalIP", "fd00::1"), ("InternalIP", "192.0.2.2")], Some("192.0.2.2")),
        (&[("InternalIP", "fd00::1"), ("ExternalIP", "192.0.2.2")], None),
    ] {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|(kind, address)| serde_json::json!({"type": kind, "address": address}))
            .collect();
        let node = serde_json::from_value(serde_json::json!({"status": {"addresses": addresses}}));
        let found = internal_ipv4(&node.unwrap()).map(|ip| ip.to_string());
        assert_eq!(found.as_deref(), expected, "{addresses:?}");
    }
}
