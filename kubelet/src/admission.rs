//! Which pods fit on the node. The scheduler has looked already, but two schedulers, a stale cache or a hand
//! that sets `nodeName` can send a pod that does not fit; it then fails at once instead of pushing others.
//! Corresponds to upstream's `lifecycle/predicate.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::pod::placement::{tolerated, wants_node};
use api::pod::{self, HostPorts, Resources};
use api::quantity::{Amount, Quantity};
use api::resource_names::is_extended;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use parking_lot::Mutex;

use crate::pod_spec;
use crate::pod_status::Ended;

/// The pods that were let in and have not finished.
#[derive(Default)]
pub struct Admission {
    admitted: Mutex<BTreeMap<String, Arc<Pod>>>,
}

impl Admission {
    /// Lets a pod in that runs already. A kubelet that was started again believes the status in what it was granted.
    pub fn keep(&self, pod: &Arc<Pod>) {
        let status = pod.status.as_ref();
        let lists = status.map(|s| [&s.container_statuses, &s.init_container_statuses]);
        let statuses: Vec<_> = lists.into_iter().flatten().flatten().flatten().collect();
        let shown = |name: &str| statuses.iter().find(|c| c.name == name)?.resources.clone();
        let granted = pod_spec::with_resources(pod, shown).map_or_else(|| Arc::clone(pod), Arc::new);
        self.admitted.lock().insert(pod_spec::uid(pod).to_owned(), granted);
    }

    /// The pod with the resources that it was granted last, if it asks for others now.
    pub fn granted(&self, pod: &Pod) -> Option<Pod> {
        let granted = self.admitted.lock().get(pod_spec::uid(pod)).cloned()?;
        let of =
            |name: &str| Some(pod_spec::container(&granted, name)?.0.resources.clone().unwrap_or_default());
        let whole = &pod_spec::spec(&granted).resources;
        let mut other = pod_spec::with_resources(pod, of);
        if *whole != pod_spec::spec(pod).resources {
            let spec = other.get_or_insert_with(|| pod.clone()).spec.get_or_insert_default();
            spec.resources.clone_from(whole);
        }
        other
    }

    /// Lets a pod in if it fits beside the others; else says why not.
    pub fn admit(&self, pod: &Arc<Pod>, node: Option<&Node>) -> Result<(), Ended> {
        let mut admitted = self.admitted.lock();
        let others = others(&admitted, pod);
        if let Some(node) = node {
            check(pod, &others, node)?;
        }
        admitted.insert(pod_spec::uid(pod).to_owned(), Arc::clone(pod));
        Ok(())
    }

    /// Lets a pod have what it asks for now, if there is room.
    pub fn resize(&self, pod: &Arc<Pod>, node: Option<&Node>) -> Room {
        let mut admitted = self.admitted.lock();
        let others = others(&admitted, pod);
        let room = node.map_or(Room::Enough, |node| room(pod, &others, node));
        if room == Room::Enough {
            // What it asks for is what it holds from here on, whatever its status says of before.
            let granted = Pod { status: None, ..Pod::clone(pod) };
            admitted.insert(pod_spec::uid(pod).to_owned(), Arc::new(granted));
        }
        room
    }

    /// A pod has finished or is gone.
    pub fn release(&self, uid: &str) {
        self.admitted.lock().remove(uid);
    }
}

fn others<'a>(admitted: &'a BTreeMap<String, Arc<Pod>>, pod: &Pod) -> Vec<&'a Pod> {
    let others = admitted.iter().filter(|(uid, _)| *uid != pod_spec::uid(pod));
    others.map(|(_, pod)| pod.as_ref()).collect()
}

/// Whether there is room for a pod that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// Once others have gone; the text says what is lacking.
    NotNow(String),
    /// The node is too small.
    Never(String),
}

fn amount_of(list: &BTreeMap<String, Wire>, resource: &str) -> Amount {
    list.get(resource).map_or(Amount::ZERO, |wire| Amount::of(resource, &Quantity::of(wire)))
}

/// What is asked for or held together.
fn sum<'a>(resources: impl IntoIterator<Item = Resources<'a>>) -> BTreeMap<&'a str, Amount> {
    let mut sum = BTreeMap::new();
    for (name, quantity) in resources.into_iter().flatten() {
        let known = sum.entry(name).or_insert(Amount::ZERO);
        *known = *known + Amount::of(name, &quantity);
    }
    sum
}

fn held<'a>(pods: &[&'a Pod]) -> BTreeMap<&'a str, Amount> {
    sum(pods.iter().map(|pod| pod::requests_held(pod)))
}

/// Whether a pod that runs on a node may have what it asks for beside the others there.
fn room(pod: &Pod, others: &[&Pod], node: &Node) -> Room {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let Some(allocatable) = allocatable else { return Room::Enough };
    let (requested, used) = (sum([pod::requests(pod_spec::spec(pod))]), held(others));
    let of = |amounts: &BTreeMap<&str, Amount>, resource| amounts.get(resource).copied().unwrap_or_default();
    for resource in ["cpu", "memory"] {
        let capacity = amount_of(allocatable, resource);
        let (requested, used) = (of(&requested, resource), of(&used, resource));
        if requested > capacity {
            let text = format!(
                "Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
            );
            return Room::Never(text);
        }
        if requested > Amount::ZERO && used + requested > capacity {
            let text = format!(
                "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
            );
            return Room::NotNow(text);
        }
    }
    Room::Enough
}

fn refusal(reason: &str, text: String) -> Ended {
    Ended::new(reason, format!("Pod was rejected: {text}"))
}

/// Whether a pod fits on a node beside the others there.
pub fn check(pod: &Pod, others: &[&Pod], node: &Node) -> Result<(), Ended> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let Some(allocatable) = allocatable else { return Ok(()) };
    let enough = |resource: &str, requested: Amount, used: Amount| {
        let capacity = amount_of(allocatable, resource);
        if requested == Amount::ZERO || used + requested <= capacity {
            return Ok(());
        }
        let text = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err(refusal(&format!("OutOf{resource}"), text))
    };
    enough("pods", Amount::count(1), Amount::count(others.len()))?;
    let used = held(others);
    // What the node has never heard of is somebody else's to give.
    let counts = |resource: &str| !is_extended(resource) || allocatable.contains_key(resource);
    let requested = sum([pod::requests(pod_spec::spec(pod))]);
    for (resource, requested) in requested.into_iter().filter(|(resource, _)| counts(resource)) {
        enough(resource, requested, used.get(resource).copied().unwrap_or_default())?;
    }
    if !selected(pod, node) {
        let text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Err(refusal("NodeAffinity", text.to_owned()));
    }
    let taken: HostPorts = others.iter().flat_map(|other| pod::host_ports(pod_spec::spec(other))).collect();
    if pod::host_ports(pod_spec::spec(pod)).any(|port| taken.conflict(&port)) {
        let text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Err(refusal("NodePorts", text.to_owned()));
    }
    let tolerations = pod_spec::spec(pod).tolerations.as_deref().unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let drives_out = |taint: &Taint| taint.effect == "NoExecute" && !tolerated(taint, tolerations);
    if !pod_spec::is_static(pod) && taints.iter().any(drives_out) {
        let text = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        return Err(refusal("TaintToleration", text.to_owned()));
    }
    Ok(())
}

fn selected(pod: &Pod, node: &Node) -> bool {
    let (name, labels) = (node.metadata.name.as_deref().unwrap_or_default(), node.metadata.labels.as_ref());
    wants_node(pod_spec::spec(pod), name, labels.unwrap_or(&BTreeMap::new()))
}

#[cfg(test)]
mod tests;
