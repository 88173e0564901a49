//! Conditions of a status: at most one of each type, in the order they came.
//!
//! Invariant: the time of the last transition changes only with the condition's status. Objects are JSON here, and
//! lists may be of any of the wire types. Counterpart: upstream's `meta.SetStatusCondition` and its likes.

use k8s_openapi::{
    api::autoscaling::v2::HorizontalPodAutoscalerCondition,
    api::core::v1::{NamespaceCondition, NodeCondition, PodCondition},
    apimachinery::pkg::apis::meta::v1::{Condition as MetaCondition, Time},
};
use serde_json::{Value, json};

use crate::object::ObjectExt as _;

/// A condition, whatever its type.
pub trait Condition {
    /// Its type.
    fn kind(&self) -> &str;

    /// `True`, `False` or `Unknown`.
    fn status(&self) -> &str;

    /// Takes over the time of the last transition, if there is one.
    fn stay_since(&mut self, before: &Self);
}

impl Condition for Value {
    fn kind(&self) -> &str {
        self.str_at(&["type"])
    }

    fn status(&self) -> &str {
        self.str_at(&["status"])
    }

    fn stay_since(&mut self, before: &Self) {
        if let Some(since) = before.get("lastTransitionTime").filter(|since| !since.is_null()) {
            self["lastTransitionTime"] = since.clone();
        }
    }
}

macro_rules! typed {
    ($($condition:ty: $stay:expr,)*) => {$(
        impl Condition for $condition {
            fn kind(&self) -> &str {
                &self.type_
            }

            fn status(&self) -> &str {
                &self.status
            }

            fn stay_since(&mut self, before: &Self) {
                $stay(&mut self.last_transition_time, &before.last_transition_time);
            }
        }
    )*};
}

typed! {
    HorizontalPodAutoscalerCondition: stay,
    NamespaceCondition: stay,
    NodeCondition: stay,
    PodCondition: stay,
    MetaCondition: Time::clone_from,
}

fn stay(since: &mut Option<Time>, before: &Option<Time>) {
    if before.is_some() {
        since.clone_from(before);
    }
}

/// A condition of now, given the one of its type that there was: if its status is the same, so is the time of the
/// last transition.
pub fn after<C: Condition>(before: Option<&C>, mut new: C) -> C {
    if let Some(before) = before.filter(|before| before.status() == new.status()) {
        new.stay_since(before);
    }
    new
}

/// Puts a condition of now into a list, in the place of the one of its type.
pub fn set<C: Condition>(list: &mut Vec<C>, new: C) {
    match list.iter_mut().find(|known| known.kind() == new.kind()) {
        Some(known) => *known = after(Some(known), new),
        None => list.push(new),
    }
}

/// The conditions of an object.
pub fn of(object: &Value) -> &[Value] {
    object.at(&["status", "conditions"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// An object's condition by its type.
pub fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    of(object).iter().find(|condition| condition.kind() == kind)
}

/// Whether an object's condition holds.
pub fn holds(object: &Value, kind: &str) -> bool {
    find(object, kind).is_some_and(|condition| condition.status() == "True")
}

/// A condition that came to hold or not to hold now.
pub fn told(kind: &str, holds: bool, reason: &str, message: &str, now: &str) -> Value {
    let status = if holds { "True" } else { "False" };
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now})
}

/// Puts a condition of now into an object's status.
pub fn set_in(object: &mut Value, new: Value) {
    let list = &mut object["status"]["conditions"];
    match list.as_array_mut() {
        Some(list) => set(list, new),
        None => *list = json!([new]),
    }
}

#[cfg(test)]
mod tests;
