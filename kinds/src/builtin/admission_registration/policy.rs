//! Admission policies: rules in expressions that the server evaluates itself, and the bindings that say where.

use std::{collections::BTreeSet, sync::Arc};

use cel::{self, Decl};
use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, MatchResources, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, Mutation,
    ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, Validation, Variable,
};

use super::{
    FACTS, FAILURE_POLICIES, REINVOCATION_POLICIES,
    expressions::{Environment, Variables, any},
    match_conditions,
    matching::{self, default_match},
};
use crate::builtin::prelude::*;

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
/// What can be changed while it is asked for.
const MUTATED: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const MAX_AUDIT_ANNOTATIONS: usize = 20;
/// How many variables are looked at: each may use all before it.
const MAX_VARIABLES: usize = 1000;
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;

impl Strategy for ValidatingAdmissionPolicy {
    const FACTS: Facts = FACTS;

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(default_match);
        self.status.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        begin(
            spec.failure_policy.as_deref(),
            spec.param_kind.as_ref(),
            spec.match_constraints.as_ref(),
            errors,
        );
        let environments = Environments::of(&any(), spec.param_kind.is_some());
        let conditions_at = at.child("matchConditions");
        match_conditions(spec.match_conditions.as_ref(), &environments.conditions, &conditions_at, errors);
        let environments = environments.with(spec.variables.as_deref(), &at.child("variables"), errors);
        let validations = spec.validations.as_deref().unwrap_or_default();
        let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
        let annotations_at = at.child("auditAnnotations");
        if validations.is_empty() && annotations.is_empty() {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.required(&at.child("validations"), why);
            return errors.required(&annotations_at, why);
        }
        for (i, validation) in validations.iter().enumerate() {
            self::validation(validation, &environments, &at.child("validations").index(i), errors);
        }
        if annotations.len() > MAX_AUDIT_ANNOTATIONS {
            let why = format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations");
            errors.invalid(&annotations_at, annotations, why);
        }
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let mut keys = BTreeSet::new();
        for (at, annotation) in annotations_at.items(annotations.iter()) {
            audit_annotation(annotation, name, &environments.rules, &at, errors);
            unique(&mut keys, &annotation.key, &at.child("key"), errors);
        }
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            return self.validate(errors);
        }
        let Some(status) = &self.status else { return };
        let at = Path::new("status");
        let warnings = status.type_checking.as_ref().and_then(|t| t.expression_warnings.as_deref());
        for (at, warning) in
            at.child("typeChecking.expressionWarnings").items(warnings.unwrap_or_default().iter())
        {
            for (field, text) in [("warning", &*warning.warning), ("fieldRef", warning.field_ref.trim())] {
                given(text, &at.child(field), errors);
            }
        }
        conditions(status.conditions.as_ref(), &at.child("conditions"), errors);
    }

    fn columns() -> Vec<Column> {
        policy_columns("Validations", "How many rules there are.", "validations")
    }
}

impl Strategy for MutatingAdmissionPolicy {
    const FACTS: Facts = FACTS;

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.failure_policy, "Fail");
        spec.match_constraints.iter_mut().for_each(default_match);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let at = Path::new("spec");
        begin(
            spec.failure_policy.as_deref(),
            spec.param_kind.as_ref(),
            spec.match_constraints.as_ref(),
            errors,
        );
        let rules = spec.match_constraints.iter().flat_map(|all| all.resource_rules.iter().flatten());
        for operation in rules.flat_map(|rule| rule.operations.iter().flatten()) {
            let at = at.child("matchConstraints.resourceRules.operations");
            one_of(operation.as_str(), MUTATED, &at, errors);
        }
        let environments = Environments::of(&any(), spec.param_kind.is_some());
        let conditions_at = at.child("matchConditions");
        match_conditions(spec.match_conditions.as_ref(), &environments.conditions, &conditions_at, errors);
        let environments = environments.with(spec.variables.as_deref(), &at.child("variables"), errors);
        let mutations = spec.mutations.as_deref().unwrap_or_default();
        if mutations.is_empty() {
            errors.required(&at.child("mutations"), "mutations must contain at least one item");
        }
        for (i, mutation) in mutations.iter().enumerate() {
            self::mutation(mutation, &environments.rules, &at.child("mutations").index(i), errors);
        }
        let again_at = at.child("reinvocationPolicy");
        given_one_of(spec.reinvocation_policy.as_deref(), REINVOCATION_POLICIES, &again_at, errors);
    }

    fn columns() -> Vec<Column> {
        policy_columns("Mutations", "How many changes it makes.", "mutations")
    }
}

