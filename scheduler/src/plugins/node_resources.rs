//! Enough of everything: cpu, memory, other resources, and pods themselves.

use api::quantity::Amount;

use super::{Plugin, Prepared, Reasons};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

struct NodeResources<'a>(&'a Needs);

/// Asks what is left.
pub(super) fn prepare<'a>(_: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    Ok(Some(Box::new(NodeResources(needs))))
}

impl Plugin for NodeResources<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        let mut lacks = Reasons { reasons: Vec::new(), for_good: false };
        if Amount::count(node.pods.len()) >= node.allocatable.get("pods") {
            lacks.reasons.push("Too many pods".to_owned());
        }
        for (name, wanted) in self.0.requests.iter() {
            let allocatable = node.allocatable.get(name);
            if wanted > Amount::ZERO && wanted > allocatable - node.used.get(name) {
                lacks.reasons.push(format!("Insufficient {name}"));
                lacks.for_good |= wanted > allocatable;
            }
        }
        if lacks.reasons.is_empty() { Ok(()) } else { Err(lacks) }
    }
}
