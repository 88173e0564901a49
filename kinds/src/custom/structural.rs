//! Whether a schema is structural: every field has a type outside of logic, and logic only restricts values.
//!
//! Errors come sorted, as upstream gives them. Counterpart of `schema/validation.go` and `schema/complete.go`.

use api::field::{ErrorType, Errors, Path};

use super::schema::{Additional, Checks, Schema};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural.
pub fn check(schema: &Schema, at: &Path) -> Errors {
    let mut errors = Errors::default();
    invariants(schema, Level::Root, at, &mut errors);
    values_complete(&schema.checks, Some(schema), at, at, &mut errors);
    inner_complete(schema, at, &mut errors);
    errors.sort();
    errors
}

fn invariants(schema: &Schema, level: Level, at: &Path, errors: &mut Errors) {
    if schema.ty == "array" && schema.items.is_none() {
        errors.required(&at.child("items"), "must be specified");
    }
    if let Some(items) = &schema.items {
        invariants(items, Level::Item, &at.child("items"), errors);
    }
    for (name, property) in &schema.properties {
        invariants(property, Level::Field, &at.child("properties").key(name), errors);
    }
    if let Some(additional) = &schema.additional {
        let at = at.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&at, "must not be used at the root");
        }
        if let Additional::Schema(inner) = additional {
            invariants(inner, Level::Field, &at, errors);
        }
    }
    if schema.int_or_string && schema.preserves() {
        let why = "must be false if x-kubernetes-int-or-string is true";
        errors.invalid(&at.child("x-kubernetes-preserve-unknown-fields"), true, why);
    }
    if schema.int_or_string && schema.embedded {
        let why = "must be false if x-kubernetes-int-or-string is true";
        errors.invalid(&at.child("x-kubernetes-embedded-resource"), true, why);
    }
    let skip_any = is_int_or_string(&schema.checks.any_of);
    let skip_first = schema.checks.all_of.first().is_some_and(|s| is_int_or_string(&s.checks.any_of));
    value_validation(&schema.checks, skip_any, skip_first, at, errors);
    types(schema, level, at, errors);
    metadata(schema, level, at, errors);
    if schema.embedded && !schema.preserves() && schema.properties.is_empty() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&at.child("properties"), why);
    }
}

fn types(schema: &Schema, level: Level, at: &Path, errors: &mut Errors) {
    let type_at = at.child("type");
    if schema.embedded && schema.ty != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        if schema.ty.is_empty() {
            errors.required(&type_at, why);
        } else {
            errors.invalid(&type_at, &schema.ty, why);
        }
    } else if schema.ty.is_empty() && !schema.int_or_string && !schema.preserves() {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&type_at, why);
    }
    if schema.embedded && schema.additional.is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.forbidden(&at.child("additionalProperties"), why);
    }
    if level == Level::Root && !schema.ty.is_empty() && schema.ty != "object" {
        errors.invalid(&type_at, &schema.ty, "must be object at the root");
    }
}

fn metadata(schema: &Schema, level: Level, at: &Path, errors: &mut Errors) {
    let checked = level == Level::Root || schema.embedded;
    let at = at.child("properties");
    for name in ["kind", "apiVersion"] {
        if let Some(property) = schema.properties.get(name).filter(|p| checked && p.ty != "string") {
            errors.invalid(&at.key(name).child("type"), &property.ty, "must be string");
        }
    }
    let Some(metadata) = schema.properties.get("metadata") else { return };
    let at = at.key("metadata");
    if checked && metadata.ty != "object" {
        errors.invalid(&at.child("type"), &metadata.ty, "must be object");
    }
    if level == Level::Root {
        let mut rest = metadata.clone();
        rest.properties.retain(|name, _| name != "name" && name != "generateName");
        rest.ty = String::new();
        rest.default = None;
        if rest != Schema::default() {
            let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.forbidden(&at, why);
        }
    }
}

/// `[{type: integer}, {type: string}]`
fn is_int_or_string(any_of: &[Schema]) -> bool {
    let of_type = |ty: &str| Schema { ty: ty.into(), ..Schema::default() };
    any_of == [of_type("integer"), of_type("string")]
}

