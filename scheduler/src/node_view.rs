//! A node with what is used on it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::pod::HostPorts;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::amounts::Amounts;
use crate::needs::{Labels, Needs};

/// A node and what is used on it.
///
/// Invariant: the used amounts, ports and owners are the sums over its pods.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its taints, with those that follow from its state.
    pub taints: Vec<Taint>,
    /// Whether it was cordoned.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Amounts,
    /// What pods do use.
    pub used: Amounts,
    /// The pods on it, by uid.
    pub pods: BTreeMap<String, Arc<Needs>>,
    /// The ports taken on it.
    pub host_ports: HostPorts,
    /// How many pods each controller has on it.
    pub owners: HashMap<String, usize>,
    /// Whether the node object exists; pods may be known before their node is.
    pub exists: bool,
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

impl NodeView {
    /// Takes in a new or changed node object and says what about it matters.
    pub fn describe(&mut self, node: &Node) -> NodeChange {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let is_new = !self.exists;
        self.exists = true;
        self.name = node.metadata.name.clone().unwrap_or_default();
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
        let mut taints = spec.and_then(|spec| spec.taints.clone()).unwrap_or_default();
        if let Some(key) = unready_taint(node)
            && !taints.iter().any(|taint| taint.key == key)
        {
            let effect = "NoSchedule".to_owned();
            taints.push(Taint { key: key.to_owned(), effect, ..Taint::default() });
        }
        let allocatable = status.and_then(|status| status.allocatable.as_ref());
        let allocatable = allocatable.map(Amounts::of).unwrap_or_default();
        NodeChange {
            allocatable: replaced(&mut self.allocatable, allocatable) || is_new,
            labels: replaced(&mut self.labels, labels) || is_new,
            taints: replaced(&mut self.taints, taints)
                | replaced(&mut self.unschedulable, unschedulable)
                | is_new,
        }
    }

    /// Puts a pod on the node.
    pub fn add(&mut self, uid: &str, pod: &Arc<Needs>) {
        self.used.add(&pod.requests);
        pod.host_ports.iter().for_each(|port| self.host_ports.add(port.clone()));
        if let Some(owner) = &pod.owner {
            *self.owners.entry(owner.clone()).or_insert(0) += 1;
        }
        self.pods.insert(uid.to_owned(), Arc::clone(pod));
    }

    /// Takes a pod off the node.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<Needs>> {
        let pod = self.pods.remove(uid)?;
        self.used.subtract(&pod.requests);
        pod.host_ports.iter().for_each(|port| self.host_ports.remove(port));
        if let Some(owner) = &pod.owner
            && let Some(count) = self.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
        Some(pod)
    }
}

fn replaced<T: PartialEq>(old: &mut T, new: T) -> bool {
    let differs = *old != new;
    *old = new;
    differs
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
