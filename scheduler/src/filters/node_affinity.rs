//! The labels a pod wants its node to have: `nodeSelector` and required node affinity.

use api::pod::placement;

use super::Reasons;
use crate::cluster::{Needs, NodeView};

/// Refuses a node whose labels are not those the pod wants.
pub(super) fn unmatched(needs: &Needs, node: &NodeView) -> Result<(), Reasons> {
    let selected = needs.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let terms = needs.node_affinity.as_ref().map(|affinity| &affinity.node_selector_terms);
    if selected && terms.is_none_or(|terms| placement::any_term_matches(terms, &node.name, &node.labels)) {
        return Ok(());
    }
    Err(Reasons::for_good("node(s) didn't match Pod's node affinity/selector"))
}
