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
mod tests {
    use serde_json::{Value, json};

    use crate::kinds::{
        pod::Pods,
        testing::{made, wrong},
    };

    fn pod(selector: Value, keys: Value) -> Value {
        made(
            Pods,
            json!({"metadata": {"name": "p", "labels": {"a": "1", "b": "2"}}, "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "t", "labelSelector": selector, "matchLabelKeys": keys, "mismatchLabelKeys": ["b"]}]}},
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "t", "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": selector, "matchLabelKeys": keys}]}}),
        )
    }

    #[test]
    fn values_come_from_the_pod() {
        let made = pod(json!({"matchLabels": {"c": "3"}}), json!(["a", "none"]));
        let expression = |key: &str, operator: &str, value: &str| json!({"key": key, "operator": operator, "values": [value]});
        assert_eq!(
            made["spec"]["topologySpreadConstraints"][0]["labelSelector"],
            json!({"matchLabels": {"c": "3"}, "matchExpressions": [expression("a", "In", "1")]})
        );
        let terms =
            &made["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        assert_eq!(
            terms[0]["labelSelector"]["matchExpressions"],
            json!([expression("a", "In", "1"), expression("b", "NotIn", "2")])
        );
        assert_eq!(wrong(Pods, &made), Vec::<String>::new());
    }

    #[test]
    fn a_key_stands_in_one_place() {
        let at = "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]";
        assert_eq!(
            wrong(Pods, &pod(json!({"matchLabels": {"a": "3"}}), json!(["a"]))),
            [
                format!("{at}[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector"),
                "spec.topologySpreadConstraints[0][0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector".to_owned(),
            ]
        );
        assert_eq!(
            wrong(Pods, &pod(json!({}), json!(["b"]))),
            [
                format!("{at}[0]: Invalid value: \"b\": exists in both matchLabelKeys and labelSelector"),
                format!(
                    "{at}.matchLabelKeys[0]: Invalid value: \"b\": exists in both matchLabelKeys and mismatchLabelKeys"
                ),
            ]
        );
        assert_eq!(
            wrong(Pods, &pod(json!(null), json!(["b"])))[..2],
            [
                format!(
                    "{at}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
                ),
                format!(
                    "{at}.mismatchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
                ),
            ]
        );
    }
}
