//! The labels a pod wants its node to have: `nodeSelector` and required node affinity.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use super::Reasons;
use crate::cluster::{Needs, NodeView};

/// Refuses a node whose labels are not those the pod wants.
pub(super) fn unmatched(needs: &Needs, node: &NodeView) -> Result<(), Reasons> {
    let selected = needs.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
    let terms = needs.node_affinity.as_ref().map(|affinity| &affinity.node_selector_terms);
    if selected && terms.is_none_or(|terms| terms.iter().any(|term| term_matches(term, node))) {
        return Ok(());
    }
    Err(Reasons::for_good("node(s) didn't match Pod's node affinity/selector"))
}

/// A term matches if all its requirements do; one without any matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeView) -> bool {
    let labels = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let mut requirements = labels
        .map(|requirement| (requirement, node.labels.get(&requirement.key)))
        .chain(
            fields
                .map(|requirement| (requirement, (requirement.key == "metadata.name").then_some(&node.name))),
        )
        .peekable();
    requirements.peek().is_some() && requirements.all(|(requirement, value)| matches(requirement, value))
}

fn matches(requirement: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let compared = |holds: fn(i64, i64) -> bool| match (value.and_then(number), wanted) {
        (Some(value), [limit]) => number(limit).is_some_and(|limit| holds(value, limit)),
        _ => false,
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| wanted.contains(value)),
        "NotIn" => value.is_none_or(|value| !wanted.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|value, limit| value > limit),
        "Lt" => compared(|value, limit| value < limit),
        _ => false,
    }
}
