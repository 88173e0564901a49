//! The CEL rules of a schema: what types they see, compiling them, and holding objects to them.
//!
//! Invariant: an object is validated within one budget of cost; each rule has a limit of its own below that.
//! Counterpart of `schema/cel` and `apiserver/pkg/cel/common`.

use api::{Message, message};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use api::field::{ErrorType, Errors, Path};
use cel::{
    Answer, Binding, CompileError, Decl, EvalError, ListKind, MAX_REQUEST, Program, Shape, Variable, Wanted,
    escape,
};
use serde_json::Value;

use super::{
    paths,
    schema::{Rule, Schema},
    validate::Counterparts,
};

/// What one evaluation of a rule may cost.
const CALL_LIMIT: u64 = 1_000_000;
/// What all rules together may cost for one object.
const BUDGET: i64 = 10_000_000;
/// The longest message an expression may make.
const MAX_MESSAGE: usize = 5 * 1024;

/// The type that expressions see; `None` for what they cannot see.
pub fn decl(schema: &Schema, resource: bool) -> Option<Arc<Decl>> {
    let max_length = schema.checks.max_length.map(|n| u64::try_from(n).unwrap_or(0));
    if schema.int_or_string {
        let max_elements = max_length.map_or(MAX_REQUEST - 2, |n| n.saturating_mul(4));
        return Some(Decl { shape: Shape::Dyn, max_elements, min_size: 1 }.into());
    }
    let sized = |shape, max_elements, min_size| Some(Arc::new(Decl { shape, max_elements, min_size }));
    match schema.ty.as_str() {
        "boolean" => Some(Decl::scalar(Shape::Bool, 4).into()),
        "integer" => Some(Decl::scalar(Shape::Int, 1).into()),
        "number" => Some(Decl::scalar(Shape::Double, 1).into()),
        "string" => match schema.checks.format.as_str() {
            "byte" => sized(Shape::Bytes, max_length.unwrap_or(MAX_REQUEST - 2), 2),
            "duration" => sized(Shape::Duration, 32, 4),
            "date" => sized(Shape::Timestamp, 12, 12),
            "date-time" => sized(Shape::Timestamp, 32, 22),
            _ => {
                let longest =
                    schema.checks.enumeration.values.iter().filter_map(Value::as_str).map(str::len).max();
                let unlimited = longest.map_or(MAX_REQUEST - 2, |n| n as u64);
                sized(Shape::String, max_length.map_or(unlimited, |n| n.saturating_mul(4)), 2)
            }
        },
        "array" => {
            let item = decl(schema.items.as_deref()?, schema.items.as_ref()?.embedded)?;
            let most = (MAX_REQUEST - 2) / (item.min_size + 1);
            let max = schema.checks.max_items.map_or(most, |n| u64::try_from(n).unwrap_or(0));
            let kind = match schema.list_type.as_deref() {
                Some("set") => ListKind::Set,
                Some("map") => ListKind::Map(schema.list_map_keys.clone().into()),
                _ => ListKind::Atomic,
            };
            sized(Shape::List { item, kind }, max, 2)
        }
        "object" => match schema.additional_schema() {
            Some(additional) => {
                let value = decl(additional, additional.embedded)?;
                let most = (MAX_REQUEST - 2) / (value.min_size + 6);
                let max = schema.checks.max_properties.map_or(most, |n| u64::try_from(n).unwrap_or(0));
                sized(Shape::Map { value }, max, 2)
            }
            None => Some(object(schema, resource)),
        },
        // An embedded resource may leave its type out only where it is not structural.
        _ => None,
    }
}

