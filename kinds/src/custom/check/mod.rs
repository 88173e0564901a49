//! Whether a definition's schema can be served: structural, with defaults that fit, list types that make
//! sense, and rules that can be read and afforded. In upstream's words and order.
//!
//! Counterpart of `apiextensions/validation`'s part about schemas.

mod list_types;

use std::sync::Arc;

use api::field::{Errors, Path};
use cel::Decl;
use serde_json::Value;

use super::{
    fill, lists, paths,
    rules::{self, Compiled},
    schema::{Additional, Rule, Schema},
    structural, validate,
};

/// The most one rule may cost by its estimate.
const RULE_LIMIT: u64 = 10_000_000;
/// The most all rules of a schema may cost.
const TOTAL_LIMIT: u64 = 100_000_000;
/// How many of the most expensive rules are named when all together cost too much.
const NAMED: usize = 4;
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Checks the schema of a version, which lies at `at` (`openAPIV3Schema` included). The cost of single rules
/// is not looked at where the schema `is_old`.
pub fn check(json: &Value, status: bool, is_old: bool, at: &Path) -> Errors {
    let schema = Schema::read(json);
    let mut errors = Errors::default();
    if status {
        root_with_status(json, &schema, at, &mut errors);
    }
    if schema.nullable {
        errors.forbidden(&Path::new(format!("{at}.nullable")), "nullable cannot be true at the root");
    }
    let mut structure = structural::check(&schema, at);
    if structure.is_empty() {
        defaults(&schema, true, false, at, &mut structure);
    }
    let sound = structure.is_empty();
    errors.extend(structure);
    let mut checker = Checker {
        schema_errors: Errors::default(),
        rule_errors: Errors::default(),
        costs: Vec::new(),
        is_old,
    };
    let place = Place {
        no_defaults: None,
        inside_meta: false,
        uncorrelatable: None,
        rules: sound.then(|| rules::decl(&schema, true)).flatten().map(|decl| (decl, Some(1))),
    };
    checker.node(&schema, true, &place, at);
    errors.extend(checker.schema_errors);
    errors.extend(checker.rule_errors);
    total(checker.costs, at, &mut errors);
    errors
}

/// With a status of its own, checks at the root could not be told apart.
fn root_with_status(json: &Value, schema: &Schema, at: &Path, errors: &mut Errors) {
    const ALLOWED: &[(&str, &str)] = &[
        ("description", "Description"),
        ("type", "Type"),
        ("format", "Format"),
        ("title", "Title"),
        ("maximum", "Maximum"),
        ("exclusiveMaximum", "ExclusiveMaximum"),
        ("minimum", "Minimum"),
        ("exclusiveMinimum", "ExclusiveMinimum"),
        ("maxLength", "MaxLength"),
        ("minLength", "MinLength"),
        ("pattern", "Pattern"),
        ("maxItems", "MaxItems"),
        ("minItems", "MinItems"),
        ("uniqueItems", "UniqueItems"),
        ("multipleOf", "MultipleOf"),
        ("required", "Required"),
        ("items", "Items"),
        ("properties", "Properties"),
        ("externalDocs", "ExternalDocs"),
        ("example", "Example"),
        ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
        ("x-kubernetes-validations", "XValidations"),
    ];
    if !schema.ty.is_empty() && schema.ty != "object" {
        let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.invalid(&Path::new(format!("{at}.type")), &schema.ty, why);
        return;
    }
    let strange = json.as_object().into_iter().flatten().any(|(key, value)| {
        !ALLOWED.iter().any(|(known, _)| known == key) && !value.is_null() && *value != Value::Bool(false)
    });
    if strange {
        let names: Vec<&str> = ALLOWED.iter().map(|(_, name)| *name).collect();
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.invalid(at, json, why);
    }
}

