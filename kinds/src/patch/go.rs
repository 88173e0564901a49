//! Values in refusals, in upstream's words: those of Go's `fmt`.

use serde_json::{Map, Value};

/// A value as `%v` prints it.
pub(crate) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(s) => s.clone(),
        Value::Array(items) => go_list(items),
        Value::Object(map) => go_object(map),
        other => other.to_string(),
    }
}

pub(super) fn go_list(items: &[Value]) -> String {
    format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" "))
}

pub(super) fn go_object(map: &Map<String, Value>) -> String {
    let members: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_value(v))).collect();
    format!("map[{}]", members.join(" "))
}

/// A value as `%s`, which is meant for texts, prints it.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "%!s(<nil>)".into(),
        Value::String(s) => s.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let members: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_text(v))).collect();
            format!("map[{}]", members.join(" "))
        }
        other => format!("%!s({}={other})", go_type(other)),
    }
}

/// The type that Go's decoder gives a value.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => OBJECT,
    }
}

/// The type of an object.
pub(super) const OBJECT: &str = "map[string]interface {}";
