//! Endpoints: the addresses behind a service, in the old form.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints};

use crate::builtin::cells::first_three;
use crate::builtin::prelude::*;

impl Strategy for Endpoints {
    const FACTS: Facts = Facts { creates_on_update: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        absent_when_zero(&mut self.subsets);
        for subset in self.subsets.iter_mut().flatten() {
            absent_when_zero(&mut subset.addresses);
            absent_when_zero(&mut subset.not_ready_addresses);
            absent_when_zero(&mut subset.ports);
            for port in subset.ports.iter_mut().flatten() {
                set_text(&mut port.protocol, "TCP");
                absent_when_zero(&mut port.name);
            }
        }
    }

    fn validate(&self, errors: &mut Errors) {
        for (i, subset) in self.subsets.iter().flatten().enumerate() {
            let at = Path::new("subsets").index(i);
            let ready = subset.addresses.as_deref().unwrap_or_default();
            let other = subset.not_ready_addresses.as_deref().unwrap_or_default();
            if ready.is_empty() && other.is_empty() {
                errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
            }
            for (field, list) in [("addresses", ready), ("notReadyAddresses", other)] {
                for (i, one) in list.iter().enumerate() {
                    address(one, &at.child(field).index(i), errors);
                }
            }
            let ports = subset.ports.as_deref().unwrap_or_default();
            for (i, one) in ports.iter().enumerate() {
                port(one, ports.len() > 1, &at.child("ports").index(i), errors);
            }
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        if self.subsets != old.subsets {
            self.validate(errors);
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let subsets = self.subsets.iter().flatten().enumerate();
        let addresses = subsets.flat_map(|(i, subset)| {
            let at = Path::new("subsets").index(i);
            let lists =
                [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
            lists.into_iter().flat_map(move |(field, list)| {
                let at = at.child(field);
                list.iter().flatten().enumerate().map(move |(i, one)| (at.index(i).child("ip"), &one.ip))
            })
        });
        addresses.filter_map(|(at, address)| ip_warning(address, &at)).collect()
    }

    fn columns() -> Vec<Column> {
        let shown = Column::text("Endpoints", "The addresses that take traffic.", |e| addresses(e).into());
        vec![Column::name(), shown, Column::age()]
    }
}

fn address(address: &EndpointAddress, at: &Path, errors: &mut Errors) {
    each(errors, &at.child("ip"), &address.ip, ip(&address.ip));
    if let Some(name) = address.hostname.as_ref().filter(|h| !h.is_empty()) {
        each(errors, &at.child("hostname"), name, dns_label(name));
    }
    if let Some(node) = &address.node_name {
        each(errors, &at.child("nodeName"), node, dns_subdomain(node));
    }
    each(errors, &at.child("ip"), &address.ip, not_special_ip(&address.ip));
}

fn port(port: &EndpointPort, needs_name: bool, at: &Path, errors: &mut Errors) {
    const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
    match port.name.as_ref().filter(|n| !n.is_empty()) {
        None if needs_name => errors.required(&at.child("name"), ""),
        None => {}
        Some(name) => each(errors, &at.child("name"), name, dns_label(name)),
    }
    in_range(i64::from(port.port), 1, 65535, &at.child("port"), errors);
    let protocol = port.protocol.as_deref().unwrap_or_default();
    one_of(protocol, PROTOCOLS, &at.child("protocol"), errors);
    if let Some(protocol) = &port.app_protocol {
        each(errors, &at.child("appProtocol"), protocol, qualified_name(protocol));
    }
}

fn addresses(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in object.list_at(&["subsets"]) {
        let ips: Vec<&str> = subset.list_at(&["addresses"]).iter().map(|a| a.str_at(&["ip"])).collect();
        let ports = subset.list_at(&["ports"]);
        if ports.is_empty() {
            all.extend(ips.iter().map(|ip| (*ip).to_owned()));
        }
        for port in ports {
            let number = int(port, &["port"]);
            all.extend(ips.iter().map(|ip| {
                if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") }
            }));
        }
    }
    if all.is_empty() { "<none>".into() } else { first_three(&all) }
}

#[cfg(test)]
mod tests;
