//! Where a pod may go: affinity, topology spread, tolerations.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{
        Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, Toleration,
        TopologySpreadConstraint, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::builtin::prelude::*;

fn weight(weight: i32, at: &Path, errors: &mut Errors) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&at.child("weight"), weight, "must be in the range 1-100");
    }
}

pub fn affinity(affinity: Option<&Affinity>, at: &Path, errors: &mut Errors) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let Some(affinity) = affinity else { return };
    if let Some(node) = &affinity.node_affinity {
        let at = at.child("nodeAffinity");
        if let Some(required) = &node.required_during_scheduling_ignored_during_execution {
            node_selector(required, &at.child(REQUIRED), errors);
        }
        let preferred = node.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        for (at, term) in at.child(PREFERRED).items(preferred) {
            weight(term.weight, &at, errors);
            // What no label can be chooses no node; that is a warning.
            node_term(&term.preference, false, &at.child("preference"), errors);
        }
    }
    let pods = |required: Option<&Vec<PodAffinityTerm>>,
                preferred: Option<&Vec<WeightedPodAffinityTerm>>,
                at: &Path,
                errors: &mut Errors| {
        for (i, term) in required.into_iter().flatten().enumerate() {
            pod_term(term, &at.child(REQUIRED).index(i), errors);
        }
        for (at, term) in at.child(PREFERRED).items(preferred.into_iter().flatten()) {
            weight(term.weight, &at, errors);
            pod_term(&term.pod_affinity_term, &at.child("podAffinityTerm"), errors);
        }
    };
    if let Some(p) = &affinity.pod_affinity {
        pods(
            p.required_during_scheduling_ignored_during_execution.as_ref(),
            p.preferred_during_scheduling_ignored_during_execution.as_ref(),
            &at.child("podAffinity"),
            errors,
        );
    }
    if let Some(p) = &affinity.pod_anti_affinity {
        pods(
            p.required_during_scheduling_ignored_during_execution.as_ref(),
            p.preferred_during_scheduling_ignored_during_execution.as_ref(),
            &at.child("podAntiAffinity"),
            errors,
        );
    }
}

/// Terms that choose nodes, of which there must be one.
pub fn node_selector(selector: &NodeSelector, at: &Path, errors: &mut Errors) {
    let at = at.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&at, "must have at least one node selector term");
    }
    for (i, term) in selector.node_selector_terms.iter().enumerate() {
        node_term(term, true, &at.index(i), errors);
    }
}

/// `values`: whether values must be what labels can be.
fn node_term(term: &NodeSelectorTerm, values: bool, at: &Path, errors: &mut Errors) {
    for (i, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let at = at.child("matchExpressions").index(i);
        node_expression(requirement, &at, errors);
        for (i, value) in requirement.values.iter().flatten().enumerate().filter(|_| values) {
            each(errors, &at.child("values").index(i), value, label_value(value));
        }
    }
    for (i, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field(requirement, &at.child("matchFields").index(i), errors);
    }
}

