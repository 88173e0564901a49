use serde_json::{Value, json};

use super::*;
use crate::{
    builtin::testing::{changed, made, wrong},
    kind::{Rules as _, Typed},
};

fn policy(spec: Value) -> Value {
    let raw = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": spec});
    made::<NetworkPolicy>(raw)
}

#[test]
fn types_follow_from_rules() {
    assert_eq!(policy(json!({}))["spec"]["policyTypes"], json!(["Ingress"]));
    assert_eq!(policy(json!({"egress": [{}]}))["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
}

#[test]
fn what_is_wrong_is_named() {
    for (spec, expected) in [
        (
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}),
            vec![],
        ),
        (
            json!({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}, {}]}]}),
            vec![
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
                "spec.ingress[0].from[1]: Required value: must specify a peer",
            ],
        ),
        (
            json!({"egress": [{"to": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "web", "endPort": 5}, {"endPort": 5}]}]}),
            vec![
                "spec.egress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is non-numeric",
                "spec.egress[0].ports[1].endPort: Invalid value: 5: may not be specified when `port` is not specified",
                "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
            ],
        ),
        (
            json!({"egress": [{"ports": [{"port": 80, "endPort": 0}]}]}),
            vec![
                "spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
                "spec.egress[0].ports[0].endPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"policyTypes": ["Sideways"]}),
            vec![
                "spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Ingress\", \"Egress\"",
            ],
        ),
    ] {
        assert_eq!(wrong::<NetworkPolicy>(&policy(spec.clone())), expected, "{spec}");
    }
}

#[test]
fn ranges_have_one_meaning_unless_they_were_there_before() {
    let block = |cidr: &str, except: &[&str]| {
        policy(json!({"egress": [{"to": [{"ipBlock": {"cidr": cidr, "except": except}}]}]}))
    };
    let old = block("10.0.0.1/8", &["010.1.0.0/16"]);
    let at = "spec.egress[0].to[0].ipBlock";
    let expected = [
        format!("{at}.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length"),
        format!(
            "{at}.except[0]: Invalid value: \"010.1.0.0/16\": must not have leading 0s in IP or prefix length"
        ),
    ];
    assert_eq!(wrong::<NetworkPolicy>(&old), expected);
    assert_eq!(changed::<NetworkPolicy>(&old, &old), Vec::<String>::new());
    let other = block("10.0.0.1/8", &["11.1.0.1/16"]);
    assert_eq!(
        changed::<NetworkPolicy>(&other, &old),
        [
            format!(
                "{at}.except[0]: Invalid value: \"11.1.0.1/16\": must not have bits set beyond the prefix length"
            ),
            format!("{at}.except[0]: Invalid value: \"11.1.0.1/16\": must be a strict subset of `cidr`"),
        ]
    );
    let said = Typed::<NetworkPolicy>::RULES.validate(&block("2001:DB8::/32", &[])).warnings;
    let form = "should be in RFC 5952 canonical format (\"2001:db8::/32\")";
    assert_eq!(said, [format!("{at}.cidr: IPv6 CIDR value \"2001:DB8::/32\" {form}")]);
}
