//! What a service may say but had better not. Counterpart of upstream's `pkg/api/service/warnings.go`.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::{is_external_name, validation::is_headless};

use crate::builtin::prelude::*;

/// The warnings about a service: about its status where that alone was written.
pub fn warnings(new: &Service, old: Option<&Service>) -> Vec<String> {
    match old {
        Some(old) if new.spec == old.spec && new.status != old.status => of_status(new),
        _ => new.spec.as_ref().map(|spec| of_spec(new, spec)).unwrap_or_default(),
    }
}

fn of_status(service: &Service) -> Vec<String> {
    let at = Path::new("status.loadBalancer.ingress");
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = status.into_iter().flat_map(|status| status.ingress.iter().flatten()).enumerate();
    entries.filter_map(|(i, entry)| ip_warning(entry.ip.as_deref()?, &at.index(i))).collect()
}

fn of_spec(service: &Service, spec: &ServiceSpec) -> Vec<String> {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    let at = Path::new("spec");
    let mut said = Vec::new();
    if service.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(HINTS)) {
        let instead = "service.kubernetes.io/topology-mode";
        said.push(format!("annotation {HINTS} is deprecated, please use {instead} instead"));
    }
    let addresses = |list: &Option<Vec<String>>, field: &str| -> Vec<String> {
        let at = at.child(field);
        let list = list.iter().flatten().enumerate();
        list.filter_map(|(i, address)| ip_warning(address, &at.index(i))).collect()
    };
    let (headless, external) = (is_headless(spec), is_external_name(spec));
    let has_external_ips = spec.external_ips.as_ref().is_some_and(|list| !list.is_empty());
    let balancer = spec.load_balancer_ip.as_deref().unwrap_or_default();
    if !headless && !external {
        said.extend(addresses(&spec.cluster_ips, "clusterIPs"));
    }
    if headless {
        if !balancer.is_empty() {
            said.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if has_external_ips {
            said.push("spec.externalIPs is ignored for headless services".into());
        }
        if spec.session_affinity.as_deref().is_some_and(|affinity| affinity != "None") {
            said.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    said.extend(addresses(&spec.external_ips, "externalIPs"));
    if has_external_ips && !headless && !external {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    said.extend(ip_warning(balancer, &at.child("loadBalancerIP")));
    let ranges = spec.load_balancer_source_ranges.iter().flatten().enumerate();
    let ranges_at = at.child("loadBalancerSourceRanges");
    said.extend(ranges.filter_map(|(i, range)| cidr_warning(range, &ranges_at.index(i))));
    if external && has_external_ips {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !external && spec.external_name.as_ref().is_some_and(|name| !name.is_empty()) {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.traffic_distribution.as_deref() == Some("PreferClose") {
        said.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    said
}

#[cfg(test)]
mod tests;
