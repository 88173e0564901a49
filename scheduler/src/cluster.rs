//! The scheduler's view of the cluster: nodes with what is used on them, kept up to date by
//! adding and taking away one pod at a time.
//!
//! Invariant: a node's used amounts are the sum of the pods known to be on it, whether the
//! API server has confirmed them or they are assumed since a binding was sent. Upstream
//! counterpart: the scheduler's `backend/cache`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::pod::{self, HostPort, HostPorts};
use k8s_openapi::api::core::v1::{Node, NodeSelector, Pod, Taint, Toleration};

use crate::amounts::Amounts;

/// A pod's identity and what placing it depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    /// Resources asked for.
    pub requests: Amounts,
    /// Ports wanted of the node itself.
    pub host_ports: Vec<HostPort>,
    /// Who controls the pod (uid), for an even spread of equals.
    pub owner: Option<String>,
    /// Taints put up with.
    pub tolerations: Vec<Toleration>,
    /// Labels the node must have.
    pub node_selector: BTreeMap<String, String>,
    /// What the node must match besides.
    pub node_affinity: Option<NodeSelector>,
    /// Whether the pod says that it must never push out others.
    pub never_preempts: bool,
}

impl Needs {
    /// What placing a pod depends on.
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let owners = pod.metadata.owner_references.iter().flatten();
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        Self {
            requests: Amounts::held_by(pod),
            host_ports: pod::host_ports(spec).collect(),
            owner: owners
                .filter(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone())
                .next(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            node_affinity: affinity
                .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.clone()),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
        }
    }
}

/// A node and what is used on it.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints, with those that follow from its state.
    pub taints: Vec<Taint>,
    /// Whether it was cordoned.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Amounts,
    /// What pods do use.
    pub used: Amounts,
    /// How many pods are on it.
    pub pods: usize,
    /// The ports taken on it.
    pub host_ports: HostPorts,
    /// How many pods each controller has on it.
    pub owners: HashMap<String, usize>,
    /// Whether the node object exists; pods may be known before their node is.
    pub exists: bool,
}

impl NodeView {
    fn describe(&mut self, node: &Node) {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        self.exists = true;
        self.name = node.metadata.name.clone().unwrap_or_default();
        self.labels = node.metadata.labels.clone().unwrap_or_default();
        self.unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        self.taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        let allocatable = status.and_then(|status| status.allocatable.as_ref());
        self.allocatable = allocatable.map(Amounts::of).unwrap_or_default();
        if let Some(key) = unready_taint(node)
            && !self.taints.iter().any(|taint| taint.key == key)
        {
            let effect = "NoSchedule".to_owned();
            self.taints.push(Taint { key: key.to_owned(), effect, ..Taint::default() });
        }
    }

    fn add(&mut self, needs: &Needs) {
        self.used.add(&needs.requests);
        self.pods += 1;
        needs.host_ports.iter().for_each(|port| self.host_ports.add(port.clone()));
        if let Some(owner) = &needs.owner {
            *self.owners.entry(owner.clone()).or_insert(0) += 1;
        }
    }

    fn remove(&mut self, needs: &Needs) {
        self.used.subtract(&needs.requests);
        self.pods -= 1;
        needs.host_ports.iter().for_each(|port| self.host_ports.remove(port));
        if let Some(owner) = &needs.owner
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// The taint that says what a node's Ready condition says. The node controller sets it too,
/// but a node that is not ready gets no pods even before that.
fn unready_taint(node: &Node) -> Option<&'static str> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    match ready.map(|condition| condition.status.as_str()) {
        Some("True") => None,
        Some("Unknown") => Some("node.kubernetes.io/unreachable"),
        _ => Some("node.kubernetes.io/not-ready"),
    }
}

/// What of a node changed that may let pods fit that did not before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeChange {
    /// Allocatable amounts differ, or the node is new.
    pub allocatable: bool,
    /// Labels differ, or the node is new.
    pub labels: bool,
    /// Taints, readiness or the cordon differ, or the node is new.
    pub taints: bool,
}

/// All nodes, and where each pod is.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeView>,
    /// By the pod's uid.
    placed: HashMap<String, Placed>,
    /// How many of them are assumed.
    assumed: usize,
}

#[derive(Debug)]
struct Placed {
    node: String,
    needs: Arc<Needs>,
    assumed: bool,
}

impl Cluster {
    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeView)> {
        self.nodes.iter().filter(|(_, view)| view.exists).map(|(name, view)| (name.as_str(), view))
    }

    /// How many nodes, placed pods, and of those assumed ones there are.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.nodes().count(), self.placed.len(), self.assumed)
    }

    /// Takes in a new or changed node and says what about it matters.
    pub fn set_node(&mut self, node: &Node) -> NodeChange {
        let name = node.metadata.name.clone().unwrap_or_default();
        let view = self.nodes.entry(name).or_default();
        let old = view.clone();
        view.describe(node);
        if !old.exists {
            return NodeChange { allocatable: true, labels: true, taints: true };
        }
        NodeChange {
            allocatable: old.allocatable != view.allocatable,
            labels: old.labels != view.labels,
            taints: old.taints != view.taints || old.unschedulable != view.unschedulable,
        }
    }

    /// Forgets a node; pods on it are still known until they are deleted.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(view) = self.nodes.get_mut(name) {
            view.exists = false;
            self.forget_if_empty(name);
        }
    }

    /// Takes in that the API server says a pod is on a node.
    pub fn confirm(&mut self, uid: &str, node: &str, needs: &Arc<Needs>) {
        self.put(uid, node, needs, false);
    }

    /// Counts a pod on a node for which a binding is on its way.
    pub fn assume(&mut self, uid: &str, node: &str, needs: &Arc<Needs>) {
        self.put(uid, node, needs, true);
    }

    /// Takes back an assumption whose binding failed, unless the pod was confirmed meanwhile.
    pub fn unassume(&mut self, uid: &str) {
        if self.placed.get(uid).is_some_and(|placed| placed.assumed) {
            self.remove_pod(uid);
        }
    }

    /// Whether a pod is on a node, confirmed or assumed.
    pub fn has_pod(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    /// Forgets a pod that is deleted or has finished. Says whether it was on a node.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(placed) = self.placed.remove(uid) else { return false };
        self.assumed -= usize::from(placed.assumed);
        if let Some(view) = self.nodes.get_mut(&placed.node) {
            view.remove(&placed.needs);
            self.forget_if_empty(&placed.node);
        }
        true
    }

    fn put(&mut self, uid: &str, node: &str, needs: &Arc<Needs>, assumed: bool) {
        if let Some(known) = self.placed.get_mut(uid) {
            if known.node == node && *known.needs == **needs {
                if known.assumed && !assumed {
                    known.assumed = false;
                    self.assumed -= 1;
                }
                return;
            }
            self.remove_pod(uid);
        }
        self.nodes.entry(node.to_owned()).or_default().add(needs);
        self.assumed += usize::from(assumed);
        self.placed
            .insert(uid.to_owned(), Placed { node: node.to_owned(), needs: Arc::clone(needs), assumed });
    }

    fn forget_if_empty(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|view| !view.exists && view.pods == 0) {
            self.nodes.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
