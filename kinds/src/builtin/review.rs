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
            errors.invalid(&at, path, "disallowed on this kind of request");
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
}

/// A question is about a resource or about a path.
fn attributes(
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
    errors: &mut Errors,
) {
    if resource.is_some() && path.is_some() {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.invalid(&Path::new("spec.nonResourceAttributes"), path, why);
    }
    if resource.is_none() && path.is_none() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.invalid(&Path::new("spec.resourceAttributes"), path, why);
    }
}

#[cfg(test)]
mod tests;
