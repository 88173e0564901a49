//! The labels a pod wants its node to have: `nodeSelector` and node affinity.

use api::pod::placement;

use super::{Plugin, Prepared, Reasons, up_to_best};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

struct NodeAffinity<'a>(&'a Needs);

/// Asks about nodes' labels.
pub(super) fn prepare<'a>(_: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    let minds =
        !needs.node_selector.is_empty() || needs.node_affinity.is_some() || !needs.preferred_nodes.is_empty();
    Ok(minds.then(|| Box::new(NodeAffinity(needs)) as Box<dyn Plugin + 'a>))
}

/// Whether a node is one of those that the pod must be on.
pub(super) fn wanted(node: &NodeView, needs: &Needs) -> bool {
    let terms = needs.node_affinity.as_ref().map(|affinity| &affinity.node_selector_terms);
    needs.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && terms.is_none_or(|terms| placement::any_term_matches(terms, &node.name, &node.labels))
}

impl Plugin for NodeAffinity<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        if wanted(node, self.0) {
            return Ok(());
        }
        Err(Reasons::for_good("node(s) didn't match Pod's node affinity/selector"))
    }

    fn score(&self, nodes: &[&NodeView]) -> Option<Vec<i64>> {
        let weight = |node: &&NodeView| {
            let preferred = self.0.preferred_nodes.iter();
            let matching =
                preferred.filter(|term| placement::term_matches(&term.preference, &node.name, &node.labels));
            matching.map(|term| i64::from(term.weight)).sum()
        };
        up_to_best(nodes.iter().map(weight).collect())
    }
}
