//! What the rules are made from: service ports with their endpoints.
//!
//! `resolve` turns the API's objects into one flat, sorted list; everything later reads that list
//! only. What cannot be used (no IPv4 address, another proxy's label, a malformed address) is
//! left out here. Upstream: `pkg/proxy` `ServiceChangeTracker`, `EndpointsChangeTracker`.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort as ApiPort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use machinery::netfilter::Protocol;

/// Objects of another proxy carry this label.
pub const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Headless services and their slices carry this label.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The cluster's state as far as the proxy is concerned.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All services.
    pub services: Vec<Arc<Service>>,
    /// All endpoint slices.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The zone of this node, from its label.
    pub zone: Option<String>,
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    name.map_or(Some(Protocol::Tcp), Protocol::parse)
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub service: String,
    /// `namespace/name[:port]`, the name in chain hashes and comments.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub cluster_ip: Ipv4Addr,
    /// The virtual port.
    pub port: u16,
    /// The port on every node.
    pub node_port: Option<u16>,
    /// Addresses that someone routes to the nodes.
    pub external_ips: Vec<Ipv4Addr>,
    /// Addresses of the load balancer.
    pub load_balancer_ips: Vec<Ipv4Addr>,
    /// Who may use the load balancer; all when empty.
    pub source_ranges: Vec<Ipv4Net>,
    /// Seconds for which a client keeps its endpoint.
    pub affinity: Option<i32>,
    /// Traffic from pods stays on this node.
    pub internal_local: bool,
    /// Traffic from outside stays on this node.
    pub external_local: bool,
    /// Where a load balancer asks whether this node has endpoints.
    pub health_check_port: Option<u16>,
    /// Endpoints are picked by the hints for nodes before those for zones.
    pub prefers_node: bool,
    /// All endpoints, sorted by `ip:port`.
    pub endpoints: Vec<Endpoint>,
}

impl ServicePort {
    /// Is there any way in but the cluster IP?
    pub fn externally_accessible(&self) -> bool {
        self.node_port.is_some() || !self.external_ips.is_empty() || !self.load_balancer_ips.is_empty()
    }

    /// Can traffic reach endpoints on other nodes? (External traffic under the policy Local can
    /// when it comes from pods or the node itself.)
    pub fn uses_cluster_endpoints(&self) -> bool {
        !self.internal_local || self.externally_accessible()
    }

    /// Is some traffic bound to endpoints on this node?
    pub fn uses_local_endpoints(&self) -> bool {
        self.internal_local || (self.external_local && self.externally_accessible())
    }
}

/// One place where a service port is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// On this node.
    pub local: bool,
    /// To be used.
    pub ready: bool,
    /// Able to answer, though perhaps on its way out.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
    /// Zones for which it is meant; none for all.
    pub zone_hints: Vec<String>,
    /// Nodes for which it is meant; none for all.
    pub node_hints: Vec<String>,
}

impl Endpoint {
    /// `ip:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }
}

/// (namespace, service, port name, protocol)
type PortKey<'a> = (&'a str, &'a str, &'a str, Protocol);

/// All service ports with their endpoints, sorted by name.
pub fn resolve(snapshot: &Snapshot, node: &str) -> Vec<ServicePort> {
    let mut endpoints: HashMap<PortKey, BTreeMap<String, Endpoint>> = HashMap::new();
    for slice in &snapshot.slices {
        collect_slice(slice, node, &mut endpoints);
    }
    let mut ports: Vec<ServicePort> = Vec::new();
    for service in &snapshot.services {
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            let Some(mut resolved) = service_port(service, port) else { continue };
            let of = &service.metadata;
            let key: PortKey = (
                of.namespace.as_deref().unwrap_or_default(),
                of.name.as_deref().unwrap_or_default(),
                port.name.as_deref().unwrap_or_default(),
                resolved.protocol,
            );
            if let Some(found) = endpoints.remove(&key) {
                resolved.endpoints = found.into_values().collect();
            }
            ports.push(resolved);
        }
    }
    ports.sort_by(|a, b| (&a.name, a.protocol).cmp(&(&b.name, b.protocol)));
    ports
}

