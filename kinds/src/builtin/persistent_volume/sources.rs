//! Where a volume's storage is. What makers of storage need beyond what is common is not looked at.

use api::field::ErrorType;
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, FCVolumeSource, ISCSIPersistentVolumeSource, PersistentVolumeSpec,
    SecretReference,
};

use crate::builtin::pod::validation::{escapes, host_path, iscsi_name, nfs, required};
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
    if let Some(source) = &spec.fc {
        fc(source, &at.child("fc"), errors);
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

fn fc(source: &FCVolumeSource, at: &Path, errors: &mut Errors) {
    let names = source.target_wwns.as_deref().unwrap_or_default();
    let ids = source.wwids.as_deref().unwrap_or_default();
    let names_at = at.child("targetWWNs");
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => errors.required(&names_at, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => {
            errors.invalid(&names_at, names, "targetWWNs and wwids can not be specified simultaneously");
        }
        _ => {}
    }
    if !names.is_empty() {
        match source.lun {
            None => errors.required(&at.child("lun"), "lun is required if targetWWNs is specified"),
            Some(lun) => in_range(i64::from(lun), 0, 255, &at.child("lun"), errors),
        }
    }
}

fn csi(source: &CSIPersistentVolumeSource, at: &Path, errors: &mut Errors) {
    const MAX_NAME: usize = 63;
    let driver_at = at.child("driver");
    required(&source.driver, "driver", at, errors);
    if source.driver.len() > MAX_NAME {
        errors.too_long(&driver_at, MAX_NAME);
    }
    each(errors, &driver_at, &source.driver, dns_subdomain(&source.driver.to_lowercase()));
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