/// Defaults must themselves be what the schema allows.
fn defaults(schema: &Schema, resource: bool, inside_meta: bool, at: &Path, errors: &mut Errors) {
    let resource = resource || schema.embedded;
    let inside_meta = inside_meta && !schema.embedded;
    if let Some(default) = &schema.default {
        let at = at.child("default");
        if !inside_meta && !fill::is_pruned(default, schema) {
            errors.invalid(&at, default, "must not have unknown fields");
        }
        let mut found = Errors::default();
        lists::embedded(default, schema, &at, &mut found);
        if found.is_empty() {
            // Upstream's words name what lies inside of the default from there.
            let mut inside = Errors::default();
            validate::check(default, None, schema, &Path::root(), &mut inside);
            for mut error in inside {
                error.field = match error.field.as_str() {
                    "" | "<nil>" => at.to_string(),
                    below => format!("{at}.{below}"),
                };
                found.add(error);
            }
        }
        errors.extend(found);
    }
    if let Some(items) = &schema.items {
        defaults(items, false, inside_meta, &at.child("items"), errors);
    }
    for (name, property) in &schema.properties {
        let meta = inside_meta || (resource && matches!(name.as_str(), "metadata" | "apiVersion" | "kind"));
        defaults(property, false, meta, &at.child("properties").key(name), errors);
    }
}

/// Where in the schema the checker stands.
#[derive(Clone)]
struct Place {
    /// Why there may be no defaults here.
    no_defaults: Option<String>,
    /// Inside the `metadata` (or `kind`, `apiVersion`) of a resource.
    inside_meta: bool,
    /// The first list around this place whose items have no former self.
    uncorrelatable: Option<Path>,
    /// The type that rules see here, and how many such values an object has at most (`None`: any number).
    /// Rules are not looked at where this is missing.
    rules: Option<(Arc<Decl>, Option<u64>)>,
}

impl Place {
    fn without_rules(&self) -> Self {
        Self { rules: None, ..self.clone() }
    }

    /// The rules' view of each of at most `max` values below.
    fn element(&self, inner: &Schema, max: Option<i64>) -> Option<(Arc<Decl>, Option<u64>)> {
        let (decl, times) = self.rules.as_ref()?;
        let decl = decl.element().cloned().or_else(|| rules::decl(inner, inner.embedded))?;
        let max = max.and_then(|max| u64::try_from(max).ok());
        Some((decl, times.zip(max).map(|(times, max)| times.saturating_mul(max))))
    }

    fn field(&self, name: &str, inner: &Schema) -> Option<(Arc<Decl>, Option<u64>)> {
        let (decl, times) = self.rules.as_ref()?;
        let known = cel::escape(name).and_then(|name| decl.field(&name).cloned());
        Some((known.or_else(|| rules::decl(inner, inner.embedded))?, *times))
    }
}

struct Checker {
    schema_errors: Errors,
    rule_errors: Errors,
    costs: Vec<(Path, u64)>,
    is_old: bool,
}

