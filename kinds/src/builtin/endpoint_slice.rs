//! EndpointSlice: some of the addresses behind a service.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

use crate::builtin::cells::first_three;
use crate::builtin::prelude::*;

impl Strategy for EndpointSlice {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };
    const ALWAYS_THERE: &'static [&'static str] = &["/endpoints", "/ports"];

    fn fill_in(&mut self) {
        for endpoint in self.endpoints.iter_mut().flatten() {
            endpoint.conditions.get_or_insert_default();
        }
        absent_when_zero(&mut self.ports);
        for port in self.ports.iter_mut().flatten() {
            set(&mut port.name, "");
            set(&mut port.protocol, "TCP");
        }
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, _part: Part<'_>) {
        // There is no spec: everything but metadata counts.
        let generation = old.metadata.generation.unwrap_or(0);
        let changed = new.endpoints != old.endpoints
            || new.ports != old.ports
            || new.address_type != old.address_type
            || new.metadata.labels != old.metadata.labels;
        new.metadata.generation = Some(generation + i64::from(changed));
    }

    fn validate(&self, errors: &mut Errors) {
        address_type(self, errors);
        ports(self.ports.as_deref().unwrap_or_default(), &Path::new("ports"), errors);
        endpoints(self, errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        address_type(self, errors);
        ports(self.ports.as_deref().unwrap_or_default(), &Path::new("ports"), errors);
        // What was taken before may stay.
        if self.endpoints != old.endpoints {
            endpoints(self, errors);
        }
        immutable(&self.address_type, &old.address_type, &Path::new("addressType"), errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        /// They write addresses in their shortest form.
        const OURS: [&str; 2] =
            ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];
        if self.address_type == "FQDN" {
            return vec!["spec.addressType: FQDN endpoints are deprecated".into()];
        }
        let maker =
            self.metadata.labels.as_ref().and_then(|l| l.get("endpointslice.kubernetes.io/managed-by"));
        if maker.is_some_and(|maker| OURS.contains(&maker.as_str())) {
            return Vec::new();
        }
        let endpoints = self.endpoints.iter().flatten().enumerate();
        let addresses = endpoints.flat_map(|(i, one)| {
            let at = Path::new("endpoints").index(i).child("addresses");
            one.addresses.iter().enumerate().map(move |(i, address)| (at.index(i), address))
        });
        addresses.filter_map(|(at, address)| ip_warning(address, &at)).collect()
    }

    fn columns() -> Vec<Column> {
        fn unset(items: impl Iterator<Item = String>) -> Value {
            match &*items.collect::<Vec<_>>() {
                [] => "<unset>".into(),
                items => first_three(items).into(),
            }
        }
        vec![
            Column::name(),
            Column::field("AddressType", "What kind of addresses the slice holds.", &["addressType"]),
            Column::text("Ports", "The ports of every endpoint.", |slice| {
                let ports = slice.list_at(&["ports"]).iter();
                unset(ports.map(|p| match (p.at(&["port"]).and_then(Value::as_i64), p.str_at(&["name"])) {
                    (Some(number), _) => number.to_string(),
                    (None, "") => "*".to_owned(),
                    (None, name) => name.to_owned(),
                }))
            }),
            Column::text("Endpoints", "The addresses.", |slice| {
                let addresses = slice.list_at(&["endpoints"]).iter().flat_map(|e| e.list_at(&["addresses"]));
                unset(addresses.filter_map(Value::as_str).map(str::to_owned))
            }),
            Column::age(),
        ]
    }
}

fn address_type(slice: &EndpointSlice, errors: &mut Errors) {
    const TYPES: &[&str] = &["FQDN", "IPv4", "IPv6"];
    given_one_of(slice.address_type.as_str(), TYPES, &Path::new("addressType"), errors);
}

fn ports(ports: &[EndpointPort], at: &Path, errors: &mut Errors) {
    const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
    const MOST: usize = 20_000;
    if ports.len() > MOST {
        return errors.too_many(at, ports.len(), MOST);
    }
    let mut names = BTreeSet::new();
    // Their numbers may be anything.
    for (at, port) in at.items(ports.iter()) {
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            each(errors, &at.child("name"), name, dns_label(name));
        }
        unique(&mut names, name, &at.child("name"), errors);
        let protocol = port.protocol.as_deref().unwrap_or_default();
        one_of(protocol, PROTOCOLS, &at.child("protocol"), errors);
        if let Some(protocol) = &port.app_protocol {
            each(errors, &at.child("appProtocol"), protocol, qualified_name(protocol));
        }
    }
}

fn endpoints(slice: &EndpointSlice, errors: &mut Errors) {
    const MOST: usize = 1000;
    let at = Path::new("endpoints");
    let all = slice.endpoints.as_deref().unwrap_or_default();
    if all.len() > MOST {
        return errors.too_many(&at, all.len(), MOST);
    }
    for (at, one) in at.items(all.iter()) {
        endpoint(one, &slice.address_type, &at, errors);
    }
}

fn endpoint(endpoint: &Endpoint, address_type: &str, at: &Path, errors: &mut Errors) {
    const MOST: usize = 100;
    let list_at = at.child("addresses");
    if endpoint.addresses.is_empty() {
        errors.required(&list_at, "must contain at least 1 address");
    } else if endpoint.addresses.len() > MOST {
        errors.too_many(&list_at, endpoint.addresses.len(), MOST);
    }
    for (at, address) in list_at.items(endpoint.addresses.iter()) {
        let (wrong, is_of_type) = match address_type {
            "FQDN" => (dns_subdomain(address), true),
            "IPv4" => (ip(address), !address.contains(':')),
            "IPv6" => (canonical_ip(address), address.contains(':')),
            _ => continue,
        };
        if !wrong.is_empty() || address_type == "FQDN" {
            each(errors, &at, address, wrong);
            continue;
        }
        if !is_of_type {
            errors.invalid(&list_at, address, format!("must be an {address_type} address"));
        }
        each(errors, &at, address, not_special_ip(address));
    }
    if let Some(node) = &endpoint.node_name {
        each(errors, &at.child("nodeName"), node, dns_subdomain(node));
    }
    if let Some(name) = &endpoint.hostname {
        each(errors, &at.child("hostname"), name, dns_label(name));
    }
    if let Some(hints) = &endpoint.hints {
        let zones = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str()).collect();
        let nodes = hints.for_nodes.iter().flatten().map(|node| node.name.as_str()).collect();
        let at = at.child("hints");
        if hint(zones, label_value, &at.child("forZones"), errors) {
            hint(nodes, dns_subdomain, &at.child("forNodes"), errors);
        }
    }
}

/// For whom an endpoint is meant; false where there are too many to be looked at.
fn hint(names: Vec<&str>, wrong: fn(&str) -> Vec<String>, at: &Path, errors: &mut Errors) -> bool {
    const MOST: usize = 8;
    if names.len() > MOST {
        errors.too_many(at, names.len(), MOST);
        return false;
    }
    let mut seen = BTreeSet::new();
    for (at, name) in at.items(names) {
        let at = at.child("name");
        unique(&mut seen, name, &at, errors);
        each(errors, &at, name, wrong(name));
    }
    true
}

#[cfg(test)]
mod tests;
