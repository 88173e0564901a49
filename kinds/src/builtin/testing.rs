//! What the tests of kinds have in common: an object through defaulting, and what is said about it.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use serde_json::Value;

use crate::kind::{Part, Rules, Strategy, Typed};

/// The object as it would be stored when created.
pub fn made(strategy: impl Strategy, raw: Value) -> Value {
    let rules = Typed(strategy);
    let mut object = rules.default(raw).unwrap();
    rules.prepare_create(&mut object);
    object
}

/// What is wrong with a new object, without the long explanations of name forms.
pub fn wrong(strategy: impl Strategy, object: &Value) -> Vec<String> {
    texts(&Typed(strategy).validate(object).errors)
}

/// What is wrong with a change.
pub fn changed(strategy: impl Strategy, new: &Value, old: &Value) -> Vec<String> {
    changed_in(strategy, Part::Main, new, old)
}

/// What is wrong with a change through a subresource.
pub fn changed_in(strategy: impl Strategy, part: Part<'_>, new: &Value, old: &Value) -> Vec<String> {
    let rules = Typed(strategy);
    let mut new = new.clone();
    rules.prepare_update(&mut new, old, part);
    texts(&rules.validate_update(&new, old, part).errors)
}

/// The cells of an object that `kubectl get` shows at the beginning of time.
pub fn cells(strategy: impl Strategy, object: &Value) -> Vec<Value> {
    crate::kind::cells(&strategy.columns(), object, Timestamp::UNIX_EPOCH)
}

fn texts(errors: &api::field::Errors) -> Vec<String> {
    errors.iter().map(|e| e.to_string().split(" (e.g.").next().unwrap().to_owned()).collect()
}
