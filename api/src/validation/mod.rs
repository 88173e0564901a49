//! What every object must keep to: names, labels, annotations, owners, finalizers, selectors, ports.
//!
//! Functions about one text return what is wrong with it, in upstream's words, empty when nothing is;
//! functions about fields push to [`Errors`] in upstream's order. Counterpart of
//! `apimachinery/pkg/util/validation` and `apimachinery/pkg/api/validation`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};
use serde_json::Value;

use crate::{
    field::{Errors, Path},
    object::ObjectExt,
};

mod address;
mod conditions;
mod field;
mod text;

pub use address::*;
pub use conditions::conditions;
pub use field::{domain_prefixed_path, formed, given, given_one_of, one_of, unique};
pub use text::*;

/// The most that the keys and values of an object's annotations may take together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Which names objects of a kind may bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain (most kinds).
    Subdomain,
    /// RFC 1123 label (namespaces, services).
    Label,
    /// RFC 1035 label.
    Label1035,
    /// Anything that can stand in a path (RBAC).
    PathSegment,
    /// Likewise, but looked at only where nothing else is wrong.
    PathSegmentLast,
    /// An IP address in its shortest form.
    Address,
}

/// What is wrong with an object's name under a rule. With `prefix` the name is a `generateName`, which
/// may end in a dash.
pub fn name(rule: NameRule, name: &str, prefix: bool) -> Vec<String> {
    let masked;
    let name = match name.strip_suffix('-') {
        Some(rest) if prefix && name.len() > 1 && name.is_char_boundary(rest.len().saturating_sub(1)) => {
            masked = format!("{}a", &rest[..rest.len().saturating_sub(1)]);
            &masked
        }
        _ => name,
    };
    match rule {
        NameRule::Subdomain => dns_subdomain(name),
        NameRule::Address => canonical_ip(name),
        NameRule::Label => dns_label(name),
        NameRule::Label1035 => dns_1035_label(name),
        NameRule::PathSegment | NameRule::PathSegmentLast => path_segment(name),
    }
}

/// Each message about one text, as an error.
pub fn each(errors: &mut Errors, at: &Path, value: &str, messages: Vec<String>) {
    for message in messages {
        errors.invalid(at, value, message);
    }
}

fn texts<'a>(meta: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let map = meta.get(field).and_then(Value::as_object);
    map.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
}

/// What is wrong with the metadata of a new object.
pub fn object_meta(object: &Value, rule: NameRule, namespaced: bool) -> Errors {
    let mut errors = Errors::default();
    let at = Path::new("metadata");
    let generate = object.meta_str("generateName");
    if !generate.is_empty() {
        each(&mut errors, &at.child("generateName"), generate, name(rule, generate, true));
    }
    match object.name() {
        "" => errors.required(&at.child("name"), "name or generateName is required"),
        given => each(&mut errors, &at.child("name"), given, name(rule, given, false)),
    }
    let namespace = object.namespace();
    let namespace_at = at.child("namespace");
    if namespaced {
        match namespace {
            "" => errors.required(&namespace_at, ""),
            given => each(&mut errors, &namespace_at, given, dns_label(given)),
        }
    } else if !namespace.is_empty() {
        errors.forbidden(&namespace_at, "not allowed on this type");
    }
    if object.generation() < 0 {
        errors.invalid(&at.child("generation"), object.generation(), NOT_NEGATIVE);
    }
    common_meta(object, &at, &mut errors);
    errors
}

/// What is wrong with the metadata of a changed object.
pub fn object_meta_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let at = Path::new("metadata");
    if old.is_deleting() {
        let known: BTreeSet<&str> = old.finalizers().into_iter().collect();
        let added: Vec<&str> = new.finalizers().into_iter().filter(|f| !known.contains(f)).collect();
        if !added.is_empty() {
            let shown = added.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ");
            errors.forbidden(
                &at.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
                ),
            );
        }
    }
    if new.generation() < old.generation() {
        errors.invalid(&at.child("generation"), new.generation(), "must not be decremented");
    }
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let value = |o: &Value| o.metadata().and_then(|m| m.get(field)).cloned().unwrap_or(Value::Null);
        if value(new) != value(old) {
            errors.invalid(&at.child(field), value(new), IMMUTABLE);
        }
    }
    common_meta(new, &at, &mut errors);
    errors
}

