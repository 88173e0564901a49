//! What a service may say but had better not. Counterpart of upstream's `pkg/api/service/warnings.go`.

use k8s_openapi::api::core::v1::Service;

use super::is_external_name;
use crate::{field::Path, validation::ip_warnings};

const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// The warnings about a service.
pub fn of(service: &Service) -> Vec<String> {
    let mut said = Vec::new();
    let Some(spec) = &service.spec else { return said };
    let at = Path::new("spec");
    if service.metadata.annotations.as_ref().is_some_and(|notes| notes.contains_key(TOPOLOGY_HINTS)) {
        said.push(format!("annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    let addresses = |field: &str, list: Option<&Vec<String>>, said: &mut Vec<String>| {
        for (i, address) in list.into_iter().flatten().enumerate() {
            said.extend(ip_warnings(address, &at.child(field).index(i)));
        }
    };
    if spec.cluster_ip.as_deref() != Some("None") {
        addresses("clusterIPs", spec.cluster_ips.as_ref(), &mut said);
    }
    let headless = spec.type_.as_deref() == Some("ClusterIP") && spec.cluster_ip.as_deref() == Some("None");
    let external = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let balancer = spec.load_balancer_ip.as_ref().filter(|ip| !ip.is_empty());
    if headless {
        for (field, is_set) in [
            ("loadBalancerIP", balancer.is_some()),
            ("externalIPs", external),
            ("SessionAffinity", spec.session_affinity.as_deref() != Some("None")),
        ] {
            if is_set {
                said.push(format!("spec.{field} is ignored for headless services"));
            }
        }
    }
    addresses("externalIPs", spec.external_ips.as_ref(), &mut said);
    if external && !headless && !is_external_name(spec) {
        said.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if let Some(ip) = balancer {
        said.extend(ip_warnings(ip, &at.child("loadBalancerIP")));
    }
    if is_external_name(spec) && external {
        said.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !is_external_name(spec) && spec.external_name.as_ref().is_some_and(|name| !name.is_empty()) {
        said.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if spec.traffic_distribution.as_deref() == Some("PreferClose") {
        said.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_ignored_or_old_is_said() {
        let said = |spec: Value| {
            of(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).expect("a service"))
        };
        for (spec, expected) in [
            (json!({"type": "ClusterIP", "sessionAffinity": "None", "clusterIPs": ["10.96.0.7"]}), vec![]),
            (
                json!({"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "sessionAffinity": "ClientIP", "externalIPs": ["192.0.2.1"]}),
                vec![
                    "spec.externalIPs is ignored for headless services",
                    "spec.SessionAffinity is ignored for headless services",
                ],
            ),
            (
                json!({"type": "ClusterIP", "externalName": "a.b", "externalIPs": ["2001:DB8::1"]}),
                vec![
                    "spec.externalIPs[0]: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
                    "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
                    "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                ],
            ),
            (
                json!({"type": "ExternalName", "externalIPs": ["192.0.2.1"], "trafficDistribution": "PreferClose"}),
                vec![
                    "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
                    "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
                ],
            ),
        ] {
            assert_eq!(said(spec.clone()), expected, "{spec}");
        }
    }
}
