//! What is wrong with the expressions of a policy on the kinds that it is meant for: their types are known when
//! the policy names them.
//!
//! Counterpart of upstream's `admission/plugin/policy/validating/typechecking.go`. Warnings change nothing of what
//! the policy does.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{ExpressionWarning, ValidatingAdmissionPolicySpec};

use super::policy::Environments;
use crate::{
    cel::Decl,
    field::{Errors, Path},
};

/// The most kinds whose types are looked at.
const MOST: usize = 10;

/// The resources that a policy names, as group, version and plural; rules with wildcards name none.
pub fn matched_resources(spec: &ValidatingAdmissionPolicySpec) -> Vec<(String, String, String)> {
    let rules = spec.match_constraints.iter().flat_map(|c| c.resource_rules.iter().flatten());
    let mut found = Vec::new();
    for rule in rules {
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let (groups, versions) = (list(&rule.api_groups), list(&rule.api_versions));
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        for group in &groups {
            for version in &versions {
                let plain = list(&rule.resources).into_iter().filter(|name| !name.contains(['*', '/']));
                found.extend(plain.map(|name| (group.clone(), version.clone(), name)));
            }
        }
    }
    found.sort();
    found.dedup();
    found.truncate(MOST);
    found
}

/// The warnings about a policy's expressions on objects of some kinds, by name and type. `params` is the type of
/// its parameters, if that is known.
pub fn type_warnings(
    spec: &ValidatingAdmissionPolicySpec,
    kinds: &[(String, Arc<Decl>)],
    params: Option<&Arc<Decl>>,
) -> Vec<ExpressionWarning> {
    let environments: Vec<(&str, Environments)> = kinds
        .iter()
        .map(|(name, decl)| {
            let environments = Environments::typed(decl, params);
            let variables = spec.variables.as_deref();
            (name.as_str(), environments.with(variables, &Path::root(), &mut Errors::default()))
        })
        .collect();
    let mut warnings = Vec::new();
    let mut look = |expression: &str, at: Path| {
        let mut wrong = Vec::new();
        for (name, environments) in &environments {
            if let Err(why) = environments.rules.compile(expression) {
                wrong.push(format!("{name}: {why}\n"));
            }
        }
        if !wrong.is_empty() {
            warnings.push(ExpressionWarning { field_ref: at.to_string(), warning: wrong.join("\n") });
        }
    };
    for (i, validation) in spec.validations.iter().flatten().enumerate() {
        let at = Path::new("spec").child("validations").index(i);
        look(&validation.expression, at.child("expression"));
        if let Some(message) = validation.message_expression.as_deref().filter(|text| !text.is_empty()) {
            look(message, at.child("messageExpression"));
        }
    }
    warnings
}