/// Labels, annotations, owners, finalizers and managers: checked alike for new and changed objects.
fn common_meta(object: &Value, at: &Path, errors: &mut Errors) {
    let null = Value::Null;
    let meta = object.get("metadata").unwrap_or(&null);
    labels(texts(meta, "labels"), &at.child("labels"), errors);
    annotations(texts(meta, "annotations"), &at.child("annotations"), errors);
    owners(object, &at.child("ownerReferences"), errors);
    finalizers(&object.finalizers(), &at.child("finalizers"), errors);
    managers(object, &at.child("managedFields"), errors);
}

/// Keys and values of labels.
pub fn labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, at: &Path, errors: &mut Errors) {
    for (key, value) in labels {
        each(errors, at, key, qualified_name(key));
        each(errors, at, value, label_value(value));
    }
}

/// The same for a typed map that may be missing.
pub fn label_map(map: Option<&BTreeMap<String, String>>, at: &Path, errors: &mut Errors) {
    labels(map.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())), at, errors);
}

/// The same for annotations.
pub fn annotation_map(map: Option<&BTreeMap<String, String>>, at: &Path, errors: &mut Errors) {
    annotations(map.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())), at, errors);
}

/// Keys of annotations, and what they take together.
pub fn annotations<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
    at: &Path,
    errors: &mut Errors,
) {
    let mut size = 0;
    for (key, value) in annotations {
        each(errors, at, key, qualified_name(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(at, MAX_ANNOTATIONS);
    }
}

fn owners(object: &Value, at: &Path, errors: &mut Errors) {
    let mut controller: Option<&str> = None;
    for owner in object.list_at(&["metadata", "ownerReferences"]) {
        let api_version = owner.str_at(&["apiVersion"]);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = owner.str_at(&["kind"]);
        if version.is_empty() || version.contains('/') {
            errors.invalid(&at.child("apiVersion"), api_version, "version must not be empty");
        }
        for (field, message) in
            [("kind", "must not be empty"), ("name", "must not be empty"), ("uid", "must not be empty")]
        {
            if owner.str_at(&[field]).is_empty() {
                errors.invalid(&at.child(field), "", message);
            }
        }
        if (group, version, kind) == ("", "v1", "Event") {
            errors.invalid(at, owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.at(&["controller"]) == Some(&Value::Bool(true)) {
            let name = owner.str_at(&["name"]);
            match controller {
                Some(first) => errors.invalid(
                    at,
                    object.at(&["metadata", "ownerReferences"]),
                    format_args!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                    ),
                ),
                None => controller = Some(name),
            }
        }
    }
}

/// Keeps an owner that is named several times once. Answers the uids of what was taken away.
pub fn distinct_owners(object: &mut Value) -> Vec<String> {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    let (mut seen, mut doubled) = (BTreeSet::new(), Vec::new());
    if let Some(owners) = owners {
        owners.retain(|owner| {
            let is_new = seen.insert(owner.to_string());
            if !is_new {
                doubled.push(owner.str_at(&["uid"]).to_owned());
            }
            is_new
        });
    }
    doubled
}

fn finalizers(finalizers: &[&str], at: &Path, errors: &mut Errors) {
    for finalizer in finalizers {
        each(errors, at, finalizer, qualified_name(finalizer));
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        errors.invalid(at, finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// The finalizers that Kubernetes itself knows.
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];

fn is_plain(finalizer: &str) -> bool {
    !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer)
}

/// Refuses finalizers that could be anybody's, as most built-in kinds do.
pub fn owned_finalizers(object: &Value, errors: &mut Errors) {
    let at = Path::new("metadata.finalizers");
    for (i, finalizer) in object.finalizers().into_iter().enumerate().filter(|(_, f)| is_plain(f)) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(&at.index(i), finalizer, why);
    }
}

/// Warns of such finalizers that an object has got, as custom kinds do.
pub fn finalizer_warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let known: BTreeSet<&str> = old.map(ObjectExt::finalizers).unwrap_or_default().into_iter().collect();
    let mut added: Vec<&str> =
        new.finalizers().into_iter().filter(|f| is_plain(f) && !known.contains(f)).collect();
    added.sort_unstable();
    added.dedup();
    let warning = |f| {
        format!(
            "metadata.finalizers: {f:?}: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"
        )
    };
    added.into_iter().map(warning).collect()
}

fn managers(object: &Value, at: &Path, errors: &mut Errors) {
    for (i, entry) in object.list_at(&["metadata", "managedFields"]).iter().enumerate() {
        let at = at.index(i);
        let operation = entry.str_at(&["operation"]);
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid(&at.child("operation"), operation, "must be `Apply` or `Update`");
        }
        let fields_type = entry.str_at(&["fieldsType"]);
        if !matches!(fields_type, "" | "FieldsV1") {
            errors.invalid(&at.child("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        field_manager(entry.str_at(&["manager"]), &at.child("manager"), errors);
        if entry.str_at(&["subresource"]).len() > MAX_SUBRESOURCE {
            errors.too_long(&at.child("subresource"), MAX_SUBRESOURCE);
        }
    }
}

/// The longest name of a manager.
const MAX_MANAGER: usize = 128;
/// The longest name of a subresource in `managedFields`.
const MAX_SUBRESOURCE: usize = 256;

/// The name under which a client's changes are recorded.
pub fn field_manager(name: &str, at: &Path, errors: &mut Errors) {
    if name.len() > MAX_MANAGER {
        errors.too_long(at, MAX_MANAGER);
    }
    for (i, c) in name.char_indices().filter(|(_, c)| c.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {i})", u32::from(c));
        errors.invalid(at, name, detail);
    }
}

/// A label selector, as it stands in specs.
pub fn label_selector(selector: Option<&LabelSelector>, at: &Path, errors: &mut Errors) {
    let Some(selector) = selector else { return };
    label_map(selector.match_labels.as_ref(), &at.child("matchLabels"), errors);
    let at = at.child("matchExpressions");
    for (i, e) in selector.match_expressions.iter().flatten().enumerate() {
        let at = at.index(i);
        let values = e.values.as_deref().unwrap_or_default();
        match e.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&at.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(
                    &at.child("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
        }
        each(errors, &at.child("key"), &e.key, qualified_name(&e.key));
        for (i, value) in values.iter().enumerate() {
            each(errors, &at.child("values").index(i), value, label_value(value));
        }
    }
}

/// Whether a selector selects every object.
pub fn selects_all(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// Whether labels satisfy a selector.
pub fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|l| l.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(k, v)| value(k) == Some(v));
    equal
        && selector.match_expressions.iter().flatten().all(|e| {
            let values = e.values.as_deref().unwrap_or_default();
            let found = value(&e.key);
            match e.operator.as_str() {
                "In" => found.is_some_and(|v| values.contains(v)),
                "NotIn" => found.is_none_or(|v| !values.contains(v)),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// What fields that may not change say.
pub const IMMUTABLE: &str = "field is immutable";
/// What numbers that may not be negative say.
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// A number that may not be negative.
pub fn not_negative(value: Option<impl Into<i64> + Copy>, at: &Path, errors: &mut Errors) {
    if let Some(value) = value
        && value.into() < 0
    {
        errors.invalid(at, value.into(), NOT_NEGATIVE);
    }
}

/// How long a service account's token may be asked to live, in seconds.
pub fn token_lifetime(seconds: i64, at: &Path, errors: &mut Errors) {
    if seconds < 600 {
        errors.invalid(at, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        errors.invalid(at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
}

/// A number that must lie between two others.
pub fn in_range(value: i64, low: i64, high: i64, at: &Path, errors: &mut Errors) {
    if value < low || value > high {
        errors.invalid(at, value, between(low, high));
    }
}

/// What numbers outside of a range say.
pub fn between(low: impl Display, high: impl Display) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// A field that may not change.
pub fn immutable<T: PartialEq + serde::Serialize>(new: &T, old: &T, at: &Path, errors: &mut Errors) {
    if new != old {
        errors.invalid(at, new, IMMUTABLE);
    }
}

/// A port given by number or by name.
pub fn port_number_or_name(port: &IntOrString, at: &Path, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => in_range(i64::from(*number), 1, 65535, at, errors),
        IntOrString::String(text) => each(errors, at, text, port_name(text)),
    }
}

/// A number or a percentage, not negative.
pub fn number_or_percent(value: &IntOrString, at: &Path, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => not_negative(Some(*number), at, errors),
        IntOrString::String(text) => each(errors, at, text, percent(text)),
    }
}

/// A percentage of at most 100.
pub fn at_most_100_percent(value: &IntOrString, at: &Path, errors: &mut Errors) {
    if let IntOrString::String(text) = value
        && percent(text).is_empty()
        && text.trim_end_matches('%').parse::<i64>().unwrap_or(i64::MAX) > 100
    {
        errors.invalid(at, text, "must not be greater than 100%");
    }
}

/// The number that `value` stands for, a percentage counting as its number.
pub fn plain_number(value: &IntOrString) -> i64 {
    match value {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(text) => text.trim_end_matches('%').parse().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
