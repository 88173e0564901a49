//! FlowSchema: which requests belong together, and to which priority level.

use api::conditions;
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use super::{BOOTSTRAP, MANDATORY, conditions};
use crate::builtin::prelude::*;

const MAX_PRECEDENCE: i32 = 10_000;
const METHODS: &[&str] = &["ByNamespace", "ByUser"];
const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

impl Strategy for FlowSchema {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        set_number(&mut self.spec.get_or_insert_default().matching_precedence, 1000);
        self.status.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if let Some(spec) = &self.spec {
            self::spec(spec, name, errors);
            let given = serde_json::to_value(spec).unwrap_or_default();
            if MANDATORY.contains(&name) && BOOTSTRAP.schemas.get(name) != Some(&given) {
                let why = format!("spec of '{name}' must equal the fixed value");
                errors.invalid(&Path::new("spec"), given, why);
            }
        }
        let given = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions(given.map(|c| c.type_.as_ref()), errors);
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            return self.validate(errors);
        }
        let given = self.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions(given.map(|c| c.type_.as_ref()), errors);
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::field(
                "PriorityLevel",
                "The priority level of its requests.",
                &["spec", "priorityLevelConfiguration", "name"],
            ),
            Column::text("MatchingPrecedence", "Schemas with smaller numbers are asked first.", |schema| {
                int(schema, &["spec", "matchingPrecedence"]).into()
            }),
            Column::text("DistinguisherMethod", "How its requests are split into flows.", |schema| {
                text_or(schema, &["spec", "distinguisherMethod", "type"], "<none>")
            }),
            Column::age(),
            Column::text("MissingPL", "Whether the priority level is missing.", |schema| {
                conditions::find(schema, "Dangling").map_or("?", |c| c.str_at(&["status"])).into()
            }),
        ]
    }
}

