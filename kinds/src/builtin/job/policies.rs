//! What a Job says of its pods' ends: which failures count, which successes are enough, and when a pod is replaced.
//!
//! Counterpart of the policies in upstream's `pkg/apis/batch/validation`.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicyRule,
};
use serde::Serialize;

use super::status::intervals;
use api::field::ErrorType;

use crate::builtin::prelude::*;

/// The most rules of a policy, and the most conditions of a rule.
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;
const LONGEST_INDEXES: usize = 64 * 1024;

/// The policies of a Job, in the order upstream checks them.
pub fn validate(spec: &JobSpec, at: &Path, errors: &mut Errors) {
    failure(spec, &at.child("podFailurePolicy.rules"), errors);
    success(spec, &at.child("successPolicy"), errors);
    let Some(replacement) = spec.pod_replacement_policy.as_deref() else { return };
    let allowed: &[&str] = match spec.pod_failure_policy {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    one_of(replacement, allowed, &at.child("podReplacementPolicy"), errors);
}

fn failure(spec: &JobSpec, at: &Path, errors: &mut Errors) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    if policy.rules.len() > MOST_RULES {
        errors.too_many(at, policy.rules.len(), MOST_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        failure_rule(spec, rule, &at.index(i), errors);
    }
}

fn failure_rule(spec: &JobSpec, rule: &PodFailurePolicyRule, at: &Path, errors: &mut Errors) {
    const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
    let action_at = at.child("action");
    match rule.action.as_str() {
        "" => {
            let words = r#"valid values: ["Count" "FailIndex" "FailJob" "Ignore"]"#;
            errors.required(&action_at, words);
        }
        "FailIndex" if spec.backoff_limit_per_index.is_none() => {
            errors.invalid(&action_at, &rule.action, "requires the backoffLimitPerIndex to be set");
        }
        action if !ACTIONS.contains(&action) => errors.not_supported(&action_at, action, ACTIONS),
        _ => {}
    }
    let conditions = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(spec, codes, &at.child("onExitCodes"), errors);
    }
    pod_conditions(conditions, &at.child("onPodConditions"), errors);
    let wrong = match (&rule.on_exit_codes, conditions.is_empty()) {
        (Some(_), false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (None, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.plain(ErrorType::Invalid, at, wrong);
}

fn pod_conditions(conditions: &[PodFailurePolicyOnPodConditionsPattern], at: &Path, errors: &mut Errors) {
    const STATES: &[&str] = &["False", "True", "Unknown"];
    if conditions.len() > MOST_RULES {
        errors.too_many(at, conditions.len(), MOST_RULES);
    }
    for (at, pattern) in at.items(conditions.iter()) {
        each(errors, &at.child("type"), &pattern.type_, qualified_name(&pattern.type_));
        match pattern.status.as_deref().unwrap_or_default() {
            "" => errors.required(&at.child("status"), r#"valid values: ["False" "True" "Unknown"]"#),
            state if !STATES.contains(&state) => errors.not_supported(&at.child("status"), state, STATES),
            _ => {}
        }
    }
}

fn exit_codes(
    spec: &JobSpec,
    codes: &PodFailurePolicyOnExitCodesRequirement,
    at: &Path,
    errors: &mut Errors,
) {
    const OPERATORS: &[&str] = &["In", "NotIn"];
    let (operator_at, values_at) = (at.child("operator"), at.child("values"));
    match codes.operator.as_str() {
        "" => errors.required(&operator_at, r#"valid values: ["In" "NotIn"]"#),
        operator if !OPERATORS.contains(&operator) => errors.not_supported(&operator_at, operator, OPERATORS),
        _ => {}
    }
    if let Some(name) = codes.container_name.as_ref().filter(|name| !has_container(spec, name)) {
        let words = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&at.child("containerName"), name, words);
    }
    match codes.values.len() {
        0 => errors.invalid(&values_at, &codes.values, "at least one value is required"),
        many if many > MOST_CODES => errors.too_many(&values_at, many, MOST_CODES),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for (i, code) in codes.values.iter().enumerate() {
        if *code == 0 && codes.operator == "In" {
            errors.invalid(&values_at.index(i), code, "must not be 0 for the In operator");
        }
        unique(&mut seen, code, &values_at.index(i), errors);
    }
    if !codes.values.is_sorted() {
        errors.invalid(&values_at, &codes.values, "must be ordered");
    }
}

fn has_container(spec: &JobSpec, name: &str) -> bool {
    let containers = spec.template.spec.iter().flat_map(|pod| {
        let first = pod.init_containers.iter().flatten();
        pod.containers.iter().chain(first)
    });
    containers.into_iter().any(|container| container.name == name)
}

/// A success policy as upstream shows one that is wrong.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownPolicy<'a> {
    rules: Vec<ShownRule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRule<'a> {
    succeeded_indexes: Option<&'a str>,
    succeeded_count: Option<i32>,
}

fn success(spec: &JobSpec, at: &Path, errors: &mut Errors) {
    let Some(policy) = &spec.success_policy else { return };
    if spec.completion_mode.as_deref() != Some("Indexed") {
        let rules = policy.rules.iter().map(|rule| ShownRule {
            succeeded_indexes: rule.succeeded_indexes.as_deref(),
            succeeded_count: rule.succeeded_count,
        });
        let shown = ShownPolicy { rules: rules.collect() };
        return errors.invalid(at, shown, "requires indexed completion mode");
    }
    let at = at.child("rules");
    if policy.rules.is_empty() {
        let words = "at least one rules must be specified when the successPolicy is specified";
        errors.required(&at, words);
    }
    if policy.rules.len() > MOST_RULES {
        errors.too_many(&at, policy.rules.len(), MOST_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        success_rule(rule, spec.completions.unwrap_or(0), &at.index(i), errors);
    }
}

fn success_rule(rule: &SuccessPolicyRule, completions: i32, at: &Path, errors: &mut Errors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let words = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(at, words);
    }
    let mut named = None;
    if let Some(text) = &rule.succeeded_indexes {
        let at = at.child("succeededIndexes");
        if text.len() > LONGEST_INDEXES {
            errors.too_long(&at, LONGEST_INDEXES);
        }
        named = Some(match intervals(text, completions) {
            Ok(all) => {
                all.iter().fold(0i32, |sum, (from, to)| sum.saturating_add(to - from).saturating_add(1))
            }
            Err(why) => {
                errors.invalid(&at, text, format!("error parsing succeededIndexes: {why}"));
                0
            }
        });
    }
    let Some(count) = rule.succeeded_count else { return };
    let at = at.child("succeededCount");
    not_negative(Some(count), &at, errors);
    if count > completions {
        let words =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&at, count, words);
    }
    if let Some(named) = named.filter(|named| count > *named) {
        let words = format!(
            "must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.invalid(&at, count, words);
    }
}
