//! What may change of a pod that waits at its scheduling gates: where it may run can be narrowed, not widened.
//!
//! Counterpart of the part about gated pods in upstream's `ValidatePodUpdate`.

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use serde::Serialize;

use api::field::{Errors, Path};

/// What a change of where the pod may run does beyond narrowing it.
pub fn update(new: &PodSpec, old: &PodSpec, at: &Path, errors: &mut Errors) {
    let now = new.node_selector.clone().unwrap_or_default();
    if old.node_selector.iter().flatten().any(|(key, value)| now.get(key) != Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&at.child("nodeSelector"), now, why);
    }
    let (now, before) = (terms(new), terms(old));
    if before.is_empty() {
        return;
    }
    let at =
        at.child("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if before.len() != now.len() {
        let now = Some(now.iter().map(Shown::from).collect::<Vec<_>>()).filter(|now| !now.is_empty());
        errors.invalid(&at, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        return;
    }
    for (i, (term, was)) in now.iter().zip(before).enumerate() {
        if !only_adds(term, was) {
            errors.invalid(
                &at.index(i),
                Shown::from(term),
                "only additions are allowed (no mutations or deletions)",
            );
        }
    }
}

/// A term as upstream shows one that changed.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    match_expressions: Option<Vec<ShownTerm<'a>>>,
    match_fields: Option<Vec<ShownTerm<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownTerm<'a> {
    key: &'a str,
    operator: &'a str,
    values: &'a Option<Vec<String>>,
}

impl<'a> From<&'a NodeSelectorTerm> for Shown<'a> {
    fn from(term: &'a NodeSelectorTerm) -> Self {
        let shown = |list: &'a Option<Vec<NodeSelectorRequirement>>| {
            let one = |r: &'a NodeSelectorRequirement| ShownTerm {
                key: &r.key,
                operator: &r.operator,
                values: &r.values,
            };
            list.as_ref().map(|list| list.iter().map(one).collect())
        };
        Self { match_expressions: shown(&term.match_expressions), match_fields: shown(&term.match_fields) }
    }
}

/// Takes what [`update`] judges from the old spec, so that the rest can be compared.
pub fn keep(rest: &mut PodSpec, old: &PodSpec) {
    rest.node_selector.clone_from(&old.node_selector);
    let affinity = node_affinity(old).cloned();
    if rest.affinity.is_some() || affinity.is_some() {
        rest.affinity.get_or_insert_default().node_affinity = affinity;
    }
    if old.affinity.is_none() && rest.affinity.as_ref().is_some_and(|a| *a == Default::default()) {
        rest.affinity = None;
    }
}

fn node_affinity(spec: &PodSpec) -> Option<&NodeAffinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

/// The alternatives of which a node must fulfil one.
fn terms(spec: &PodSpec) -> &[NodeSelectorTerm] {
    let required =
        node_affinity(spec).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    required.map_or(&[], |selector| &selector.node_selector_terms)
}

/// Whether a term begins with all that it was, and was not empty, which selects nothing.
fn only_adds(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let list = |term: &NodeSelectorTerm| {
        (term.match_expressions.clone().unwrap_or_default(), term.match_fields.clone().unwrap_or_default())
    };
    let ((expressions, fields), (old_expressions, old_fields)) = (list(new), list(old));
    if old_expressions.is_empty() && old_fields.is_empty() {
        return expressions.is_empty() && fields.is_empty();
    }
    expressions.starts_with(&old_expressions) && fields.starts_with(&old_fields)
}

#[cfg(test)]
mod tests;
