//! Role, ClusterRole, RoleBinding, ClusterRoleBinding: who may do what.
//!
//! One file, since the pairs differ in scope only.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use serde::Serialize;

use crate::builtin::prelude::*;

const GROUP: &str = "rbac.authorization.k8s.io";

/// What a role without rules writes all the same.
const RULES: &[&str] = &["/rules"];

fn trim(rules: &mut Option<Vec<PolicyRule>>) {
    absent_when_zero(rules);
    for rule in rules.iter_mut().flatten() {
        for list in
            [&mut rule.api_groups, &mut rule.resources, &mut rule.resource_names, &mut rule.non_resource_urls]
        {
            absent_when_zero(list);
        }
    }
}

fn policy_rules(rules: Option<&Vec<PolicyRule>>, namespaced: bool, errors: &mut Errors) {
    for (at, rule) in Path::new("rules").items(rules.into_iter().flatten()) {
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        if rule.verbs.is_empty() {
            errors.required(&at.child("verbs"), "verbs must contain at least one value");
        }
        if !empty(&rule.non_resource_urls) {
            let urls_at = at.child("nonResourceURLs");
            if namespaced {
                let words = "namespaced rules cannot apply to non-resource URLs";
                errors.invalid(&urls_at, &rule.non_resource_urls, words);
            }
            if !empty(&rule.api_groups) || !empty(&rule.resources) || !empty(&rule.resource_names) {
                let words = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&urls_at, &rule.non_resource_urls, words);
            }
            continue;
        }
        if empty(&rule.api_groups) {
            let why = "resource rules must supply at least one api group";
            errors.required(&at.child("apiGroups"), why);
        }
        if empty(&rule.resources) {
            errors.required(&at.child("resources"), "resource rules must supply at least one resource");
        }
    }
}

impl Strategy for Role {
    const FACTS: Facts = Facts { creates_on_update: true, names: NameRule::PathSegment, ..Facts::PLAIN };
    const ALWAYS_THERE: &'static [&'static str] = RULES;

    fn fill_in(&mut self) {
        trim(&mut self.rules);
    }

    fn validate(&self, errors: &mut Errors) {
        policy_rules(self.rules.as_ref(), true, errors);
    }

    fn columns() -> Vec<Column> {
        vec![Column::name(), Column::created("When the role was created.")]
    }
}

impl Strategy for ClusterRole {
    const FACTS: Facts = Facts { creates_on_update: true, names: NameRule::PathSegment, ..Facts::PLAIN };
    const ALWAYS_THERE: &'static [&'static str] = RULES;

    fn fill_in(&mut self) {
        trim(&mut self.rules);
    }

    fn validate(&self, errors: &mut Errors) {
        policy_rules(self.rules.as_ref(), false, errors);
        if let Some(aggregation) = &self.aggregation_rule {
            let at = Path::new("aggregationRule.clusterRoleSelectors");
            let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
            if selectors.is_empty() {
                let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.required(&at, why);
            }
            for (i, selector) in selectors.iter().enumerate() {
                let (at, before) = (at.index(i), errors.len());
                label_selector(Some(selector), &at, errors);
                if errors.len() > before {
                    errors.invalid(&at, Value::Null, "invalid label selector.");
                }
            }
        }
    }

    fn columns() -> Vec<Column> {
        vec![Column::name(), Column::created("When the role was created.")]
    }
}

fn fill(role_ref: &mut RoleRef, subjects: &mut Option<Vec<Subject>>) {
    if role_ref.api_group.as_deref().is_none_or(str::is_empty) {
        role_ref.api_group = Some(GROUP.into());
    }
    absent_when_zero(subjects);
    for subject in subjects.iter_mut().flatten() {
        absent_when_zero(&mut subject.api_group);
        absent_when_zero(&mut subject.namespace);
        if subject.api_group.is_none() && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = Some(GROUP.into());
        }
    }
}

