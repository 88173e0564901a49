use serde_json::{Value, json};

use super::super::Service;
use crate::{
    builtin::testing::made,
    kind::{Rules as _, Typed},
};

#[test]
fn what_is_ignored_or_oddly_written_is_said() {
    let said = |spec: Value| {
        let service = made::<Service>(json!({"metadata": {"name": "s"}, "spec": spec}));
        let found = Typed::<Service>::RULES.validate(&service);
        assert!(found.errors.is_empty(), "{:?}", found.errors);
        found.warnings
    };
    let ports = json!([{"port": 80}]);
    assert_eq!(said(json!({"ports": ports})), Vec::<String>::new());
    let deprecated = "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
    for (spec, expected) in [
        (json!({"ports": ports, "externalIPs": ["192.0.2.1"]}), vec![deprecated]),
        (
            json!({"ports": ports, "externalIPs": ["2001:DB8::1"]}),
            vec![
                "spec.externalIPs[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
                deprecated,
            ],
        ),
        (
            json!({"ports": ports, "type": "LoadBalancer", "loadBalancerIP": "010.0.0.1"}),
            vec!["spec.loadBalancerIP: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\""],
        ),
        (
            json!({"clusterIP": "None", "externalIPs": ["192.0.2.1"]}),
            vec!["spec.externalIPs is ignored for headless services"],
        ),
        (
            json!({"ports": ports, "trafficDistribution": "PreferClose"}),
            vec!["spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""],
        ),
    ] {
        assert_eq!(said(spec.clone()), expected, "{spec}");
    }
}
