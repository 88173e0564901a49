//! The printed columns of a custom kind.

use jiff::Timestamp;
use serde_json::Value;

use super::paths::JsonPath;
use crate::kind::{Column, cell};

/// A column and where its cells come from.
pub struct Printed {
    /// How the column is described.
    pub column: Column,
    /// Where the value is; `None` when the path cannot be read, as definitions may have such paths: the cells are empty then.
    path: Option<JsonPath>,
}

/// The columns of a version: the name, and those it declares or else the age.
pub fn of_version(version: &Value) -> Vec<Printed> {
    let declared = version.get("additionalPrinterColumns").and_then(Value::as_array);
    let mut columns = vec![Printed { column: Column::name(), path: None }];
    match declared.filter(|columns| !columns.is_empty()) {
        Some(declared) => columns.extend(declared.iter().map(Printed::read)),
        None => columns.push(Printed {
            column: Column { kind: "date".into(), ..Column::age() },
            path: JsonPath::parse(".metadata.creationTimestamp").ok(),
        }),
    }
    columns
}

impl Printed {
    fn read(json: &Value) -> Self {
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = text("jsonPath");
        let description = match text("description") {
            said if said.is_empty() => {
                format!("Custom resource definition column (in JSONPath format): {path}")
            }
            said => said,
        };
        Self {
            column: Column {
                name: text("name").into(),
                kind: text("type").into(),
                format: text("format").into(),
                description: description.into(),
                priority: json
                    .get("priority")
                    .and_then(Value::as_i64)
                    .and_then(|n| i32::try_from(n).ok())
                    .unwrap_or(0),
            },
            path: JsonPath::parse(&path).ok(),
        }
    }

    /// The cell of an object.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        if self.column.format == "name" {
            return cell::name(object);
        }
        let found = self.path.as_ref().map(|path| path.find(object)).unwrap_or_default();
        let Some(first) = found.first() else { return Value::Null };
        match (&*self.column.kind, first) {
            ("string", _) => found.iter().map(|value| text(value)).collect::<Vec<_>>().join(" ").into(),
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
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
