//! What can be wrong with a definition, in upstream's words: counterpart of `apiextensions/validation`.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceConversion, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresources,
    SelectableField,
};
use serde::Serialize;

use super::{Definition, storage_version};
use crate::builtin::prelude::*;
use crate::custom::{check, paths, schema::Schema};

/// Who may add kinds to Kubernetes' own groups.
const APPROVED: &str = "api-approved.kubernetes.io";
/// The most fields of a version that selectors may name.
const MAX_SELECTABLE: usize = 8;

/// A part of each version, where it says something of it.
struct Parts<T> {
    parts: Vec<Option<T>>,
    /// Whether all versions say the same: that is checked once, below `spec`, as upstream keeps it there.
    are_alike: bool,
}

impl<T: PartialEq> Parts<T> {
    fn of<'a>(
        spec: &'a CustomResourceDefinitionSpec,
        part: impl FnMut(&'a CustomResourceDefinitionVersion) -> Option<T>,
    ) -> Self {
        let parts: Vec<Option<T>> = spec.versions.iter().map(part).collect();
        let are_alike = parts.first().is_some_and(Option::is_some) && parts.iter().all(|p| *p == parts[0]);
        Self { parts, are_alike }
    }

    fn of_version(&self, i: usize) -> Option<&T> {
        self.parts.get(i)?.as_ref()
    }

    /// What all versions say alike.
    fn shared(&self) -> Option<&T> {
        self.of_version(0).filter(|_| self.are_alike)
    }

    /// What a version says, unless all say the same.
    fn own(&self, i: usize) -> Option<&T> {
        self.of_version(i).filter(|_| !self.are_alike)
    }
}

/// The parts of all versions that have rules of their own.
struct Said<'a> {
    schemas: Parts<Value>,
    subresources: Parts<&'a CustomResourceSubresources>,
    columns: Parts<&'a [CustomResourceColumnDefinition]>,
    selectable: Parts<&'a [SelectableField]>,
}

impl<'a> Said<'a> {
    fn of(spec: &'a CustomResourceDefinitionSpec) -> Self {
        Self {
            schemas: Parts::of(spec, schema_of),
            subresources: Parts::of(spec, |v| v.subresources.as_ref()),
            columns: Parts::of(spec, |v| v.additional_printer_columns.as_deref().filter(|c| !c.is_empty())),
            selectable: Parts::of(spec, |v| v.selectable_fields.as_deref().filter(|f| !f.is_empty())),
        }
    }
}

fn schema_of(version: &CustomResourceDefinitionVersion) -> Option<Value> {
    let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    serde_json::to_value(schema).ok()
}

fn has_status(version: &CustomResourceDefinitionVersion) -> bool {
    version.subresources.as_ref().is_some_and(|s| s.status.is_some())
}

fn joined(errors: &mut Errors, at: &Path, value: impl Serialize, wrong: &[String]) {
    if !wrong.is_empty() {
        errors.invalid(at, value, wrong.join(","));
    }
}

