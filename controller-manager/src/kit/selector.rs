//! Label selectors against labels, on the typed `LabelSelector`.
//! An absent or empty selector selects everything; callers that mean
//! "nothing" check for emptiness first, as upstream's controllers do.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Whether the selector asks for nothing in particular.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether all of `wanted` stands in `labels`.
pub fn has_all(wanted: &BTreeMap<String, String>, labels: Option<&BTreeMap<String, String>>) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether an owner with this selector wants an object; an empty one wants nothing.
pub fn wants(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    !is_empty(selector) && matches(selector, labels)
}

/// Whether the selector selects an object with these labels.
pub fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let labels_match = selector.match_labels.as_ref().is_none_or(|wanted| has_all(wanted, labels));
    labels_match
        && selector.match_expressions.iter().flatten().all(|term| {
            let value = labels.and_then(|labels| labels.get(&term.key));
            let listed = || value.is_some_and(|value| term.values.iter().flatten().any(|v| v == value));
            match term.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests;
