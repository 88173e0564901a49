//! Brings an object into the form its schema gives it: nulls that mean nothing go, defaults come in, and
//! fields nobody declared are dropped.
//!
//! Counterparts: `schema/defaulting` and `schema/pruning`.

use api::field::Path;
use serde_json::{Map, Value};

use super::schema::{Additional, Schema};
use crate::kind::DecodeError;
use crate::schema::{TypeRef, Types};

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
    prune_below(value, Some(schema), resource, false);
}

/// `schema` is `None` where nothing is known of a value; with `preserves`, the list above keeps unknown fields of its items.
fn prune_below(value: &mut Value, schema: Option<&Schema>, resource: bool, preserves: bool) {
    let preserves = preserves || schema.is_some_and(Schema::preserves);
    match (value, schema) {
        (_, None) if preserves => {}
        (Value::Object(map), None) => map.clear(),
        (Value::Object(map), Some(schema)) => {
            let resource = resource || schema.embedded;
            map.retain(|name, value| {
                match (name.as_str(), schema.properties.get(name), &schema.additional) {
                    ("apiVersion" | "kind", ..) if resource => {}
                    // The metadata of a resource has a type of its own.
                    ("metadata", ..) if resource => prune_metadata(value),
                    (_, Some(property), _) => prune_below(value, Some(property), false, false),
                    (_, None, Some(Additional::Schema(schema))) => {
                        prune_below(value, Some(schema), false, false);
                    }
                    (_, None, Some(Additional::Allowed(_))) => prune_below(value, None, false, false),
                    (_, None, None) => return preserves,
                }
                true
            });
        }
        (Value::Array(items), schema) => {
            let schema = schema.and_then(|schema| schema.items.as_deref());
            items.iter_mut().for_each(|item| prune_below(item, schema, false, preserves));
        }
        _ => {}
    }
}

/// Gives the metadata of embedded resources the form that every object's metadata has, or says why they have none.
pub fn coerce(value: &mut Value, schema: &Schema, at: &Path) -> Result<(), DecodeError> {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match name.as_str() {
                    "apiVersion" | "kind" if schema.embedded && !value.is_string() => {
                        let at = at.child(name);
                        return Err(DecodeError(format!("{at}: Invalid value: {value}: must be a string")));
                    }
                    "metadata" if schema.embedded => {
                        let given = value.clone();
                        conform_metadata(value).map_err(|why| {
                            DecodeError(format!("{}: Invalid value: {given}: {why}", at.child(name)))
                        })?;
                    }
                    _ => {}
                }
                if let Some(property) = schema.properties.get(name) {
                    coerce(value, property, &at.child(name))?;
                } else if let Some(additional) = schema.additional_schema() {
                    coerce(value, additional, &at.key(name))?;
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for (i, item) in items.iter_mut().enumerate() {
                    coerce(item, schema, &at.index(i))?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Gives metadata the form that every object's metadata has, or says why it is none.
pub fn conform_metadata(metadata: &mut Value) -> Result<(), DecodeError> {
    metadata_type().map_or(Ok(()), |(types, ty)| types.conform(metadata, ty))
}

/// Drops what the metadata of no object has.
fn prune_metadata(metadata: &mut Value) {
    if let Some((types, ty)) = metadata_type() {
        types.prune(metadata, ty);
    }
}

fn metadata_type() -> Option<(&'static Types, TypeRef)> {
    let types = Types::builtin();
    let any = types.root("", "v1", "ConfigMap")?;
    Some((types, types.member(any, "metadata")?))
}

/// Whether a default keeps to what its schema declares.
pub fn is_pruned(value: &Value, schema: &Schema) -> bool {
    let mut pruned = value.clone();
    prune(&mut pruned, schema, schema.embedded);
    pruned == *value
}
