//! What the tests of kinds have in common: an object through defaulting, and what is said about it.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use serde_json::Value;

use crate::kind::{Part, Rules, Strategy, Typed};

/// The object as it would be stored when created.
pub fn made<T: Strategy>(raw: Value) -> Value {
    let rules = Typed::<T>::RULES;
    let mut object = rules.default(raw).unwrap();
    rules.prepare_create(&mut object);
    object
}

/// What is wrong with a new object, without the long explanations of name forms.
pub fn wrong<T: Strategy>(object: &Value) -> Vec<String> {
    texts(&Typed::<T>::RULES.validate(object).errors)
}

/// What is wrong with a change.
pub fn changed<T: Strategy>(new: &Value, old: &Value) -> Vec<String> {
    changed_in::<T>(Part::Main, new, old)
}

/// What is wrong with a change through a subresource.
pub fn changed_in<T: Strategy>(part: Part<'_>, new: &Value, old: &Value) -> Vec<String> {
    let rules = Typed::<T>::RULES;
    let mut new = new.clone();
    rules.prepare_update(&mut new, old, part);
    texts(&rules.validate_update(&new, old, part).errors)
}

/// The cells of an object that `kubectl get` shows at the beginning of time.
pub fn cells<T: Strategy>(object: &Value) -> Vec<Value> {
    crate::kind::cells(&T::columns(), object, Timestamp::UNIX_EPOCH)
}

fn texts(errors: &api::field::Errors) -> Vec<String> {
    errors.iter().map(|e| e.to_string().split(" (e.g.").next().unwrap().to_owned()).collect()
}