fn node_expression(r: &NodeSelectorRequirement, at: &Path, errors: &mut Errors) {
    let values = r.values.as_deref().unwrap_or_default();
    let values_at = at.child("values");
    match r.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values_at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors
                .forbidden(&values_at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.required(&values_at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    each(errors, &at.child("key"), &r.key, qualified_name(&r.key));
}

fn node_field(r: &NodeSelectorRequirement, at: &Path, errors: &mut Errors) {
    let values = r.values.as_deref().unwrap_or_default();
    match r.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => errors.required(
            &at.child("values"),
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        "In" | "NotIn" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    if r.key == "metadata.name" {
        for (i, value) in values.iter().enumerate() {
            let wrong = api::validation::dns_subdomain(value);
            each(errors, &at.child("values").index(i), value, wrong);
        }
    } else {
        errors.invalid(&at.child("key"), &r.key, "not a valid field selector key");
    }
}

fn pod_term(term: &PodAffinityTerm, at: &Path, errors: &mut Errors) {
    label_selector(term.label_selector.as_ref(), &at.child("labelSelector"), errors);
    label_selector(term.namespace_selector.as_ref(), &at.child("namespaceSelector"), errors);
    for namespace in term.namespaces.iter().flatten() {
        each(errors, &at.child("namespace"), namespace, dns_label(namespace));
    }
    let keys = [&term.match_label_keys, &term.mismatch_label_keys];
    label_keys(
        keys.map(|keys| keys.as_deref().unwrap_or_default()),
        term.label_selector.as_ref(),
        at,
        errors,
    );
    let at = at.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&at, "can not be empty");
    }
    each(errors, &at, &term.topology_key, qualified_name(&term.topology_key));
}

/// Keys whose values come from the pod itself make sense beside a selector only, which has them by now (see
/// [`label_keys`](crate::builtin::pod::label_keys)); one that had a key before has it twice.
fn label_keys(
    [same, other]: [&[String]; 2],
    selector: Option<&LabelSelector>,
    at: &Path,
    errors: &mut Errors,
) {
    for (field, keys) in [("matchLabelKeys", same), ("mismatchLabelKeys", other)] {
        let at = at.child(field);
        if selector.is_none() && !keys.is_empty() {
            errors.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (i, key) in keys.iter().enumerate() {
            each(errors, &at.index(i), key, qualified_name(key));
        }
    }
    let places: BTreeMap<&str, usize> = same.iter().enumerate().map(|(i, key)| (key.as_str(), i)).collect();
    if let Some(selector) = selector {
        let mut known: BTreeSet<&str> =
            selector.match_labels.iter().flatten().map(|(key, _)| &**key).collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.as_str();
            if let (Some(i), false) = (places.get(key), known.insert(key)) {
                errors.invalid(&at.index(*i), key, "exists in both matchLabelKeys and labelSelector");
            }
        }
    }
    let other: BTreeSet<&String> = other.iter().collect();
    for (i, key) in same.iter().enumerate().filter(|(_, key)| other.contains(key)) {
        let at = at.child("matchLabelKeys").index(i);
        errors.invalid(&at, key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}

pub fn spread(constraints: &[TopologySpreadConstraint], at: &Path, errors: &mut Errors) {
    const WHEN: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];
    const POLICIES: &[&str] = &["Honor", "Ignore"];
    let pair = |c: &TopologySpreadConstraint| (c.topology_key.clone(), c.when_unsatisfiable.clone());
    let mut to_come = BTreeMap::new();
    for c in constraints {
        *to_come.entry(pair(c)).or_insert(0_usize) += 1;
    }
    for (at, c) in at.items(constraints.iter()) {
        if c.max_skew <= 0 {
            errors.invalid(&at.child("maxSkew"), c.max_skew, "must be greater than zero");
        }
        if c.topology_key.is_empty() {
            errors.required(&at.child("topologyKey"), "can not be empty");
        }
        one_of(c.when_unsatisfiable.as_str(), WHEN, &at.child("whenUnsatisfiable"), errors);
        // Upstream names those that come again, and not those that came before.
        let same = to_come.entry(pair(c)).or_default();
        *same = same.saturating_sub(1);
        if *same > 0 {
            let pair = format!("{{{}, {}}}", c.topology_key, c.when_unsatisfiable);
            errors.duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), pair);
        }
        if let Some(domains) = c.min_domains {
            let at = at.child("minDomains");
            if domains <= 0 {
                errors.invalid(&at, domains, "must be greater than zero");
            }
            if c.when_unsatisfiable != "DoNotSchedule" {
                let words = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    c.when_unsatisfiable
                );
                errors.invalid(&at, domains, words);
            }
        }
        for (field, policy) in
            [("nodeAffinityPolicy", &c.node_affinity_policy), ("nodeTaintsPolicy", &c.node_taints_policy)]
        {
            if let Some(policy) = policy.as_ref().filter(|p| !POLICIES.contains(&p.as_str())) {
                errors.not_supported(&at.child(field), policy, POLICIES);
            }
        }
        label_keys(
            [c.match_label_keys.as_deref().unwrap_or_default(), &[]],
            c.label_selector.as_ref(),
            &at,
            errors,
        );
        label_selector(c.label_selector.as_ref(), &at.child("labelSelector"), errors);
    }
}

/// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
pub fn taint_effect(effect: &str, at: &Path, errors: &mut Errors) {
    const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
    one_of(effect, EFFECTS, at, errors);
}

/// Which taints a pod tolerates.
pub fn tolerations(tolerations: &[Toleration], at: &Path, errors: &mut Errors) {
    for (at, t) in at.items(tolerations.iter()) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (key, operator, value, effect) =
            (text(&t.key), text(&t.operator), text(&t.value), text(&t.effect));
        if key.is_empty() {
            if operator != "Exists" {
                errors.invalid(
                    &at.child("operator"),
                    &operator,
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                );
            }
        } else {
            each(errors, &at.child("key"), &key, qualified_name(&key));
        }
        if t.toleration_seconds.is_some() && effect != "NoExecute" {
            errors.invalid(
                &at.child("effect"),
                &effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator.as_str() {
            "" | "Equal" => {
                let wrong = label_value(&value);
                if !wrong.is_empty() {
                    errors.invalid(&at.child("operator"), &value, wrong.join(";"));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    errors.invalid(
                        &at.child("operator"),
                        &value,
                        "value must be empty when `operator` is 'Exists'",
                    );
                }
            }
            other => errors.not_supported(&at.child("operator"), other, &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            taint_effect(&effect, &at.child("effect"), errors);
        }
    }
}
