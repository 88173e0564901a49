//! Several expressions over the same variables, some of which are expressions themselves.

use api::{Message, message};
use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use super::{
    Answer, Authorizer, Binding, EvalError, JSON_PATCH, Program, Question,
    access::Access,
    eval::Run,
    functions::shown,
    value::{Evaluated, Failure, Items, Map, Opaque, Value},
};

/// Why a session has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// This expression and those before it cost more than all together may: no more is to be evaluated.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    OutOfBudget,
    /// It came to nothing.
    #[error(transparent)]
    Failed(#[from] EvalError),
    /// What it came to is no JSON.
    #[error(transparent)]
    Unfit(#[from] Message),
}

/// The evaluations of one policy for one request: what variables come to is kept from one to the next.
pub struct Session<'a> {
    run: Run<'a>,
    left: u64,
}

impl<'a> Session<'a> {
    /// Begins with the values of variables, and what all evaluations together may cost.
    pub fn new(bindings: &[Binding<'a>], budget: u64) -> Self {
        Self { run: Run::new(bindings), left: budget }
    }

    /// Adds what is found under `variables.`, each evaluated when it is first asked for.
    #[must_use]
    pub fn with_variables(mut self, variables: impl IntoIterator<Item = (&'a str, &'a Program)>) -> Self {
        self.run.composed = variables.into_iter().collect();
        self
    }

    /// Adds `authorizer`, and `authorizer.requestResource` for what is asked about the request's own resource.
    #[must_use]
    pub fn with_authorizer(mut self, authorizer: &'a dyn Authorizer, resource: Question) -> Self {
        let begun =
            [("authorizer", Access::begin()), ("authorizer.requestResource", Access::of_resource(resource))];
        self.run
            .variables
            .extend(begun.map(|(name, access)| (name, Value::Opaque(Opaque::Access(access).into()))));
        self.run.given = self.run.variables.len();
        self.run.authorizer = Some(authorizer);
        self
    }

    /// Evaluates one expression, which may cost no more than `limit`, nor any of the variables it is the first to use.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub fn eval(&mut self, program: &'a Program, limit: u64) -> Result<Answer, Unanswered> {
        self.value(program, limit).map(Answer::of)
    }

    /// The same, for what is to become JSON: what a mutation makes.
    ///
    /// # Errors
    /// As [`Self::eval`]; what has no form in JSON, messages whose names do not say where they stand.
    pub fn json(&mut self, program: &'a Program, limit: u64) -> Result<Json, Unanswered> {
        let value = self.value(program, limit)?;
        Ok(Writer { left: limit }.json(&value, None)?)
    }

    fn value(&mut self, program: &'a Program, limit: u64) -> Result<Value<'a>, Unanswered> {
        (self.run.cost, self.run.composed_cost, self.run.limit) = (0, 0, limit);
        let result = self.run.value(&program.root);
        let cost = self.run.cost.saturating_add(self.run.composed_cost);
        self.left = self.left.checked_sub(cost).ok_or(Unanswered::OutOfBudget)?;
        Ok(result.map_err(EvalError::from)?)
    }
}

impl Answer {
    pub(super) fn of(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(b),
            Value::String(text) => Self::String(text.into_owned()),
            other => Self::Other(shown(&other)),
        }
    }
}

impl From<Failure> for EvalError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Cost => Self::TooExpensive,
            Failure::Error(why) => Self::Failed(why),
        }
    }
}

/// Writes values as JSON. Values share their parts, JSON does not: so the parts are counted.
struct Writer {
    left: u64,
}

impl Writer {
    /// `path` is where the value stands in a message, from the root's name on.
    fn json(&mut self, value: &Value<'_>, path: Option<&str>) -> Result<Json, Message> {
        self.left = self.left.checked_sub(1).ok_or("the result is too large")?;
        Ok(match value {
            Value::Null => Json::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(n) => (*n).into(),
            Value::Uint(n) => (*n).into(),
            Value::Double(n) => serde_json::Number::from_f64(*n).ok_or("not a number")?.into(),
            Value::String(text) => {
                self.left = self.left.checked_sub(text.len() as u64 / 10).ok_or("the result is too large")?;
                Json::String(text.to_string())
            }
            Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
            Value::Duration(_) | Value::Timestamp(_) => shown(value).into(),
            Value::List(list) => match &list.items {
                Items::Json(items, _) => self.copy(&Json::Array(items.to_vec()))?,
                Items::Made(items) => {
                    items.iter().map(|item| self.json(item, path)).collect::<Result<_, _>>()?
                }
            },
            Value::Map(Map::Json(map, _)) | Value::Object(map, _) => {
                self.copy(&Json::Object((*map).clone()))?
            }
            Value::Map(Map::Made(entries, name)) => {
                if let (Some(name), Some(path)) = (name, path)
                    && *name != path
                {
                    return Err(message!(
                        "type mismatch: unexpected type name {name:?}, expected {path:?}, which matches field name path from root Object type"
                    ));
                }
                // A step of a patch stands nowhere, its value where that says.
                let here = name.filter(|name| *name != JSON_PATCH).or(path.filter(|_| name.is_none()));
                let fields = entries.iter().map(|(key, value)| {
                    let Value::String(key) = key else {
                        return Err(message!(
                            "map key {:?} is of type {}, not string",
                            shown(key),
                            key.type_name()
                        ));
                    };
                    let below = name.and(here).map(|here| format!("{here}.{key}"));
                    Ok((key.to_string(), self.json(value, below.as_deref().or(here))?))
                });
                Json::Object(fields.collect::<Result<_, Message>>()?)
            }
            other => return Err(message!("{} has no form in JSON", other.type_name())),
        })
    }

    /// What is JSON already.
    fn copy(&mut self, value: &Json) -> Result<Json, Message> {
        self.left = self.left.checked_sub(size(value)).ok_or("the result is too large")?;
        Ok(value.clone())
    }
}

/// How many values there are in one, and how much text.
fn size(value: &Json) -> u64 {
    match value {
        Json::String(text) => 1 + text.len() as u64 / 10,
        Json::Array(items) => 1 + items.iter().map(size).sum::<u64>(),
        Json::Object(map) => 1 + map.values().map(size).sum::<u64>(),
        _ => 1,
    }
}

/// What variables that are expressions have come to, and how high the trees were for that.
pub(super) type Known<'a> = HashMap<&'a str, (Evaluated<'a>, usize)>;
