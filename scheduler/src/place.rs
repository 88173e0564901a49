//! The choice of a node: of those that fit, one with the fewest pods of the same owner, and
//! of these the next in turn.
//!
//! Pure and deterministic. Taking turns is by name after the node chosen last, so it stays
//! fair while nodes come and go. Upstream counterpart: `schedule_one.go`, with scores.

use crate::cluster::{Cluster, Needs, NodeView};
use crate::filters::{self, Filter, Rejection};

/// No node can take the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unfit {
    /// What each node has against it.
    pub rejections: Vec<Rejection>,
}

impl Unfit {
    /// The filters that said no, each once.
    pub fn filters(&self) -> Vec<Filter> {
        let mut filters: Vec<_> = self.rejections.iter().map(|rejection| rejection.filter).collect();
        filters.sort_unstable();
        filters.dedup();
        filters
    }
}

/// Chooses a node for a pod. `last` is the node chosen before, for whichever pod.
pub fn place<'a>(cluster: &'a Cluster, needs: &Needs, last: &str) -> Result<&'a str, Unfit> {
    let mut rejections = Vec::new();
    let mut best: Option<((usize, bool), &str)> = None;
    for (name, node) in cluster.nodes() {
        if let Err(rejection) = filters::check(needs, node) {
            rejections.push(rejection);
            continue;
        }
        // Nodes come by name: the first of the best rank is the next in turn.
        let rank = (pods_of_owner(needs, node), name <= last);
        if best.is_none_or(|(best, _)| rank < best) {
            best = Some((rank, name));
        }
    }
    best.map(|(_, name)| name).ok_or(Unfit { rejections })
}

fn pods_of_owner(needs: &Needs, node: &NodeView) -> usize {
    let owner = needs.owner.as_ref();
    owner.and_then(|owner| node.owners.get(owner)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
