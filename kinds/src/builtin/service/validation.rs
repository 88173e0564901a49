//! What is wrong with a service, as far as the object alone can tell.
//!
//! Counterpart of `ValidateService` and `ValidateServiceUpdate` upstream.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use serde::Serialize;

use super::{is_external_name, needs_health_port};

use crate::builtin::prelude::*;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: &[&str] = &["Cluster", "Local"];
/// The kubelet's port, which no load balancer may show to the world.
const KUBELET_PORT: i32 = 10250;

pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ips.as_ref().is_some_and(|ips| ips.len() == 1 && ips[0] == "None")
}

/// The spec of a service.
pub fn spec(spec: &ServiceSpec, errors: &mut Errors) {
    let at = Path::new("spec");
    let ports = spec.ports.as_deref().unwrap_or_default();
    let type_ = spec.type_.as_deref().unwrap_or_default();
    let ports_at = at.child("ports");
    if ports.is_empty() && !is_headless(spec) && !is_external_name(spec) {
        errors.required(&ports_at, "");
    }
    if type_ == "LoadBalancer" {
        for (i, port) in ports.iter().enumerate().filter(|(_, p)| p.port == KUBELET_PORT) {
            let words = "may not expose port 10250 externally since it is used by kubelet";
            errors.invalid(&ports_at.index(i), port.port, words);
        }
    }
    if matches!(type_, "LoadBalancer" | "NodePort") && is_headless(spec) {
        let words = format!("may not be set to 'None' for {type_} services");
        errors.invalid(&at.child("clusterIPs").index(0), "None", words);
    }
    if is_external_name(spec) {
        external_name(spec, &at, errors);
    }
    each_port(ports, &ports_at, errors);
    label_map(spec.selector.as_ref(), &at.child("selector"), errors);
    affinity(spec, &at, errors);
    if !is_external_name(spec) {
        addresses(spec, &at, errors);
    }
    for (at, address) in at.child("externalIPs").items(spec.external_ips.iter().flatten()) {
        let wrong = ip(address);
        let wrong = if wrong.is_empty() { not_special_ip(address) } else { wrong };
        each(errors, &at, address, wrong);
    }
    one_of(type_, TYPES, &at.child("type"), errors);
    if type_ == "ClusterIP" {
        for (i, _) in ports.iter().enumerate().filter(|(_, p)| p.node_port.is_some()) {
            let why = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&ports_at.index(i).child("nodePort"), why);
        }
    }
    doubles(ports, &ports_at, errors);
    policies(spec, &at, errors);
}

fn external_name(spec: &ServiceSpec, at: &Path, errors: &mut Errors) {
    for (field, is_set) in [
        ("clusterIPs", spec.cluster_ips.as_ref().is_some_and(|l| !l.is_empty())),
        ("ipFamilies", spec.ip_families.as_ref().is_some_and(|l| !l.is_empty())),
        ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
    ] {
        if is_set {
            errors.forbidden(&at.child(field), "may not be set for ExternalName services");
        }
    }
    let name = spec.external_name.as_deref().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    formed(name, dns_subdomain, &at.child("externalName"), errors);
}

fn each_port(ports: &[ServicePort], at: &Path, errors: &mut Errors) {
    const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
    let mut names = BTreeSet::new();
    for (at, port) in at.items(ports.iter()) {
        match port.name.as_ref().filter(|n| !n.is_empty()) {
            None if ports.len() > 1 => errors.required(&at.child("name"), ""),
            None => {}
            Some(name) => {
                each(errors, &at.child("name"), name, dns_label(name));
                unique(&mut names, name, &at.child("name"), errors);
            }
        }
        in_range(i64::from(port.port), 1, 65535, &at.child("port"), errors);
        given_one_of(port.protocol.as_deref(), PROTOCOLS, &at.child("protocol"), errors);
        if let Some(target) = &port.target_port {
            port_number_or_name(target, &at.child("targetPort"), errors);
        }
        if let Some(protocol) = &port.app_protocol {
            each(errors, &at.child("appProtocol"), protocol, qualified_name(protocol));
        }
    }
}

