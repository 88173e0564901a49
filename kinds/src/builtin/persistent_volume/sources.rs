//! Where a volume's storage is.

use api::field::ErrorType;
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, ISCSIPersistentVolumeSource, PersistentVolumeSpec, SecretReference, Volume,
};
use serde::Deserialize;

use crate::builtin::pod::validation::{
    Sources, csi_driver, escapes, host_path, iscsi_name, makers_volumes, nfs, required,
};
use crate::builtin::prelude::*;

/// Exactly one source, and what it needs. `only` is the spec with nothing but sources.
pub fn validate(
    spec: &PersistentVolumeSpec,
    only: &PersistentVolumeSpec,
    name: &str,
    at: &Path,
    errors: &mut Errors,
) {
    let value = serde_json::to_value(only).unwrap_or_default();
    let fields: Vec<&String> = value.as_object().map(|o| o.keys().collect()).unwrap_or_default();
    match fields.as_slice() {
        [] => errors.plain(ErrorType::Required, at, "must specify a volume type"),
        [_] => {}
        [_, more @ ..] => {
            for field in more {
                errors.forbidden(&at.child(field), "may not specify more than 1 volume type");
            }
            return;
        }
    }
    if let Some(path) = &spec.host_path {
        host_path(&path.path, path.type_.as_deref(), &at.child("hostPath"), errors);
    }
    if let Some(share) = &spec.nfs {
        nfs(share, &at.child("nfs"), errors);
    }
    if let Some(source) = &spec.iscsi {
        iscsi(source, name, &at.child("iscsi"), errors);
    }
    if let Ok(volume) = Volume::deserialize(&value) {
        makers_volumes(&volume, &mut Sources::of(at), errors);
    }
    if let Some(secret) = spec.cinder.as_ref().and_then(|source| source.secret_ref.as_ref()) {
        required(secret.namespace.as_deref().unwrap_or_default(), "cinder.secretRef.namespace", at, errors);
    }
    let noted = spec.azure_file.as_ref().and_then(|source| source.secret_namespace.as_deref());
    if noted == Some("") {
        errors.required(&at.child("azureFile.secretNamespace"), "");
    }
    if let Some(source) = &spec.csi {
        csi(source, &at.child("csi"), errors);
    }
    if let Some(local) = &spec.local {
        let path_at = at.child("local.path");
        if local.path.is_empty() {
            errors.required(&path_at, "");
        } else if escapes(&local.path) {
            errors.invalid(&path_at, &local.path, "must not contain '..'");
        }
        if spec.node_affinity.is_none() {
            errors.required(&at.child("nodeAffinity"), "Local volume requires node affinity");
        }
    }
}

fn iscsi(source: &ISCSIPersistentVolumeSource, name: &str, at: &Path, errors: &mut Errors) {
    required(&source.target_portal, "targetPortal", at, errors);
    if source.initiator_name.is_some() && name.len() + 1 + source.target_portal.len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid(&at.child("targetportal"), &source.target_portal, why);
    }
    required(&source.iqn, "iqn", at, errors);
    if !source.iqn.is_empty() && !iscsi_name(&source.iqn) {
        errors.invalid(&at.child("iqn"), &source.iqn, "must be valid format");
    }
    in_range(i64::from(source.lun), 0, 255, &at.child("lun"), errors);
    let challenged = [source.chap_auth_discovery, source.chap_auth_session].contains(&Some(true));
    match &source.secret_ref {
        None if challenged => errors.required(&at.child("secretRef"), ""),
        Some(secret) => {
            required(secret.name.as_deref().unwrap_or_default(), "name", &at.child("secretRef"), errors);
        }
        None => {}
    }
    if let Some(initiator) = source.initiator_name.as_ref().filter(|name| !iscsi_name(name)) {
        errors.invalid(&at.child("initiatorname"), initiator, "must be valid format");
    }
}

fn csi(source: &CSIPersistentVolumeSource, at: &Path, errors: &mut Errors) {
    csi_driver(&source.driver, &at.child("driver"), errors);
    required(&source.volume_handle, "volumeHandle", at, errors);
    for (field, secret) in [
        ("controllerPublishSecretRef", &source.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &source.controller_expand_secret_ref),
        ("nodePublishSecretRef", &source.node_publish_secret_ref),
        ("nodeExpandSecretRef", &source.node_expand_secret_ref),
    ] {
        if let Some(secret) = secret {
            secret_reference(secret, &at.child(field), errors);
        }
    }
}

fn secret_reference(secret: &SecretReference, at: &Path, errors: &mut Errors) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (name, namespace) = (text(&secret.name), text(&secret.namespace));
    for (field, value, wrong) in
        [("name", &name, dns_subdomain(&name)), ("namespace", &namespace, dns_label(&namespace))]
    {
        if value.is_empty() {
            errors.required(&at.child(field), "");
        } else {
            each(errors, &at.child(field), value, wrong);
        }
    }
}

#[cfg(test)]
mod tests;
