//! Spreads wanted endpoints over EndpointSlices with as few writes as can be:
//! what stands stays where it is, what is new fills slices that change anyway,
//! then slices with room for all of it, then new slices. Shared by the service
//! and the mirroring controller. Upstream: `k8s.io/endpointslice/reconciler.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::backends::{MANAGED_BY, Port, SERVICE_NAME, TRIGGER_TIME};
use crate::frame::Action;

/// What all slices of one owner have in common.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Names of new slices begin so.
    pub prefix: String,
    /// Their namespace.
    pub namespace: Option<String>,
    /// Their labels, the service's name and the managing controller among them.
    pub labels: BTreeMap<String, String>,
    /// Who owns them.
    pub owner: OwnerReference,
    /// When what they follow happened.
    pub trigger_time: Option<String>,
    /// How many endpoints go into one.
    pub most: usize,
}

/// Endpoints that share address family and ports.
pub type Groups = BTreeMap<(String, Vec<Port>), Vec<Endpoint>>;

/// The writes that make `existing` hold `wanted`.
pub fn spread(pattern: &Pattern, existing: &[Arc<EndpointSlice>], wanted: Groups) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut left: Vec<&EndpointSlice> = existing
        .iter()
        .map(|slice| &**slice)
        .filter(|slice| slice.metadata.deletion_timestamp.is_none())
        .collect();
    left.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for ((family, ports), endpoints) in wanted {
        let (same, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|slice| slice.address_type == family && ports_of(slice) == ports);
        left = others;
        actions.extend(spread_group(pattern, &family, &ports, &same, endpoints));
    }
    actions.extend(left.into_iter().map(|slice| Action::delete(slice, None)));
    actions
}

/// Who an endpoint is: two slices never hold the same one.
fn identity(endpoint: &Endpoint) -> (Option<&str>, &[String]) {
    (endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()), &endpoint.addresses)
}

fn spread_group(
    pattern: &Pattern,
    family: &str,
    ports: &[Port],
    existing: &[&EndpointSlice],
    endpoints: Vec<Endpoint>,
) -> Vec<Action> {
    let mut wanted: BTreeMap<_, &Endpoint> =
        endpoints.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    let mut drafts: Vec<EndpointSlice> = Vec::new();
    for slice in existing {
        let kept = slice.endpoints.iter().flatten().filter_map(|old| wanted.remove(&identity(old)).cloned());
        drafts.push(shaped(pattern, slice, kept.collect()));
    }
    let mut rest: Vec<Endpoint> = wanted.into_values().cloned().collect();
    let changes = |draft: &EndpointSlice, old: &EndpointSlice| draft != old;
    let room =
        |draft: &EndpointSlice| pattern.most.saturating_sub(draft.endpoints.as_ref().map_or(0, Vec::len));
    for (draft, _) in drafts.iter_mut().zip(existing).filter(|(draft, old)| changes(draft, old)) {
        let count = room(draft).min(rest.len());
        draft.endpoints.get_or_insert_default().extend(rest.drain(..count));
    }
    if !rest.is_empty() && rest.len() < pattern.most {
        let fits =
            drafts.iter_mut().filter(|draft| room(draft) >= rest.len()).min_by_key(|draft| room(draft));
        if let Some(draft) = fits {
            draft.endpoints.get_or_insert_default().append(&mut rest);
        }
    }
    let is_filled = |draft: &EndpointSlice| draft.endpoints.as_ref().is_some_and(|list| !list.is_empty());
    let mut placeholder = endpoints.is_empty();
    let mut actions = Vec::new();
    for (draft, old) in drafts.into_iter().zip(existing) {
        if is_filled(&draft) || std::mem::take(&mut placeholder) {
            if changes(&draft, old) {
                actions.extend(Action::change(*old, &stamped(pattern, draft), None));
            }
        } else {
            actions.push(Action::delete(*old, None));
        }
    }
    if placeholder {
        actions.push(Action::create(&new_slice(pattern, family, ports, vec![])));
    }
    while !rest.is_empty() {
        let count = pattern.most.min(rest.len());
        actions.push(Action::create(&new_slice(pattern, family, ports, rest.drain(..count).collect())));
    }
    actions
}

fn shaped(pattern: &Pattern, slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut shaped = slice.clone();
    shaped.metadata.labels = Some(pattern.labels.clone());
    if !(endpoints.is_empty() && slice.endpoints.as_ref().is_none_or(Vec::is_empty)) {
        shaped.endpoints = Some(endpoints);
    }
    shaped
}

fn stamped(pattern: &Pattern, mut slice: EndpointSlice) -> EndpointSlice {
    if let Some(time) = &pattern.trigger_time {
        slice.metadata.annotations.get_or_insert_default().insert(TRIGGER_TIME.to_owned(), time.clone());
    }
    slice
}

fn new_slice(pattern: &Pattern, family: &str, ports: &[Port], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let slice = EndpointSlice {
        address_type: family.to_owned(),
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", pattern.prefix)),
            namespace: pattern.namespace.clone(),
            labels: Some(pattern.labels.clone()),
            owner_references: Some(vec![pattern.owner.clone()]),
            ..Default::default()
        },
        endpoints: Some(endpoints),
        ports: Some(ports.iter().map(port).collect()),
    };
    stamped(pattern, slice)
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let ports: BTreeSet<Port> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.port.unwrap_or(0),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.into_iter().collect()
}

/// The labels every slice carries beside inherited ones.
pub fn mark(labels: &mut BTreeMap<String, String>, service: &str, manager: &str) {
    labels.insert(SERVICE_NAME.to_owned(), service.to_owned());
    labels.insert(MANAGED_BY.to_owned(), manager.to_owned());
}
