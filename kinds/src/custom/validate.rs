//! Whether a value keeps to its schema, in the words of upstream's OpenAPI validator.
//!
//! On update, what has not changed is not looked at again: a part that equals its former self passes, even if
//! a later schema refuses it. Counterpart of `kube-openapi/pkg/validation` with `RatchetingSchemaValidator`.

use std::collections::HashMap;

use api::field::{ErrorType, Errors, Path};
use serde_json::{Number, Value};

use super::{
    formats,
    schema::{Checks, Schema},
};

/// Checks a value below `at`; `old` is what it was before, where that is known.
pub fn check(value: &Value, old: Option<&Value>, schema: &Schema, at: &Path, errors: &mut Errors) {
    if old == Some(value) {
        return;
    }
    of_type(value, schema, at, errors);
    logic(value, &schema.checks, at, errors);
    match value {
        Value::String(text) => of_text(text, &schema.checks, at, errors),
        Value::Number(number) => of_number(number, schema, at, errors),
        Value::Array(items) => of_list(items, old.and_then(Value::as_array), schema, at, errors),
        _ => {}
    }
    let allowed = &schema.checks.enumeration;
    let free = allowed.values.is_empty() || (value.is_null() && schema.nullable);
    if !free && !allowed.has(value) {
        errors.not_supported_of(at, value, || {
            allowed.values.iter().map(|a| a.as_str().map_or_else(|| a.to_string(), str::to_owned)).collect()
        });
    }
    if let Value::Object(map) = value {
        of_object(map, old.and_then(Value::as_object), schema, at, errors);
    }
}

/// `spec.a` as messages name it; the root has no name.
fn named(at: &Path) -> String {
    at.to_string()
}

fn invalid_type(at: &Path, shown: &str, wanted: &str, errors: &mut Errors) {
    let place = named(at);
    let body = format!("Invalid value: {shown:?}: {place} in body must be of type {wanted}: {shown:?}");
    errors.push(ErrorType::TypeInvalid, at, body);
}

/// An error to which upstream gives no field: Go prints that so.
fn unnamed(why: String, errors: &mut Errors) {
    errors.invalid(&Path::new("<nil>"), "", why);
}

fn of_type(value: &Value, schema: &Schema, at: &Path, errors: &mut Errors) {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|f| f.fract() != 0.0) => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = if schema.int_or_string { "integer,string" } else { schema.ty.as_str() };
    let fits = match wanted {
        "" => true,
        _ if value.is_null() => schema.nullable,
        "integer,string" => matches!(found, "integer" | "string"),
        "number" => matches!(found, "integer" | "number"),
        wanted => wanted == found,
    };
    if fits {
        return;
    }
    // Where a format is asked for, upstream names it, and the format that Go's type has, if any.
    let format = schema.checks.format.as_str();
    let has_format = match wanted {
        "integer" | "number" => matches!(format, "int32" | "int64" | "float" | "double"),
        "string" => !format.is_empty() && formats::is_checked(format),
        _ => false,
    };
    match value {
        Value::Number(_) if has_format && found == "number" => invalid_type(at, "float64", format, errors),
        Value::Number(_) if has_format => invalid_type(at, "int64", format, errors),
        Value::Bool(_) | Value::Object(_) if has_format => invalid_type(at, "", format, errors),
        _ => invalid_type(at, found, wanted, errors),
    }
}

