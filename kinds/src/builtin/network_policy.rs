//! NetworkPolicy: which traffic pods accept and send.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::builtin::cells::selector;
use crate::builtin::prelude::*;

impl Strategy for NetworkPolicy {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
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
            set(&mut port.protocol, "TCP");
        }
    }

    fn validate(&self, errors: &mut Errors) {
        check(self, &BTreeSet::new(), errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        // Ranges that were taken when less was asked of them may stay.
        let known = blocks(old).into_iter().flat_map(|(_, block)| ranges(block)).map(|(_, range)| range);
        check(self, &known.collect(), errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let all = blocks(self);
        let ranges =
            all.iter().flat_map(|(at, block)| ranges(block).map(move |(field, range)| (at, field, range)));
        ranges.filter_map(|(at, field, range)| cidr_warning(range, &at.child(&field))).collect()
    }

    fn columns() -> Vec<Column> {
        let pods = Column::text("Pod-Selector", "Which pods the policy is about.", |policy| {
            selector(policy.at(&["spec", "podSelector"])).into()
        });
        vec![Column::name(), pods, Column::age()]
    }
}

/// What is wrong with a policy. Ranges in `known` are not judged by how they are written.
fn check(policy: &NetworkPolicy, known: &BTreeSet<&str>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = &policy.spec else { return };
    label_selector(spec.pod_selector.as_ref(), &at.child("podSelector"), errors);
    for (at, rule) in at.child("ingress").items(spec.ingress.iter().flatten()) {
        ports(rule.ports.as_deref().unwrap_or_default(), &at.child("ports"), errors);
        peers(rule.from.as_deref().unwrap_or_default(), known, &at.child("from"), errors);
    }
    for (at, rule) in at.child("egress").items(spec.egress.iter().flatten()) {
        ports(rule.ports.as_deref().unwrap_or_default(), &at.child("ports"), errors);
        peers(rule.to.as_deref().unwrap_or_default(), known, &at.child("to"), errors);
    }
    let types = spec.policy_types.as_deref().unwrap_or_default();
    let types_at = at.child("policyTypes");
    if types.len() > 2 {
        errors.invalid(&types_at, types, "may not specify more than two policyTypes");
        return;
    }
    for (i, kind) in types.iter().enumerate() {
        one_of(kind.as_str(), &["Ingress", "Egress"], &types_at.index(i), errors);
    }
}

/// The blocks of addresses in a policy, and where they are.
fn blocks(policy: &NetworkPolicy) -> Vec<(Path, &IPBlock)> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let at = Path::new("spec");
    let ingress = spec.ingress.iter().flatten().map(|rule| &rule.from).enumerate();
    let ingress = ingress.map(|(i, from)| (at.child("ingress").index(i).child("from"), from));
    let egress = spec.egress.iter().flatten().map(|rule| &rule.to).enumerate();
    let egress = egress.map(|(i, to)| (at.child("egress").index(i).child("to"), to));
    let peers = ingress.chain(egress).flat_map(|(at, peers)| {
        peers.iter().flatten().enumerate().map(move |(i, peer)| (at.index(i).child("ipBlock"), peer))
    });
    peers.filter_map(|(at, peer)| Some((at, peer.ip_block.as_ref()?))).collect()
}

/// The ranges in a block, and the fields that hold them.
fn ranges(block: &IPBlock) -> impl Iterator<Item = (String, &str)> {
    let except = block.except.iter().flatten().enumerate();
    let except = except.map(|(i, range)| (format!("except[{i}]"), range.as_str()));
    std::iter::once(("cidr".to_owned(), block.cidr.as_str())).chain(except)
}

fn ports(ports: &[NetworkPolicyPort], at: &Path, errors: &mut Errors) {
    const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
    for (at, port) in at.items(ports.iter()) {
        one_of(port.protocol.as_deref(), PROTOCOLS, &at.child("protocol"), errors);
        if let Some(number) = &port.port {
            port_number_or_name(number, &at.child("port"), errors);
        }
        let Some(end) = port.end_port else { continue };
        let end_at = at.child("endPort");
        match &port.port {
            Some(IntOrString::Int(start)) => {
                if end < *start {
                    errors.invalid(&end_at, *start, "must be greater than or equal to `port`");
                }
                api::validation::in_range(i64::from(end), 1, 65535, &end_at, errors);
            }
            Some(IntOrString::String(_)) => {
                errors.invalid(&end_at, end, "may not be specified when `port` is non-numeric");
            }
            None => errors.invalid(&end_at, end, "may not be specified when `port` is not specified"),
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], known: &BTreeSet<&str>, at: &Path, errors: &mut Errors) {
    for (at, peer) in at.items(peers.iter()) {
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
            address_range(block, known, &at.child("ipBlock"), errors);
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

fn address_range(block: &IPBlock, known: &BTreeSet<&str>, at: &Path, errors: &mut Errors) {
    if block.cidr.is_empty() {
        errors.required(&at.child("cidr"), "");
        return;
    }
    let outer = range(&block.cidr);
    for (field, text) in ranges(block) {
        let at = at.child(&field);
        if !known.contains(text) {
            each(errors, &at, text, cidr(text));
        }
        let Some(outer) = outer else { return };
        let Some(inner) = range(text).filter(|_| field != "cidr") else { continue };
        if !outer.contains(&inner.network()) || outer.prefix_len() >= inner.prefix_len() {
            errors.invalid(&at, text, "must be a strict subset of `cidr`");
        }
    }
}

#[cfg(test)]
mod tests;