impl Strategy for ValidatingAdmissionPolicyBinding {
    const FACTS: Facts = FACTS;

    fn fill_in(&mut self) {
        self.spec.match_resources.iter_mut().for_each(default_match);
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        self::binding(&spec.policy_name, spec.param_ref.as_ref(), spec.match_resources.as_ref(), errors);
        let at = Path::new("spec.validationActions");
        let actions = &spec.validation_actions;
        let mut seen = BTreeSet::new();
        for (i, action) in actions.iter().enumerate() {
            one_of(action.as_str(), ACTIONS, &at.index(i), errors);
            unique(&mut seen, action, &at.index(i), errors);
        }
        let has = |wanted: &str| actions.iter().any(|a| a == wanted);
        if has("Deny") && has("Warn") {
            let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
            errors.invalid(&at, actions, why);
        }
        if actions.is_empty() {
            errors.required(&at, "at least one validation action is required");
        }
    }

    fn columns() -> Vec<Column> {
        binding_columns()
    }
}

impl Strategy for MutatingAdmissionPolicyBinding {
    const FACTS: Facts = FACTS;

    fn fill_in(&mut self) {
        self.spec.get_or_insert_default().match_resources.iter_mut().for_each(default_match);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let policy = spec.policy_name.as_deref().unwrap_or_default();
        self::binding(policy, spec.param_ref.as_ref(), spec.match_resources.as_ref(), errors);
    }

    fn columns() -> Vec<Column> {
        binding_columns()
    }
}

fn policy_columns(count: &'static str, words: &'static str, items: &'static str) -> Vec<Column> {
    vec![
        Column::name(),
        Column::number(count, words, move |policy| policy.list_at(&["spec", items]).len().into()),
        Column::text("ParamKind", "The kind of its parameters.", |policy| {
            let kind = |field| policy.str_at(&["spec", "paramKind", field]);
            let given = policy.at(&["spec", "paramKind"]).is_some_and(Value::is_object);
            if given { format!("{}/{}", kind("apiVersion"), kind("kind")) } else { "<unset>".into() }.into()
        }),
        Column::age(),
    ]
}

fn binding_columns() -> Vec<Column> {
    vec![
        Column::name(),
        Column::field("PolicyName", "The policy that is put to use.", &["spec", "policyName"]),
        Column::text("ParamRef", "The parameters it gets.", |binding| {
            let of = |field| binding.str_at(&["spec", "paramRef", field]);
            let given = binding.at(&["spec", "paramRef"]).is_some_and(Value::is_object);
            match (given, of("namespace")) {
                (false, _) => "<unset>".into(),
                (true, "") => of("name").into(),
                (true, namespace) => format!("{namespace}/{}", of("name")).into(),
            }
        }),
        Column::age(),
    ]
}

/// What policies of both sorts begin with.
fn begin(
    failure: Option<&str>,
    params: Option<&ParamKind>,
    constraints: Option<&MatchResources>,
    errors: &mut Errors,
) {
    let at = Path::new("spec");
    one_of(failure, FAILURE_POLICIES, &at.child("failurePolicy"), errors);
    if let Some(params) = params {
        param_kind(params, &at.child("paramKind"), errors);
    }
    let constraints_at = at.child("matchConstraints");
    let Some(constraints) = constraints else { return errors.required(&constraints_at, "") };
    matching::match_resources(constraints, &constraints_at, errors);
    if constraints.resource_rules.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&constraints_at.child("resourceRules"), "");
    }
}

