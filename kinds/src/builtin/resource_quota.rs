//! ResourceQuota: how much of everything a namespace may use.

use std::collections::{BTreeMap, BTreeSet};

use api::resource_names::{is_known, resource_name};
use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaSpec, ScopedResourceSelectorRequirement},
    apimachinery::pkg::api::resource::Quantity as Wire,
};
use serde::Serialize;

use crate::builtin::pod::validation::resources::amount;
use crate::builtin::prelude::*;

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

impl Strategy for ResourceQuota {
    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        canonical_list(&mut spec.hard);
        absent_when_zero(&mut spec.scopes);
        let status = self.status.get_or_insert_default();
        canonical_list(&mut status.hard);
        canonical_list(&mut status.used);
    }

    fn prepare_create(quota: &mut Draft<Self>) {
        quota.status = Some(Default::default());
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return };
        amounts(spec.hard.as_ref(), &at.child("hard"), errors);
        scopes(spec, &at.child("scopes"), errors);
        scope_selector(spec, &at.child("scopeSelector.matchExpressions"), errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let at = Path::new("status");
            let Some(status) = &self.status else { return };
            amounts(status.hard.as_ref(), &at.child("hard"), errors);
            amounts(status.used.as_ref(), &at.child("used"), errors);
            return;
        }
        self.validate(errors);
        let scopes = |q: &ResourceQuota| {
            let list = q.spec.as_ref().and_then(|s| s.scopes.clone()).unwrap_or_default();
            list.into_iter().collect::<BTreeSet<_>>()
        };
        if scopes(self) != scopes(old) {
            errors.invalid(&Path::new("spec.scopes"), scopes(self), "field is immutable");
        }
    }

    fn columns() -> Vec<Column> {
        let used = |name, words, limits| {
            Column::text(name, words, move |quota| {
                let hard = quota.at(&["status", "hard"]).and_then(Value::as_object).into_iter().flatten();
                let mut terms: Vec<String> = hard
                    .filter(|(name, _)| name.starts_with("limits") == limits)
                    .map(|(name, most)| {
                        let used = quota.at(&["status", "used", name]).and_then(Value::as_str).unwrap_or("0");
                        format!("{name}: {used}/{}", most.as_str().unwrap_or_default())
                    })
                    .collect();
                terms.sort();
                terms.join(", ").into()
            })
        };
        vec![
            Column::name(),
            used("Request", "What is used of everything, of what may be.", false),
            used("Limit", "What is used of limits, of what may be.", true),
            Column::age(),
        ]
    }
}

/// Whether a quota of the scope can count the resource. What the cluster does not know by name is let through.
fn counts(scope: &str, resource: &str) -> bool {
    const OF_PODS: &[&str] =
        &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    const OF_CLAIMS: &[&str] = &["persistentvolumeclaims", "requests.storage"];
    let counted = match scope {
        "BestEffort" => &OF_PODS[..1],
        "VolumeAttributesClass" => OF_CLAIMS,
        _ if SCOPES.contains(&scope) => OF_PODS,
        _ => return true,
    };
    !is_known(resource) || counted.contains(&resource)
}

/// The resources of a quota that one of its scopes cannot count.
fn uncountable<'a>(spec: &'a ResourceQuotaSpec, scope: &'a str) -> impl Iterator<Item = &'a String> {
    spec.hard.iter().flat_map(|hard| hard.keys()).filter(move |resource| !counts(scope, resource))
}

/// Scopes that no object has at the same time.
fn conflicting(scopes: &BTreeSet<&str>) -> usize {
    let pairs = [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]];
    pairs.iter().filter(|pair| pair.iter().all(|scope| scopes.contains(scope))).count()
}

fn scopes(spec: &ResourceQuotaSpec, at: &Path, errors: &mut Errors) {
    let scopes = spec.scopes.as_deref().unwrap_or_default();
    let mut counted = BTreeMap::new();
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(at, scopes, "unsupported scope");
        }
        let count = *counted.entry(scope).or_insert_with(|| uncountable(spec, scope).count());
        errors.times(count, |errors| errors.invalid(at, scopes, "unsupported scope applied to resource"));
    }
    for _ in 0..conflicting(&scopes.iter().map(String::as_str).collect()) {
        errors.invalid(at, scopes, "conflicting scopes");
    }
}

fn scope_selector(spec: &ResourceQuotaSpec, at: &Path, errors: &mut Errors) {
    let terms = spec.scope_selector.as_ref().and_then(|s| s.match_expressions.as_deref()).unwrap_or_default();
    for term in terms {
        if !SCOPES.contains(&term.scope_name.as_str()) {
            errors.invalid(&at.child("scopeName"), &term.scope_name, "unsupported scope");
        }
        for _ in uncountable(spec, &term.scope_name) {
            errors.invalid(at, Shown::from(terms), "unsupported scope applied to resource");
        }
        let is_yes_or_no = !["PriorityClass", "VolumeAttributesClass"].contains(&term.scope_name.as_str());
        if SCOPES.contains(&term.scope_name.as_str()) && is_yes_or_no && term.operator != "Exists" {
            let words = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&at.child("operator"), &term.operator, words);
        }
        let some = term.values.as_ref().is_some_and(|v| !v.is_empty());
        match (term.operator.as_str(), some) {
            ("In" | "NotIn", false) => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.required(&at.child("values"), why);
            }
            ("Exists" | "DoesNotExist", true) => {
                let words =
                    "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.invalid(&at.child("values"), &term.values, words);
            }
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (other, _) => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
        }
    }
    // Upstream shows the other list of scopes here.
    for _ in 0..conflicting(&terms.iter().map(|term| term.scope_name.as_str()).collect()) {
        errors.invalid(at, &spec.scopes, "conflicting scopes");
    }
}

/// A selector of scopes as upstream shows one that is wrong.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    match_expressions: Vec<ShownTerm<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownTerm<'a> {
    scope_name: &'a str,
    operator: &'a str,
    values: &'a Option<Vec<String>>,
}

impl<'a> From<&'a [ScopedResourceSelectorRequirement]> for Shown<'a> {
    fn from(terms: &'a [ScopedResourceSelectorRequirement]) -> Self {
        let shown = |term: &'a ScopedResourceSelectorRequirement| ShownTerm {
            scope_name: &term.scope_name,
            operator: &term.operator,
            values: &term.values,
        };
        Self { match_expressions: terms.iter().map(shown).collect() }
    }
}

/// How much of everything there is, may be or is used.
fn amounts(list: Option<&BTreeMap<String, Wire>>, at: &Path, errors: &mut Errors) {
    for (name, wire) in list.into_iter().flatten() {
        let at = at.key(name);
        resource(name, &at, errors);
        amount(name, wire, &at, errors);
    }
}

/// The name of something that quotas can count.
fn resource(name: &str, at: &Path, errors: &mut Errors) {
    resource_name(name, at, errors);
    if !name.contains('/') && !is_known(name) {
        errors.invalid(at, name, "must be a standard resource for quota");
    }
}

#[cfg(test)]
mod tests;
