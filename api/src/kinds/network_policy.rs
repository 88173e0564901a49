//! NetworkPolicy: which traffic pods accept and send.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use crate::{
    field::{Errors, Path},
    kind::{Column, Strategy, cell},
    kinds::{
        cells::selector,
        defaults::{absent_when_zero, set_text},
    },
    object::ObjectExt,
    validation::{cidr, each, label_selector, port_number_or_name},
};

/// The rules of NetworkPolicies.
pub struct NetworkPolicies;

impl Strategy for NetworkPolicies {
    type Object = NetworkPolicy;

    const HAS_GENERATION: bool = true;

    fn default(&self, policy: &mut NetworkPolicy) {
        let spec = policy.spec.get_or_insert_default();
        spec.pod_selector.get_or_insert_default();
        absent_when_zero(&mut spec.ingress);
        absent_when_zero(&mut spec.egress);
        if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
            let mut types = vec!["Ingress".to_owned()];
            if spec.egress.is_some() {
                types.push("Egress".into());
            }
            spec.policy_types = Some(types);
        }
        let ingress = spec.ingress.iter_mut().flatten().map(|r| &mut r.ports);
        let egress = spec.egress.iter_mut().flatten().map(|r| &mut r.ports);
        for port in ingress.chain(egress).flat_map(|ports| ports.iter_mut().flatten()) {
            set_text(&mut port.protocol, "TCP");
        }
    }

    fn validate(&self, policy: &NetworkPolicy, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &policy.spec else { return };
        label_selector(spec.pod_selector.as_ref(), &at.child("podSelector"), errors);
        for (i, rule) in spec.ingress.iter().flatten().enumerate() {
            let at = at.child("ingress").index(i);
            ports(rule.ports.as_deref().unwrap_or_default(), &at.child("ports"), errors);
            peers(rule.from.as_deref().unwrap_or_default(), &at.child("from"), errors);
        }
        for (i, rule) in spec.egress.iter().flatten().enumerate() {
            let at = at.child("egress").index(i);
            ports(rule.ports.as_deref().unwrap_or_default(), &at.child("ports"), errors);
            peers(rule.to.as_deref().unwrap_or_default(), &at.child("to"), errors);
        }
        let types = spec.policy_types.as_deref().unwrap_or_default();
        let types_at = at.child("policyTypes");
        if types.len() > 2 {
            errors.invalid(&types_at, types, "may not specify more than two policyTypes");
            return;
        }
        for (i, kind) in types.iter().enumerate() {
            if !["Egress", "Ingress"].contains(&kind.as_str()) {
                errors.not_supported(&types_at.index(i), kind, &["Egress", "Ingress"]);
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Pod-Selector", "string", "Which pods the policy is about."),
            Column::age(),
        ]
    }

    fn cells(&self, policy: &Value, now: Timestamp) -> Vec<Value> {
        let pods = selector(policy.at(&["spec", "podSelector"]));
        vec![cell::name(policy), pods.into(), cell::age(policy, now)]
    }
}

fn ports(ports: &[NetworkPolicyPort], at: &Path, errors: &mut Errors) {
    const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
    for (i, port) in ports.iter().enumerate() {
        let at = at.index(i);
        if let Some(protocol) = port.protocol.as_deref().filter(|p| !PROTOCOLS.contains(p)) {
            errors.not_supported(&at.child("protocol"), protocol, PROTOCOLS);
        }
        if let Some(number) = &port.port {
            port_number_or_name(number, &at.child("port"), errors);
        }
        let Some(end) = port.end_port else { continue };
        let end_at = at.child("endPort");
        match &port.port {
            Some(IntOrString::Int(start)) if end < *start => {
                errors.invalid(&end_at, *start, "must be greater than or equal to `port`");
            }
            Some(IntOrString::Int(_)) => {
                crate::validation::in_range(i64::from(end), 1, 65535, &end_at, errors);
            }
            Some(IntOrString::String(name)) => {
                errors.invalid(&end_at, name, "may not be specified when `port` is non-numeric");
            }
            None => errors.required(&at.child("port"), "must be specified when `endPort` is specified"),
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], at: &Path, errors: &mut Errors) {
    for (i, peer) in peers.iter().enumerate() {
        let at = at.index(i);
        let mut count = 0;
        if peer.pod_selector.is_some() {
            count += 1;
            label_selector(peer.pod_selector.as_ref(), &at.child("podSelector"), errors);
        }
        if peer.namespace_selector.is_some() {
            count += 1;
            label_selector(peer.namespace_selector.as_ref(), &at.child("namespaceSelector"), errors);
        }
        if let Some(block) = &peer.ip_block {
            address_range(block, &at.child("ipBlock"), errors);
            if count > 0 {
                errors.forbidden(&at, "may not specify both ipBlock and another peer");
            }
            count += 1;
        }
        if count == 0 {
            errors.required(&at, "must specify a peer");
        }
    }
}

fn address_range(block: &IPBlock, at: &Path, errors: &mut Errors) {
    if block.cidr.is_empty() {
        errors.required(&at.child("cidr"), "");
        return;
    }
    let wrong = cidr(&block.cidr);
    let Ok(range) = block.cidr.parse::<IpNet>() else {
        return each(errors, &at.child("cidr"), &block.cidr, wrong);
    };
    for (i, except) in block.except.iter().flatten().enumerate() {
        let at = at.child("except").index(i);
        match except.parse::<IpNet>() {
            Err(_) => each(errors, &at, except, cidr(except)),
            Ok(inner) => {
                let network: IpAddr = inner.network();
                if !range.contains(&network) || range.prefix_len() >= inner.prefix_len() {
                    errors.invalid(&at, except, "must be a strict subset of `cidr`");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::testing::{made, wrong};

    fn policy(spec: Value) -> Value {
        let raw = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": spec});
        made(NetworkPolicies, raw)
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
                    "spec.egress[0].ports[0].endPort: Invalid value: \"web\": may not be specified when `port` is non-numeric",
                    "spec.egress[0].ports[1].port: Required value: must be specified when `endPort` is specified",
                    "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
                ],
            ),
            (
                json!({"policyTypes": ["Sideways"]}),
                vec![
                    "spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Egress\", \"Ingress\"",
                ],
            ),
        ] {
            assert_eq!(wrong(NetworkPolicies, &policy(spec.clone())), expected, "{spec}");
        }
    }
}
