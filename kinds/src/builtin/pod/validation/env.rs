//! Where a container's variables come from.

use api::{quantity::Quantity, resource_names::is_huge_page};
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};

use super::volume::escapes;
use crate::builtin::prelude::*;

/// A variable.
pub fn variable(variable: &EnvVar, at: &Path, errors: &mut Errors) {
    formed(&variable.name, variable_name, &at.child("name"), errors);
    if let Some(from) = &variable.value_from {
        let with_value = variable.value.as_deref().is_some_and(|v| !v.is_empty());
        value_from(from, with_value, &at.child("valueFrom"), errors);
    }
}

/// A named key of a ConfigMap or Secret.
fn key_ref(name: &str, key: &str, at: &Path, errors: &mut Errors) {
    each(errors, &at.child("name"), name, dns_subdomain(name));
    formed(key, config_key, &at.child("key"), errors);
}

fn value_from(from: &EnvVarSource, with_value: bool, at: &Path, errors: &mut Errors) {
    const FIELDS: &[&str] = &[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let mut sources = 0;
    if let Some(field) = &from.field_ref {
        sources += 1;
        field_ref(field, FIELDS, &at.child("fieldRef"), errors);
    }
    if let Some(resource) = &from.resource_field_ref {
        sources += 1;
        resource_ref(resource, false, &at.child("resourceFieldRef"), errors);
    }
    if let Some(key) = &from.config_map_key_ref {
        sources += 1;
        key_ref(&key.name, &key.key, &at.child("configMapKeyRef"), errors);
    }
    if let Some(key) = &from.secret_key_ref {
        sources += 1;
        key_ref(&key.name, &key.key, &at.child("secretKeyRef"), errors);
    }
    if let Some(file) = &from.file_key_ref {
        sources += 1;
        let at = at.child("fileKeyRef");
        formed(&file.key, variable_name, &at.child("key"), errors);
        formed(&file.volume_name, dns_label, &at.child("volumeName"), errors);
        let steps_back =
            |path: &str| escapes(path).then(|| "must not contain '..'".into()).into_iter().collect();
        formed(&file.path, steps_back, &at.child("path"), errors);
    }
    if sources == 0 {
        errors.invalid(
            at,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        );
    } else if with_value {
        errors.invalid(at, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(at, "", "may not have more than one field specified at a time");
    }
}

/// A field of the pod, out of those that are `allowed`.
pub fn field_ref(field: &ObjectFieldSelector, allowed: &[&str], at: &Path, errors: &mut Errors) {
    const KNOWN: &[&str] = &[
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let version = field.api_version.as_deref().unwrap_or_default();
    let path = field.field_path.as_str();
    let path_at = at.child("fieldPath");
    if version.is_empty() {
        errors.required(&at.child("apiVersion"), "");
        return;
    }
    if path.is_empty() {
        errors.required(&path_at, "");
        return;
    }
    let mut refuse =
        |why: String| errors.invalid(&path_at, path, format!("error converting fieldPath: {why}"));
    if version != "v1" {
        return refuse(format!("unsupported pod version: {version}"));
    }
    let subscript = path.strip_suffix("']").and_then(|p| p.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => {
            each(errors, at, key, qualified_name(&key.to_lowercase()));
        }
        Some(("metadata.labels", key)) => each(errors, at, key, qualified_name(key)),
        Some(_) => refuse(format!("field label does not support subscript: {path}")),
        None if !KNOWN.contains(&path) => refuse(format!("field label not supported: {path}")),
        None if !allowed.contains(&path) => errors.not_supported(&path_at, path, allowed),
        None => {}
    }
}

/// A request or limit of a container; in a volume the container must be named.
pub fn resource_ref(r: &ResourceFieldSelector, in_volume: bool, at: &Path, errors: &mut Errors) {
    const FIELDS: &[&str] = &[
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let named = r.container_name.as_deref().is_some_and(|n| !n.is_empty());
    let huge = r.resource.split_once('.').is_some_and(|(_, name)| is_huge_page(name));
    if in_volume && !named {
        errors.required(&at.child("containerName"), "");
    } else if r.resource.is_empty() {
        errors.required(&at.child("resource"), "");
    } else if !FIELDS.contains(&r.resource.as_str()) && !huge {
        errors.not_supported(&at.child("resource"), &r.resource, FIELDS);
    }
    if let Some(divisor) = &r.divisor {
        let divisor = Quantity::of(divisor);
        let text = divisor.to_string();
        let units = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
        let (fine, what): (&[&str], _) = match r.resource.split_once('.').map(|(_, what)| what) {
            Some("cpu") => (&["1m", "1"], "cpu"),
            Some("memory") => (&units, "memory"),
            Some("ephemeral-storage") => (&units, "local ephemeral storage"),
            _ if huge => (&units, "hugepages"),
            _ => return,
        };
        if !divisor.is_zero() && !fine.contains(&text.as_str()) {
            let fine = if what == "cpu" { "1m and 1".to_owned() } else { fine.join(", ") };
            let why = format!("only divisor's values {fine} are supported with the {what} resource");
            errors.invalid(&at.child("divisor"), &r.resource, why);
        }
    }
}

/// Variables out of all keys of an object: source `i` of those at `list_at`, which upstream names where a source
/// says too little or too much.
pub fn variables_from(source: &EnvFromSource, list_at: &Path, i: usize, errors: &mut Errors) {
    let at = list_at.index(i);
    if let Some(prefix) = source.prefix.as_ref().filter(|p| !p.is_empty()) {
        each(errors, &at.child("prefix"), prefix, variable_name(prefix));
    }
    let mut sources = 0;
    let names = [
        ("configMapRef", source.config_map_ref.as_ref().map(|r| &r.name)),
        ("secretRef", source.secret_ref.as_ref().map(|r| &r.name)),
    ];
    for (field, name) in names {
        let Some(name) = name else { continue };
        sources += 1;
        let at = at.child(field).child("name");
        formed(name, dns_subdomain, &at, errors);
    }
    match sources {
        0 => errors.invalid(list_at, "", "must specify one of: `configMapRef` or `secretRef`"),
        1 => {}
        _ => errors.invalid(list_at, "", "may not have more than one field specified at a time"),
    }
}
