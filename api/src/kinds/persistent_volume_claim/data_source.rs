//! What a claim's volume is filled with: `dataSource`, and `dataSourceRef`, which takes its place.
//!
//! Whichever of the two is given fills the other. References to other namespaces are an alpha feature upstream, and
//! thus dropped. Counterpart of upstream's `pkg/api/persistentvolumeclaim`.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference,
};
use serde_json::Map;

use crate::{
    field::{Errors, Path},
    validation::{dns_subdomain, each},
};

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
        if value.is_empty() {
            errors.required(&at.child(field), "");
        }
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
mod tests {
    use serde_json::{Value, json};

    use super::super::PersistentVolumeClaims;
    use crate::kinds::testing::{changed, made, wrong};

    fn claim(source: &Value) -> Value {
        let mut spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        json_patch::merge(&mut spec, source);
        let raw = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec});
        made(PersistentVolumeClaims, raw)
    }

    #[test]
    fn either_source_fills_the_other() {
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        let foreign = json!({"apiGroup": "example.org", "kind": "Image", "name": "i"});
        for (given, source, reference) in [
            (json!({}), &Value::Null, &Value::Null),
            (json!({"dataSource": snapshot}), &snapshot, &snapshot),
            (json!({"dataSourceRef": snapshot}), &snapshot, &snapshot),
            (json!({"dataSource": foreign}), &Value::Null, &Value::Null),
            (json!({"dataSourceRef": foreign}), &foreign, &foreign),
        ] {
            let made = claim(&given);
            assert_eq!(
                (&made["spec"]["dataSource"], &made["spec"]["dataSourceRef"]),
                (source, reference),
                "{given}"
            );
            assert_eq!(wrong(PersistentVolumeClaims, &made), Vec::<String>::new());
            assert_eq!(changed(PersistentVolumeClaims, &claim(&given), &made), Vec::<String>::new());
        }
        let mut elsewhere = foreign.clone();
        elsewhere["namespace"] = "other".into();
        assert_eq!(claim(&json!({"dataSourceRef": elsewhere}))["spec"]["dataSourceRef"], foreign);
    }

    #[test]
    fn a_source_is_named_well() {
        let claim_named = |name: &str| json!({"kind": "PersistentVolumeClaim", "name": name});
        for (given, expected) in [
            (
                json!({"dataSourceRef": {"kind": "Image", "name": "i"}}),
                vec![
                    "spec.dataSource: Invalid value: \"Image\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                    "spec.dataSourceRef: Invalid value: \"Image\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                ],
            ),
            (
                json!({"dataSource": claim_named("a"), "dataSourceRef": claim_named("b")}),
                vec!["spec: Invalid value: {}: must match dataSourceRef"],
            ),
            (
                json!({"dataSource": claim_named("")}),
                vec!["spec.dataSource.name: Required value", "spec.dataSourceRef.name: Required value"],
            ),
        ] {
            assert_eq!(wrong(PersistentVolumeClaims, &claim(&given)), expected, "{given}");
        }
    }
}