fn affinity(spec: &ServiceSpec, at: &Path, errors: &mut Errors) {
    const DAY: i32 = 86400;
    let config_at = at.child("sessionAffinityConfig");
    match spec.session_affinity.as_deref().unwrap_or_default() {
        "" => errors.required(&at.child("sessionAffinity"), ""),
        "ClientIP" => {
            let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
            let at = config_at.child("clientIP").child("timeoutSeconds");
            match config.and_then(|c| c.timeout_seconds) {
                None => errors.required(&config_at, "when session affinity type is ClientIP"),
                Some(seconds) if seconds <= 0 || seconds > DAY => {
                    errors.invalid(&at, seconds, format!("must be greater than 0 and less than {DAY}"));
                }
                Some(_) => {}
            }
        }
        "None" => {
            if spec.session_affinity_config.is_some() {
                errors.forbidden(&config_at, "must not be set when session affinity is None");
            }
        }
        other => errors.not_supported(&at.child("sessionAffinity"), other, &["ClientIP", "None"]),
    }
}

/// Cluster addresses and their families, each for itself.
pub fn addresses(spec: &ServiceSpec, at: &Path, errors: &mut Errors) {
    const FAMILY_POLICIES: &[&str] = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    let list_at = at.child("clusterIPs");
    let list = spec.cluster_ips.as_deref().unwrap_or_default();
    match (spec.cluster_ip.as_deref().unwrap_or_default(), list) {
        ("", []) => {}
        ("", _) => errors.invalid(&list_at, list, "must be empty when `clusterIP` is not specified"),
        (_, []) => errors.required(&list_at, ""),
        (single, [first, ..]) if first != single => {
            errors.invalid(&list_at, list, "first value must match `clusterIP`");
        }
        _ => {}
    }
    let families_at = at.child("ipFamilies");
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (i, family) in families.iter().enumerate() {
        one_of(family.as_str(), &["IPv4", "IPv6"], &families_at.index(i), errors);
        unique(&mut seen, family, &families_at.index(i), errors);
    }
    one_of(spec.ip_family_policy.as_deref(), FAMILY_POLICIES, &at.child("ipFamilyPolicy"), errors);
    let mut unreadable = false;
    for (i, address) in list.iter().enumerate() {
        if i == 0 && address == "None" {
            if list.len() > 1 {
                unreadable = true;
                errors.invalid(&list_at, list, "'None' must be the first and only value");
            }
            continue;
        }
        let wrong = ip(address);
        unreadable |= !wrong.is_empty();
        each(errors, &list_at.index(i), address, wrong);
    }
    if list.len() > 2 {
        errors.invalid(&list_at, list, "may only hold up to 2 values");
    }
    if unreadable {
        return;
    }
    let is_v6 = |address: &String| address.contains(':');
    let of_both = list.iter().any(is_v6) && !list.iter().all(is_v6);
    if list.len() > 1 && !of_both {
        let words = "may specify no more than one IP for each IP family";
        errors.invalid(&list_at, list, words);
    }
    if is_headless(spec) {
        return;
    }
    for (i, (address, family)) in list.iter().zip(families).enumerate() {
        if ["IPv4", "IPv6"].contains(&family.as_str()) && is_v6(address) != (family == "IPv6") {
            let words = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&list_at.index(i), address, words);
        }
    }
}

/// A port as upstream shows one that comes twice.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    protocol: &'a str,
    app_protocol: Option<()>,
    port: i32,
    target_port: i32,
    node_port: i32,
}

/// No port and no node port may come twice for one protocol.
fn doubles(ports: &[ServicePort], at: &Path, errors: &mut Errors) {
    let mut node_ports = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        if let Some(number) = port.node_port
            && !node_ports.insert((number, port.protocol.as_deref()))
        {
            errors.duplicate(&at.index(i).child("nodePort"), number);
        }
    }
    let mut numbers = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if !numbers.insert((port.port, protocol)) {
            let shown = Shown {
                name: "",
                protocol,
                app_protocol: None,
                port: port.port,
                target_port: 0,
                node_port: 0,
            };
            errors.duplicate(&at.index(i), shown);
        }
    }
}

