//! Keys of labels whose values a new pod's terms take from the pod itself (`matchLabelKeys`, `mismatchLabelKeys`).
//!
//! Counterpart of `mutatePodAffinity` and `mutateTopologySpreadConstraints` upstream.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{PodAffinityTerm, PodSpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

/// Adds to the selectors of a pod's terms and constraints what the keys say.
pub fn merge(spec: &mut PodSpec, labels: Option<&BTreeMap<String, String>>) {
    let Some(labels) = labels else { return };
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        add(constraint.label_selector.as_mut(), constraint.match_label_keys.as_ref(), "In", labels);
    }
    let Some(affinity) = &mut spec.affinity else { return };
    let near = affinity.pod_affinity.iter_mut().flat_map(|a| {
        let preferred = a.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        let required = a.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
        preferred.map(|weighted| &mut weighted.pod_affinity_term).chain(required)
    });
    let far = affinity.pod_anti_affinity.iter_mut().flat_map(|a| {
        let preferred = a.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        let required = a.required_during_scheduling_ignored_during_execution.iter_mut().flatten();
        preferred.map(|weighted| &mut weighted.pod_affinity_term).chain(required)
    });
    near.chain(far).for_each(|term| merge_term(term, labels));
}

fn merge_term(term: &mut PodAffinityTerm, labels: &BTreeMap<String, String>) {
    add(term.label_selector.as_mut(), term.match_label_keys.as_ref(), "In", labels);
    add(term.label_selector.as_mut(), term.mismatch_label_keys.as_ref(), "NotIn", labels);
}

/// Adds an expression for each key that the pod has. No selector selects nothing, and stays.
fn add(
    selector: Option<&mut LabelSelector>,
    keys: Option<&Vec<String>>,
    operator: &str,
    labels: &BTreeMap<String, String>,
) {
    let Some(selector) = selector else { return };
    for (key, value) in keys.into_iter().flatten().filter_map(|key| Some((key, labels.get(key)?))) {
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

#[cfg(test)]
mod tests;
