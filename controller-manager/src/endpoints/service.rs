//! EndpointSlices of a service with a selector. Upstream: `pkg/controller/endpointslice`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointSlice, ForNode, ForZone,
};

use super::backends::{self, HEADLESS};
use super::slices::{self, Groups, Pattern};
use crate::frame::{Kind, Plan};
use crate::kit::{owners, pods};

/// The name under which this controller marks its slices.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// Endpoints in one slice.
const MOST: usize = 100;

/// All that a plan for one service looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The service.
    pub service: Arc<Service>,
    /// The pods its selector selects.
    pub pods: Vec<Arc<Pod>>,
    /// The slices this controller has made for it.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The zone of each node that has one.
    pub zones: HashMap<String, String>,
}

/// What to do about the slices.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let service = &*snapshot.service;
    let mut plan = Plan::default();
    let Some(spec) = service.spec.as_ref() else { return plan };
    if spec.selector.is_none()
        || spec.type_.as_deref() == Some("ExternalName")
        || service.metadata.deletion_timestamp.is_some()
    {
        return plan;
    }
    let mut labels = backends::inherited_labels(service);
    slices::mark(&mut labels, owners::name(&service.metadata), MANAGER);
    if backends::is_headless(spec) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    let pattern = Pattern {
        prefix: owners::name(&service.metadata).to_owned(),
        namespace: service.metadata.namespace.clone(),
        labels,
        owner: owners::controller_ref(&Kind::of::<Service>(), &service.metadata),
        trigger_time: backends::trigger_time(service, &snapshot.pods),
        most: MOST,
    };
    plan.actions = slices::spread(&pattern, &snapshot.slices, groups(snapshot, spec));
    plan
}

fn groups(snapshot: &Snapshot, spec: &ServiceSpec) -> Groups {
    let ipv4 = vec!["IPv4".to_owned()];
    let families = spec.ip_families.as_ref().filter(|families| !families.is_empty()).unwrap_or(&ipv4);
    let mut groups = BTreeMap::new();
    for family in families {
        let mut found = Groups::new();
        for pod in snapshot.pods.iter().filter(|pod| backends::belongs(pod, true)) {
            let Some(address) = backends::address(pod, family == "IPv6") else { continue };
            let ports = backends::ports(spec, pod);
            found.entry((family.clone(), ports)).or_default().push(endpoint(snapshot, spec, pod, address));
        }
        if found.is_empty() {
            found.insert((family.clone(), vec![]), vec![]);
        }
        groups.append(&mut found);
    }
    groups
}

fn endpoint(snapshot: &Snapshot, spec: &ServiceSpec, pod: &Pod, address: &str) -> Endpoint {
    let state = backends::conditions(pod, spec);
    let node = Some(pods::node_name(pod).to_owned()).filter(|node| !node.is_empty());
    let zone = node.as_ref().and_then(|node| snapshot.zones.get(node)).cloned();
    Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(state.ready),
            serving: Some(state.serving),
            terminating: Some(state.terminating),
        }),
        hints: hints(spec, state.ready, node.as_deref(), zone.as_deref()),
        hostname: backends::hostname(pod, &snapshot.service),
        node_name: node,
        target_ref: Some(backends::target_ref(pod)),
        zone,
        deprecated_topology: None,
    }
}

/// Where traffic for this endpoint should come from, if the service prefers near ones.
fn hints(spec: &ServiceSpec, ready: bool, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let preference = spec.traffic_distribution.as_deref().filter(|_| ready)?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    let for_nodes = node.map(|node| vec![ForNode { name: node.to_owned() }]);
    match preference {
        "PreferClose" | "PreferSameZone" => {
            for_zones.map(|zones| EndpointHints { for_zones: Some(zones), for_nodes: None })
        }
        "PreferSameNode" => Some(EndpointHints { for_zones, for_nodes }),
        _ => None,
    }
}
