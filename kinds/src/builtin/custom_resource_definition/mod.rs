//! CustomResourceDefinition: a kind that users add. What it makes of objects is in [`crate::custom`].

use std::collections::BTreeSet;

use api::conditions;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec, CustomResourceDefinitionStatus,
    CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::json;

use crate::builtin::prelude::*;
use validation::{approval, preserve, spec, status, stored_versions};

mod validation;

/// Keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

type Definition = CustomResourceDefinition;

impl Strategy for Definition {
    const FACTS: Facts = Facts {
        updates_unconditionally: false,
        has_generation: true,
        notes_grace: false,
        takes_plain_finalizers: true,
        ..Facts::PLAIN
    };

    fn after_writing(value: &mut Value) {
        let Some(map) = value.as_object_mut() else { return };
        let status = map.entry("status").or_insert_with(|| json!({}));
        for (field, empty) in [
            ("acceptedNames", json!({"kind": "", "plural": ""})),
            ("conditions", Value::Null),
            ("storedVersions", Value::Null),
        ] {
            if status.get(field).is_none() {
                status[field] = empty;
            }
        }
        let versions = value.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
        versions.into_iter().flatten().filter_map(|v| v.get_mut("schema")).for_each(whole_bounds);
    }

    fn fill_in(&mut self) {
        let names = &mut self.spec.names;
        if names.singular.as_deref().unwrap_or_default().is_empty() {
            names.singular = Some(names.kind.to_lowercase()).filter(|name| !name.is_empty());
        }
        if names.list_kind.as_deref().unwrap_or_default().is_empty() && !names.kind.is_empty() {
            names.list_kind = Some(format!("{}List", names.kind));
        }
        let conversion = self.spec.conversion.get_or_insert_default();
        if conversion.strategy.is_empty() {
            conversion.strategy = "None".into();
        }
        let client = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut());
        if let Some(service) = client.and_then(|client| client.service.as_mut()) {
            service.port.get_or_insert(443);
        }
        // `false` is what there is; only `true` was ever worth saying.
        self.spec.preserve_unknown_fields.take_if(|preserve| !*preserve);
    }

    fn prepare_create(definition: &mut Draft<Self>) {
        let stored = storage_version(&definition.spec).map(|version| vec![version.name.clone()]);
        definition.status =
            Some(CustomResourceDefinitionStatus { stored_versions: stored, ..Default::default() });
    }

    fn prepare_update(new: &mut Draft<Self>, _old: &Draft<Self>, part: Part<'_>) {
        if part == Part::Status {
            return;
        }
        let Some(stored) = storage_version(&new.spec).map(|version| version.name.clone()) else { return };
        let known = new.status.get_or_insert_default().stored_versions.get_or_insert_default();
        if !known.contains(&stored) {
            known.push(stored);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let wanted = format!("{}.{}", self.spec.names.plural, self.spec.group);
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if !name.is_empty() && name != wanted {
            let why = "must be spec.names.plural+\".\"+spec.group";
            errors.invalid(&Path::new("metadata.name"), name, why);
        }
        spec(self, None, errors);
        status(self, errors);
        stored_versions(self, errors);
        approval(self, None, errors);
        preserve(self, None, errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            return status(self, errors);
        }
        spec(self, Some(old), errors);
        let at = Path::new("spec");
        if is_established(old) {
            immutable(&self.spec.scope, &old.spec.scope, &at.child("scope"), errors);
            immutable(&self.spec.names.kind, &old.spec.names.kind, &at.child("names.kind"), errors);
        }
        immutable(&self.spec.group, &old.spec.group, &at.child("group"), errors);
        immutable(&self.spec.names.plural, &old.spec.names.plural, &at.child("names.plural"), errors);
        status(self, errors);
        stored_versions(self, errors);
        approval(self, Some(old), errors);
        preserve(self, Some(old), errors);
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let known: BTreeSet<&str> = old.map(strange_formats).unwrap_or_default().into_iter().collect();
        let formats = strange_formats(self).into_iter().filter(|format| !known.contains(format));
        let formats: Vec<String> = formats.map(|format| format!("unrecognized format {format:?}")).collect();
        let webhook = self.spec.conversion.as_ref().is_some_and(|c| c.strategy == "Webhook");
        webhook
            .then(|| {
                "spec.conversion.strategy: conversion webhooks are not supported yet: only the storage version is served"
                    .to_owned()
            })
            .into_iter()
            .chain(formats)
            .collect()
    }

    fn columns() -> Vec<Column> {
        vec![Column::name(), Column::created("Time at which the definition was created.")]
    }

    fn begin_deletion(object: &mut Value) {
        let missing = (!object.finalizers().contains(&CLEANUP)).then_some(CLEANUP);
        let all = object.finalizers().into_iter().chain(missing).map(str::to_owned).collect();
        object.set_finalizers(all);
        let now = object.meta_str("deletionTimestamp").to_owned();
        let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        let told = conditions::told("Terminating", true, "InstanceDeletionPending", why, &now);
        conditions::set_in(object, told);
    }
}