impl Checker {
    fn node(&mut self, schema: &Schema, root: bool, place: &Place, at: &Path) {
        let before = self.schema_errors.len();
        self.keywords(schema, place, at);
        if let Some(additional) = &schema.additional {
            let at = at.child("additionalProperties");
            if !schema.properties.is_empty() && *additional != Additional::Allowed(true) {
                let why = "additionalProperties and properties are mutual exclusive";
                self.schema_errors.forbidden(&at, why);
            }
            if let Additional::Schema(inner) = additional {
                let mut below = place.clone();
                if place.inside_meta {
                    let why = "inside additionalProperties applying to object metadata";
                    below.no_defaults = Some(why.into());
                }
                below.rules = place.element(inner, schema.checks.max_properties);
                self.node(inner, false, &below, &at);
            }
        }
        for (name, property) in &schema.properties {
            let mut below = place.clone();
            if (root || schema.embedded) && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                below.inside_meta = true;
                if root {
                    below.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            below.rules = place.field(name, property);
            self.node(property, false, &below, &at.child("properties").key(name));
        }
        let bare = place.without_rules();
        if let Some(not) = &schema.checks.not {
            self.node(not, false, &bare, &at.child("not"));
        }
        let checks = &schema.checks;
        for (name, list) in [("allOf", &checks.all_of), ("oneOf", &checks.one_of), ("anyOf", &checks.any_of)]
        {
            for (i, inner) in list.iter().enumerate() {
                self.node(inner, false, &bare, &at.child(name).index(i));
            }
        }
        if let Some(items) = &schema.items {
            let mut below = place.clone();
            if !schema.is_list_map() && below.uncorrelatable.is_none() {
                below.uncorrelatable = Some(at.clone());
            }
            below.rules = place.element(items, schema.checks.max_items);
            self.node(items, false, &below, &at.child("items"));
        }
        self.extensions(schema, at);
        for (i, rule) in schema.rules.iter().enumerate() {
            self.rule_texts(rule, schema, &at.child("x-kubernetes-validations").index(i));
        }
        if self.schema_errors.len() == before
            && let Some((decl, times)) = &place.rules
        {
            for (i, rule) in schema.rules.iter().enumerate() {
                let at = at.child("x-kubernetes-validations").index(i);
                self.rule(rule, schema, decl, *times, place, &at);
            }
        }
    }

    fn keywords(&mut self, schema: &Schema, place: &Place, at: &Path) {
        let errors = &mut self.schema_errors;
        if !schema.ty.is_empty() && !TYPES.contains(&schema.ty.as_str()) {
            errors.not_supported(&at.child("type"), &schema.ty, TYPES);
        }
        if let (Some(_), Some(why)) = (&schema.default, &place.no_defaults) {
            errors.forbidden(&at.child("default"), format!("must not be set {why}"));
        }
        for keyword in &schema.unsupported {
            errors.forbidden(&at.child(keyword), format!("{keyword} is not supported"));
        }
        if schema.ty == "null" {
            let why = "type cannot be set to null, use nullable as an alternative";
            errors.forbidden(&at.child("type"), why);
        }
        if schema.items_array {
            errors.forbidden(&at.child("items"), "items must be a schema object and not an array");
        }
        if place.inside_meta && schema.embedded {
            let why = "must not be used inside of resource meta";
            errors.forbidden(&at.child("x-kubernetes-embedded-resource"), why);
        }
        if schema.checks.unique_items {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            errors.forbidden(&at.child("uniqueItems"), why);
        }
    }

    fn extensions(&mut self, schema: &Schema, at: &Path) {
        let errors = &mut self.schema_errors;
        if schema.preserve == Some(false) {
            let why = "must be true or undefined";
            errors.invalid(&at.child("x-kubernetes-preserve-unknown-fields"), false, why);
        }
        let typed = |wanted: &str, why: &str, errors: &mut Errors| {
            if schema.ty.is_empty() {
                errors.required(&at.child("type"), why);
            } else if schema.ty != wanted {
                errors.invalid(&at.child("type"), &schema.ty, why);
            }
        };
        if let Some(kind) = &schema.map_type {
            typed("object", "must be object if x-kubernetes-map-type is specified", errors);
            if !matches!(kind.as_str(), "atomic" | "granular") {
                errors.not_supported(&at.child("x-kubernetes-map-type"), kind, &["atomic", "granular"]);
            }
        }
        let list_at = at.child("x-kubernetes-list-type");
        if let Some(kind) = &schema.list_type {
            typed("array", "must be array if x-kubernetes-list-type is specified", errors);
            if schema.ty == "array"
                && kind == "set"
                && let Some(items) = &schema.items
            {
                list_types::set_items(items, &at.child("items"), errors);
            }
            if !matches!(kind.as_str(), "atomic" | "set" | "map") {
                errors.not_supported(&list_at, kind, &["atomic", "set", "map"]);
            }
        }
        if !schema.list_map_keys.is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            match schema.list_type.as_deref() {
                None => errors.required(&list_at, why),
                Some("map") => {}
                Some(other) => errors.invalid(&list_at, other, why),
            }
        }
        if schema.is_list_map() {
            list_types::list_map(schema, at, errors);
        }
        list_types::keys_are_there(schema, at, errors);
    }

