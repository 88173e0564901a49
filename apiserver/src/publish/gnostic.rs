//! The protobuf form of the OpenAPI v2 document: gnostic's `openapi.v2.Document`.
//!
//! Typed clients ask for this form alone and do not fall back to JSON. The table `gnostic.tsv` names the fields
//! of the messages that our document uses; what has no field there has none in gnostic either.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::Value;

/// A field of a message: its number, the type of its value, and whether it repeats.
#[derive(Clone, Copy)]
struct Field {
    number: u32,
    of: &'static str,
    repeated: bool,
}

type Message = HashMap<&'static str, Field>;

static MESSAGES: LazyLock<HashMap<&'static str, Message>> = LazyLock::new(|| {
    let mut messages: HashMap<_, Message> = HashMap::new();
    for line in include_str!("gnostic.tsv").lines().filter(|l| !l.starts_with('#')) {
        let mut cells = line.split('\t');
        let (Some(message), Some(key), Some(number), Some(of)) =
            (cells.next(), cells.next(), cells.next().and_then(|n| n.parse().ok()), cells.next())
        else {
            continue;
        };
        let field = Field { number, of: of.strip_prefix("[]").unwrap_or(of), repeated: of.starts_with("[]") };
        messages.entry(message).or_default().insert(key, field);
    }
    messages
});

/// Encodes a Swagger 2.0 document.
pub fn encode(document: &Value) -> Vec<u8> {
    message("Document", document)
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(number: u32, content: &[u8], out: &mut Vec<u8>) {
    varint(u64::from(number) << 3 | 2, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn boolean(number: u32, value: bool, out: &mut Vec<u8>) {
    varint(u64::from(number) << 3, out);
    varint(u64::from(value), out);
}

/// One value as the content of a field.
fn value(number: u32, of: &str, value: &Value, out: &mut Vec<u8>) {
    match (of, value) {
        ("string", Value::String(text)) => bytes(number, text.as_bytes(), out),
        ("bool", Value::Bool(value)) => boolean(number, *value, out),
        ("int64", Value::Number(value)) => {
            varint(u64::from(number) << 3, out);
            varint(value.as_i64().unwrap_or_default() as u64, out);
        }
        ("double", Value::Number(value)) => {
            varint(u64::from(number) << 3 | 1, out);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        // Any value is kept as text: JSON is YAML.
        ("Any", value) => {
            let mut any = Vec::new();
            bytes(2, value.to_string().as_bytes(), &mut any);
            bytes(number, &any, out);
        }
        ("Type", Value::String(_) | Value::Array(_)) => {
            let mut types = Vec::new();
            for text in one_or_more(value).iter().filter_map(Value::as_str) {
                bytes(1, text.as_bytes(), &mut types);
            }
            bytes(number, &types, out);
        }
        ("Items", Value::Object(_) | Value::Array(_)) => {
            let mut items = Vec::new();
            for schema in one_or_more(value) {
                bytes(1, &message("Schema", schema), &mut items);
            }
            bytes(number, &items, out);
        }
        ("AdditionalProperties", Value::Bool(allowed)) => {
            let mut item = Vec::new();
            boolean(2, *allowed, &mut item);
            bytes(number, &item, out);
        }
        (_, Value::Object(_)) => bytes(number, &message(of, value), out),
        // A value that is not what its field holds has no place in this form.
        _ => {}
    }
}

fn one_or_more(value: &Value) -> &[Value] {
    match value {
        Value::Array(all) => all,
        one => std::slice::from_ref(one),
    }
}

/// The messages that hold one of several others.
fn choice(of: &str, value: &Value) -> Option<(u32, &'static str)> {
    let reference = value.get("$ref").is_some();
    Some(match of {
        "ParametersItem" if reference => (2, "JsonReference"),
        "ParametersItem" => (1, "Parameter"),
        "Parameter" if value["in"] == "body" => (1, "BodyParameter"),
        "Parameter" => (2, "NonBodyParameter"),
        "NonBodyParameter" => match value["in"].as_str() {
            Some("header") => (1, "HeaderParameter"),
            Some("path") => (4, "PathParameter"),
            _ => (3, "QueryParameter"),
        },
        "ResponseValue" if reference => (2, "JsonReference"),
        "ResponseValue" => (1, "Response"),
        "SchemaItem" | "AdditionalProperties" => (1, "Schema"),
        _ => return None,
    })
}

fn message(of: &str, content: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some((number, inner)) = choice(of, content) {
        bytes(number, &message(inner, content), &mut out);
        return out;
    }
    let (Some(fields), Some(map)) = (MESSAGES.get(of), content.as_object()) else { return out };
    for (key, content) in map {
        if let Some(field) = fields.get(key.as_str()) {
            match content {
                Value::Array(all) if field.repeated => {
                    all.iter().for_each(|one| value(field.number, field.of, one, &mut out));
                }
                one => value(field.number, field.of, one, &mut out),
            }
        } else if let Some(field) = named_field(fields, key) {
            let mut named = Vec::new();
            bytes(1, key.as_bytes(), &mut named);
            value(2, field.of, content, &mut named);
            bytes(field.number, &named, &mut out);
        }
    }
    out
}

/// The field that holds a key which the message does not name: an extension, or a part of a map.
fn named_field(fields: &Message, key: &str) -> Option<Field> {
    let any = if key.starts_with("x-") { fields.get("x-*") } else { None };
    any.or_else(|| fields.get("*")).copied()
}

#[cfg(test)]
mod tests;