fn object(schema: &Schema, resource: bool) -> Arc<Decl> {
    let mut fields = BTreeMap::new();
    let mut min_size = 2;
    let required: HashSet<&str> = schema.checks.required.iter().map(String::as_str).collect();
    for (name, property) in &schema.properties {
        let Some(decl) = decl(property, property.embedded) else { continue };
        if required.contains(name.as_str()) && property.default.is_none() {
            min_size += name.len() as u64 + decl.min_size + 4;
        }
        if let Some(escaped) = escape(name) {
            fields.insert(escaped, (name.clone(), decl));
        }
    }
    if resource {
        let text = || Arc::new(Decl { shape: Shape::String, max_elements: MAX_REQUEST - 2, min_size: 2 });
        for name in ["apiVersion", "kind"] {
            fields.entry(name.into()).or_insert_with(|| (name.into(), text()));
        }
        // A declared metadata may only restrict these two.
        let declared = schema.properties.get("metadata");
        let names = ["name", "generateName"]
            .map(|name| {
                let restricted = declared.and_then(|m| decl(m.properties.get(name)?, false));
                (name.to_owned(), (name.to_owned(), restricted.unwrap_or_else(text)))
            })
            .into();
        let metadata = Decl { shape: Shape::Object { fields: names }, max_elements: 0, min_size: 2 };
        fields.insert("metadata".into(), ("metadata".into(), metadata.into()));
    }
    Arc::new(Decl { shape: Shape::Object { fields }, max_elements: 0, min_size })
}

/// A rule that can be evaluated.
#[derive(Debug)]
pub struct Compiled {
    /// As written.
    pub source: Rule,
    /// What must hold, or why it cannot be read.
    pub rule: Result<Program, Message>,
    /// What makes the message, if anything.
    pub message: Option<Result<Program, Message>>,
    /// The field that is to blame, below the place of the rule.
    pub field: Option<String>,
}

impl Compiled {
    /// Compiles a rule of a schema.
    pub fn new(source: &Rule, schema: &Schema, decl: &Arc<Decl>) -> Self {
        let optional = source.optional_old_self == Some(true);
        let variables = [
            Variable { name: "self", decl: Arc::clone(decl), optional: false },
            Variable { name: "oldSelf", decl: Arc::clone(decl), optional },
        ];
        let compile = |text: &str, wanted| Program::compile(text, &variables, wanted);
        let told = |(one, other): (&str, &str), why| match why {
            CompileError::Result(_) => message!("{one}{why}"),
            CompileError::Mistakes(_) => message!("{other}compilation failed: {why}"),
        };
        let message = Some(&source.message_expression).filter(|text| !text.trim().is_empty()).map(|text| {
            compile(text, Wanted::String)
                .map_err(|why| told(("messageExpression ", "messageExpression "), why))
        });
        Self {
            rule: compile(&source.rule, Wanted::Bool).map_err(|why| told(("cel expression ", ""), why)),
            message,
            field: Some(source.field_path.trim())
                .filter(|path| !path.is_empty())
                .and_then(|path| paths::resolve(path, schema, true).ok())
                .map(|(normal, _)| normal),
            source: source.clone(),
        }
    }

    /// Whether it compares with the former value.
    pub fn uses_old_self(&self) -> bool {
        self.rule.as_ref().is_ok_and(|program| program.uses("oldSelf"))
    }
}

/// The rules of a schema and of all below it.
#[derive(Debug)]
pub struct Node {
    schema: Schema,
    decl: Option<Arc<Decl>>,
    rules: Vec<Compiled>,
    items: Option<Box<Node>>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
}

impl Node {
    /// The rules of a resource's schema; `None` when there are none.
    pub fn of_resource(schema: &Schema) -> Option<Self> {
        if !schema.any(&|s| !s.rules.is_empty()) {
            return None;
        }
        Self::new(schema, decl(schema, true))
    }