fn param_kind(params: &ParamKind, at: &Path, errors: &mut Errors) {
    let (version_at, kind_at) = (at.child("apiVersion"), at.child("kind"));
    let given = params.api_version.as_deref().unwrap_or_default();
    let (group, version) = given.split_once('/').unwrap_or(("", given));
    if given.is_empty() {
        errors.required(&version_at, "");
    } else if version.contains('/') {
        errors.invalid(&version_at, given, format!("unexpected GroupVersion string: {given}"));
    } else {
        let wrong = if group.is_empty() { Vec::new() } else { dns_subdomain(group) };
        if !wrong.is_empty() {
            errors.invalid(&version_at, group, wrong.join(","));
        }
        let wrong = dns_1035_label(version);
        if version.is_empty() {
            errors.invalid(&version_at, given, "version must be specified");
        } else if !wrong.is_empty() {
            errors.invalid(&version_at, version, wrong.join(","));
        }
    }
    let kind = params.kind.as_deref().unwrap_or_default();
    let wrong = dns_1035_label(&kind.to_lowercase());
    if kind.is_empty() {
        errors.required(&kind_at, "");
    } else if !wrong.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        errors.invalid(&kind_at, kind, why);
    }
}

/// The environments of a policy's expressions.
pub struct Environments {
    /// Of match conditions, which may name parameters in any case.
    pub conditions: Environment,
    /// Of rules, annotations and mutations.
    pub rules: Environment,
    /// Of messages, which may not ask who may do what.
    pub messages: Environment,
}

impl Environments {
    /// Those of a policy on objects of a type, with or without parameters.
    pub fn of(object: &Arc<Decl>, params: bool) -> Self {
        let plain = Environment::new(object);
        Self {
            conditions: plain.clone().with_params(true).with_authorizer(),
            rules: plain.clone().with_params(params).with_authorizer(),
            messages: plain.with_params(params),
        }
    }

    /// Those of a policy whose types are known.
    pub fn typed(object: &Arc<Decl>, params: Option<&Arc<Decl>>) -> Self {
        let mut environments = Self::of(object, false);
        if let Some(params) = params {
            environments.rules = environments.rules.with_param_type(params);
        }
        environments
    }

    /// Adds variables, whose types are found out one after the other: each may use those before it.
    pub fn with_each<E>(
        self,
        variables: &[Variable],
        mut decl: impl FnMut(&Environment, &Variable) -> Result<Arc<Decl>, E>,
    ) -> Result<Self, E> {
        let mut known = Variables::none();
        for variable in variables {
            let decl = decl(&self.rules.clone().with_variables(&known), variable)?;
            known.add(&variable.name, decl);
        }
        Ok(self.with_known(&known))
    }

    fn with_known(self, known: &Variables) -> Self {
        Self {
            conditions: self.conditions,
            rules: self.rules.with_variables(known),
            messages: self.messages.with_variables(known),
        }
    }

    /// Adds variables, and says what is wrong with them.
    pub fn with(self, variables: Option<&[Variable]>, at: &Path, errors: &mut Errors) -> Self {
        let mut known = Variables::none();
        let variables = variables.unwrap_or_default();
        if variables.len() > MAX_VARIABLES {
            errors.too_many(at, variables.len(), MAX_VARIABLES);
        }
        for (at, variable) in at.items(variables.iter().take(MAX_VARIABLES)) {
            let name = variable.name.as_str();
            let first = |c: char| c == '_' || c.is_ascii_alphabetic();
            let is_name = name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit());
            let is_name = is_name && !cel::RESERVED.contains(&name);
            if name.trim().is_empty() {
                errors.required(&at.child("name"), "name is not specified");
            } else if !is_name {
                errors.invalid(&at.child("name"), name, "must be a valid CEL identifier");
            }
            let expression_at = at.child("expression");
            if variable.expression.trim().is_empty() {
                errors.required(&expression_at, "expression is not specified");
                continue;
            }
            let environment = self.rules.clone().with_variables(&known);
            let decl = environment.check(&variable.expression, &[], &expression_at, errors);
            drop(environment);
            known.add(name, decl);
        }
        self.with_known(&known)
    }
}