/// The formats in a definition's schemas that mean nothing for the type they are of.
fn strange_formats(definition: &Definition) -> Vec<&str> {
    const OF_TEXT: &str = "bsonobjectid byte cidr creditcard date datetime duration email hexcolor hostname ipv4 ipv6 isbn isbn10 isbn13 k8slongname k8sshortname mac password rgbcolor ssn uri uuid uuid3 uuid4 uuid5";
    let versions = definition.spec.versions.iter().filter_map(|version| version.schema.as_ref());
    let mut left: Vec<&JSONSchemaProps> = versions.filter_map(|v| v.open_api_v3_schema.as_ref()).collect();
    let mut found = Vec::new();
    while let Some(schema) = left.pop() {
        let format = schema.format.as_deref().unwrap_or_default();
        let is_known = match schema.type_.as_deref().unwrap_or_default() {
            "" | "string" => OF_TEXT.split(' ').any(|known| known == format.replace('-', "")),
            "integer" => matches!(format, "int32" | "int64"),
            "number" => matches!(format, "float" | "double"),
            _ => false,
        };
        if !format.is_empty() && !is_known {
            found.push(format);
        }
        left.extend(below(schema));
    }
    found
}

/// The schemas right below one.
fn below(schema: &JSONSchemaProps) -> Vec<&JSONSchemaProps> {
    let maps = [&schema.properties, &schema.pattern_properties, &schema.definitions];
    let mut found: Vec<_> = maps.into_iter().flatten().flat_map(|map| map.values()).collect();
    let lists = [&schema.all_of, &schema.any_of, &schema.one_of];
    found.extend(lists.into_iter().flatten().flatten());
    found.extend(schema.not.as_deref());
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => found.push(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => found.extend(items),
        None => {}
    }
    for either in [&schema.additional_properties, &schema.additional_items].into_iter().flatten() {
        if let JSONSchemaPropsOrBool::Schema(schema) = either {
            found.push(schema);
        }
    }
    found
}

/// Bounds are floating point numbers, and whole ones are written without a fraction.
fn whole_bounds(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_f64().filter(|bound| bound.fract() == 0.0 && bound.abs() < 1e15) {
                    #[expect(clippy::cast_possible_truncation, reason = "is whole and small enough")]
                    Some(bound) if matches!(key.as_str(), "maximum" | "minimum" | "multipleOf") => {
                        *value = (bound as i64).into();
                    }
                    _ => whole_bounds(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_bounds),
        _ => {}
    }
}

fn storage_version(spec: &CustomResourceDefinitionSpec) -> Option<&CustomResourceDefinitionVersion> {
    spec.versions.iter().find(|version| version.storage)
}

fn is_established(definition: &Definition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
}

#[cfg(test)]
mod tests;
