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
pub use warnings::{matched_resources, type_warnings};

use std::collections::BTreeSet;

use expressions::Environment;
use k8s_openapi::api::admissionregistration::v1::MatchCondition;

use crate::builtin::prelude::*;

/// What is so of all kinds of the group.
const FACTS: Facts = Facts {
    updates_unconditionally: false,
    has_generation: true,
    takes_plain_finalizers: true,
    ..Facts::PLAIN
};
const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const MAX_CONDITIONS: usize = 64;

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
    for (at, condition) in at.items(conditions.iter()) {
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
        unique(&mut seen, &condition.name, &name_at, errors);
    }
}

#[cfg(test)]
mod tests;
