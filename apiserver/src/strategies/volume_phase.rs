//! When a volume entered its phase. Upstream does this in the strategy of the kind.

use api::object::ObjectExt as _;
use serde_json::{Value, json};

use crate::stamp::now;

const TIME: &str = "lastPhaseTransitionTime";

/// A new volume is Pending from now on, whatever it says itself.
pub fn create(volume: &mut Value) {
    volume["status"] = json!({TIME: now()});
}

/// Gives the phase of a status the time that it lacks: the one it has had, or now when the phase is another.
pub fn stamp(new: &mut Value, old: &Value) {
    if !new["status"].is_object() {
        return;
    }
    let had = &old["status"][TIME];
    if new.str_at(&["status", "phase"]) == old.str_at(&["status", "phase"]) {
        if new["status"][TIME].is_null() && !had.is_null() {
            new["status"][TIME] = had.clone();
        }
    } else if new["status"][TIME].is_null() || new["status"][TIME] == *had {
        new["status"][TIME] = json!(now());
    }
}

#[cfg(test)]
mod tests;
