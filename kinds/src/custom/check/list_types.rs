//! What a schema must say of the items of sets and list maps.

use std::collections::BTreeSet;

use api::field::{Errors, Path};

use crate::custom::schema::Schema;

/// Items of a set are compared as a whole.
pub(super) fn set_items(items: &Schema, at: &Path, errors: &mut Errors) {
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    match items.ty.as_str() {
        "array" if items.list_type.as_deref().is_some_and(|kind| kind != "atomic") => {
            errors.invalid(&at.child("x-kubernetes-list-type"), &items.list_type, why);
        }
        "object" if items.map_type.as_deref() != Some("atomic") => {
            errors.invalid(&at.child("x-kubernetes-map-type"), &items.list_type, why);
        }
        _ => {}
    }
}

pub(super) fn list_map(schema: &Schema, at: &Path, errors: &mut Errors) {
    let keys_at = at.child("x-kubernetes-list-map-keys");
    if schema.list_map_keys.is_empty() {
        errors.required(&keys_at, "must not be empty if x-kubernetes-list-type is map");
    }
    let items_at = at.child("items");
    let Some(items) = &schema.items else {
        if !schema.items_array {
            errors.required(&items_at, "must have a schema if x-kubernetes-list-type is map");
        }
        return;
    };
    if items.ty != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.invalid(&items_at.child("type"), &items.ty, why);
        return;
    }
    let mut seen = BTreeSet::new();
    for key in &schema.list_map_keys {
        match items.properties.get(key) {
            Some(property) if matches!(property.ty.as_str(), "array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.invalid(&items_at.child("properties").key(key).child("type"), &items.ty, why);
            }
            Some(_) => {}
            None => {
                let why = "entries must all be names of item properties";
                errors.invalid(&keys_at, &schema.list_map_keys, why);
            }
        }
        if !seen.insert(key) {
            errors.invalid(&keys_at, &schema.list_map_keys, "must not contain duplicate entries");
        }
    }
}

/// Items of sets and list maps, and their keys, are never null or missing.
pub(super) fn keys_are_there(schema: &Schema, at: &Path, errors: &mut Errors) {
    let (Some(kind @ ("set" | "map")), Some(items)) = (schema.list_type.as_deref(), &schema.items) else {
        return;
    };
    let at = at.child("items");
    if items.nullable {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.forbidden(&at.child("nullable"), &why);
    }
    if kind == "set" {
        return;
    }
    let required: BTreeSet<&String> = items.checks.required.iter().collect();
    for key in &schema.list_map_keys {
        let Some(property) = items.properties.get(key) else { continue };
        let at = at.child("properties").key(key);
        if !required.contains(key) && property.default.is_none() {
            let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.required(&at.child("default"), why);
        }
        if property.nullable {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&at.child("nullable"), why);
        }
    }
}