fn collect_slice<'a>(
    slice: &'a EndpointSlice,
    node: &str,
    into: &mut HashMap<PortKey<'a>, BTreeMap<String, Endpoint>>,
) {
    let labels = slice.metadata.labels.as_ref();
    let label = |name: &str| labels.and_then(|labels| labels.get(name));
    if slice.address_type != "IPv4" || label(PROXY_NAME_LABEL).is_some() || label(HEADLESS_LABEL).is_some() {
        return;
    }
    let (Some(namespace), Some(service)) = (&slice.metadata.namespace, label(SERVICE_NAME_LABEL)) else {
        return;
    };
    for port in slice.ports.iter().flatten() {
        let Some(number) = port.port.and_then(|port| u16::try_from(port).ok()) else { continue };
        let Some(protocol) = protocol(port.protocol.as_deref()) else { continue };
        let key = (namespace.as_str(), service.as_str(), port.name.as_deref().unwrap_or_default(), protocol);
        let known = into.entry(key).or_default();
        for endpoint in slice.endpoints.iter().flatten() {
            // A slice's consumers use the first address only; the others mean nothing to them.
            let Some(ip) = endpoint.addresses.first().and_then(|ip| ip.parse().ok()) else { continue };
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
            let hints = endpoint.hints.as_ref();
            let endpoint = Endpoint {
                ip,
                port: number,
                local: endpoint.node_name.as_deref() == Some(node),
                ready,
                serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
                terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
                zone_hints: hints
                    .and_then(|hints| hints.for_zones.as_ref())
                    .map(|zones| zones.iter().map(|zone| zone.name.clone()).collect())
                    .unwrap_or_default(),
                node_hints: hints
                    .and_then(|hints| hints.for_nodes.as_ref())
                    .map(|nodes| nodes.iter().map(|node| node.name.clone()).collect())
                    .unwrap_or_default(),
            };
            // The same endpoint is in two slices while it moves from one to the other.
            let address = endpoint.address();
            if known.get(&address).is_none_or(|other| !other.ready) {
                known.insert(address, endpoint);
            }
        }
    }
}

/// A port of a service without its endpoints; none when it is not for us.
fn service_port(service: &Service, port: &ApiPort) -> Option<ServicePort> {
    let spec = service.spec.as_ref()?;
    let labels = service.metadata.labels.as_ref();
    let labelled = |name: &str| labels.is_some_and(|labels| labels.contains_key(name));
    if spec.type_.as_deref() == Some("ExternalName") || labelled(PROXY_NAME_LABEL) || labelled(HEADLESS_LABEL)
    {
        return None;
    }
    let cluster_ip =
        spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).find_map(|ip| ip.parse().ok())?;
    let namespace = service.metadata.namespace.clone()?;
    let name = service.metadata.name.clone()?;
    let full_name = match port.name.as_deref() {
        None | Some("") => format!("{namespace}/{name}"),
        Some(port) => format!("{namespace}/{name}:{port}"),
    };
    let number = |number: i32| u16::try_from(number).ok().filter(|number| *number != 0);
    let is_load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        spec.session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref())
            .and_then(|client| client.timeout_seconds)
            .unwrap_or(10_800)
    });
    Some(ServicePort {
        name: full_name,
        namespace,
        service: name,
        protocol: protocol(port.protocol.as_deref())?,
        cluster_ip,
        port: number(port.port)?,
        node_port: port.node_port.and_then(number),
        external_ips: spec.external_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect(),
        load_balancer_ips: api::load_balancer::addresses(service).collect(),
        source_ranges: spec
            .load_balancer_source_ranges
            .iter()
            .flatten()
            .filter_map(|range| range.trim().parse::<Ipv4Net>().ok())
            .map(|range| range.trunc())
            .collect(),
        affinity,
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local,
        health_check_port: spec
            .health_check_node_port
            .filter(|_| is_load_balancer && external_local)
            .and_then(number),
        prefers_node: spec.traffic_distribution.as_deref() == Some("PreferSameNode"),
        endpoints: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
