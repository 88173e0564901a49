//! What a claim's volume is filled with: `dataSource`, and `dataSourceRef`, which takes its place.
//!
//! Whichever of the two is given fills the other. References to other namespaces are an alpha feature upstream, and
//! thus dropped. Counterpart of upstream's `pkg/api/persistentvolumeclaim`.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference,
};
use serde_json::Map;

use crate::builtin::prelude::*;

/// Makes the two one. A `dataSource` that is neither a claim nor a snapshot is dropped, as old servers did, unless the
/// claim already had one.
pub fn pair(spec: &mut PersistentVolumeClaimSpec, old: Option<&PersistentVolumeClaimSpec>) {
    if let Some(reference) = &mut spec.data_source_ref {
        reference.namespace = None;
    }
    let had_one = old.is_some_and(|old| old.data_source.is_some() || old.data_source_ref.is_some());
    if !had_one && !spec.data_source.as_ref().is_some_and(is_claim_or_snapshot) {
        spec.data_source = None;
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(source), None) => {
            spec.data_source_ref = Some(TypedObjectReference {
                api_group: source.api_group.clone(),
                kind: source.kind.clone(),
                name: source.name.clone(),
                namespace: None,
            });
        }
        (None, Some(reference)) => {
            spec.data_source = Some(TypedLocalObjectReference {
                api_group: reference.api_group.clone(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
            });
        }
        _ => {}
    }
}

fn is_claim_or_snapshot(source: &TypedLocalObjectReference) -> bool {
    let group = source.api_group.as_deref().unwrap_or_default();
    matches!(
        (group, source.kind.as_str()),
        ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
    )
}

/// What is wrong with the two.
pub fn validate(spec: &PersistentVolumeClaimSpec, at: &Path, errors: &mut Errors) {
    if let Some(source) = &spec.data_source {
        let group = source.api_group.as_deref();
        reference(group, &source.kind, &source.name, &at.child("dataSource"), errors);
    }
    if let Some(source) = &spec.data_source_ref {
        let group = source.api_group.as_deref();
        reference(group, &source.kind, &source.name, &at.child("dataSourceRef"), errors);
    }
    if let (Some(a), Some(b)) = (&spec.data_source, &spec.data_source_ref)
        && (&a.api_group, &a.kind, &a.name) != (&b.api_group, &b.kind, &b.name)
    {
        // Upstream shows the path, of which there is nothing to see.
        errors.invalid(at, Map::new(), "must match dataSourceRef");
    }
}

fn reference(group: Option<&str>, kind: &str, name: &str, at: &Path, errors: &mut Errors) {
    for (field, value) in [("name", name), ("kind", kind)] {
        given(value, &at.child(field), errors);
    }
    let group = group.unwrap_or_default();
    if !group.is_empty() {
        each(errors, &at.child("apiGroup"), group, dns_subdomain(group));
    } else if kind != "PersistentVolumeClaim" {
        let words = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(at, kind, words);
    }
}

#[cfg(test)]
mod tests;