    fn new(schema: &Schema, decl_here: Option<Arc<Decl>>) -> Option<Self> {
        let rules: Vec<Compiled> = decl_here
            .iter()
            .flat_map(|decl| schema.rules.iter().map(|rule| Compiled::new(rule, schema, decl)))
            .collect();
        let element = decl_here.as_ref().and_then(|decl| decl.element()).cloned();
        let below =
            |inner: &Schema| Self::new(inner, element.clone().or_else(|| decl(inner, inner.embedded)));
        let items = schema.items.as_deref().and_then(below).map(Box::new);
        let additional = schema.additional_schema().and_then(below).map(Box::new);
        let mut properties = BTreeMap::new();
        for (name, property) in &schema.properties {
            let known = escape(name).and_then(|name| decl_here.as_ref()?.field(&name).cloned());
            let of = known.or_else(|| decl(property, property.embedded));
            if let Some(node) = Self::new(property, of) {
                properties.insert(name.clone(), node);
            }
        }
        if rules.is_empty() && items.is_none() && additional.is_none() && properties.is_empty() {
            return None;
        }
        // Only what is asked for below is kept of the schema.
        let schema = Schema {
            ty: schema.ty.clone(),
            list_type: schema.list_type.clone(),
            list_map_keys: schema.list_map_keys.clone(),
            ..Schema::default()
        };
        Some(Self { schema, decl: decl_here, rules, items, properties, additional })
    }

    /// Holds an object to the rules. What was already wrong and has not changed becomes a warning.
    pub fn check(&self, value: &Value, old: Option<&Value>, warnings: &mut Vec<String>) -> Errors {
        let mut checker = Checker { errors: Errors::default(), warnings, budget: BUDGET };
        let same = Former { here: old.map(|old| (value, old)), above: None };
        checker.node(self, value, old, same, &Path::root());
        checker.errors
    }
}

/// What a part of the object was before.
#[derive(Clone, Copy)]
struct Former<'a> {
    /// This part and the same part before, if there is such.
    here: Option<(&'a Value, &'a Value)>,
    /// The nearest part around it that had a former self.
    above: Option<(&'a Value, &'a Value)>,
}

impl<'a> Former<'a> {
    /// Whether nothing has changed here.
    fn unchanged(self) -> bool {
        self.here.or(self.above).is_some_and(|(new, old)| new == old)
    }

    fn below(self, value: &'a Value, old: Option<&'a Value>) -> Self {
        match self.here {
            None => self,
            Some(_) => Self { here: old.map(|old| (value, old)), above: self.here },
        }
    }
}

struct Checker<'a> {
    errors: Errors,
    warnings: &'a mut Vec<String>,
    budget: i64,
}

/// The type in place of a value that is no single value.
fn quoted_type(schema: &Schema) -> &str {
    &schema.ty
}

fn shown_path(at: &Path) -> Path {
    // Upstream's path of the whole object is none, which Go prints so.
    if at.to_string().is_empty() { Path::new("<nil>") } else { at.clone() }
}

