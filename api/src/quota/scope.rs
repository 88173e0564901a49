//! The scopes of quotas: which pods and claims one is about.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Affinity, PersistentVolumeClaim, Pod, PodAffinityTerm, ResourceQuota, WeightedPodAffinityTerm,
};

use crate::pod::Qos;

/// One thing that a quota's scope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term<'a> {
    scope: &'a str,
    operator: &'a str,
    values: &'a [String],
}

/// All that must hold of an object for the quota to count it, each thing once.
pub fn terms(quota: &ResourceQuota) -> BTreeSet<Term<'_>> {
    let spec = quota.spec.as_ref();
    let scopes = spec.and_then(|spec| spec.scopes.as_ref()).into_iter().flatten();
    let selector = spec.and_then(|spec| spec.scope_selector.as_ref()?.match_expressions.as_ref());
    let selected = selector.into_iter().flatten().map(|term| Term {
        scope: &term.scope_name,
        operator: &term.operator,
        values: term.values.as_deref().unwrap_or_default(),
    });
    scopes.map(|scope| Term { scope, operator: "Exists", values: &[] }).chain(selected).collect()
}

/// Whether a term selects what names this class, or none.
fn selects(term: Term<'_>, class: Option<&str>) -> bool {
    let listed = || term.values.iter().any(|value| Some(value.as_str()) == class);
    match term.operator {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => class.is_some(),
        "DoesNotExist" => class.is_none(),
        _ => false,
    }
}

/// Whether a pod is what the term is about.
pub fn has_pod(term: Term<'_>, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let terminating = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    match term.scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => Qos::of(pod) == Qos::BestEffort,
        "NotBestEffort" => Qos::of(pod) != Qos::BestEffort,
        "PriorityClass" => {
            selects(term, spec.priority_class_name.as_deref().filter(|class| !class.is_empty()))
        }
        "CrossNamespacePodAffinity" => spec.affinity.as_ref().is_some_and(looks_beyond),
        _ => false,
    }
}

/// Whether an affinity to pods, or its opposite, looks into other namespaces.
fn looks_beyond(affinity: &Affinity) -> bool {
    fn terms<'a>(
        required: &'a Option<Vec<PodAffinityTerm>>,
        preferred: &'a Option<Vec<WeightedPodAffinityTerm>>,
    ) -> impl Iterator<Item = &'a PodAffinityTerm> {
        required
            .iter()
            .flatten()
            .chain(preferred.iter().flatten().map(|weighted| &weighted.pod_affinity_term))
    }
    let to = affinity.pod_affinity.iter().flat_map(|a| {
        terms(
            &a.required_during_scheduling_ignored_during_execution,
            &a.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let from = affinity.pod_anti_affinity.iter().flat_map(|a| {
        terms(
            &a.required_during_scheduling_ignored_during_execution,
            &a.preferred_during_scheduling_ignored_during_execution,
        )
    });
    to.chain(from).any(|term| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty()) || term.namespace_selector.is_some()
    })
}

/// Whether a claim is what the term is about: by any class of volume attributes that it has, gets or wants.
pub fn has_claim(term: Term<'_>, claim: &PersistentVolumeClaim) -> bool {
    if term.scope != "VolumeAttributesClass" {
        return false;
    }
    let status = claim.status.as_ref();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let coming = status.and_then(|status| {
        status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.as_deref()
    });
    let mut classes =
        [wanted, current, coming].into_iter().flatten().filter(|class| !class.is_empty()).peekable();
    if classes.peek().is_none() {
        selects(term, None)
    } else {
        classes.any(|class| selects(term, Some(class)))
    }
}
