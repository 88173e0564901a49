//! Load balancers as Services say them: who wants one, at which addresses it is, and which node answers there.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;

/// Annotation of a Service: the node that answers on the network for its load balancer's addresses.
pub const NODE: &str = "skiff.local/load-balancer-node";

/// Whether the cluster itself is asked for a load balancer. One with a class is for somebody else to make.
pub fn is_wanted(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none()
    })
}

/// The addresses at which nodes take its traffic. (What is a proxy itself sends it to them some other way.)
pub fn addresses(service: &Service) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let status = service.status.iter().flat_map(|status| &status.load_balancer);
    status
        .flat_map(|balancer| balancer.ingress.iter().flatten())
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
}

/// The node that answers there.
pub fn node(service: &Service) -> Option<&str> {
    service.metadata.annotations.as_ref()?.get(NODE).map(String::as_str)
}
