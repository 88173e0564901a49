//! Who else has a say when objects are written: webhooks, and policies with the bindings that put them to use.
//!
//! Counterpart of upstream's `pkg/apis/admissionregistration`. Expressions are compiled to see
//! whether they can be, and kept as text.

mod compiled;
mod conditions;
mod expressions;
mod matching;
mod policy;
mod warnings;
mod webhook;

pub use compiled::{BindingSpec, Compiled, Denial, Given, Judgement, PolicySpec};
pub use conditions::Conditions;
pub use policy::{
    MutatingAdmissionPolicies, MutatingAdmissionPolicyBindings, ValidatingAdmissionPolicies,
    ValidatingAdmissionPolicyBindings,
};
pub use warnings::{matched_resources, type_warnings};
pub use webhook::{MutatingWebhookConfigurations, ValidatingWebhookConfigurations};

use std::collections::BTreeSet;

use expressions::Environment;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use api::{
    field::{Errors, Path},
    validation::{each, qualified_name},
};

const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const MAX_CONDITIONS: usize = 64;

/// A word that must be one of a few.
fn one_of(value: Option<&str>, allowed: &[&str], at: &Path, errors: &mut Errors) {
    if let Some(value) = value.filter(|v| !allowed.contains(v)) {
        errors.not_supported(at, value, allowed);
    }
}

/// Conditions under which a webhook or policy is asked at all.
fn match_conditions(
    conditions: Option<&Vec<MatchCondition>>,
    environment: &Environment,
    at: &Path,
    errors: &mut Errors,
) {
    let conditions = conditions.map(Vec::as_slice).unwrap_or_default();
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(at, conditions.len(), MAX_CONDITIONS);
    }
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = at.index(i);
        let expression = condition.expression.trim();
        if expression.is_empty() {
            errors.required(&at.child("expression"), "");
        } else {
            environment.check(expression, &["bool"], &at.child("expression"), errors);
        }
        let name_at = at.child("name");
        if condition.name.is_empty() {
            errors.required(&name_at, "");
            continue;
        }
        each(errors, &name_at, &condition.name, qualified_name(&condition.name));
        if !seen.insert(&condition.name) {
            errors.duplicate(&name_at, &condition.name);
        }
    }
}

#[cfg(test)]
mod tests;
