//! Which requests a webhook or policy is about: rules of groups, versions, resources and operations.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, RuleWithOperations,
};

use super::MATCH_POLICIES;
use crate::builtin::prelude::*;

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

pub(super) fn default_rules(rules: &mut Option<Vec<RuleWithOperations>>) {
    for rule in rules.iter_mut().flatten() {
        set(&mut rule.scope, "*");
    }
}

pub(super) fn default_match(resources: &mut MatchResources) {
    set(&mut resources.match_policy, "Equivalent");
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    for rules in [&mut resources.resource_rules, &mut resources.exclude_resource_rules] {
        for rule in rules.iter_mut().flatten() {
            set(&mut rule.scope, "*");
        }
    }
}

pub(super) fn match_resources(resources: &MatchResources, at: &Path, errors: &mut Errors) {
    let policy_at = at.child("matchPolicy");
    match resources.match_policy.as_deref() {
        None => errors.required(&policy_at, ""),
        policy => one_of(policy, MATCH_POLICIES, &policy_at, errors),
    }
    for (field, selector) in
        [("namespaceSelector", &resources.namespace_selector), ("objectSelector", &resources.object_selector)]
    {
        let at = at.child(field);
        if selector.is_none() {
            errors.required(&at, "");
        }
        label_selector(selector.as_ref(), &at, errors);
    }
    for (field, rules) in [
        ("resourceRules", &resources.resource_rules),
        ("excludeResourceRules", &resources.exclude_resource_rules),
    ] {
        for (i, rule) in rules.iter().flatten().enumerate() {
            named_rule(rule, &at.child(field).index(i), errors);
        }
    }
}

fn named_rule(rule: &NamedRuleWithOperations, at: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, name) in at.child("resourceNames").items(rule.resource_names.iter().flatten()) {
        each(errors, &at, name, path_segment(name));
        unique(&mut seen, name, &at, errors);
    }
    let plain = RuleWithOperations {
        api_groups: rule.api_groups.clone(),
        api_versions: rule.api_versions.clone(),
        operations: rule.operations.clone(),
        resources: rule.resources.clone(),
        scope: rule.scope.clone(),
    };
    self::rule(&plain, at, errors);
}

pub(super) fn rule(rule: &RuleWithOperations, at: &Path, errors: &mut Errors) {
    let operations = rule.operations.as_deref().unwrap_or_default();
    let operations_at = at.child("operations");
    some_or_all(operations, "operations", &operations_at, errors);
    for (i, operation) in operations.iter().enumerate() {
        one_of(operation.as_str(), OPERATIONS, &operations_at.index(i), errors);
    }
    some_or_all(rule.api_groups.as_deref().unwrap_or_default(), "API groups", &at.child("apiGroups"), errors);
    let versions = rule.api_versions.as_deref().unwrap_or_default();
    let versions_at = at.child("apiVersions");
    some_or_all(versions, "API versions", &versions_at, errors);
    for (i, _) in versions.iter().enumerate().filter(|(_, v)| v.is_empty()) {
        errors.required(&versions_at.index(i), "");
    }
    resources(rule.resources.as_deref().unwrap_or_default(), &at.child("resources"), errors);
    one_of(rule.scope.as_deref(), SCOPES, &at.child("scope"), errors);
}

/// A list that is not empty and in which `*` stands alone.
fn some_or_all(list: &[String], what: &str, at: &Path, errors: &mut Errors) {
    if list.is_empty() {
        errors.required(at, "");
    }
    if list.len() > 1 && list.iter().any(|item| item == "*") {
        errors.invalid(at, list, format!("if '*' is present, must not specify other {what}"));
    }
}

/// Resources with or without subresources, in which no entry is covered by another.
fn resources(resources: &[String], at: &Path, errors: &mut Errors) {
    if resources.is_empty() {
        errors.required(at, "");
    }
    let (mut all_subresources, mut of_all): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    let mut plain = false;
    for (at, entry) in at.items(resources.iter()) {
        if entry.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let Some((resource, subresource)) = entry.split_once('/') else {
            plain = entry != "*";
            continue;
        };
        if all_subresources.contains(resource) {
            errors.invalid(&at, entry, format!("if '{resource}/*' is present, must not specify {entry}"));
        }
        if of_all.contains(subresource) {
            errors.invalid(&at, entry, format!("if '*/{subresource}' is present, must not specify {entry}"));
        }
        if subresource == "*" {
            all_subresources.insert(resource);
        }
        if resource == "*" {
            of_all.insert(subresource);
        }
    }
    let has = |wanted: &str| resources.iter().any(|r| r == wanted);
    if resources.len() > 1 && has("*/*") {
        errors.invalid(at, resources, "if '*/*' is present, must not specify other resources");
    }
    if has("*") && plain {
        let why = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(at, resources, why);
    }
}
