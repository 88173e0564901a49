//! The printed columns of a custom kind.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::paths::JsonPath;
use crate::kind::{Column, cell};

/// The columns of a version: the name, and those it declares or else the age.
pub fn of_version(version: &Value) -> Vec<Column> {
    let declared = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let mut columns = vec![Column::name()];
    match declared.filter(|columns| !columns.is_empty()) {
        Some(declared) => columns.extend(declared.iter().map(column)),
        None => columns.push(column(&json!({
            "name": "Age",
            "type": "date",
            "description": "Time since the object was created.",
            "jsonPath": ".metadata.creationTimestamp",
        }))),
    }
    columns
}

fn column(declared: &Value) -> Column {
    let text = |key: &str| declared.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (path, kind, format) = (text("jsonPath"), text("type"), text("format"));
    let description = match text("description") {
        said if said.is_empty() => format!("Custom resource definition column (in JSONPath format): {path}"),
        said => said,
    };
    let priority = declared.get("priority").and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
    // Definitions may have paths that cannot be read: the cells are empty then.
    let path = JsonPath::parse(&path).ok();
    let cell_kind = kind.clone();
    Column {
        name: text("name").into(),
        kind: kind.into(),
        format: format.into(),
        description: description.into(),
        priority: priority.unwrap_or(0),
        cell: Arc::new(move |object, now| {
            path.as_ref().map_or(Value::Null, |path| shown(&cell_kind, &path.find(object), now))
        }),
    }
}

/// The cell of what was found of an object: of several values, the first.
fn shown(kind: &str, found: &[&Value], now: Timestamp) -> Value {
    let Some(first) = found.first() else { return Value::Null };
    match (kind, first) {
        ("string", _) => text(first).into(),
        #[expect(clippy::cast_possible_truncation, reason = "casts from floating point saturate")]
        ("integer", Value::Number(n)) => {
            n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)).map_or(Value::Null, Value::from)
        }
        ("number", Value::Number(n)) => n.as_f64().map_or(Value::Null, Value::from),
        ("boolean", Value::Bool(b)) => (*b).into(),
        ("date", Value::String(stamp)) => match stamp.parse::<Timestamp>() {
            Ok(_) => cell::since(stamp, now),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