fn validation(validation: &Validation, environments: &Environments, at: &Path, errors: &mut Errors) {
    let expression_at = at.child("expression");
    if validation.expression.trim().is_empty() {
        errors.required(&expression_at, "expression is not specified");
    } else {
        environments.rules.check(&validation.expression, &["bool"], &expression_at, errors);
    }
    let blank =
        |text: &Option<String>| text.as_ref().filter(|t| !t.is_empty() && t.trim().is_empty()).cloned();
    if let Some(text) = blank(&validation.message_expression) {
        errors.invalid(&at.child("messageExpression"), text, "must be non-empty if specified");
    } else if let Some(text) = validation.message_expression.as_deref().filter(|text| !text.is_empty()) {
        environments.messages.check(text, &["string"], &at.child("messageExpression"), errors);
    }
    let message = validation.message.as_deref().unwrap_or_default();
    if blank(&validation.message).is_some() {
        errors.invalid(&at.child("message"), message, "message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&at.child("message"), message, "message must not contain line breaks");
    }
    one_of(validation.reason.as_deref(), REASONS, &at.child("reason"), errors);
}

fn audit_annotation(
    annotation: &AuditAnnotation,
    policy: &str,
    environment: &Environment,
    at: &Path,
    errors: &mut Errors,
) {
    let key_at = at.child("key");
    if policy.is_empty() {
        errors.invalid(&key_at, &annotation.key, "requires metadata.name be non-empty");
    } else {
        let key = format!("{policy}/{}", annotation.key);
        each(errors, &key_at, &key, qualified_name(&key));
    }
    let value_at = at.child("valueExpression");
    let expression = annotation.value_expression.trim();
    if expression.is_empty() {
        errors.required(&value_at, "valueExpression is not specified");
    } else if expression.len() > MAX_VALUE_EXPRESSION {
        errors.required(&value_at, format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length"));
    } else {
        environment.check(&annotation.value_expression, &["string", "null_type"], &value_at, errors);
    }
}

fn mutation(mutation: &Mutation, environment: &Environment, at: &Path, errors: &mut Errors) {
    let patch = ("JSONPatch", "jsonPatch", mutation.json_patch.as_ref().map(|p| &p.expression));
    let apply = (
        "ApplyConfiguration",
        "applyConfiguration",
        mutation.apply_configuration.as_ref().map(|a| &a.expression),
    );
    let kind = mutation.patch_type.as_str();
    let (wanted, other) = match kind {
        "JSONPatch" => (patch, apply),
        "ApplyConfiguration" => (apply, patch),
        "" => return errors.required(&at.child("patchType"), ""),
        _ => return errors.not_supported(&at.child("patchType"), kind, &["ApplyConfiguration", "JSONPatch"]),
    };
    let wanted_at = at.child(wanted.1);
    match wanted.2 {
        None => errors.required(&wanted_at, format!("must be specified when patchType is {kind}")),
        Some(expression) if expression.as_deref().unwrap_or_default().trim().is_empty() => {
            errors.required(&wanted_at.child("expression"), "");
        }
        Some(expression) => {
            let result = if kind == "JSONPatch" { "list(JSONPatch)" } else { cel::OBJECT };
            let environment = environment.clone().with_patches();
            let expression = expression.as_deref().unwrap_or_default();
            environment.check(expression, &[result], &wanted_at.child("expression"), errors);
        }
    }
    if other.2.is_some() {
        errors.forbidden(&at.child(other.1), format!("must not be specified when patchType is {kind}"));
    }
}

/// What bindings of both sorts have.
fn binding(policy: &str, param: Option<&ParamRef>, resources: Option<&MatchResources>, errors: &mut Errors) {
    let at = Path::new("spec");
    let policy_at = at.child("policyName");
    formed(policy, dns_subdomain, &policy_at, errors);
    if let Some(param) = param {
        param_ref(param, &at.child("paramRef"), errors);
    }
    if let Some(resources) = resources {
        matching::match_resources(resources, &at.child("matchResources"), errors);
    }
}

fn param_ref(param: &ParamRef, at: &Path, errors: &mut Errors) {
    const ONE: &str = "name and selector are mutually exclusive";
    let name = param.name.as_deref().unwrap_or_default();
    if !name.is_empty() {
        each(errors, &at.child("name"), name, path_segment(name));
        if param.selector.is_some() {
            errors.forbidden(&at.child("name"), ONE);
        }
    }
    if let Some(selector) = &param.selector {
        label_selector(Some(selector), &at.child("selector"), errors);
        if !name.is_empty() {
            errors.forbidden(&at.child("selector"), ONE);
        }
    } else if name.is_empty() {
        errors.required(at, "one of name or selector must be specified");
    }
    let action_at = at.child("parameterNotFoundAction");
    match param.parameter_not_found_action.as_deref().unwrap_or_default() {
        "" => errors.required(&action_at, ""),
        action => one_of(action, &["Deny", "Allow"], &action_at, errors),
    }
}
