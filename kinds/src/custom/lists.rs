//! What types cannot say about lists and embedded resources: sets and list maps hold nothing twice, and an
//! embedded resource names its kind. Counterparts: `schema/listtype` and `schema/objectmeta`.

use api::validation::NameRule;
use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    validation,
};
use serde_json::{Map, Value, json};

use super::{fill, schema::Schema};

/// Checks all sets and list maps below a value.
pub fn unique(value: &Value, schema: &Schema, at: &Path, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    unique(value, property, &at.child(name), errors);
                } else if let Some(additional) = schema.additional_schema() {
                    unique(value, additional, &at.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list_type.as_deref() {
                Some("set") => once(items, at, errors),
                Some("map") => {
                    let strange = items.iter().position(|item| !item.is_object() && !item.is_null());
                    if let Some(i) = strange {
                        let why = "must be an object for an array of list-type map";
                        errors.invalid(&at.index(i), &items[i], why);
                    } else {
                        let keys: Vec<Value> =
                            items.iter().map(|item| key_of(item, &schema.list_map_keys)).collect();
                        once(&keys, at, errors);
                    }
                }
                _ => {}
            }
            if let Some(schema) = &schema.items {
                for (i, item) in items.iter().enumerate() {
                    unique(item, schema, &at.index(i), errors);
                }
            }
        }
        _ => {}
    }
}

fn key_of(item: &Value, fields: &[String]) -> Value {
    let key: Map<String, Value> = fields
        .iter()
        .filter_map(|field| item.get(field).map(|value| (field.clone(), value.clone())))
        .collect();
    key.into()
}

/// Tells of each value that comes again, once.
fn once(items: &[Value], at: &Path, errors: &mut Errors) {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for (i, item) in items.iter().enumerate() {
        let times = seen.entry(item.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            errors.duplicate(&at.index(i), item);
        }
    }
}

/// Checks `apiVersion`, `kind` and `metadata` of all embedded resources below a value.
pub fn embedded(value: &Value, schema: &Schema, at: &Path, errors: &mut Errors) {
    match value {
        Value::Object(map) => {
            if schema.embedded {
                resource(value, at, errors);
            }
            for (name, value) in map {
                if let Some(property) = schema.properties.get(name) {
                    embedded(value, property, &at.child(name), errors);
                } else if let Some(additional) = schema.additional_schema() {
                    embedded(value, additional, &at.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (i, item) in items.iter().enumerate() {
                    embedded(item, schema, &at.index(i), errors);
                }
            }
        }
        _ => {}
    }
}

fn resource(value: &Value, at: &Path, errors: &mut Errors) {
    for field in ["apiVersion", "kind"] {
        let at = at.child(field);
        match value.get(field) {
            None => errors.required(&at, ""),
            Some(Value::String(text)) if text.is_empty() => errors.required(&at, ""),
            Some(Value::String(text)) if field == "kind" => {
                let wrong = validation::dns_1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    errors.invalid(&at, text, why);
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                errors.invalid(&at, text, format!("unexpected GroupVersion string: {text}"));
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.invalid(&at, other, "must be a string"),
        }
    }
    match value.get("metadata") {
        None => {}
        Some(metadata @ Value::Object(_)) => {
            if let Err(why) = fill::conform_metadata(&mut metadata.clone()) {
                return errors.invalid(&at.child("metadata"), metadata, why);
            }
            let mut named = json!({"metadata": metadata});
            if named.name().is_empty() {
                named.set_meta("name", "fakename");
            }
            let found = validation::object_meta(&named, NameRule::PathSegment, !named.namespace().is_empty());
            for mut error in found {
                error.field = format!("{at}.{}", error.field);
                errors.add(error);
            }
        }
        Some(other) => errors.invalid(&at.child("metadata"), other, "must be an object"),
    }
}
