//! Which nodes a pod may be on: labels that it wants a node to have, taints that it bears. Upstream:
//! component-helpers' `scheduling/corev1`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};

/// Whether a node of this name and these labels is one that the pod's `nodeSelector` and required node affinity want.
pub fn wants_node(pod: &PodSpec, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let selected = pod.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let node_affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = node_affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| any_term_matches(&required.node_selector_terms, name, labels))
}

/// Whether a node is one of those that any of the terms selects.
pub fn any_term_matches(terms: &[NodeSelectorTerm], name: &str, labels: &BTreeMap<String, String>) -> bool {
    terms.iter().any(|term| term_matches(term, name, labels))
}

/// Whether a node is one of those that a term selects: all its requirements match; one without any selects nothing.
pub fn term_matches(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let by_label = term.match_expressions.iter().flatten();
    let by_field = term.match_fields.iter().flatten();
    let mut requirements = by_label
        .map(|requirement| (requirement, labels.get(&requirement.key).map(String::as_str)))
        .chain(
            by_field.map(|requirement| (requirement, (requirement.key == "metadata.name").then_some(name))),
        )
        .peekable();
    requirements.peek().is_some() && requirements.all(|(requirement, value)| matches(requirement, value))
}

fn matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let is_listed = |value: &str| wanted.iter().any(|wanted| wanted == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = |holds: fn(i64, i64) -> bool| match (value.and_then(number), wanted) {
        (Some(value), [limit]) => number(limit).is_some_and(|limit| holds(value, limit)),
        _ => false,
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(is_listed),
        "NotIn" => !value.is_some_and(is_listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|value, limit| value > limit),
        "Lt" => compared(|value, limit| value < limit),
        _ => false,
    }
}

/// Whether one of the tolerations bears the taint.
pub fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// Whether a toleration bears a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let unset_or = |wanted: &Option<String>, value: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted.is_empty() || wanted == value)
    };
    if !unset_or(&toleration.effect, &taint.effect) || !unset_or(&toleration.key, &taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    }
}