/// `allOf`, `anyOf`, `oneOf`, `not`.
fn logic(value: &Value, checks: &Checks, at: &Path, errors: &mut Errors) {
    let place = format!("{:?}", named(at));
    let tried = |schemas: &[Schema]| -> Vec<Errors> {
        schemas
            .iter()
            .map(|schema| {
                let mut found = Errors::default();
                check(value, None, schema, at, &mut found);
                found
            })
            .collect()
    };
    if !checks.any_of.is_empty() {
        let found = tried(&checks.any_of);
        if found.iter().all(|e| !e.is_empty()) {
            unnamed(format!("{place} must validate at least one schema (anyOf)"), errors);
            errors.extend(closest(found));
        }
    }
    if !checks.one_of.is_empty() {
        let found = tried(&checks.one_of);
        match found.iter().filter(|e| e.is_empty()).count() {
            1 => {}
            0 => {
                let why = "must validate one and only one schema (oneOf). Found none valid";
                unnamed(format!("{place} {why}"), errors);
                errors.extend(closest(found));
            }
            several => {
                let why = "must validate one and only one schema (oneOf). Found";
                unnamed(format!("{place} {why} {several} valid alternatives"), errors);
            }
        }
    }
    if !checks.all_of.is_empty() {
        let found = tried(&checks.all_of);
        let valid = found.iter().filter(|e| e.is_empty()).count();
        if valid < found.len() {
            found.into_iter().for_each(|found| errors.extend(found));
            let none = if valid == 0 { ". None validated" } else { "" };
            unnamed(format!("{place} must validate all the schemas (allOf){none}"), errors);
        }
    }
    if let Some(not) = &checks.not {
        let mut found = Errors::default();
        check(value, None, not, at, &mut found);
        if found.is_empty() {
            unnamed(format!("{place} must not validate the schema (not)"), errors);
        }
    }
}

/// The errors of the alternative that came closest.
fn closest(found: Vec<Errors>) -> Errors {
    found.into_iter().min_by_key(Errors::len).unwrap_or_default()
}

fn of_text(text: &str, checks: &Checks, at: &Path, errors: &mut Errors) {
    let length = || i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    // Of length and pattern the first that is broken is told.
    if let Some(max) = checks.max_length.filter(|max| length() > *max) {
        errors.push(ErrorType::TooLong, at, format!("Too long: may not be more than {max} bytes"));
    } else if let Some(min) = checks.min_length.filter(|min| length() < *min) {
        errors.invalid(at, text, format!("{} in body should be at least {min} chars long", named(at)));
    } else if let Some(pattern) = &checks.pattern
        && pattern.regex.as_ref().is_ok_and(|regex| !regex.is_match(text))
    {
        errors.invalid(at, text, format!("{} in body should match '{}'", named(at), pattern.text));
    }
    if !checks.format.is_empty() && !formats::fits(&checks.format, text) {
        invalid_type(at, text, &checks.format, errors);
    }
}

