//! The `Endpoints` object of a service with a selector: subsets of addresses
//! that share their ports, ready and not ready. Upstream: `pkg/controller/endpoint`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::backends::{self, Port};
use crate::frame::{Action, Plan};
use crate::kit::pods;

const MANAGED_BY: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// More addresses than this are cut off.
const MOST_ADDRESSES: usize = 1000;

/// All that a plan for one name looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The service, if there is one.
    pub service: Option<Arc<Service>>,
    /// The pods its selector selects.
    pub pods: Vec<Arc<Pod>>,
    /// The object as it is.
    pub endpoints: Option<Arc<Endpoints>>,
    /// Whether there was a service of this name that is gone now.
    pub abandoned: bool,
}

/// What to do about the Endpoints object.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = &snapshot.service else {
        // Hand-made ones may be there before their service.
        let goes = |endpoints: &&Arc<Endpoints>| snapshot.abandoned || is_ours(endpoints);
        let going = snapshot.endpoints.iter().filter(goes);
        plan.actions.extend(going.map(|endpoints| Action::delete(&**endpoints, None)));
        return plan;
    };
    let Some(spec) = service.spec.as_ref().filter(|spec| spec.selector.is_some()) else { return plan };
    if spec.type_.as_deref() == Some("ExternalName") {
        return plan;
    }
    let (subsets, cut) = subsets(service, &snapshot.pods);
    let mut wanted = match &snapshot.endpoints {
        Some(endpoints) => (**endpoints).clone(),
        None => Endpoints {
            metadata: ObjectMeta {
                name: service.metadata.name.clone(),
                namespace: service.metadata.namespace.clone(),
                ..Default::default()
            },
            subsets: None,
        },
    };
    let mut labels = backends::inherited_labels(service);
    labels.insert(backends::ENDPOINTS_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    if backends::is_headless(spec) {
        labels.insert(backends::HEADLESS.to_owned(), String::new());
    }
    wanted.metadata.labels = Some(labels);
    wanted.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    let mut notes = wanted.metadata.annotations.take().unwrap_or_default();
    notes.remove(OVER_CAPACITY);
    if cut {
        notes.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    wanted.metadata.annotations = Some(notes.clone()).filter(|notes| !notes.is_empty());
    if snapshot.endpoints.as_deref() == Some(&wanted) {
        return plan;
    }
    if let Some(time) = backends::trigger_time(service, &snapshot.pods) {
        notes.insert(backends::TRIGGER_TIME.to_owned(), time);
        wanted.metadata.annotations = Some(notes);
    }
    match &snapshot.endpoints {
        Some(endpoints) => plan.actions.extend(Action::change(&**endpoints, &wanted, None)),
        None => plan.actions.push(Action::create(&wanted)),
    }
    plan
}

fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(backends::ENDPOINTS_MANAGED_BY)).is_some_and(|by| by == MANAGED_BY)
}

/// Addresses in an order, with whether each is ready.
type Addresses = BTreeMap<(String, String), bool>;

/// Groups addresses that serve under the same ports; says whether some were cut off.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let spec = service.spec.clone().unwrap_or_default();
    let publish_all = spec.publish_not_ready_addresses == Some(true);
    let ipv6 = spec
        .ip_families
        .as_ref()
        .and_then(|families| families.first())
        .is_some_and(|family| family == "IPv6");
    let mut details: BTreeMap<(String, String), EndpointAddress> = BTreeMap::new();
    let mut by_port: BTreeMap<Option<Port>, Addresses> = BTreeMap::new();
    let mut cut = false;
    for pod in pods.iter().filter(|pod| backends::belongs(pod, publish_all)) {
        let Some(ip) = backends::address(pod, ipv6) else { continue };
        if details.len() >= MOST_ADDRESSES {
            cut = true;
            break;
        }
        let ports = backends::ports(&spec, pod);
        let portless = spec.ports.as_ref().is_none_or(Vec::is_empty);
        if ports.is_empty() && !portless {
            continue;
        }
        let key = (ip.to_owned(), pod.metadata.uid.clone().unwrap_or_default());
        details.insert(
            key.clone(),
            EndpointAddress {
                ip: ip.to_owned(),
                hostname: backends::hostname(pod, service),
                node_name: Some(pods::node_name(pod).to_owned()).filter(|node| !node.is_empty()),
                target_ref: Some(backends::target_ref(pod)),
            },
        );
        let ready = publish_all || pods::is_ready(pod);
        let ports = if portless { vec![None] } else { ports.into_iter().map(Some).collect() };
        for port in ports {
            by_port.entry(port).or_default().insert(key.clone(), ready);
        }
    }
    let mut groups: BTreeMap<Addresses, BTreeSet<Port>> = BTreeMap::new();
    for (port, addresses) in by_port {
        groups.entry(addresses).or_default().extend(port);
    }
    let subset = |(addresses, ports): (Addresses, BTreeSet<Port>)| {
        let of = |ready: bool| {
            let chosen =
                addresses.iter().filter(|(_, is)| **is == ready).filter_map(|(key, _)| details.get(key));
            Some(chosen.cloned().collect::<Vec<_>>()).filter(|list| !list.is_empty())
        };
        EndpointSubset {
            addresses: of(true),
            not_ready_addresses: of(false),
            ports: Some(ports.into_iter().map(port).collect::<Vec<_>>()).filter(|list| !list.is_empty()),
        }
    };
    (groups.into_iter().map(subset).collect(), cut)
}

fn port(port: Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    }
}