fn value_validation(checks: &Checks, skip_any: bool, skip_first: bool, at: &Path, errors: &mut Errors) {
    if !skip_any {
        for (i, nested) in checks.any_of.iter().enumerate() {
            nested_validation(nested, false, &at.child("anyOf").index(i), errors);
        }
    }
    for (i, nested) in checks.all_of.iter().enumerate() {
        nested_validation(nested, skip_first && i == 0, &at.child("allOf").index(i), errors);
    }
    for (i, nested) in checks.one_of.iter().enumerate() {
        nested_validation(nested, false, &at.child("oneOf").index(i), errors);
    }
    if let Some(nested) = &checks.not {
        nested_validation(nested, false, &at.child("not"), errors);
    }
    if let Some(pattern) = &checks.pattern
        && let Err(why) = &pattern.regex
    {
        let why = format!("must be a valid regular expression, but isn't: error parsing regexp: {why}");
        errors.invalid(&at.child("pattern"), &pattern.text, why);
    }
}

/// Logic says nothing but what values must keep to.
fn nested_validation(nested: &Schema, skip_any: bool, at: &Path, errors: &mut Errors) {
    value_validation(&nested.checks, skip_any, false, at, errors);
    if let Some(items) = &nested.items {
        nested_validation(items, false, &at.child("items"), errors);
    }
    for (name, property) in &nested.properties {
        nested_validation(property, false, &at.child("properties").key(name), errors);
    }
    for (is_set, field, why) in [
        (!nested.ty.is_empty(), "type", "must be empty to be structural"),
        (nested.additional.is_some(), "additionalProperties", "must be undefined to be structural"),
        (nested.default.is_some(), "default", "must be undefined to be structural"),
        (nested.title, "title", "must be empty to be structural"),
        (nested.description, "description", "must be empty to be structural"),
        (nested.nullable, "nullable", "must be false to be structural"),
        (nested.preserves(), "x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
        (nested.embedded, "x-kubernetes-embedded-resource", "must be false to be structural"),
        (nested.int_or_string, "x-kubernetes-int-or-string", "must be false to be structural"),
        (!nested.list_map_keys.is_empty(), "x-kubernetes-list-map-keys", "must be empty to be structural"),
        (nested.list_type.is_some(), "x-kubernetes-list-type", "must be undefined to be structural"),
        (nested.map_type.is_some(), "x-kubernetes-map-type", "must be undefined to be structural"),
        (!nested.rules.is_empty(), "x-kubernetes-validations", "must be empty to be structural"),
    ] {
        if is_set {
            errors.plain(ErrorType::Forbidden, &at.child(field), why);
        }
    }
    if nested.properties.contains_key("metadata") {
        errors
            .forbidden(&at.child("properties").key("metadata"), "must not be specified in a nested context");
    }
}

/// Every field that logic speaks of is specified outside of it.
fn values_complete(
    checks: &Checks,
    schema: Option<&Schema>,
    at: &Path,
    checks_at: &Path,
    errors: &mut Errors,
) {
    let Some(schema) = schema else {
        errors.required(at, format!("because it is defined in {checks_at}"));
        return;
    };
    let lists = [("allOf", &checks.all_of), ("anyOf", &checks.any_of), ("oneOf", &checks.one_of)];
    for (name, list) in lists {
        for (i, nested) in list.iter().enumerate() {
            nested_complete(nested, schema, at, &checks_at.child(name).index(i), errors);
        }
    }
    if let Some(nested) = &checks.not {
        nested_complete(nested, schema, at, &checks_at.child("not"), errors);
    }
}

fn nested_complete(nested: &Schema, schema: &Schema, at: &Path, nested_at: &Path, errors: &mut Errors) {
    values_complete(&nested.checks, Some(schema), at, nested_at, errors);
    if let Some(items) = &nested.items {
        let nested_at = nested_at.child("items");
        match &schema.items {
            Some(specified) => nested_complete(items, specified, &at.child("items"), &nested_at, errors),
            None => values_complete(&items.checks, None, &at.child("items"), &nested_at, errors),
        }
    }
    for (name, property) in &nested.properties {
        let (at, nested_at) = (at.child("properties").key(name), nested_at.child("properties").key(name));
        match schema.properties.get(name) {
            Some(specified) => nested_complete(property, specified, &at, &nested_at, errors),
            None => values_complete(&property.checks, None, &at, &nested_at, errors),
        }
    }
}

fn inner_complete(schema: &Schema, at: &Path, errors: &mut Errors) {
    let mut inner = |schema: &Schema, at: Path| {
        values_complete(&schema.checks, Some(schema), &at, &at, errors);
        inner_complete(schema, &at, errors);
    };
    if let Some(items) = &schema.items {
        inner(items, at.child("items"));
    }
    for (name, property) in &schema.properties {
        inner(property, at.child("properties").key(name));
    }
    if let Some(additional) = schema.additional_schema() {
        inner(additional, at.child("additionalProperties"));
    }
}