/// The spec of a new or changed definition.
pub(super) fn spec(definition: &Definition, old: Option<&Definition>, errors: &mut Errors) {
    let spec = &definition.spec;
    let at = Path::new("spec");
    let group_at = at.child("group");
    if spec.group.is_empty() {
        errors.required(&group_at, "");
    } else {
        let wrong = dns_subdomain(&spec.group);
        if wrong.is_empty() && !spec.group.contains('.') {
            errors.invalid(&group_at, &spec.group, "should be a domain with at least one dot");
        }
        joined(errors, &group_at, &spec.group, &wrong);
    }
    given_one_of(spec.scope.as_str(), &["Cluster", "Namespaced"], &at.child("scope"), errors);
    let before: HashMap<&str, Option<Value>> = old
        .into_iter()
        .flat_map(|old| &old.spec.versions)
        .map(|version| (version.name.as_str(), schema_of(version)))
        .collect();
    let said = Said::of(spec);
    // Of each version, whether its schema was there before.
    let kept: Vec<bool> = std::iter::zip(&spec.versions, &said.schemas.parts)
        .map(|(version, schema)| before.get(version.name.as_str()).is_some_and(|was| was == schema))
        .collect();
    versions(spec, &said, &kept, &at.child("versions"), errors);
    for (name, value) in [
        ("plural", spec.names.plural.as_str()),
        ("singular", spec.names.singular.as_deref().unwrap_or_default()),
        ("kind", spec.names.kind.as_str()),
        ("listKind", spec.names.list_kind.as_deref().unwrap_or_default()),
    ] {
        given(value, &at.child("names").child(name), errors);
    }
    names_of(&spec.names, &at.child("names"), errors);
    if let Some(schema) = said.schemas.shared() {
        let status = spec.versions.iter().any(has_status);
        let old = kept.iter().all(|kept| *kept);
        errors.extend(check::check(schema, status, old, &at.child("validation.openAPIV3Schema")));
    }
    if let Some(subresources) = said.subresources.shared() {
        scale(subresources, &at.child("subresources"), errors);
    }
    if let Some(columns) = said.columns.shared() {
        printed(columns, &at.child("additionalPrinterColumns"), errors);
    }
    if let (Some(fields), Some(schema)) = (said.selectable.shared(), said.schemas.of_version(0)) {
        selectable(fields, schema, &at.child("selectableFields"), errors);
    }
    if let Some(conversion) = &spec.conversion {
        converted(conversion, &at.child("conversion"), errors);
    }
}

fn versions(
    spec: &CustomResourceDefinitionSpec,
    said: &Said<'_>,
    kept: &[bool],
    all_at: &Path,
    errors: &mut Errors,
) {
    for i in 0..spec.versions.len() {
        if said.schemas.of_version(i).is_none() {
            errors.required(&all_at.index(i).child("schema.openAPIV3Schema"), "");
        }
    }
    for (i, version) in spec.versions.iter().enumerate() {
        let at = all_at.index(i);
        joined(errors, &at.child("name"), &version.name, &dns_1035_label(&version.name));
        deprecation(version, &at.child("deprecationWarning"), errors);
        if let Some(schema) = said.schemas.own(i) {
            let at = at.child("schema.openAPIV3Schema");
            errors.extend(check::check(schema, has_status(version), kept[i], &at));
        }
        if let Some(subresources) = said.subresources.own(i) {
            scale(subresources, &at.child("subresources"), errors);
        }
        if let Some(columns) = said.columns.own(i) {
            printed(columns, &at.child("additionalPrinterColumns"), errors);
        }
        if let (Some(fields), Some(schema)) = (said.selectable.own(i), said.schemas.of_version(i)) {
            selectable(fields, schema, &at.child("selectableFields"), errors);
        }
    }
    let mut seen: Vec<&str> = spec.versions.iter().map(|v| v.name.as_str()).collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < spec.versions.len() {
        errors.invalid(all_at, &spec.versions, "must contain unique version names");
    }
    if spec.versions.iter().filter(|v| v.storage).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.invalid(all_at, (!spec.versions.is_empty()).then_some(&spec.versions), why);
    }
}

