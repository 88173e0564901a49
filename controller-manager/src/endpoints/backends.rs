//! The pods behind a service, as Endpoints and EndpointSlices alike see them:
//! which pods count, at which address, with which ports. Upstream:
//! `k8s.io/endpointslice/util` and `pkg/controller/endpoint`.

use std::net::IpAddr;

use api::pod::lasting_containers;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kit::{owners, pods};

/// A port under which a pod serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The service port's name, empty when it has none.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// The number in the pod.
    pub port: i32,
    /// The service port's application protocol.
    pub app_protocol: Option<String>,
}

/// The state of a pod behind a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// New connections may go there.
    pub ready: bool,
    /// It answers, though it may be on its way out.
    pub serving: bool,
    /// It is on its way out.
    pub terminating: bool,
}

/// Whether the pod belongs behind a service at all.
pub fn belongs(pod: &Pod, with_terminating: bool) -> bool {
    !pods::is_finished(pod)
        && pod.status.as_ref().is_some_and(|status| status.pod_ip.as_deref().is_some_and(|ip| !ip.is_empty()))
        && (with_terminating || !pods::is_terminating(pod))
}

/// The pod's address of one family.
pub fn address(pod: &Pod, ipv6: bool) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    all.chain(status.pod_ip.as_deref()).find(|ip| is_ipv6(ip) == ipv6)
}

/// Whether this is the text of an IPv6 address.
pub fn is_ipv6(ip: &str) -> bool {
    matches!(ip.parse(), Ok(IpAddr::V6(_)))
}

/// Ready, serving, terminating, as the service wants it seen.
pub fn conditions(pod: &Pod, service: &ServiceSpec) -> Conditions {
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let ready = service.publish_not_ready_addresses == Some(true) || (serving && !terminating);
    Conditions { ready, serving, terminating }
}

/// Whether the service has no cluster address.
pub fn is_headless(service: &ServiceSpec) -> bool {
    service.cluster_ip.as_deref() == Some("None")
}

/// The service's ports as this pod serves them; ports whose name it lacks are left out.
pub fn ports(service: &ServiceSpec, pod: &Pod) -> Vec<Port> {
    let mut ports: Vec<Port> = service.ports.iter().flatten().filter_map(|port| target(port, pod)).collect();
    ports.sort();
    ports
}

fn target(service_port: &ServicePort, pod: &Pod) -> Option<Port> {
    let protocol = service_port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let port = match &service_port.target_port {
        None => service_port.port,
        Some(IntOrString::Int(0)) => service_port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => named_port(pod, name, &protocol)?,
    };
    Some(Port {
        name: service_port.name.clone().unwrap_or_default(),
        protocol,
        port,
        app_protocol: service_port.app_protocol.clone(),
    })
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    lasting_containers(spec)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|port| port.container_port)
}

/// The pod's own name below a headless service, if it asks for one there.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let below = spec.subdomain.as_deref() == service.metadata.name.as_deref()
        && pod.metadata.namespace == service.metadata.namespace;
    spec.hostname.clone().filter(|hostname| below && !hostname.is_empty())
}

/// How endpoints point back to the pod.
pub fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        name: Some(owners::name(&pod.metadata).to_owned()),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        ..Default::default()
    }
}

/// When the newest change that endpoints follow happened, as text for an annotation.
pub fn trigger_time(service: &Service, pods: &[std::sync::Arc<Pod>]) -> Option<String> {
    let turned = |pod: &std::sync::Arc<Pod>| pods::condition(pod, "Ready")?.last_transition_time.clone();
    let newest = pods.iter().filter_map(turned).chain(service.metadata.creation_timestamp.clone()).max()?;
    crate::frame::to_value(&newest).as_str().map(str::to_owned)
}

/// Labels that the objects take over from their service: all but those that mean something on their own.
pub fn inherited_labels(service: &Service) -> std::collections::BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    for reserved in RESERVED {
        labels.remove(reserved);
    }
    labels
}

/// Labels of endpoints that only controllers set.
const RESERVED: [&str; 5] = [HEADLESS, SERVICE_NAME, MANAGED_BY, ENDPOINTS_MANAGED_BY, SKIP_MIRROR];
/// Marks endpoints of headless services.
pub const HEADLESS: &str = "service.kubernetes.io/headless";
/// Names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names the controller of a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Names the controller of an Endpoints object.
pub const ENDPOINTS_MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Keeps an Endpoints object from being mirrored.
pub const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";
/// When the change happened that endpoints follow.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