impl Checker<'_> {
    /// False when the budget is used up.
    fn node<'v>(
        &mut self,
        node: &Node,
        value: &'v Value,
        old: Option<&'v Value>,
        former: Former<'v>,
        at: &Path,
    ) -> bool {
        if value.is_null() {
            return true;
        }
        if let Some(decl) = node.decl.as_ref().filter(|_| !node.rules.is_empty())
            && !self.rules(node, decl, value, old, former, at)
        {
            return false;
        }
        match value {
            Value::Array(items) => {
                let Some(inner) = &node.items else { return true };
                let olds = Counterparts::new(old.and_then(Value::as_array), &node.schema);
                items.iter().enumerate().all(|(i, item)| {
                    let same = olds.of(item);
                    self.node(inner, item, same, former.below(item, same), &at.index(i))
                })
            }
            Value::Object(map) => map.iter().all(|(name, member)| {
                let same = old.and_then(|old| old.get(name));
                let (inner, at) = match (node.properties.get(name), &node.additional) {
                    (Some(inner), _) => (inner, at.child(name)),
                    (None, Some(inner)) => (&**inner, at.key(name)),
                    (None, None) => return true,
                };
                self.node(inner, member, same, former.below(member, same), &at)
            }),
            _ => true,
        }
    }

    fn rules(
        &mut self,
        node: &Node,
        decl: &Arc<Decl>,
        value: &Value,
        old: Option<&Value>,
        former: Former<'_>,
        at: &Path,
    ) -> bool {
        let ty = quoted_type(&node.schema);
        let place = shown_path(at);
        for compiled in &node.rules {
            let program = match &compiled.rule {
                Ok(program) => program,
                Err(why) => {
                    self.errors.invalid(&place, ty, format!("rule compile error: {why}"));
                    continue;
                }
            };
            let optional = compiled.source.optional_old_self == Some(true);
            let transition = compiled.uses_old_self();
            if transition && old.is_none() && !optional {
                continue;
            }
            let bindings = [
                Binding { name: "self", value: Some(value), decl, optional: false },
                Binding { name: "oldSelf", value: old, decl, optional },
            ];
            let (result, cost) = program.eval(&bindings, CALL_LIMIT);
            self.budget = self.budget.saturating_sub(i64::try_from(cost).unwrap_or(i64::MAX));
            if self.budget < 0 {
                let why = "validation failed due to running out of cost budget, no further validation rules will be run";
                self.errors.invalid(&place, ty, why);
                return false;
            }
            let shown = compiled.source.shown();
            match result {
                Ok(Answer::Bool(true)) => continue,
                Ok(_) => {}
                Err(EvalError::TooExpensive) => {
                    let why = format!(
                        "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}",
                        EvalError::TooExpensive
                    );
                    self.errors.invalid(&place, ty, why);
                    return false;
                }
                Err(EvalError::Failed(why)) => {
                    self.errors.invalid(&place, ty, if why.starts_with("no such overload") {
                        format!("'{why}': call arguments did not match a supported operator, function or macro signature for rule: {shown}")
                    } else {
                        format!("{why} evaluating rule: {shown}")
                    });
                    continue;
                }
            }
            let (message, spent) = message(compiled, &bindings, self.budget);
            self.budget -= spent;
            let blamed = match &compiled.field {
                Some(field) => shown_path(&at.child(field)),
                None => place.clone(),
            };
            let before = self.errors.len();
            push_failure(&mut self.errors, compiled, &blamed, ty, value, &message);
            if !transition && former.unchanged() {
                self.warnings.extend(self.errors.split_off(before).iter().map(ToString::to_string));
            }
            if self.budget < 0 {
                return false;
            }
        }
        true
    }
}

fn push_failure(errors: &mut Errors, rule: &Compiled, at: &Path, ty: &str, value: &Value, message: &str) {
    match rule.source.reason.as_deref() {
        Some("FieldValueForbidden") => errors.forbidden(at, message),
        Some("FieldValueRequired") => errors.required(at, message),
        Some("FieldValueDuplicate") => errors.duplicate(at, value),
        _ if matches!(ty, "object" | "array") => errors.plain(ErrorType::Invalid, at, message),
        _ => errors.invalid(at, value, message),
    }
}

/// What is said when a rule does not hold, and what it cost to say it.
fn message(rule: &Compiled, bindings: &[Binding<'_>], budget: i64) -> (String, i64) {
    let fixed = || {
        let given = rule.source.message.trim();
        if given.is_empty() { format!("failed rule: {}", rule.source.shown()) } else { given.to_owned() }
    };
    let Some(Ok(program)) = &rule.message else { return (fixed(), 0) };
    let (result, cost) = program.eval(bindings, CALL_LIMIT);
    let cost = i64::try_from(cost).unwrap_or(i64::MAX);
    if cost > budget {
        let why = "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run";
        return (why.into(), cost);
    }
    match result {
        Ok(Answer::String(text)) => {
            let text = text.trim();
            let usable = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
            (if usable { text.to_owned() } else { fixed() }, cost)
        }
        Err(EvalError::TooExpensive) => {
            let why = "no further validation rules will be run due to call cost exceeds limit for messageExpression";
            (format!("{why}: {:?}", rule.source.message_expression), i64::MAX)
        }
        _ => (fixed(), cost),
    }
}
