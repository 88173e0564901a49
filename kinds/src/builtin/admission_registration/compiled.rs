//! Policies as they are put to use: every expression is compiled once, and asked about each object.
//!
//! Counterpart of upstream's `admission/plugin/policy/validating/validator.go` and `mutating/patch`.

use api::{Message, message};
use std::sync::{Arc, LazyLock};

use cel::{Answer, Authorizer, Binding, CompileError, Decl, Program, Question, Session, Unanswered};
use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, MatchCondition, MatchResources, Mutation, ParamKind, ParamRef, Validation, Variable,
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    conditions::Conditions,
    expressions::{Environment, any, namespace, request},
    policy::Environments,
};
use crate::{
    apply, patch,
    schema::{TypeRef, Types},
};

/// What one expression may cost, and each variable.
pub(super) const EXPRESSION: u64 = 1_000_000;
/// What those of a policy may cost together.
const POLICY: u64 = 10_000_000;
/// The longest message that an expression may make.
const MAX_MESSAGE: usize = 5 * 1024;

/// The specification of a policy of either sort.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySpec {
    /// `Ignore` lets everything in that the policy cannot judge.
    pub failure_policy: Option<String>,
    /// `IfNeeded` is asked again when others change the object.
    pub reinvocation_policy: Option<String>,
    /// The kind of its parameters.
    pub param_kind: Option<ParamKind>,
    /// What it is about.
    pub match_constraints: Option<MatchResources>,
    match_conditions: Vec<MatchCondition>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    audit_annotations: Vec<AuditAnnotation>,
    mutations: Vec<Mutation>,
}

/// The specification of a binding of either sort.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingSpec {
    /// The policy.
    pub policy_name: String,
    /// Its parameters.
    pub param_ref: Option<ParamRef>,
    /// To what of all that the policy is about it is put to use.
    pub match_resources: Option<MatchResources>,
    /// What is done about objects that it refuses.
    pub validation_actions: Vec<String>,
}

/// A policy's expressions.
#[derive(Debug)]
pub struct Compiled {
    conditions: Conditions,
    variables: Vec<(String, Program)>,
    validations: Vec<Rule>,
    annotations: Vec<(String, Expression)>,
    mutations: Vec<Change>,
}

/// An expression, and how it was written.
#[derive(Debug)]
pub(super) struct Expression {
    text: String,
    pub(super) program: Program,
}

#[derive(Debug)]
struct Rule {
    expression: Expression,
    made: Option<Program>,
    message: String,
    reason: Option<String>,
}

#[derive(Debug)]
struct Change {
    is_patch: bool,
    expression: Expression,
}

/// What expressions are asked about; null for what there is not.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The object as it is to be.
    pub object: Value,
    /// The object as it is.
    pub old: Value,
    /// The request.
    pub request: Value,
    /// The namespace of the object.
    pub namespace: Value,
    /// The parameters.
    pub params: Value,
    /// What is asked of `authorizer.requestResource`.
    pub resource: Question,
}

/// Why a policy does not let something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// In words.
    pub message: String,
    /// As the reason of a refusal.
    pub reason: Option<String>,
    /// Whether the binding has no say in what is done about it.
    pub always: bool,
    /// Which rule it is that does not hold.
    pub rule: usize,
}

/// What a policy makes of an object.
#[derive(Debug, Default)]
pub struct Judgement {
    /// Why it does not let it in.
    pub denials: Vec<Denial>,
    /// What it wants told in the audit log, by key.
    pub annotations: Vec<(String, String)>,
}

impl From<Option<Denial>> for Judgement {
    fn from(denial: Option<Denial>) -> Self {
        Self { denials: denial.into_iter().collect(), annotations: Vec::new() }
    }
}

impl Denial {
    /// That a policy cannot be asked.
    pub fn of(message: String) -> Self {
        Self { message, reason: None, always: false, rule: 0 }
    }
}