/// A reference as upstream shows one that changed.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "APIGroup")]
    api_group: &'a str,
    #[serde(rename = "Kind")]
    kind: &'a str,
    #[serde(rename = "Name")]
    name: &'a str,
}

fn same_role(new: &RoleRef, old: &RoleRef, errors: &mut Errors) {
    if new != old {
        let group = new.api_group.as_deref().unwrap_or_default();
        let shown = Shown { api_group: group, kind: &new.kind, name: &new.name };
        errors.invalid(&Path::new("roleRef"), shown, "cannot change roleRef");
    }
}

fn binding(
    role_ref: &RoleRef,
    subjects: Option<&Vec<Subject>>,
    kinds: &[&str],
    namespaced: bool,
    errors: &mut Errors,
) {
    let at = Path::new("roleRef");
    let group = role_ref.api_group.as_deref().unwrap_or_default();
    if group != GROUP {
        errors.not_supported(&at.child("apiGroup"), group, &[GROUP]);
    }
    one_of(role_ref.kind.as_str(), kinds, &at.child("kind"), errors);
    formed(&role_ref.name, path_segment, &at.child("name"), errors);
    for (at, subject) in Path::new("subjects").items(subjects.into_iter().flatten()) {
        let group = subject.api_group.as_deref().unwrap_or_default();
        given(&subject.name, &at.child("name"), errors);
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    each(errors, &at.child("name"), &subject.name, dns_subdomain(&subject.name));
                }
                if !group.is_empty() {
                    errors.not_supported(&at.child("apiGroup"), group, &[""]);
                }
                if !namespaced && subject.namespace.is_none() {
                    errors.required(&at.child("namespace"), "");
                }
            }
            "User" | "Group" => {
                if group != GROUP {
                    errors.not_supported(&at.child("apiGroup"), group, &[GROUP]);
                }
            }
            other => {
                errors.not_supported(&at.child("kind"), other, &["ServiceAccount", "User", "Group"]);
            }
        }
    }
}

fn binding_columns() -> Vec<Column> {
    let named = |name, words, kind| {
        Column::text(name, words, move |binding| {
            let of_kind = binding.list_at(&["subjects"]).iter().filter(|s| s.str_at(&["kind"]) == kind);
            let names = of_kind.map(|s| match (kind, s.str_at(&["namespace"])) {
                ("ServiceAccount", namespace) if !namespace.is_empty() => {
                    format!("{namespace}/{}", s.str_at(&["name"]))
                }
                _ => s.str_at(&["name"]).to_owned(),
            });
            names.collect::<Vec<_>>().join(", ").into()
        })
        .wide()
    };
    vec![
        Column::name(),
        Column::text("Role", "The role that is bound.", |binding| {
            let role = |field| binding.str_at(&["roleRef", field]);
            format!("{}/{}", role("kind"), role("name")).into()
        }),
        Column::age(),
        named("Users", "Users it is bound to.", "User"),
        named("Groups", "Groups it is bound to.", "Group"),
        named("ServiceAccounts", "Service accounts it is bound to.", "ServiceAccount"),
    ]
}

impl Strategy for RoleBinding {
    const FACTS: Facts = Facts { creates_on_update: true, names: NameRule::PathSegment, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        fill(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, errors: &mut Errors) {
        binding(&self.role_ref, self.subjects.as_ref(), &["Role", "ClusterRole"], true, errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        same_role(&self.role_ref, &old.role_ref, errors);
    }

    fn columns() -> Vec<Column> {
        binding_columns()
    }
}

impl Strategy for ClusterRoleBinding {
    const FACTS: Facts = Facts { creates_on_update: true, names: NameRule::PathSegment, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        fill(&mut self.role_ref, &mut self.subjects);
    }

    fn validate(&self, errors: &mut Errors) {
        binding(&self.role_ref, self.subjects.as_ref(), &["ClusterRole"], false, errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        same_role(&self.role_ref, &old.role_ref, errors);
    }

    fn columns() -> Vec<Column> {
        binding_columns()
    }
}

#[cfg(test)]
mod tests;