fn policies(spec: &ServiceSpec, at: &Path, errors: &mut Errors) {
    let type_ = spec.type_.as_deref().unwrap_or_default();
    let balanced = type_ == "LoadBalancer";
    // The path is upstream's.
    let ranges_at = at.child("LoadBalancerSourceRanges");
    if spec.load_balancer_source_ranges.as_ref().is_some_and(|l| !l.is_empty()) && !balanced {
        errors.forbidden(&ranges_at, "may only be used when `type` is 'LoadBalancer'");
    }
    for (at, range) in ranges_at.items(spec.load_balancer_source_ranges.iter().flatten()) {
        each(errors, &at, range.trim(), cidr(range.trim()));
    }
    let allocate_at = at.child("allocateLoadBalancerNodePorts");
    match (balanced, spec.allocate_load_balancer_node_ports) {
        (true, None) => errors.required(&allocate_at, ""),
        (false, Some(_)) => {
            errors.forbidden(&allocate_at, "may only be used when `type` is 'LoadBalancer'");
        }
        _ => {}
    }
    if let Some(class) = &spec.load_balancer_class {
        if balanced {
            each(errors, &at.child("loadBalancerClass"), class, qualified_name(class));
        } else {
            let why = "may only be used when `type` is 'LoadBalancer'";
            errors.forbidden(&at.child("loadBalancerClass"), why);
        }
    }
    let external_at = at.child("externalTrafficPolicy");
    match (super::is_reached_from_outside(spec), spec.external_traffic_policy.as_deref()) {
        (false, Some(policy)) => {
            errors.invalid(&external_at, policy, "may only be set for externally-accessible services");
        }
        (true, None) => errors.required(&external_at, ""),
        (true, Some(policy)) if !POLICIES.contains(&policy) => {
            errors.not_supported(&external_at, policy, POLICIES);
        }
        _ => {}
    }
    if let Some(port) = spec.health_check_node_port {
        let at = at.child("healthCheckNodePort");
        if needs_health_port(spec) {
            in_range(i64::from(port), 1, 65535, &at, errors);
        } else {
            let words =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.invalid(&at, port, words);
        }
    }
    if matches!(type_, "ClusterIP" | "NodePort" | "LoadBalancer") {
        match spec.internal_traffic_policy.as_deref() {
            None => errors.required(&at.child("internalTrafficPolicy"), ""),
            Some(policy) if !POLICIES.contains(&policy) => {
                errors.not_supported(&at.child("internalTrafficPolicy"), policy, POLICIES);
            }
            Some(_) => {}
        }
    }
    const DISTRIBUTIONS: &[&str] = &["PreferClose", "PreferSameZone", "PreferSameNode"];
    one_of(spec.traffic_distribution.as_deref(), DISTRIBUTIONS, &at.child("trafficDistribution"), errors);
}

/// What a change may not do to a list of addresses or families: the first stays, a second one may come, and go by
/// a policy that says so.
fn lasting(field: &str, lists: [&Option<Vec<String>>; 2], policy: Option<&str>, errors: &mut Errors) {
    let at = Path::new("spec").child(field);
    let [new, old] = lists.map(|list| list.as_deref().unwrap_or_default());
    let what = if field == "clusterIPs" { "clusterIP" } else { "ipFamily" };
    let changed = new.first().zip(old.first()).is_some_and(|(new, old)| new != old);
    if new.len() == old.len() {
        for (i, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old) {
            // Upstream counts addresses, but not families.
            let i = if field == "clusterIPs" { i } else { 0 };
            errors.invalid(&at.index(i), new, "may not change once set");
        }
        return;
    }
    if new.is_empty() {
        errors.invalid(&at.index(0), Value::Null, format!("primary {what} can not be unset"));
    } else if changed {
        errors.invalid(&at.index(0), new, "may not change once set");
    }
    if new.len() == 1 && new.len() < old.len() && policy != Some("SingleStack") {
        let words = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        errors.invalid(&Path::new("spec.ipFamilyPolicy"), policy, words);
    }
}

/// What an update may not change, and whether the service is sound.
pub fn update(new: &ServiceSpec, old: &ServiceSpec, errors: &mut Errors) {
    let at = Path::new("spec");
    if !is_external_name(new) && !is_external_name(old) {
        let policy = new.ip_family_policy.as_deref();
        let headless = [is_headless(new), is_headless(old)];
        if headless != [true, true] {
            lasting("clusterIPs", [&new.cluster_ips, &old.cluster_ips], policy, errors);
        }
        if headless == [false, false] {
            lasting("ipFamilies", [&new.ip_families, &old.ip_families], policy, errors);
        }
    }
    let balanced = |s: &ServiceSpec| s.type_.as_deref() == Some("LoadBalancer");
    if balanced(new) && balanced(old) && new.load_balancer_class != old.load_balancer_class {
        let words = "may not change once set";
        errors.invalid(&at.child("loadBalancerClass"), &new.load_balancer_class, words);
    }
    if needs_health_port(new)
        && needs_health_port(old)
        && new.health_check_node_port != old.health_check_node_port
    {
        errors.forbidden(&at.child("healthCheckNodePort"), "field is immutable");
    }
    spec(new, errors);
}

#[cfg(test)]
mod tests;
