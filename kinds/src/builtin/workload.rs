//! What every controller of pods has: a selector, a template that it selects, counts of pods.
//!
//! Counterpart of the shared parts of upstream's `pkg/apis/apps/validation`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use serde::Serialize;
use serde_json::Map;

use super::pod;
use crate::builtin::prelude::*;

/// Whether there is a selector at all; see [`Strategy::NEEDS_SELECTOR`].
pub fn is_given(selector: &LabelSelector) -> bool {
    selector.match_labels.is_some() || selector.match_expressions.is_some()
}

/// A selector as upstream shows it: its fields in their order there, and none that is empty.
#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    match_labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    match_expressions: Option<&'a Vec<LabelSelectorRequirement>>,
}

impl<'a> From<&'a LabelSelector> for Shown<'a> {
    fn from(selector: &'a LabelSelector) -> Self {
        Self {
            match_labels: selector.match_labels.as_ref().filter(|labels| !labels.is_empty()),
            match_expressions: selector.match_expressions.as_ref().filter(|list| !list.is_empty()),
        }
    }
}

/// A selector that may be neither missing nor empty. `broken` is said of one that selects nothing since it is wrong.
pub fn selector(selector: &LabelSelector, kind: &str, broken: &str, at: &Path, errors: &mut Errors) {
    if !is_given(selector) {
        errors.required(at, "");
        return;
    }
    let before = errors.len();
    label_selector(Some(selector), at, errors);
    if errors.len() > before {
        errors.invalid(at, Shown::from(selector), broken);
    }
    if selects_all(selector) {
        errors.invalid(at, Map::new(), format!("empty selector is invalid for {kind}"));
    }
}

/// Whether a selector can be used at all.
pub fn is_sound(selector: &LabelSelector) -> bool {
    let mut errors = Errors::default();
    label_selector(Some(selector), &Path::root(), &mut errors);
    errors.is_empty()
}

/// A template whose pods the selector selects and that run for ever.
pub fn template(
    template: Option<&PodTemplateSpec>,
    selector: &LabelSelector,
    kind: &str,
    at: &Path,
    errors: &mut Errors,
) {
    let Some(template) = template else { return errors.required(at, "") };
    matching(template, selector, at, errors);
    pod::validation::template(template, at, errors);
    runs_for_ever(template, kind, at, errors);
}

/// A template whose pods the selector selects.
pub fn matching(template: &PodTemplateSpec, selector: &LabelSelector, at: &Path, errors: &mut Errors) {
    let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let given = is_given(selector);
    if !given || (!selects_all(selector) && !selects(selector, labels)) {
        let why = "`selector` does not match template `labels`";
        errors.invalid(&at.child("metadata.labels"), labels, why);
    }
}

/// A template whose pods do not end by themselves.
pub fn runs_for_ever(template: &PodTemplateSpec, kind: &str, at: &Path, errors: &mut Errors) {
    let Some(spec) = &template.spec else { return };
    if let Some(policy) = spec.restart_policy.as_deref().filter(|p| *p != "Always") {
        errors.not_supported(&at.child("spec.restartPolicy"), policy, &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&at.child("spec.activeDeadlineSeconds"), &why);
    }
}

/// A selector that stays as it was.
pub fn same_selector(new: &LabelSelector, old: &LabelSelector, errors: &mut Errors) {
    let shown = |selector| is_given(selector).then(|| Shown::from(selector));
    immutable(&shown(new), &shown(old), &Path::new("spec.selector"), errors);
}

/// The update strategy of a kind, as upstream shows one that is wrong: Go's fields, by their names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShownStrategy<'a, R> {
    #[serde(rename = "Type")]
    pub type_: &'a str,
    pub rolling_update: Option<R>,
}

/// Name and value of a count, and of the count that it is a part of.
pub type Count<'a> = (&'a str, i32, Option<(&'a str, i32)>);

/// The counts of a status: none negative, none above the one it is a part of.
pub fn counts(counts: &[Count<'_>], errors: &mut Errors) {
    let at = Path::new("status");
    for (i, (name, value, _)) in counts.iter().enumerate() {
        // A count that is part of two is one count.
        if counts[..i].iter().any(|(other, ..)| other == name) {
            continue;
        }
        not_negative(Some(*value), &at.child(name), errors);
    }
    for (name, value, whole) in counts {
        if let Some((whole, most)) = whole
            && value > most
        {
            errors.invalid(&at.child(name), value, format!("cannot be greater than {whole}"));
        }
    }
}

/// What the status of a kind that keeps a number of pods says of them: the generation that it is about, how many there are,
/// and of these how many have all labels of the template, are ready, and have been for long enough.
pub fn replicas(observed: Option<i64>, all: i32, parts: [Option<i32>; 3], errors: &mut Errors) {
    let whole = Some(("status.replicas", all));
    let [fully_labeled, ready, available] = parts.map(Option::unwrap_or_default);
    not_negative(observed, &Path::new("status.observedGeneration"), errors);
    counts(
        &[
            ("replicas", all, None),
            ("fullyLabeledReplicas", fully_labeled, whole),
            ("readyReplicas", ready, whole),
            ("availableReplicas", available, whole),
            ("availableReplicas", available, Some(("readyReplicas", ready))),
        ],
        errors,
    );
}

/// What is to be said of the template in a spec that is new or has changed.
pub fn warnings<T: PartialEq>(
    spec: Option<&T>,
    old: Option<Option<&T>>,
    template: impl Fn(&T) -> Option<&PodTemplateSpec>,
) -> Vec<String> {
    let Some(spec) = spec.filter(|spec| old.flatten() != Some(*spec)) else { return Vec::new() };
    template(spec).map_or_else(Vec::new, |t| pod::warnings::of_template(t, &Path::new("spec.template")))
}

/// The columns of the kinds that keep a number of pods.
pub fn replica_columns(selector: Column) -> Vec<Column> {
    let count = |name, words, path: &'static [&'static str]| {
        Column::number(name, words, move |object| int(object, path).into())
    };
    let [containers, images] = cells::template_columns(cells::CONTAINERS);
    vec![
        Column::name(),
        count("Desired", "How many pods are wanted.", &["spec", "replicas"]),
        count("Current", "How many pods there are.", &["status", "replicas"]),
        count("Ready", "How many pods are ready.", &["status", "readyReplicas"]),
        Column::age(),
        containers,
        images,
        selector,
    ]
}

#[cfg(test)]
mod tests;
