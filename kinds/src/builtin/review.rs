//! Questions that are answered and not kept: who somebody is, and what they may do.
//!
//! The rules here check the question; the API server answers it. Counterpart of upstream's
//! `pkg/apis/{authentication,authorization}`.

use k8s_openapi::{
    api::{
        authentication::v1::{SelfSubjectReview, TokenReview},
        authorization::v1::{
            LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
            SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
        },
        core::v1::Binding,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use serde::Serialize;

use crate::builtin::prelude::*;

impl Strategy for TokenReview {}

impl Strategy for SelfSubjectReview {}

impl Strategy for SelfSubjectRulesReview {}

impl Strategy for Binding {}

impl Strategy for SubjectAccessReview {
    fn validate(&self, errors: &mut Errors) {
        subject(&self.spec, errors);
        if !is_empty(&self.metadata) {
            errors.invalid(&Path::new("metadata"), &self.metadata, "must be empty");
        }
    }
}

impl Strategy for SelfSubjectAccessReview {
    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        attributes(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref(), errors);
        selectors(spec.resource_attributes.as_ref(), errors);
        if !is_empty(&self.metadata) {
            errors.invalid(&Path::new("metadata"), &self.metadata, "must be empty");
        }
    }
}

impl Strategy for LocalSubjectAccessReview {
    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        subject(spec, errors);
        let mut rest = self.metadata.clone();
        let namespace = rest.namespace.take().unwrap_or_default();
        if !is_empty(&rest) {
            let why = "must be empty except for namespace";
            errors.invalid(&Path::new("metadata"), &self.metadata, why);
        }
        let asked = spec.resource_attributes.as_ref().map(|a| a.namespace.clone().unwrap_or_default());
        if let Some(asked) = asked.filter(|asked| *asked != namespace) {
            let at = Path::new("spec.resourceAttributes.namespace");
            errors.invalid(&at, asked, "must match metadata.namespace");
        }
        if let Some(path) = &spec.non_resource_attributes {
            let at = Path::new("spec.nonResourceAttributes");
            errors.invalid(&at, Shown::from(path), "disallowed on this kind of request");
        }
    }
}

fn is_empty(metadata: &ObjectMeta) -> bool {
    ObjectMeta { managed_fields: None, ..metadata.clone() } == ObjectMeta::default()
}

fn subject(spec: &SubjectAccessReviewSpec, errors: &mut Errors) {
    attributes(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref(), errors);
    let user = spec.user.as_deref().unwrap_or_default();
    if user.is_empty() && spec.groups.as_ref().is_none_or(Vec::is_empty) {
        errors.invalid(&Path::new("spec.user"), user, "at least one of user or group must be specified");
    }
    selectors(spec.resource_attributes.as_ref(), errors);
}

/// A question is about a resource or about a path.
fn attributes(
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
    errors: &mut Errors,
) {
    if resource.is_some() && path.is_some() {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.invalid(&Path::new("spec.nonResourceAttributes"), path.map(Shown::from), why);
    }
    if resource.is_none() && path.is_none() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid(&Path::new("spec.resourceAttributes"), Value::Null, why);
    }
}

/// A path as upstream shows one that nobody may ask about here.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    path: &'a str,
    verb: &'a str,
}

impl<'a> From<&'a NonResourceAttributes> for Shown<'a> {
    fn from(asked: &'a NonResourceAttributes) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self { path: text(&asked.path), verb: text(&asked.verb) }
    }
}

/// Which objects a question is about. Operators that nobody knows are let through: clients may be newer.
fn selectors(resource: Option<&ResourceAttributes>, errors: &mut Errors) {
    let Some(resource) = resource else { return };
    let at = Path::new("spec.resourceAttributes");
    if let Some(selector) = &resource.field_selector {
        let requirements = selector.requirements.as_deref().unwrap_or_default();
        let at = at.child("fieldSelector");
        either(selector.raw_selector.as_deref(), requirements.is_empty(), &at, errors);
        for (at, one) in at.child("requirements").items(requirements) {
            if one.key.is_empty() {
                errors.required(&at.child("key"), "must be specified");
            }
            values(&one.operator, one.values.as_deref(), &at.child("values"), errors);
        }
    }
    if let Some(selector) = &resource.label_selector {
        let requirements = selector.requirements.as_deref().unwrap_or_default();
        let at = at.child("labelSelector");
        either(selector.raw_selector.as_deref(), requirements.is_empty(), &at, errors);
        for (at, one) in at.child("requirements").items(requirements) {
            values(&one.operator, one.values.as_deref(), &at.child("values"), errors);
            each(errors, &at.child("key"), &one.key, qualified_name(&one.key));
            for (at, value) in at.child("values").items(one.values.iter().flatten()) {
                each(errors, &at, value, label_value(value));
            }
        }
    }
}

/// A selector is a text or a list.
fn either(raw: Option<&str>, is_empty: bool, at: &Path, errors: &mut Errors) {
    match raw.filter(|raw| !raw.is_empty()) {
        Some(raw) if !is_empty => {
            let why = "may not specified at the same time as requirements";
            errors.invalid(&at.child("rawSelector"), raw, why);
        }
        None if is_empty => {
            let why = format!("when {at} is specified, requirements or rawSelector is required");
            errors.required(&at.child("requirements"), why);
        }
        _ => {}
    }
}

fn values(operator: &str, values: Option<&[String]>, at: &Path, errors: &mut Errors) {
    match (operator, values.is_none_or(<[_]>::is_empty)) {
        ("In" | "NotIn", true) => {
            errors.required(at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        ("Exists" | "DoesNotExist", false) => {
            errors.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
