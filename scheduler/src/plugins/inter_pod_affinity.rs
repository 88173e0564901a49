//! Pods that want other pods near or far.
//!
//! Pods are counted once by the place they are in, then each node is asked about its places. A
//! pod that wants nothing itself is only counted against those that want something of others.

use super::counts::Counts;
use super::{BEST, Plugin, Prepared, Reasons};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

struct InterPodAffinity<'a> {
    cluster: &'a Cluster,
    needs: &'a Needs,
    /// Pods that this pod must be near.
    near: Counts,
    /// Pods that this pod must be far from.
    far: Counts,
    /// Pods that must be far from this pod.
    against: Counts,
    /// How much pods draw each other.
    drawn: Counts,
}

/// Counts the pods that this pod minds, and those that mind it.
pub(super) fn prepare<'a>(cluster: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    let none = Counts::default;
    let mut plugin =
        InterPodAffinity { cluster, needs, near: none(), far: none(), against: none(), drawn: none() };
    if needs.minds_pods() {
        for node in cluster.nodes() {
            node.pods.values().for_each(|pod| plugin.count(pod, node, 1));
        }
    } else {
        cluster.minding().for_each(|(node, pod)| plugin.count(pod, node, 1));
        if plugin.against.is_empty() && plugin.drawn.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(Box::new(plugin)))
}

impl InterPodAffinity<'_> {
    /// Whether all that must be near is near, or this is the first of pods that want each other.
    fn is_near(&self, node: &NodeView) -> bool {
        let terms = &self.needs.near;
        if !terms.iter().all(|term| node.labels.contains_key(&term.topology_key)) {
            return false;
        }
        terms.iter().all(|term| self.near.get(node, &term.topology_key) > 0)
            || (self.near.is_empty()
                && terms.iter().all(|term| term.selects(self.needs, &self.cluster.namespaces)))
    }
}

impl Plugin for InterPodAffinity<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        if !self.is_near(node) {
            return Err(Reasons::for_good("node(s) didn't match pod affinity rules"));
        }
        if self.needs.far.iter().any(|term| self.far.get(node, &term.topology_key) > 0) {
            return Err(Reasons::for_now("node(s) didn't match pod anti-affinity rules"));
        }
        if self.against.of(node).any(|pods| pods > 0) {
            return Err(Reasons::for_now("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }

    fn score(&self, nodes: &[&NodeView]) -> Option<Vec<i64>> {
        if self.drawn.is_empty() {
            return None;
        }
        let scores: Vec<i64> = nodes.iter().map(|node| self.drawn.of(node).sum()).collect();
        let (least, most) = (scores.iter().copied().min()?, scores.iter().copied().max()?);
        (most > least).then(|| scores.iter().map(|score| (score - least) * BEST / (most - least)).collect())
    }

    fn count(&mut self, pod: &Needs, node: &NodeView, by: i64) {
        let (needs, namespaces) = (self.needs, &self.cluster.namespaces);
        for term in pod.far.iter().filter(|term| term.selects(needs, namespaces)) {
            self.against.add(node, &term.topology_key, by);
        }
        if !needs.near.is_empty() && needs.near.iter().all(|term| term.selects(pod, namespaces)) {
            needs.near.iter().for_each(|term| self.near.add(node, &term.topology_key, by));
        }
        for term in needs.far.iter().filter(|term| term.selects(pod, namespaces)) {
            self.far.add(node, &term.topology_key, by);
        }
        // What must be near each other also draws each other, a little.
        let required = pod.near.iter().map(|term| (&1, term));
        let theirs = required.chain(pod.drawn.iter().map(|(weight, term)| (weight, term)));
        let theirs = theirs.filter(|(_, term)| term.selects(needs, namespaces));
        let ours = needs.drawn.iter().map(|(weight, term)| (weight, term));
        let ours = ours.filter(|(_, term)| term.selects(pod, namespaces));
        for (weight, term) in theirs.chain(ours) {
            self.drawn.add(node, &term.topology_key, by * weight);
        }
    }
}

#[cfg(test)]
mod tests;