fn order(a: &Number, b: &Number) -> Option<std::cmp::Ordering> {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// A bound as Go shows it: without a fraction that is none.
fn plain(bound: &Number) -> String {
    let text = bound.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn of_number(number: &Number, schema: &Schema, at: &Path, errors: &mut Errors) {
    let checks = &schema.checks;
    let place = named(at);
    if schema.ty == "integer" {
        let whole = |f: f64| f.fract() == 0.0 && f.abs() < 9e18;
        let short = f64::from(i32::MIN)..=f64::from(i32::MAX);
        let fits = number.as_f64().is_some_and(|f| match checks.format.as_str() {
            "int32" => whole(f) && short.contains(&f),
            _ => number.as_i64().is_some() || whole(f),
        });
        if !fits {
            let format = match checks.format.as_str() {
                "" => "(default format)".to_owned(),
                format => format!("with format {format}"),
            };
            unnamed(format!("Checked value must be of type integer {format} in {place}"), errors);
        }
    }
    if let Some(factor) = &checks.multiple_of {
        multiple(number, factor, at, errors);
    }
    if let Some((min, exclusive)) = &checks.minimum
        && order(number, min).is_some_and(|o| o.is_lt() || (*exclusive && o.is_eq()))
    {
        let than = if *exclusive { "greater than" } else { "greater than or equal to" };
        errors.invalid(at, number, format!("{place} in body should be {than} {}", plain(min)));
    }
    if let Some((max, exclusive)) = &checks.maximum
        && order(number, max).is_some_and(|o| o.is_gt() || (*exclusive && o.is_eq()))
    {
        let than = if *exclusive { "less than" } else { "less than or equal to" };
        errors.invalid(at, number, format!("{place} in body should be {than} {}", plain(max)));
    }
}

fn multiple(number: &Number, factor: &Number, at: &Path, errors: &mut Errors) {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "upstream compares whole numbers with the whole part"
    )]
    let whole = factor.as_i64().or_else(|| factor.as_f64().map(|f| f as i64));
    let divides = match (number.as_i64(), whole) {
        (Some(_), Some(factor)) if factor <= 0 => {
            let why = format!("factor MultipleOf declared for {at} must be positive: {factor}");
            return errors.invalid(at, factor, why);
        }
        (Some(n), Some(factor)) => n % factor == 0,
        _ => {
            let quotient = number.as_f64().unwrap_or(0.0) / factor.as_f64().unwrap_or(1.0);
            (quotient - quotient.round()).abs() < 1e-9
        }
    };
    if !divides {
        errors.invalid(at, number, format!("{at} in body should be a multiple of {}", plain(factor)));
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn of_list(items: &[Value], old: Option<&Vec<Value>>, schema: &Schema, at: &Path, errors: &mut Errors) {
    let checks = &schema.checks;
    if let Some(min) = checks.min_items.filter(|min| count(items.len()) < *min) {
        errors.invalid(at, items.len(), format!("{} in body should have at least {min} items", named(at)));
    }
    if let Some(max) = checks.max_items.filter(|max| count(items.len()) > *max) {
        errors.too_many(at, items.len(), usize::try_from(max).unwrap_or(0));
    }
    let Some(of) = &schema.items else { return };
    let former = Counterparts::new(old, schema);
    for (i, item) in items.iter().enumerate() {
        check(item, former.of(item), of, &at.index(i), errors);
    }
}

/// The items of a list map as it was before, by their keys.
pub(super) struct Counterparts<'a> {
    keys: &'a [String],
    items: HashMap<Vec<Option<&'a Value>>, &'a Value>,
}

impl<'a> Counterparts<'a> {
    /// Of other lists no item is known again.
    pub(super) fn new(old: Option<&'a Vec<Value>>, schema: &'a Schema) -> Self {
        let keys = schema.list_map_keys.as_slice();
        let mut items = HashMap::new();
        for item in old.filter(|_| schema.is_list_map()).into_iter().flatten() {
            items.entry(Self::key(keys, item)).or_insert(item);
        }
        Self { keys, items }
    }

    fn key<'v>(keys: &[String], item: &'v Value) -> Vec<Option<&'v Value>> {
        keys.iter().map(|key| item.get(key)).collect()
    }

    /// The item that had the same keys.
    pub(super) fn of(&self, item: &Value) -> Option<&'a Value> {
        self.items.get(&Self::key(self.keys, item)).copied()
    }
}

fn of_object(
    map: &serde_json::Map<String, Value>,
    old: Option<&serde_json::Map<String, Value>>,
    schema: &Schema,
    at: &Path,
    errors: &mut Errors,
) {
    let checks = &schema.checks;
    if let Some(min) = checks.min_properties.filter(|min| count(map.len()) < *min) {
        let why = format!("{} in body should have at least {min} properties", named(at));
        errors.invalid(at, map.len(), why);
    }
    if let Some(max) = checks.max_properties.filter(|max| count(map.len()) > *max) {
        errors.too_many(at, map.len(), usize::try_from(max).unwrap_or(0));
    }
    for (name, value) in map {
        let former = old.and_then(|old| old.get(name));
        if let Some(property) = schema.properties.get(name) {
            check(value, former, property, &at.child(name), errors);
        } else if let Some(additional) = schema.additional_schema() {
            check(value, former, additional, &at.child(name), errors);
        }
    }
    for name in checks.required.iter().filter(|name| !map.contains_key(*name)) {
        errors.required(&at.child(name), "");
    }
}
