//! The choice of a node: of those that fit, one of the best; of these, one with the fewest pods
//! of the same owner; and of these the next in turn.
//!
//! Pure and deterministic. Taking turns is by name after the node chosen last, so it stays
//! fair while nodes come and go. Upstream counterpart: `schedule_one.go`.

use std::cmp::Reverse;

use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;
use crate::plugins::{Filter, Plugins, Refusal, Rejection};

/// No node can take the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfit {
    /// What each node has against it, by the node's name.
    pub rejections: Vec<(String, Rejection)>,
    /// What is against it whichever the node.
    pub refusal: Option<Refusal>,
    /// How many nodes there are.
    pub nodes: usize,
}

impl Unfit {
    /// The filters that said no, each once.
    pub fn filters(&self) -> Vec<Filter> {
        let rejections = self.rejections.iter().map(|(_, rejection)| rejection.filter);
        let mut filters: Vec<_> = rejections.chain(self.refusal.as_ref().map(|no| no.filter)).collect();
        filters.sort_unstable();
        filters.dedup();
        filters
    }
}

/// Chooses a node for a pod. `last` is the node chosen before, for whichever pod.
pub fn place<'a>(cluster: &'a Cluster, needs: &Needs, last: &str) -> Result<&'a str, Unfit> {
    let mut plugins = Plugins::prepare(cluster, needs).map_err(|refusal| Unfit {
        refusal: Some(refusal),
        nodes: cluster.nodes().count(),
        ..Unfit::default()
    })?;
    let kept = cluster.nominated_node(&needs.uid).and_then(|name| cluster.node(name));
    if let Some(kept) = kept.filter(|node| check(&mut plugins, cluster, needs, node).is_ok()) {
        return Ok(&kept.name);
    }
    let (mut fitting, mut rejections) = (Vec::new(), Vec::new());
    for node in cluster.nodes() {
        match check(&mut plugins, cluster, needs, node) {
            Ok(()) => fitting.push(node),
            Err(rejection) => rejections.push((node.name.clone(), rejection)),
        }
    }
    let scores = plugins.score(&fitting);
    // Nodes come by name: the first of the best rank is the next in turn.
    let rank = |(node, score): &(&NodeView, i64)| {
        (Reverse(*score), pods_of_owner(needs, node), node.name.as_str() <= last)
    };
    let best = fitting.into_iter().zip(scores).min_by_key(rank);
    best.map(|(node, _)| node.name.as_str()).ok_or(Unfit {
        nodes: rejections.len(),
        rejections,
        refusal: None,
    })
}

/// Whether a pod fits on a node, both with and without those for whom room is kept there.
pub(crate) fn check(
    plugins: &mut Plugins<'_>,
    cluster: &Cluster,
    needs: &Needs,
    node: &NodeView,
) -> Result<(), Rejection> {
    let before = cluster.before(needs, &node.name);
    if !before.is_empty() {
        let mut fuller = node.clone();
        for (uid, pod) in &before {
            fuller.add(uid, pod);
            plugins.count(pod, node, 1);
        }
        let verdict = plugins.check(&fuller);
        before.iter().for_each(|(_, pod)| plugins.count(pod, node, -1));
        verdict?;
    }
    plugins.check(node)
}

fn pods_of_owner(needs: &Needs, node: &NodeView) -> usize {
    let owner = needs.owner.as_ref();
    owner.and_then(|owner| node.owners.get(owner)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
