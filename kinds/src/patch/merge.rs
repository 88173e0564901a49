//! Merge patch: an object laid over the present one, as upstream's library (`evanphx/json-patch`, version 4) does it.
//!
//! Nulls take members away, and are left out of what is new, also in lists. Only what takes the place of an object, and
//! is none itself, comes in as it is.

use serde_json::{Map, Value};

pub(super) fn apply(current: &Value, changes: Map<String, Value>) -> Value {
    let mut result = current.as_object().cloned().unwrap_or_default();
    objects(&mut result, changes);
    Value::Object(result)
}

fn objects(present: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, mut change) in changes {
        match (present.get_mut(&name), &mut change) {
            (_, Value::Null) => drop(present.remove(&name)),
            (Some(Value::Object(present)), Value::Object(changes)) => {
                objects(present, std::mem::take(changes))
            }
            (found, _) => {
                if !found.is_some_and(|found| found.is_object()) {
                    drop_nulls(&mut change);
                }
                present.insert(name, change);
            }
        }
    }
}

/// Takes out what is null, which is no value to Go.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
