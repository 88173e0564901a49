//! Brings an object into the form its schema gives it: nulls that mean nothing go, defaults come in, and
//! fields nobody declared are dropped.
//!
//! Counterparts: `schema/defaulting` and `schema/pruning`.

use serde_json::{Map, Value};

use super::schema::{Additional, Schema};
use crate::schema::Types;

/// Drops nulls of fields that cannot be null and have no default; those with one get it later.
pub fn drop_nulls(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                !value.is_null()
                    || schema.properties.get(name).is_none_or(|s| s.nullable || s.default.is_some())
            });
            each_member(map, schema, &mut drop_nulls);
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| drop_nulls(item, schema));
            }
        }
        _ => {}
    }
}

/// Puts in defaults.
pub fn defaults(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(map) => {
            for (name, property) in &schema.properties {
                if let Some(default) = &property.default {
                    let missing = match map.get(name) {
                        None => true,
                        Some(given) => given.is_null() && !property.nullable,
                    };
                    if missing {
                        map.insert(name.clone(), default.clone());
                    }
                }
            }
            if let Some(additional) = schema.additional_schema()
                && let Some(default) = additional.default.as_ref().filter(|_| !additional.nullable)
            {
                let null = |(name, value): &(&String, &mut Value)| {
                    value.is_null() && !schema.properties.contains_key(*name)
                };
                map.iter_mut().filter(null).for_each(|(_, value)| *value = default.clone());
            }
            each_member(map, schema, &mut defaults);
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for item in items {
                    if item.is_null()
                        && !schema.nullable
                        && let Some(default) = &schema.default
                    {
                        *item = default.clone();
                    }
                    defaults(item, schema);
                }
            }
        }
        _ => {}
    }
}

fn each_member(map: &mut Map<String, Value>, schema: &Schema, act: &mut dyn FnMut(&mut Value, &Schema)) {
    for (name, value) in map {
        if let Some(schema) = schema.properties.get(name).or(schema.additional_schema()) {
            act(value, schema);
        }
    }
}

/// Drops fields nobody declared. At the root of a resource `apiVersion`, `kind` and `metadata` stay.
pub fn prune(value: &mut Value, schema: &Schema, resource: bool) {
    match value {
        Value::Object(map) => {
            let resource = resource || schema.embedded;
            let open = schema.preserves() || schema.additional == Some(Additional::Allowed(true));
            map.retain(|name, _| {
                open || schema.properties.contains_key(name)
                    || schema.additional_schema().is_some()
                    || (resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata"))
            });
            for (name, value) in map {
                // The metadata of a resource has a type of its own.
                if resource && name == "metadata" {
                    prune_metadata(value);
                    continue;
                }
                if let Some(schema) = schema.properties.get(name).or(schema.additional_schema()) {
                    prune(value, schema, false);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                items.iter_mut().for_each(|item| prune(item, schema, false));
            }
        }
        _ => {}
    }
}

/// Drops what the metadata of no object has.
fn prune_metadata(metadata: &mut Value) {
    let types = Types::builtin();
    let any = types.root("", "v1", "ConfigMap");
    if let Some(ty) = any.and_then(|root| types.member(root, "metadata")) {
        types.prune(metadata, ty);
    }
}

/// Whether a default keeps to what its schema declares.
pub fn is_pruned(value: &Value, schema: &Schema) -> bool {
    let mut pruned = value.clone();
    prune(&mut pruned, schema, schema.embedded);
    pruned == *value
}
