use serde_json::json;

use super::super::Service;
use crate::{
    builtin::testing::made,
    kind::{Part, Rules, Typed},
};

#[test]
fn a_status_says_where_the_load_balancer_is() {
    let port = json!([{"port": 80}]);
    let balanced = json!({"type": "LoadBalancer", "ports": port});
    let at = "status.loadBalancer.ingress";
    for (spec, entry, expected) in [
        (balanced.clone(), json!({"ip": "192.0.2.1"}), None),
        (balanced.clone(), json!({"hostname": "lb.example.org"}), None),
        (
            balanced.clone(),
            json!({"ip": "192.0.2.300"}),
            Some(
                "[0].ip: Invalid value: \"192.0.2.300\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
        ),
        (
            balanced.clone(),
            json!({"ip": "192.0.2.1", "ipMode": "Tunnel"}),
            Some("[0].ipMode: Unsupported value: \"Tunnel\": supported values: \"Proxy\", \"VIP\""),
        ),
        (
            balanced.clone(),
            json!({"hostname": "a.b", "ipMode": "VIP"}),
            Some("[0].ipMode: Forbidden: may not be specified when `ip` is not set"),
        ),
        (
            balanced,
            json!({"hostname": "192.0.2.1"}),
            Some("[0].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address"),
        ),
        (
            json!({"ports": port}),
            json!({"ip": "192.0.2.1"}),
            Some(": Forbidden: may only be used when `spec.type` is 'LoadBalancer'"),
        ),
    ] {
        let raw = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
        let old = made::<Service>(raw);
        let mut new = old.clone();
        new["status"] = json!({"loadBalancer": {"ingress": [entry]}});
        let new = Typed::<Service>::RULES.default(new).expect("a service that can be read");
        let found = Typed::<Service>::RULES.validate_update(&new, &old, Part::Status).errors;
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said, expected.iter().map(|text| format!("{at}{text}")).collect::<Vec<_>>(), "{new}");
    }
}