type Declared = [(&'static str, Arc<Decl>); 5];

/// The variables of all expressions, and their types.
static DECLARED: LazyLock<Declared> = LazyLock::new(|| {
    [
        ("object", any()),
        ("oldObject", any()),
        ("request", request()),
        ("namespaceObject", namespace()),
        ("params", any()),
    ]
});

impl Expression {
    pub(super) fn of(text: &str, environment: &Environment) -> Result<Self, Message> {
        let program = environment.compile(text).map_err(|why| format!("compilation error: {why}"))?;
        Ok(Self { text: text.to_owned(), program })
    }

    /// What a failure is in words.
    pub(super) fn failed(&self, why: &Unanswered) -> String {
        match why {
            Unanswered::Failed(why) => format!("expression '{}' resulted in error: {why}", self.text),
            other => other.to_string(),
        }
    }
}

impl Compiled {
    /// Compiles a policy's expressions.
    ///
    /// # Errors
    /// For one that this server does not understand, though another has.
    pub fn of(spec: &PolicySpec) -> Result<Self, Message> {
        let environments = Environments::of(&any(), spec.param_kind.is_some());
        let conditions = Conditions::of(&spec.match_conditions, &environments.conditions)?;
        let mut variables = Vec::new();
        let environments = environments.with_each(&spec.variables, |environment, variable| {
            let program = environment.compile(&variable.expression)?;
            let decl = program.decl();
            variables.push((variable.name.clone(), program));
            Ok(decl)
        });
        let environments = environments.map_err(|why: CompileError| Message::of(why))?;
        let validations = spec.validations.iter().map(|validation| {
            let made = validation.message_expression.as_deref().filter(|text| !text.is_empty());
            Ok(Rule {
                expression: Expression::of(&validation.expression, &environments.rules)?,
                made: made
                    .map(|text| environments.messages.compile(text))
                    .transpose()
                    .map_err(Message::of)?,
                message: validation.message.as_deref().unwrap_or_default().trim().to_owned(),
                reason: validation.reason.clone(),
            })
        });
        let annotations = spec.audit_annotations.iter();
        let annotations = annotations
            .map(|a| Ok((a.key.clone(), Expression::of(&a.value_expression, &environments.rules)?)));
        let making = environments.rules.clone().with_patches();
        let mutations = spec.mutations.iter().map(|mutation| {
            let patch = mutation.json_patch.as_ref().and_then(|patch| patch.expression.as_deref());
            let apply = mutation.apply_configuration.as_ref().and_then(|apply| apply.expression.as_deref());
            let expression = Expression::of(patch.or(apply).unwrap_or_default(), &making)?;
            Ok::<_, String>(Change { is_patch: patch.is_some(), expression })
        });
        Ok(Self {
            conditions,
            variables,
            validations: validations.collect::<Result<_, Message>>()?,
            annotations: annotations.collect::<Result<_, Message>>()?,
            mutations: mutations.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the policy's conditions hold.
    ///
    /// # Errors
    /// As [`Conditions::hold`].
    pub fn applies(&self, given: &Given, authorizer: &dyn Authorizer) -> Result<bool, Message> {
        self.conditions.hold(given, authorizer)
    }

    /// What the policy makes of an object. It does not let it in for each rule that does not hold, or that comes to nothing
    /// while the policy `fails` closed.
    pub fn judge(&self, given: &Given, authorizer: &dyn Authorizer, fails: bool) -> Judgement {
        let failed = |why: String| fails.then(|| Denial::of(why));
        match self.applies(given, authorizer) {
            Ok(true) => {}
            Ok(false) => return Judgement::default(),
            Err(why) => return failed(why.into()).into(),
        }
        let bindings = given.bindings();
        let mut session = self.session(&bindings, given, authorizer);
        let mut answers = Vec::new();
        for rule in &self.validations {
            match session.eval(&rule.expression.program, EXPRESSION) {
                Err(why @ Unanswered::OutOfBudget) => {
                    return failed(why.to_string()).into();
                }
                answer => answers.push((rule, answer)),
            }
        }
        let mut denials = Vec::new();
        for (i, (rule, answer)) in answers.into_iter().enumerate() {
            let denial = match answer {
                Ok(Answer::Bool(true)) => None,
                Ok(_) => match rule.message(&mut session) {
                    Ok(message) => {
                        let reason = rule.reason.clone().or_else(|| Some("Invalid".into()));
                        Some(Denial { reason, ..Denial::of(message) })
                    }
                    Err(why) => failed(format!("failed messageExpression: {why}")),
                },
                Err(why) => failed(rule.expression.failed(&why)),
            };
            denials.extend(denial.map(|denial| Denial { rule: i, ..denial }));
        }
        let mut session = self.session(&bindings, given, authorizer);
        let mut annotations = Vec::new();
        for (key, annotation) in &self.annotations {
            let why = match session.eval(&annotation.program, EXPRESSION) {
                Ok(Answer::String(value)) => {
                    let value = value.trim();
                    if !value.is_empty() {
                        annotations.push((key.clone(), value.to_owned()));
                    }
                    continue;
                }
                Ok(Answer::Null) => continue,
                Ok(_) => format!(
                    "valueExpression '{}' resulted in unsupported return type. Return type must be either string or null.",
                    annotation.text
                ),
                Err(why) => annotation.failed(&why),
            };
            denials.extend(failed(why).map(|denial| Denial { always: true, ..denial }));
        }
        Judgement { denials, annotations }
    }

    /// How many changes the policy makes.
    pub fn changes(&self) -> usize {
        self.mutations.len()
    }

    /// The object as one of the policy's changes leaves it.
    ///
    /// # Errors
    /// When there is none, or what the expression comes to does not fit the object.
    pub fn change(
        &self,
        which: usize,
        object_type: Option<(&Types, TypeRef)>,
        given: &Given,
        authorizer: &dyn Authorizer,
    ) -> Result<Value, Message> {
        let Some(Change { is_patch, expression }) = self.mutations.get(which) else {
            return Ok(given.object.clone());
        };
        let bindings = given.bindings();
        let mut session = self.session(&bindings, given, authorizer);
        let made = session.json(&expression.program, EXPRESSION).map_err(|why| expression.failed(&why))?;
        if *is_patch {
            let Value::Array(operations) = made else {
                return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
            };
            let patched = patch::operate(&given.object, operations);
            return patched.map_err(|refusal| message!("JSON Patch: {}", refusal.message));
        }
        let (types, root) = object_type.ok_or("the type of the object is not known")?;
        let mut made = made;
        for field in ["apiVersion", "kind"] {
            made[field] = given.object[field].clone();
        }
        apply::overlay(types, root, &given.object, &made)
            .map_err(|why| message!("error applying patch: {why}"))
    }

    fn session<'a>(
        &'a self,
        bindings: &[Binding<'a>],
        given: &Given,
        authorizer: &'a dyn Authorizer,
    ) -> Session<'a> {
        Session::new(bindings, POLICY)
            .with_variables(self.variables.iter().map(|(name, program)| (name.as_str(), program)))
            .with_authorizer(authorizer, given.resource.clone())
    }
}

impl Rule {
    /// What is told when the rule does not hold.
    fn message<'a>(&'a self, session: &mut Session<'a>) -> Result<String, Unanswered> {
        let made = self.made.as_ref().map(|program| session.eval(program, EXPRESSION));
        if let Some(Err(why @ Unanswered::OutOfBudget)) = made {
            return Err(why);
        }
        let made = match &made {
            Some(Ok(Answer::String(text))) => text.trim(),
            _ => "",
        };
        let usable = !made.is_empty() && made.len() <= MAX_MESSAGE && !made.contains('\n');
        Ok(if usable {
            made.to_owned()
        } else if !self.message.is_empty() {
            self.message.clone()
        } else {
            format!("failed expression: {}", self.expression.text.trim())
        })
    }
}

impl Given {
    pub(super) fn bindings(&self) -> [Binding<'_>; 5] {
        let values = [&self.object, &self.old, &self.request, &self.namespace, &self.params];
        let mut declared = DECLARED.iter();
        values.map(|value| {
            let (name, decl) = declared.next().expect("there is a variable for each value");
            Binding { name, value: Some(value), decl, optional: false }
        })
    }
}
