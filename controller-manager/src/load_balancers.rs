//! Services of type LoadBalancer: each gets an address out of a pool of the nodes' own network, and a node that
//! answers there; the node's kubelet sees to that. What is taken is read from the services each time.
//! Upstream: `cloud-provider`'s service controller, and MetalLB for what a cloud does.

use api::{Message, message};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::load_balancer::{self, NODE, is_wanted};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceStatus};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::endpoints::{backends::SERVICE_NAME, follow_slices};
use crate::frame::{Action, Controller, Key, Kind, Outcome, Plan, Timestamp, reference};
use crate::kit::owners;
use crate::node_lifecycle::is_ready;

const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
const EXCLUDED_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const DELETION_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// The controller.
pub struct LoadBalancers {
    caches: Caches,
    pool: Ipv4Net,
}

impl LoadBalancers {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>, pool: Ipv4Net) -> Self {
        let add_all = |caches: &Caches, queue: &Queue<Key>| {
            let (keys, services) = (queue.clone(), caches.services.clone());
            move || {
                let wanted = services.list().into_iter().filter(|service| is_wanted(service));
                wanted.for_each(|service| keys.add(Key::of(&service.metadata)));
            }
        };
        let (keys, all) = (queue.clone(), add_all(caches, queue));
        caches.services.on_change(move |change| {
            keys.add(Key::of(&change.latest().metadata));
            let (old, new) = (change.old.as_deref().and_then(held), change.new.as_deref().and_then(held));
            if old.is_some() && old != new {
                // An address has come free, perhaps for a service that found none.
                all();
            }
        });
        let all = add_all(caches, queue);
        caches.nodes.on_change(move |change| {
            let may = |node: &Option<Arc<Node>>| node.as_deref().is_some_and(may_answer);
            if may(&change.old) != may(&change.new) {
                all();
            }
        });
        follow_slices(caches, queue);
        LoadBalancers { caches: caches.clone(), pool }
    }

    /// The nodes that can answer for a service.
    fn nodes(&self, service: &Service) -> BTreeSet<String> {
        let nodes = self.caches.nodes.list();
        let able = nodes.iter().filter(|node| may_answer(node));
        let able: BTreeSet<String> = able.map(|node| owners::name(&node.metadata).to_owned()).collect();
        let spec = service.spec.as_ref();
        if spec.and_then(|spec| spec.external_traffic_policy.as_deref()) != Some("Local") {
            return able;
        }
        let (namespace, name) = (owners::namespace(&service.metadata), owners::name(&service.metadata));
        let mut slices = self.caches.slices.list_in(namespace);
        slices.retain(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|of| of == name)
        });
        let with_endpoints = able.intersection(&nodes_of(&slices)).cloned().collect::<BTreeSet<_>>();
        // Where there is no endpoint at all, it is a node's task to say so.
        if with_endpoints.is_empty() { able } else { with_endpoints }
    }
}

/// The nodes of endpoints that are ready.
fn nodes_of(slices: &[Arc<EndpointSlice>]) -> BTreeSet<String> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let ready = endpoints.filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
    });
    ready.filter_map(|endpoint| endpoint.node_name.clone()).collect()
}

/// Whether load balancers may use a node.
fn may_answer(node: &Node) -> bool {
    let label = node.metadata.labels.as_ref().and_then(|labels| labels.get(EXCLUDED_LABEL));
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    is_ready(node)
        && node.metadata.deletion_timestamp.is_none()
        && label.is_none_or(|excluded| excluded == "false")
        && !taints.into_iter().any(|taint| taint.key == DELETION_TAINT)
}

/// The address that a service has. One that is on its way out has none that others must not have.
fn held(service: &Service) -> Option<Ipv4Addr> {
    load_balancer::addresses(service).next().filter(|_| is_wanted(service))
}

impl Controller for LoadBalancers {
    type Snapshot = Snapshot;

    const NAME: &'static str = "service";

    /// One service after the other, so that no two are given the same address.
    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Service>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let service = self.caches.services.get(Some(&key.namespace), &key.name)?;
        if !is_wanted(&service) && !has_finalizer(&service) {
            return None;
        }
        let mut others = self.caches.services.list();
        others.retain(|other| other.metadata.uid != service.metadata.uid);
        let taken = others.into_iter().filter_map(|other| Some((held(&other)?, other))).collect();
        let nodes = self.nodes(&service);
        Some(Snapshot { service, taken, nodes, pool: self.pool })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        plan(snapshot)
    }

    fn report(&self, snapshot: &Snapshot, outcome: &Outcome, _now: Timestamp) -> Plan {
        if outcome.failure.is_some() { Plan::default() } else { serve(snapshot) }
    }
}

/// All that a plan for one service looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The service.
    pub service: Arc<Service>,
    /// The addresses that others have.
    pub taken: BTreeMap<Ipv4Addr, Arc<Service>>,
    /// The nodes that can answer for it.
    pub nodes: BTreeSet<String>,
    /// Where addresses come from.
    pub pool: Ipv4Net,
}

