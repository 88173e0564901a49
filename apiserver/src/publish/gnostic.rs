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
mod tests {
    use serde_json::json;

    use super::*;

    /// The fields of a message: number and content (of numbers, their value as bytes).
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn number(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = number(&mut bytes);
            let content = match tag & 7 {
                0 => number(&mut bytes).to_le_bytes().to_vec(),
                1 => {
                    let (head, rest) = bytes.split_at(8);
                    bytes = rest;
                    head.to_vec()
                }
                2 => {
                    let length = number(&mut bytes) as usize;
                    let (head, rest) = bytes.split_at(length);
                    bytes = rest;
                    head.to_vec()
                }
                other => panic!("wire type {other}"),
            };
            found.push((tag >> 3, content));
        }
        found
    }

    /// Follows field numbers (the first of each) into a message.
    fn at(bytes: &[u8], path: &[u64]) -> Vec<u8> {
        path.iter().fold(bytes.to_vec(), |bytes, number| {
            fields(&bytes).into_iter().find(|(n, _)| n == number).unwrap_or_else(|| panic!("{number}")).1
        })
    }

    #[test]
    fn a_document_is_encoded_as_gnostic_numbers_it() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1"},
            "paths": {"/x/{name}": {"get": {
                "operationId": "getX",
                "parameters": [{"name": "name", "in": "path", "type": "string", "uniqueItems": true, "required": true}],
                "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/X"}}},
                "x-kubernetes-action": "get",
            }}},
            "definitions": {"X": {
                "type": "object",
                "required": ["a"],
                "properties": {
                    "a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                    "m": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1.5}},
                    "free": {"type": "object", "additionalProperties": true, "default": {"k": 1}},
                },
                "x-kubernetes-group-version-kind": [{"group": "", "kind": "X", "version": "v1"}],
            }},
        });
        let bytes = encode(&document);
        let text = |path: &[u64]| String::from_utf8(at(&bytes, path)).unwrap();
        assert_eq!(text(&[1]), "2.0");
        assert_eq!(text(&[2, 1]), "Kubernetes");
        assert_eq!(text(&[8, 2, 1]), "/x/{name}");
        let get = [8, 2, 2, 2];
        let below = |path: &[u64]| text(&[&get[..], path].concat());
        assert_eq!(below(&[5]), "getX");
        assert_eq!(below(&[8, 1, 2, 4, 4]), "name");
        assert_eq!(below(&[9, 1, 1]), "200");
        assert_eq!(below(&[9, 1, 2, 1, 2, 1, 1]), "#/definitions/X");
        assert_eq!((below(&[13, 1]), below(&[13, 2, 2])), ("x-kubernetes-action".into(), "\"get\"".into()));
        let schema = at(&bytes, &[9, 1, 2]);
        assert_eq!(at(&schema, &[22, 1]), b"object");
        assert_eq!(at(&schema, &[19]), b"a");
        let kinds: Value = serde_json::from_slice(&at(&schema, &[31, 2, 2])).unwrap();
        assert_eq!(kinds[0]["kind"], "X");
        let properties: Vec<Vec<u8>> = fields(&at(&schema, &[25])).into_iter().map(|(_, p)| p).collect();
        let property = |name: &str| {
            properties.iter().find(|p| at(p, &[1]) == name.as_bytes()).map(|p| at(p, &[2])).unwrap()
        };
        assert_eq!(at(&property("a"), &[23, 1, 22, 1]), b"string");
        assert_eq!(at(&property("m"), &[21, 1, 9]), 1.5_f64.to_le_bytes());
        assert_eq!(at(&property("free"), &[21, 2]), 1_u64.to_le_bytes());
        assert_eq!(at(&property("free"), &[5, 2]), br#"{"k":1}"#);
    }
}
