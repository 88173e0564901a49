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