fn deprecation(version: &CustomResourceDefinitionVersion, at: &Path, errors: &mut Errors) {
    let Some(warning) = &version.deprecation_warning else { return };
    if version.deprecated != Some(true) {
        errors.invalid(at, warning, "can only be set for deprecated versions");
        return;
    }
    if warning.len() > 256 {
        errors.invalid(at, warning, "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(at, warning, "must not be an empty string");
    }
    if let Some((i, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let why = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {i}"
        );
        errors.invalid(at, warning, why);
    }
}

fn names_of(names: &CustomResourceDefinitionNames, at: &Path, errors: &mut Errors) {
    let singular = names.singular.as_deref().unwrap_or_default();
    let list_kind = names.list_kind.as_deref().unwrap_or_default();
    for (field, name) in [("plural", names.plural.as_str()), ("singular", singular)] {
        if !name.is_empty() {
            joined(errors, &at.child(field), name, &dns_1035_label(name));
        }
    }
    for (field, name) in [("kind", names.kind.as_str()), ("listKind", list_kind)] {
        let wrong = dns_1035_label(&name.to_lowercase());
        if !name.is_empty() && !wrong.is_empty() {
            let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&at.child(field), name, why);
        }
    }
    for (i, name) in names.short_names.iter().flatten().enumerate() {
        joined(errors, &at.child("shortNames").index(i), name, &dns_1035_label(name));
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        errors.invalid(&at.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
    for (i, name) in names.categories.iter().flatten().enumerate() {
        joined(errors, &at.child("categories").index(i), name, &dns_1035_label(name));
    }
}

/// A path of fields, as `.spec.replicas`.
fn simple_path(path: &str, at: &Path, errors: &mut Errors) -> bool {
    if path.starts_with('.') {
        return true;
    }
    errors.invalid(at, path, "must be a simple json path starting with .");
    false
}

fn scale(subresources: &CustomResourceSubresources, at: &Path, errors: &mut Errors) {
    let Some(scale) = &subresources.scale else { return };
    for (field, path, below, why) in [
        ("specReplicasPath", &scale.spec_replicas_path, ".spec.", "should be a json path under .spec"),
        (
            "statusReplicasPath",
            &scale.status_replicas_path,
            ".status.",
            "should be a json path under .status",
        ),
    ] {
        let at = at.child("scale").child(field);
        if path.is_empty() {
            errors.required(&at, "");
        } else if simple_path(path, &at, errors) && !path.starts_with(below) {
            errors.invalid(&at, path, why);
        }
    }
    if let Some(path) = scale.label_selector_path.as_ref().filter(|path| !path.is_empty()) {
        let at = at.child("scale.labelSelectorPath");
        let below = path.starts_with(".spec.") || path.starts_with(".status.");
        if simple_path(path, &at, errors) && !below {
            errors.invalid(&at, path, "should be a json path under either .spec or .status");
        }
    }
}

fn printed(columns: &[CustomResourceColumnDefinition], at: &Path, errors: &mut Errors) {
    const TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
    const FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for (at, column) in at.items(columns.iter()) {
        given(&column.name, &at.child("name"), errors);
        let one_of = |allowed: &[&str]| format!("must be one of {}", allowed.join(","));
        if column.type_.is_empty() {
            errors.required(&at.child("type"), one_of(TYPES));
        } else if !TYPES.contains(&column.type_.as_str()) {
            errors.invalid(&at.child("type"), &column.type_, one_of(TYPES));
        }
        let format = column.format.as_deref().unwrap_or_default();
        if !format.is_empty() && !FORMATS.contains(&format) {
            errors.invalid(&at.child("format"), format, one_of(FORMATS));
        }
        if column.json_path.is_empty() {
            errors.required(&at.child("JSONPath"), "");
        } else {
            simple_path(&column.json_path, &at.child("JSONPath"), errors);
        }
    }
}

fn selectable(fields: &[SelectableField], schema: &Value, at: &Path, errors: &mut Errors) {
    let schema = Schema::read(schema);
    let mut seen = BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        let at = at.index(i).child("jsonPath");
        let path = &field.json_path;
        if path.is_empty() {
            errors.required(&at, "");
            continue;
        }
        match paths::resolve(path, &schema, false) {
            Err(why) => errors.invalid(&at, path, format!("is an invalid path: {why}")),
            Ok((normal, found)) => {
                if normal == "metadata" || normal.starts_with("metadata.") {
                    errors.invalid(&at, path, "must not point to fields in metadata");
                }
                if !matches!(found.ty.as_str(), "string" | "boolean" | "integer") {
                    let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                    errors.invalid(&at, path, why);
                }
                if !seen.insert(normal) {
                    errors.duplicate(&at, path);
                }
            }
        }
    }
    if seen.len() > MAX_SELECTABLE {
        errors.too_many(at, seen.len(), MAX_SELECTABLE);
    }
}

fn converted(conversion: &CustomResourceConversion, at: &Path, errors: &mut Errors) {
    let client_at = at.child("webhookClientConfig");
    let versions_at = at.child("conversionReviewVersions");
    let webhook = conversion.webhook.as_ref();
    let client = webhook.and_then(|webhook| webhook.client_config.as_ref());
    let reviews = webhook.map(|webhook| webhook.conversion_review_versions.as_slice()).unwrap_or_default();
    match conversion.strategy.as_str() {
        "None" => {
            if client.is_some() {
                errors.forbidden(&client_at, "should not be set when strategy is not set to Webhook");
            }
            if !reviews.is_empty() {
                errors.forbidden(&versions_at, "should not be set when strategy is not set to Webhook");
            }
        }
        "Webhook" => {
            match client {
                None => errors.required(&client_at, "required when strategy is set to Webhook"),
                Some(client) if client.url.is_some() == client.service.is_some() => {
                    errors.required(&client_at, "exactly one of url or service is required");
                }
                Some(_) => {}
            }
            if reviews.is_empty() {
                errors.required(&versions_at, "");
            } else if !reviews.iter().any(|v| matches!(v.as_str(), "v1" | "v1beta1")) {
                errors.invalid(&versions_at, reviews, "must include at least one of v1, v1beta1");
            }
            let mut seen = BTreeSet::new();
            for (at, version) in versions_at.items(reviews.iter()) {
                if !seen.insert(version) {
                    errors.invalid(&at, version, "duplicate version");
                } else {
                    for why in dns_1035_label(version) {
                        errors.invalid(&at, version, why);
                    }
                }
            }
        }
        other => errors.not_supported(&at.child("strategy"), other, &["None", "Webhook"]),
    }
}

/// The names in the status.
pub(super) fn status(definition: &Definition, errors: &mut Errors) {
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    if let Some(names) = accepted {
        names_of(names, &Path::new("status.acceptedNames"), errors);
    }
}

/// What has been stored in a version keeps that version.
pub(super) fn stored_versions(definition: &Definition, errors: &mut Errors) {
    let at = Path::new("status.storedVersions");
    let stored = definition.status.as_ref().and_then(|status| status.stored_versions.as_deref());
    let stored = stored.unwrap_or_default();
    if stored.is_empty() {
        errors.invalid(&at, Value::Null, "must have at least one stored version");
        return;
    }
    if let Some(version) = storage_version(&definition.spec).filter(|v| !stored.contains(&v.name)) {
        errors.invalid(&at, stored, format!("must have the storage version {}", version.name));
    }
    let versions: BTreeSet<&str> =
        definition.spec.versions.iter().map(|version| version.name.as_str()).collect();
    for (i, name) in stored.iter().enumerate() {
        if !versions.contains(name.as_str()) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid(&at.index(i), name, why);
        }
    }
}