fn has_finalizer(service: &Service) -> bool {
    service.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

fn is_to_be_served(service: &Service) -> bool {
    is_wanted(service) && service.metadata.deletion_timestamp.is_none()
}

fn tell(service: &Service, warning: bool, reason: &'static str, message: impl Into<String>) -> Action {
    Action::Tell { about: reference(service), warning, reason, message: message.into() }
}

/// Holds a service before it is given anything; takes back what one has that wants none any more.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let service = &*snapshot.service;
    let mut changed = service.clone();
    let mut plan = Plan::default();
    if is_to_be_served(service) {
        if !has_finalizer(service) {
            changed.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
            plan.actions.push(tell(service, false, "EnsuringLoadBalancer", "Ensuring load balancer"));
            plan.actions.extend(Action::change(service, &changed, None));
        }
    } else if has_finalizer(service) {
        plan.actions.push(tell(service, false, "DeletingLoadBalancer", "Deleting load balancer"));
        changed.metadata.annotations.get_or_insert_default().remove(NODE);
        changed.metadata.finalizers.get_or_insert_default().retain(|finalizer| finalizer != FINALIZER);
        plan.actions.extend(Action::change(service, &changed, None));
        // What is to be deleted may be gone by then.
        let stays = service.metadata.deletion_timestamp.is_none();
        plan.actions.extend(stays.then(|| status(service, &[])).flatten());
        plan.actions.push(tell(service, false, "DeletedLoadBalancer", "Deleted load balancer"));
    }
    plan
}

/// Gives a service that is held its address and its node.
pub fn serve(snapshot: &Snapshot) -> Plan {
    let service = &*snapshot.service;
    let mut plan = Plan::default();
    if !is_to_be_served(service) || !has_finalizer(service) {
        return plan;
    }
    let address = match address(snapshot) {
        Ok(address) => address,
        Err(why) => {
            let why = format!("Error syncing load balancer: failed to ensure load balancer: {why}");
            plan.actions.push(tell(service, true, "SyncLoadBalancerFailed", why));
            return plan;
        }
    };
    let before = load_balancer::node(service);
    let node = match before.filter(|node| snapshot.nodes.contains(*node)) {
        Some(node) => Some(node),
        // Any of them, but not the same one for all addresses. Nobody is no better than who may be gone.
        None => match snapshot.nodes.len() {
            0 => before,
            count => snapshot.nodes.iter().map(String::as_str).nth(address.to_bits() as usize % count),
        },
    };
    let given = status(service, &[address]);
    if given.is_some() && node.is_none() {
        let nobody = "There are no available nodes for LoadBalancer";
        plan.actions.push(tell(service, true, "UnAvailableLoadBalancer", nobody));
    }
    if let Some(node) = node.filter(|node| before != Some(*node)) {
        let mut changed = service.clone();
        changed.metadata.annotations.get_or_insert_default().insert(NODE.to_owned(), node.to_owned());
        plan.actions.extend(Action::change(service, &changed, None));
        if before.is_some() && given.is_none() {
            let moved = "Updated load balancer with new hosts";
            plan.actions.push(tell(service, false, "UpdatedLoadBalancer", moved));
        }
    }
    if given.is_some() {
        plan.actions.extend(given);
        plan.actions.push(tell(service, false, "EnsuredLoadBalancer", "Ensured load balancer"));
    }
    plan
}

/// The address of a service: the one that it has if it may keep it, or asks for, or else the first that is free.
fn address(snapshot: &Snapshot) -> Result<Ipv4Addr, Message> {
    let (service, pool, taken) = (&*snapshot.service, snapshot.pool, &snapshot.taken);
    let age = |service: &Service| {
        let meta = &service.metadata;
        (meta.creation_timestamp.clone(), meta.namespace.clone(), meta.name.clone())
    };
    // Of two with the same address, the older keeps it.
    let keeps = |address: &Ipv4Addr| taken.get(address).is_none_or(|other| age(service) < age(other));
    let kept = held(service).filter(|address| pool.contains(address) && keeps(address));
    let wanted = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref());
    if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
        let address: Ipv4Addr = wanted.parse().map_err(|_| format!("{wanted:?} is no IPv4 address"))?;
        return match taken.get(&address) {
            _ if !pool.contains(&address) => Err(message!("the address {address} is not in the pool {pool}")),
            Some(other) if kept != Some(address) => {
                Err(message!("the address {address} is that of the service {}", Key::of(&other.metadata)))
            }
            _ => Ok(address),
        };
    }
    let free = || pool.hosts().find(|address| !taken.contains_key(address));
    kept.or_else(free).ok_or_else(|| message!("no address of the pool {pool} is free"))
}

/// What makes the status say these addresses.
fn status(service: &Service, addresses: &[Ipv4Addr]) -> Option<Action> {
    let ingress = |address: &Ipv4Addr| LoadBalancerIngress {
        ip: Some(address.to_string()),
        ip_mode: Some("VIP".to_owned()),
        ..LoadBalancerIngress::default()
    };
    let old = service.status.clone().unwrap_or_default();
    let list: Vec<LoadBalancerIngress> = addresses.iter().map(ingress).collect();
    let ingress = Some(list).filter(|list| !list.is_empty());
    let new = ServiceStatus { load_balancer: Some(LoadBalancerStatus { ingress }), ..old.clone() };
    Action::status(Kind::of::<Service>(), &service.metadata, &old, &new)
}

#[cfg(test)]
mod tests;
