use serde_json::json;

use super::*;
use crate::builtin::testing::{cells, made, wrong};
use api::validation::object_meta;

#[test]
fn the_name_is_the_address() {
    let address = |name: &str| {
        made::<IPAddress>(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": name},
            "spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}),
        )
    };
    assert_eq!(wrong::<IPAddress>(&address("10.96.0.7")), Vec::<String>::new());
    let named = |name: &str| object_meta(&address(name), IPAddress::FACTS.names, false);
    assert!(named("10.96.0.7").is_empty());
    for (name, why) in [
        ("fd00:0::1", "must be in canonical form (\"fd00::1\")"),
        ("010.96.0.7", "must not have leading 0s"),
        ("::ffff:10.96.0.7", "must not be an IPv4-mapped IPv6 address"),
        ("1.2.3.4%eth0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    ] {
        let said: Vec<_> = named(name).iter().map(ToString::to_string).collect();
        assert_eq!(said, [format!("metadata.name: Invalid value: {name:?}: {why}")]);
    }
    let cells = cells::<IPAddress>(&address("10.96.0.7"));
    assert_eq!(cells[1], "services/n/s");
}

#[test]
fn the_parent_can_stand_in_a_path() {
    let address = |parent: Value| {
        made::<IPAddress>(json!({"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
            "metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}}))
    };
    for (parent, fields) in [
        (json!({"resource": "services", "name": "n"}), vec![]),
        (json!({}), vec![""]),
        (json!({"group": "x"}), vec![".resource", ".name"]),
        (
            json!({"group": "b_", "resource": "a/b", "name": "..", "namespace": "a%b"}),
            vec![".group", ".resource", ".name", ".namespace"],
        ),
    ] {
        let said = wrong::<IPAddress>(&address(parent.clone()));
        let places: Vec<&str> = said
            .iter()
            .map(|why| why.split(": ").next().unwrap().strip_prefix("spec.parentRef").unwrap())
            .collect();
        assert_eq!(places, fields, "{parent}");
    }
}
