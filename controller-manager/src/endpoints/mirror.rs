//! EndpointSlices for hand-made Endpoints of services without selector, so that
//! those who read only slices see them. Upstream: `pkg/controller/endpointslicemirroring`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};

use super::backends::{self, Port, SKIP_MIRROR};
use super::slices::{self, Groups, Pattern};
use crate::frame::{Action, Kind, Plan};
use crate::kit::owners;

/// The name under which this controller marks its slices.
pub const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";

/// Addresses of one subset beyond this are not mirrored.
const MOST: usize = 1000;

/// Annotations that say nothing about the slices.
const NOT_COPIED: [&str; 2] = [backends::TRIGGER_TIME, "kubectl.kubernetes.io/last-applied-configuration"];

/// All that a plan for one name looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The service of that name.
    pub service: Option<Arc<Service>>,
    /// The Endpoints of that name.
    pub endpoints: Option<Arc<Endpoints>>,
    /// The slices this controller has made for them.
    pub slices: Vec<Arc<EndpointSlice>>,
}

/// What to do about the mirrored slices.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let mut plan = Plan::default();
    let Some(endpoints) = snapshot.endpoints.as_ref().filter(|endpoints| is_mirrored(snapshot, endpoints))
    else {
        plan.actions = snapshot.slices.iter().map(|slice| Action::delete(&**slice, None)).collect();
        return plan;
    };
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    slices::mark(&mut labels, owners::name(&endpoints.metadata), MANAGER);
    let notes = endpoints.metadata.annotations.as_ref();
    let pattern = Pattern {
        prefix: owners::name(&endpoints.metadata).to_owned(),
        namespace: endpoints.metadata.namespace.clone(),
        labels,
        owner: owners::controller_ref(&Kind::of::<Endpoints>(), &endpoints.metadata),
        trigger_time: notes.and_then(|notes| notes.get(NOT_COPIED[0])).cloned(),
        most: MOST,
    };
    let mut groups = Groups::new();
    for subset in endpoints.subsets.iter().flatten() {
        add(&mut groups, subset);
    }
    plan.actions = slices::spread(&pattern, &snapshot.slices, groups);
    plan
}

fn is_mirrored(snapshot: &Snapshot, endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let notes = endpoints.metadata.annotations.as_ref();
    let skipped = labels.and_then(|labels| labels.get(SKIP_MIRROR)).is_some_and(|value| value == "true");
    let is_lock = notes.is_some_and(|notes| notes.contains_key("control-plane.alpha.kubernetes.io/leader"));
    let spec = snapshot.service.as_ref().and_then(|service| service.spec.as_ref());
    !skipped
        && !is_lock
        && endpoints.metadata.deletion_timestamp.is_none()
        && spec.is_some_and(|spec| spec.selector.as_ref().is_none_or(std::collections::BTreeMap::is_empty))
}

fn add(groups: &mut Groups, subset: &EndpointSubset) {
    let mut ports: Vec<Port> = subset
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.port,
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    for (address, ready) in ready.chain(not_ready).take(MOST) {
        let family = if backends::is_ipv6(&address.ip) { "IPv6" } else { "IPv4" };
        groups.entry((family.to_owned(), ports.clone())).or_default().push(endpoint(address, ready));
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), serving: None, terminating: None }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Default::default()
    }
}
