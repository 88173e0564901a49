//! Conditions as newer kinds have them. Counterpart of `ValidateConditions` upstream.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{each, qualified_name};
use crate::field::{Errors, Path};
use crate::object::is_zero_time;

const STATUSES: &[&str] = &["False", "True", "Unknown"];
const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

/// What is wrong with a status' conditions.
pub fn conditions(conditions: Option<&Vec<Condition>>, at: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions.into_iter().flatten().enumerate() {
        let at = at.index(i);
        if !seen.insert(&condition.type_) {
            errors.duplicate(&at.child("type"), &condition.type_);
        }
        each(errors, &at.child("type"), &condition.type_, qualified_name(&condition.type_));
        if !STATUSES.contains(&condition.status.as_str()) {
            errors.not_supported(&at.child("status"), &condition.status, STATUSES);
        }
        if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
            errors.invalid(
                &at.child("observedGeneration"),
                generation,
                "must be greater than or equal to zero",
            );
        }
        if is_zero_time(condition.last_transition_time.0) {
            errors.required(&at.child("lastTransitionTime"), "");
        }
        reason(&condition.reason, &at.child("reason"), errors);
        if condition.message.len() > MAX_MESSAGE {
            errors.too_long(&at.child("message"), MAX_MESSAGE);
        }
    }
}

fn reason(text: &str, at: &Path, errors: &mut Errors) {
    if text.is_empty() {
        return errors.required(at, "");
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let formed = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(word)
        && text.chars().all(|c| word(c) || c == ',' || c == ':');
    if !formed {
        let words = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
        errors.invalid(at, text, words);
    }
    if text.len() > MAX_REASON {
        errors.too_long(at, MAX_REASON);
    }
}