#[derive(PartialEq)]
enum Approval<'a> {
    Missing,
    Given,
    Wrong(&'a str),
}

fn approval_of(definition: &Definition) -> Approval<'_> {
    let annotations = definition.metadata.annotations.as_ref();
    match annotations.and_then(|a| a.get(APPROVED)).map(String::as_str) {
        None | Some("") => Approval::Missing,
        Some(text) if text.starts_with("unapproved") => Approval::Given,
        Some(text) if text.starts_with("https://") || text.starts_with("http://") => Approval::Given,
        Some(text) => Approval::Wrong(text),
    }
}

/// Kubernetes' own groups take new kinds only with a link to who approved them.
pub(super) fn approval(new: &Definition, old: Option<&Definition>, errors: &mut Errors) {
    let group = new.spec.group.as_str();
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| group == *own || group.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')));
    let found = approval_of(new);
    if !protected || old.is_some_and(|old| approval_of(old) == found) {
        return;
    }
    let at = Path::new("metadata.annotations").key(APPROVED);
    match found {
        Approval::Given => {}
        Approval::Missing => {
            let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111";
            errors.required(&at, why);
        }
        Approval::Wrong(text) => {
            let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111";
            errors.invalid(&at, text, why);
        }
    }
}

/// `spec.preserveUnknownFields` may stay, but not come.
pub(super) fn preserve(new: &Definition, old: Option<&Definition>, errors: &mut Errors) {
    let set = |definition: &Definition| definition.spec.preserve_unknown_fields == Some(true);
    if set(new) && !old.is_some_and(set) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&Path::new("spec.preserveUnknownFields"), true, why);
    }
}