fn spec(spec: &FlowSchemaSpec, name: &str, errors: &mut Errors) {
    let at = Path::new("spec");
    let precedence_at = at.child("matchingPrecedence");
    let precedence = spec.matching_precedence.unwrap_or(0);
    if precedence <= 0 {
        errors.invalid(&precedence_at, precedence, "must be a positive value");
    }
    if precedence > MAX_PRECEDENCE {
        errors.invalid(&precedence_at, precedence, format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if precedence == 1 && name != "exempt" {
        let why = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.invalid(&precedence_at, precedence, why);
    }
    if let Some(method) = &spec.distinguisher_method
        && !METHODS.contains(&method.type_.as_str())
    {
        errors.not_supported(
            &at.child("distinguisherMethod.type"),
            serde_json::json!({"Type": method.type_}),
            METHODS,
        );
    }
    let level = &spec.priority_level_configuration.name;
    let level_at = at.child("priorityLevelConfiguration.name");
    if level.is_empty() {
        errors.required(&level_at, "must reference a priority level");
    } else {
        each(errors, &level_at, level, dns_subdomain(level));
    }
    for (i, rule) in spec.rules.iter().flatten().enumerate() {
        self::rule(rule, &at.child("rules").index(i), errors);
    }
}

fn rule(rule: &PolicyRulesWithSubjects, at: &Path, errors: &mut Errors) {
    let subjects_at = at.child("subjects");
    if rule.subjects.is_empty() {
        errors.required(&subjects_at, "subjects must contain at least one value");
    }
    for (i, subject) in rule.subjects.iter().enumerate() {
        self::subject(subject, &subjects_at.index(i), errors);
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let others = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && others.is_empty() {
        errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (i, rule) in resources.iter().enumerate() {
        resource_rule(rule, &at.child("resourceRules").index(i), errors);
    }
    for (i, rule) in others.iter().enumerate() {
        non_resource_rule(rule, &at.child("nonResourceRules").index(i), errors);
    }
}

fn subject(subject: &Subject, at: &Path, errors: &mut Errors) {
    let fields = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let kind = subject.kind.as_str();
    let Some((_, field, given)) = fields.iter().find(|(k, ..)| *k == kind) else {
        return errors.not_supported(&at.child("kind"), kind, &["Group", "ServiceAccount", "User"]);
    };
    let field_at = at.child(field);
    if !given {
        errors.required(&field_at, format!("{field} is required when subject kind is '{kind}'"));
    }
    let name_at = field_at.child("name");
    if let Some(account) = subject.service_account.as_ref().filter(|_| kind == "ServiceAccount") {
        if account.name.is_empty() {
            errors.required(&name_at, "");
        } else if account.name != "*" {
            each(errors, &name_at, &account.name, dns_subdomain(&account.name));
        }
        let namespace_at = field_at.child("namespace");
        if account.namespace.is_empty() {
            errors.required(&namespace_at, "must specify namespace for service account");
        } else {
            each(errors, &namespace_at, &account.namespace, dns_label(&account.namespace));
        }
    }
    let user = subject.user.as_ref().filter(|_| kind == "User").map(|u| &u.name);
    let group = subject.group.as_ref().filter(|_| kind == "Group").map(|g| &g.name);
    if user.or(group).is_some_and(String::is_empty) {
        errors.required(&name_at, "");
    }
    for (other_kind, other, given) in fields {
        if other_kind != kind && given {
            let why = format!("{other} is forbidden when subject kind is not '{other_kind}'");
            errors.forbidden(&at.child(other), &why);
        }
    }
}

fn has_wildcard(list: &[String]) -> bool {
    list.iter().any(|item| item == "*")
}

/// A list that is not empty and in which `*` stands alone; answers whether that is all there is to check.
fn some_or_all(list: &[String], none: &str, others: &str, at: &Path, errors: &mut Errors) -> bool {
    if list.is_empty() {
        errors.required(at, none);
    } else if list.len() > 1 && has_wildcard(list) {
        errors.invalid(at, list, format!("if '*' is present, must not specify other {others}"));
    }
    list.is_empty() || has_wildcard(list)
}

fn verbs(verbs: &[String], at: &Path, errors: &mut Errors) {
    let at = at.child("verbs");
    if !some_or_all(verbs, "verbs must contain at least one value", "verbs", &at, errors)
        && !verbs.iter().all(|v| VERBS.contains(&v.as_str()))
    {
        errors.not_supported(&at, verbs, VERBS);
    }
}

fn resource_rule(rule: &ResourcePolicyRule, at: &Path, errors: &mut Errors) {
    verbs(&rule.verbs, at, errors);
    let none = "resource rules must supply at least one api group";
    some_or_all(&rule.api_groups, none, "api groups", &at.child("apiGroups"), errors);
    let none = "resource rules must supply at least one resource";
    some_or_all(&rule.resources, none, "resources", &at.child("resources"), errors);
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    let at = at.child("namespaces");
    if namespaces.is_empty() {
        if !rule.cluster_scope.unwrap_or(false) {
            let none = "resource rules that are not cluster scoped must supply at least one namespace";
            errors.required(&at, none);
        }
    } else if !some_or_all(namespaces, "", "namespaces", &at, errors) {
        for (i, namespace) in namespaces.iter().enumerate() {
            let intro = "each member of this list must be '*' or a DNS-1123 label; ";
            let wrong = dns_label(namespace).into_iter().map(|why| format!("{intro}{why}")).collect();
            each(errors, &at.index(i), namespace, wrong);
        }
    }
}

fn non_resource_rule(rule: &NonResourcePolicyRule, at: &Path, errors: &mut Errors) {
    verbs(&rule.verbs, at, errors);
    let at = at.child("nonResourceURLs");
    let none = "nonResourceURLs must contain at least one value";
    if some_or_all(&rule.non_resource_urls, none, "non-resource URLs", &at, errors) {
        return;
    }
    for (i, url) in rule.non_resource_urls.iter().enumerate() {
        if let Some(why) = wrong_path(url) {
            errors.invalid(&at.index(i), url, why);
        }
    }
}

fn wrong_path(path: &str) -> Option<&'static str> {
    let stars = path.matches('*').count();
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !path.starts_with('/') => Some("must start with slash"),
        _ if path.contains(' ') => Some("must not contain white-space"),
        _ if path.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !path.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}
