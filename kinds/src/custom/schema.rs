//! A structural schema as its parts ask for it, read from the JSON of a definition.
//!
//! What a value must look like (`allOf`, `anyOf`, …) is a schema again, of which only the checks may be used;
//! `structural` sees to that. Counterpart of upstream's `structuralschema.Structural`.

use api::Message;
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use cel::pattern;

/// A schema.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// `string`, `object`, …; "" when not said.
    pub ty: String,
    /// Whether null is a value.
    pub nullable: bool,
    /// What is put in when nothing is given.
    pub default: Option<Value>,
    /// Whether there is a title.
    pub title: bool,
    /// Whether there is a description.
    pub description: bool,
    /// Schema of list items.
    pub items: Option<Box<Schema>>,
    /// Whether items have one schema each, which is not allowed.
    pub items_array: bool,
    /// Named fields.
    pub properties: BTreeMap<String, Schema>,
    /// Schema of all other fields.
    pub additional: Option<Additional>,
    /// `x-kubernetes-preserve-unknown-fields`
    pub preserve: Option<bool>,
    /// `x-kubernetes-embedded-resource`
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`
    pub list_type: Option<String>,
    /// `x-kubernetes-list-map-keys`
    pub list_map_keys: Vec<String>,
    /// `x-kubernetes-map-type`
    pub map_type: Option<String>,
    /// `x-kubernetes-validations`
    pub rules: Vec<Rule>,
    /// What values must keep to.
    pub checks: Checks,
    /// Keywords that are there and not supported.
    pub unsupported: Vec<&'static str>,
}

/// `additionalProperties`
#[derive(Debug, Clone, PartialEq)]
pub enum Additional {
    /// Any or none.
    Allowed(bool),
    /// Of this form.
    Schema(Box<Schema>),
}

/// What values must keep to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checks {
    /// `format`, "" when not said.
    pub format: String,
    /// Largest number, and whether it is excluded itself.
    pub maximum: Option<(Number, bool)>,
    /// Smallest number, and whether it is excluded itself.
    pub minimum: Option<(Number, bool)>,
    /// `multipleOf`
    pub multiple_of: Option<Number>,
    /// `maxLength`
    pub max_length: Option<i64>,
    /// `minLength`
    pub min_length: Option<i64>,
    /// `pattern`
    pub pattern: Option<Pattern>,
    /// `maxItems`
    pub max_items: Option<i64>,
    /// `minItems`
    pub min_items: Option<i64>,
    /// `uniqueItems`
    pub unique_items: bool,
    /// `maxProperties`
    pub max_properties: Option<i64>,
    /// `minProperties`
    pub min_properties: Option<i64>,
    /// `enum`
    pub enumeration: Enumeration,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// All must hold.
    pub all_of: Vec<Schema>,
    /// One must hold, or several.
    pub any_of: Vec<Schema>,
    /// Exactly one must hold.
    pub one_of: Vec<Schema>,
    /// Must not hold.
    pub not: Option<Box<Schema>>,
}

/// The values that are allowed; none where all are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Enumeration {
    /// As written.
    pub values: Vec<Value>,
    worth: HashSet<Value>,
}

impl Enumeration {
    fn new(values: Option<&Vec<Value>>) -> Self {
        let values = values.cloned().unwrap_or_default();
        Self { worth: values.iter().map(worth).collect(), values }
    }

    /// Whether a value is among them; numbers by what they are worth.
    pub fn has(&self, value: &Value) -> bool {
        self.worth.contains(&worth(value))
    }
}

/// A value of which there is one form.
fn worth(value: &Value) -> Value {
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 9e15 => {
            (number as i64).into()
        }
        _ => value.clone(),
    }
}

/// A regular expression; the error when it is none.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As written.
    pub text: String,
    /// As compiled.
    pub regex: Result<Arc<regex::Regex>, Message>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// One of `x-kubernetes-validations`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// What must hold.
    pub rule: String,
    /// What is said when it does not.
    pub message: String,
    /// An expression that makes the message.
    pub message_expression: String,
    /// `FieldValueInvalid`, …
    pub reason: Option<String>,
    /// The field that is to blame, from here.
    pub field_path: String,
    /// Whether the rule is asked also where there is no old value.
    pub optional_old_self: Option<bool>,
}

impl Rule {
    /// What identifies the rule in messages.
    pub fn shown(&self) -> &str {
        let message = self.message.trim();
        if message.is_empty() { self.rule.trim() } else { message }
    }
}

const UNSUPPORTED: &[&str] =
    &["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref", "$schema"];

impl Schema {
    /// Reads a schema; what has the wrong type counts as not said (the API's decoder has refused it).
    pub fn read(json: &Value) -> Self {
        let Some(map) = json.as_object() else { return Self::default() };
        let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
        let items = map.get("items");
        Self {
            ty: text("type").unwrap_or_default(),
            nullable: flag("nullable"),
            default: map.get("default").filter(|value| !value.is_null()).cloned(),
            title: text("title").is_some_and(|t| !t.is_empty()),
            description: text("description").is_some_and(|t| !t.is_empty()),
            items: items.filter(|items| items.is_object()).map(|items| Box::new(Self::read(items))),
            items_array: items.is_some_and(Value::is_array),
            properties: read_map(map.get("properties")),
            additional: match map.get("additionalProperties") {
                Some(Value::Bool(allowed)) => Some(Additional::Allowed(*allowed)),
                Some(schema @ Value::Object(_)) => Some(Additional::Schema(Self::read(schema).into())),
                _ => None,
            },
            preserve: map.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool),
            embedded: flag("x-kubernetes-embedded-resource"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            list_type: text("x-kubernetes-list-type"),
            list_map_keys: strings(map.get("x-kubernetes-list-map-keys")),
            map_type: text("x-kubernetes-map-type"),
            rules: map
                .get("x-kubernetes-validations")
                .and_then(|rules| Vec::<Rule>::deserialize(rules).ok())
                .unwrap_or_default(),
            checks: Checks::read(map),
            unsupported: UNSUPPORTED.iter().copied().filter(|key| map.contains_key(*key)).collect(),
        }
    }

    /// The schema of the fields that are not named.
    pub fn additional_schema(&self) -> Option<&Schema> {
        match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        }
    }

    /// Whether fields without a schema are kept.
    pub fn preserves(&self) -> bool {
        self.preserve == Some(true)
    }

    /// Whether a list's items are told apart by the values of fields.
    pub fn is_list_map(&self) -> bool {
        self.list_type.as_deref() == Some("map")
    }

    /// Whether this schema or one inside it fits; values' checks included.
    pub fn any(&self, fits: &dyn Fn(&Schema) -> bool) -> bool {
        fits(self)
            || self.properties.values().any(|s| s.any(fits))
            || self.items.as_ref().is_some_and(|s| s.any(fits))
            || self.additional_schema().is_some_and(|s| s.any(fits))
            || self.checks.parts().any(|s| s.any(fits))
    }
}

impl Checks {
    fn read(map: &Map<String, Value>) -> Self {
        let number = |key: &str| map.get(key).and_then(Value::as_number).cloned();
        let whole = |key: &str| map.get(key).and_then(Value::as_i64);
        let flag = |key: &str| map.get(key) == Some(&Value::Bool(true));
        let schemas = |key: &str| -> Vec<Schema> {
            map.get(key).and_then(Value::as_array).into_iter().flatten().map(Schema::read).collect()
        };
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        Self {
            format: text("format").unwrap_or_default().to_owned(),
            maximum: number("maximum").map(|n| (n, flag("exclusiveMaximum"))),
            minimum: number("minimum").map(|n| (n, flag("exclusiveMinimum"))),
            multiple_of: number("multipleOf"),
            max_length: whole("maxLength"),
            min_length: whole("minLength"),
            pattern: text("pattern")
                .filter(|p| !p.is_empty())
                .map(|text| Pattern { text: text.to_owned(), regex: pattern::compile(text).map(Arc::new) }),
            max_items: whole("maxItems"),
            min_items: whole("minItems"),
            unique_items: flag("uniqueItems"),
            max_properties: whole("maxProperties"),
            min_properties: whole("minProperties"),
            enumeration: Enumeration::new(map.get("enum").and_then(Value::as_array)),
            required: strings(map.get("required")),
            all_of: schemas("allOf"),
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            not: map.get("not").filter(|s| s.is_object()).map(|s| Box::new(Schema::read(s))),
        }
    }

    /// The schemas that checks are made of.
    pub fn parts(&self) -> impl Iterator<Item = &Schema> {
        self.all_of.iter().chain(&self.any_of).chain(&self.one_of).chain(self.not.as_deref())
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn read_map(value: Option<&Value>) -> BTreeMap<String, Schema> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), Schema::read(schema)))
        .collect()
}
