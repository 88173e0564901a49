//! What is wrong with the expressions of a policy on the kinds that it is meant for: their types are known when
//! the policy names them.
//!
//! Counterpart of upstream's `admission/plugin/policy/validating/typechecking.go`. Warnings change nothing of what
//! the policy does.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::field::{Errors, Path};
use cel::Decl;
use k8s_openapi::api::admissionregistration::v1::{ExpressionWarning, ValidatingAdmissionPolicySpec};

use super::policy::Environments;

/// The most kinds whose types are looked at.
const MOST: usize = 10;

/// The resources that a policy names, as group, version and plural; rules with wildcards name none.
pub fn matched_resources(spec: &ValidatingAdmissionPolicySpec) -> Vec<(String, String, String)> {
    let rules = spec.match_constraints.iter().flat_map(|c| c.resource_rules.iter().flatten());
    let mut found = BTreeSet::new();
    for rule in rules {
        // What comes after the first few of a list is not among the first few of all.
        let list = |list: &Option<Vec<String>>, is_name: fn(&str) -> bool| {
            let names: BTreeSet<_> = list.iter().flatten().filter(|name| is_name(name)).cloned().collect();
            names.into_iter().take(MOST).collect::<Vec<_>>()
        };
        if [&rule.api_groups, &rule.api_versions]
            .into_iter()
            .flatten()
            .flatten()
            .any(|name| name.contains('*'))
        {
            continue;
        }
        let (groups, versions) = (list(&rule.api_groups, |_| true), list(&rule.api_versions, |_| true));
        let plain = list(&rule.resources, |name| !name.contains(['*', '/']));
        for group in &groups {
            for version in &versions {
                found.extend(plain.iter().map(|name| (group.clone(), version.clone(), name.clone())));
            }
        }
        while found.len() > MOST {
            found.pop_last();
        }
    }
    found.into_iter().collect()
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