    fn rule_texts(&mut self, rule: &Rule, schema: &Schema, at: &Path) {
        let errors = &mut self.schema_errors;
        let (text, message) = (rule.rule.trim(), rule.message.trim());
        let breaks = |text: &str| text.contains(['\n', '\r']);
        if text.is_empty() {
            errors.required(&at.child("rule"), "rule is not specified");
        } else if !rule.message.is_empty() && message.is_empty() {
            errors.invalid(&at.child("message"), &rule.message, "message must be non-empty if specified");
        } else if breaks(message) {
            errors.invalid(&at.child("message"), &rule.message, "message must not contain line breaks");
        } else if breaks(text) && message.is_empty() {
            errors.required(&at.child("message"), "message must be specified if rule contains line breaks");
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            errors.required(&at.child("messageExpression"), why);
        }
        if let Some(reason) = rule.reason.as_ref().filter(|reason| !REASONS.contains(&reason.as_str())) {
            errors.not_supported(&at.child("reason"), reason, REASONS);
        }
        let field = &rule.field_path;
        if !field.is_empty() {
            let at = at.child("fieldPath");
            if field.trim().is_empty() {
                errors.invalid(&at, field, "must be non-empty if specified");
            }
            if breaks(field) {
                errors.invalid(&at, field, "must not contain line breaks");
            }
            if paths::resolve(field, schema, true).is_err() {
                errors.invalid(&at, field, "must be a valid path");
            }
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        schema: &Schema,
        decl: &Arc<Decl>,
        times: Option<u64>,
        place: &Place,
        at: &Path,
    ) {
        let compiled = Compiled::new(rule, schema, decl);
        let errors = &mut self.rule_errors;
        let rule_at = at.child("rule");
        match &compiled.rule {
            Ok(program) => {
                let times = times.unwrap_or_else(|| decl.max_cardinality());
                let cost = program.max_cost().saturating_mul(times);
                if cost > RULE_LIMIT && !self.is_old {
                    errors.forbidden(&rule_at, over("estimated rule cost", cost, RULE_LIMIT));
                }
                self.costs.push((rule_at.clone(), cost));
            }
            Err(why) => errors.invalid(&rule_at, shown_rule(rule), why),
        }
        let message_at = at.child("messageExpression");
        match &compiled.message {
            None => {}
            Some(Ok(program)) => {
                let cost = program.max_cost();
                if cost > RULE_LIMIT && !self.is_old {
                    let why = over("estimated messageExpression cost", cost, RULE_LIMIT);
                    errors.forbidden(&message_at, &why);
                }
                self.costs.push((message_at, cost));
            }
            Some(Err(why)) => errors.invalid(&message_at, shown_rule(rule), why),
        }
        if compiled.uses_old_self() {
            if let Some(around) = &place.uncorrelatable {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {around}"
                );
                errors.invalid(&rule_at, &rule.rule, why);
            }
        } else if let Some(optional) = rule.optional_old_self {
            let why = "may not be set if oldSelf is not used in rule";
            errors.invalid(&at.child("optionalOldSelf"), optional, why);
        }
    }
}

/// A rule as Go prints it.
fn shown_rule(rule: &Rule) -> Value {
    let mut shown = serde_json::Map::new();
    for (key, value) in [
        ("Rule", Value::from(rule.rule.as_str())),
        ("Message", rule.message.as_str().into()),
        ("MessageExpression", rule.message_expression.as_str().into()),
        ("Reason", rule.reason.clone().into()),
        ("FieldPath", rule.field_path.as_str().into()),
        ("OptionalOldSelf", rule.optional_old_self.into()),
    ] {
        shown.insert(key.into(), value);
    }
    shown.into()
}

fn total(mut costs: Vec<(Path, u64)>, at: &Path, errors: &mut Errors) {
    let sum = costs.iter().fold(0_u64, |sum, (_, cost)| sum.saturating_add(*cost));
    if sum <= TOTAL_LIMIT {
        return;
    }
    costs.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
    for (at, _) in costs.iter().take(NAMED) {
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        errors.forbidden(at, why);
    }
    let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
    errors.forbidden(at, over(what, sum, TOTAL_LIMIT));
}

#[expect(clippy::cast_precision_loss, reason = "is shown with one digit")]
fn over(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
