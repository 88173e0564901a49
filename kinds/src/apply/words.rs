//! Values in refusals of what is applied, in upstream's words: those of Go's `fmt`.

use serde_json::{Map, Value};

/// A value that is no map, list or boolean though there should be one.
pub(super) fn shown(value: &Value) -> String {
    format!("&{{{}}}", plain(value))
}

/// A value that is no text though there should be one.
pub(super) fn quoted(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", literal(value))
}

/// The type of a value that is no number though there should be one.
pub(super) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// As `%v` has it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let entries: Vec<String> =
                sorted(map).into_iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// As `%#v` has it.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(literal).collect();
            format!("{}{{{}}}", type_of(value), items.join(", "))
        }
        Value::Object(map) => {
            let entries: Vec<String> =
                sorted(map).into_iter().map(|(key, value)| format!("{key:?}:{}", literal(value))).collect();
            format!("{}{{{}}}", type_of(value), entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

#[cfg(test)]
mod tests;
