//! The scheduler's view of the cluster: nodes with what is used on them, kept up to date by
//! adding and taking away one pod at a time.
//!
//! Invariant: a pod is on one node at most, whether the API server has confirmed that or it is
//! assumed since a binding was sent. Upstream counterpart: the scheduler's `backend/cache`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::needs::{Labels, Needs};
use crate::node_view::{NodeChange, NodeView};
use crate::storage::{Bindings, Storage};

/// All nodes, where each pod is, and what else placing pods depends on.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeView>,
    /// By the pod's uid.
    placed: HashMap<String, Placed>,
    /// How many of them are assumed.
    assumed: usize,
    /// Node and uid of the pods that mind which others are near.
    minding: BTreeSet<(String, String)>,
    /// Pods for which others were pushed out, by the node that they will get and by uid.
    nominated: BTreeMap<String, BTreeMap<String, Arc<Needs>>>,
    /// Labels of namespaces by name.
    pub namespaces: HashMap<String, Labels>,
    /// Disruption budgets by namespace and name.
    pub budgets: BTreeMap<(String, String), Arc<PodDisruptionBudget>>,
    /// Claims and volumes.
    pub storage: Storage,
}

#[derive(Debug)]
struct Placed {
    node: String,
    assumed: bool,
}

impl Cluster {
    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.values().filter(|view| view.exists)
    }

    /// A node that exists.
    pub fn node(&self, name: &str) -> Option<&NodeView> {
        self.nodes.get(name).filter(|view| view.exists)
    }

    /// The pods that mind which others are near, each with its node if that exists.
    pub fn minding(&self) -> impl Iterator<Item = (&NodeView, &Needs)> {
        self.minding.iter().filter_map(|(node, uid)| {
            let node = self.node(node)?;
            Some((node, node.pods.get(uid)?.as_ref()))
        })
    }

    /// How many nodes, placed pods, and of those assumed ones there are.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.nodes().count(), self.placed.len(), self.assumed)
    }

    /// Takes in a new or changed node and says what about it matters.
    pub fn set_node(&mut self, node: &Node) -> NodeChange {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name).or_default().describe(node)
    }

    /// Forgets a node; pods on it are still known until they are deleted.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(view) = self.nodes.get_mut(name) {
            view.exists = false;
            self.forget_if_empty(name);
        }
    }

    /// Takes in that the API server says a pod is on a node. Says whether that is new, or something of the pod.
    pub fn confirm(&mut self, uid: &str, node: &str, needs: &Arc<Needs>) -> bool {
        self.withdraw(uid);
        self.storage.settle(uid);
        self.put(uid, node, needs, false)
    }

    /// Counts a pod on a node for which a binding is on its way.
    pub fn assume(&mut self, uid: &str, node: &str, needs: &Arc<Needs>) {
        // The room that was kept for it is what it takes now.
        self.withdraw(uid);
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
            if let Some(pod) = view.remove(uid) {
                self.storage.release(&pod);
            }
            self.forget_if_empty(&placed.node);
        }
        self.minding.remove(&(placed.node, uid.to_owned()));
        true
    }

    fn put(&mut self, uid: &str, node: &str, needs: &Arc<Needs>, assumed: bool) -> bool {
        if let Some(known) = self.placed.get_mut(uid) {
            let on_it = self.nodes.get(node).and_then(|view| view.pods.get(uid));
            if known.node == node && on_it.is_some_and(|pod| **pod == **needs) {
                if known.assumed && !assumed {
                    known.assumed = false;
                    self.assumed -= 1;
                }
                return false;
            }
            self.remove_pod(uid);
        }
        self.nodes.entry(node.to_owned()).or_default().add(uid, needs);
        self.storage.take(needs);
        if needs.minds_pods() {
            self.minding.insert((node.to_owned(), uid.to_owned()));
        }
        self.assumed += usize::from(assumed);
        self.placed.insert(uid.to_owned(), Placed { node: node.to_owned(), assumed });
        true
    }

    fn forget_if_empty(&mut self, name: &str) {
        if self.nodes.get(name).is_some_and(|view| !view.exists && view.pods.is_empty()) {
            self.nodes.remove(name);
        }
    }

    /// What has to happen to a pod's claims before it can run on a node on which it fits.
    pub fn bindings(&self, needs: &Needs, node: &str) -> Bindings {
        let claims = self.storage.claims(needs).ok().filter(|_| !needs.claims.is_empty());
        let found = claims.zip(self.node(node)).map(|(claims, node)| self.storage.bindings(&claims, node));
        found.and_then(Result::ok).unwrap_or_default()
    }

    /// Keeps room on a node for a pod for which others were pushed out.
    pub fn nominate(&mut self, node: &str, needs: &Arc<Needs>) {
        self.withdraw(&needs.uid);
        self.nominated.entry(node.to_owned()).or_default().insert(needs.uid.clone(), Arc::clone(needs));
    }

    /// Keeps no room for a pod any more. Says whether some was kept.
    pub fn withdraw(&mut self, uid: &str) -> bool {
        let mut kept = false;
        self.nominated.retain(|_, pods| {
            kept |= pods.remove(uid).is_some();
            !pods.is_empty()
        });
        kept
    }

    /// The node on which room is kept for a pod.
    pub fn nominated_node(&self, uid: &str) -> Option<&str> {
        let node = self.nominated.iter().find(|(_, pods)| pods.contains_key(uid));
        node.map(|(node, _)| node.as_str())
    }

    /// The pods at least as important as this one for which room is kept on a node.
    pub fn before(&self, needs: &Needs, node: &str) -> Vec<(&String, &Arc<Needs>)> {
        let nominated = self.nominated.get(node).into_iter().flatten();
        nominated.filter(|(uid, pod)| **uid != needs.uid && pod.priority >= needs.priority).collect()
    }
}

#[cfg(test)]
mod tests;
