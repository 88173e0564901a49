//! Storage of particular makers: what a volume of theirs must say. Nothing here mounts them.

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, FCVolumeSource, FlockerVolumeSource, QuobyteVolumeSource, Volume,
};

use super::volume::{Sources, required};

use crate::builtin::prelude::*;

/// Checks such a source, if it is the volume's first one.
pub fn sources(v: &Volume, found: &mut Sources<'_>, errors: &mut Errors) {
    let at = found.at;
    let texts = |at: &Path, fields: &[(&str, &str)], errors: &mut Errors| {
        for (field, text) in fields {
            required(text, field, at, errors);
        }
    };
    if let Some(s) = found.first("gcePersistentDisk", &v.gce_persistent_disk, errors) {
        let at = at.child("persistentDisk");
        texts(&at, &[("pdName", &s.pd_name)], errors);
        partition(s.partition, &at, errors);
    }
    if let Some(s) = found.first("awsElasticBlockStore", &v.aws_elastic_block_store, errors) {
        let at = at.child("awsElasticBlockStore");
        texts(&at, &[("volumeID", &s.volume_id)], errors);
        partition(s.partition, &at, errors);
    }
    if let Some(s) = found.first("glusterfs", &v.glusterfs, errors) {
        texts(&at.child("glusterfs"), &[("endpoints", &s.endpoints), ("path", &s.path)], errors);
    }
    if let Some(s) = found.first("flocker", &v.flocker, errors) {
        flocker(s, &at.child("flocker"), errors);
    }
    if let Some(s) = found.first("rbd", &v.rbd, errors) {
        let at = at.child("rbd");
        if s.monitors.is_empty() {
            errors.required(&at.child("monitors"), "");
        }
        texts(&at, &[("image", &s.image)], errors);
    }
    if let Some(s) = found.first("cinder", &v.cinder, errors) {
        let at = at.child("cinder");
        texts(&at, &[("volumeID", &s.volume_id)], errors);
        if let Some(secret) = &s.secret_ref {
            texts(&at, &[("secretRef.name", &secret.name)], errors);
        }
    }
    if let Some(s) = found.first("cephfs", &v.cephfs, errors)
        && s.monitors.is_empty()
    {
        errors.required(&at.child("cephfs.monitors"), "");
    }
    if let Some(s) = found.first("quobyte", &v.quobyte, errors) {
        quobyte(s, &at.child("quobyte"), errors);
    }
    if let Some(s) = found.first("fc", &v.fc, errors) {
        fibre_channel(s, &at.child("fc"), errors);
    }
    if let Some(s) = found.first("flexVolume", &v.flex_volume, errors) {
        let at = at.child("flexVolume");
        texts(&at, &[("driver", &s.driver)], errors);
        for key in s.options.iter().flatten().map(|(key, _)| key) {
            let namespace = key.split_once('/').map_or(key.as_str(), |(namespace, _)| namespace);
            let namespace = format!(".{}", namespace.to_lowercase());
            if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
                let words = "kubernetes.io and k8s.io namespaces are reserved";
                errors.invalid(&at.child("options").key(key), key, words);
            }
        }
    }
    if let Some(s) = found.first("azureFile", &v.azure_file, errors) {
        let fields = [("secretName", &*s.secret_name), ("shareName", &*s.share_name)];
        texts(&at.child("azureFile"), &fields, errors);
    }
    if let Some(s) = found.first("azureDisk", &v.azure_disk, errors) {
        azure_disk(s, &at.child("azureDisk"), errors);
    }
    if let Some(s) = found.first("vsphereVolume", &v.vsphere_volume, errors) {
        texts(&at.child("vsphereVolume"), &[("volumePath", &s.volume_path)], errors);
    }
    if let Some(s) = found.first("photonPersistentDisk", &v.photon_persistent_disk, errors) {
        texts(&at.child("photonPersistentDisk"), &[("pdID", &s.pd_id)], errors);
    }
    if let Some(s) = found.first("portworxVolume", &v.portworx_volume, errors) {
        texts(&at.child("portworxVolume"), &[("volumeID", &s.volume_id)], errors);
    }
    if let Some(s) = found.first("storageos", &v.storageos, errors) {
        let at = at.child("storageos");
        match s.volume_name.as_deref().unwrap_or_default() {
            "" => errors.required(&at.child("volumeName"), ""),
            name => each(errors, &at.child("volumeName"), name, dns_label(name)),
        }
        if let Some(namespace) = s.volume_namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
            each(errors, &at.child("volumeNamespace"), namespace, dns_label(namespace));
        }
        if let Some(secret) = &s.secret_ref {
            texts(&at, &[("secretRef.name", &secret.name)], errors);
        }
    }
    if let Some(s) = found.first("scaleIO", &v.scale_io, errors) {
        let name = s.volume_name.as_deref().unwrap_or_default();
        let fields = [("gateway", &*s.gateway), ("system", &s.system), ("volumeName", name)];
        texts(&at.child("scaleIO"), &fields, errors);
    }
}

fn partition(partition: Option<i32>, at: &Path, errors: &mut Errors) {
    if let Some(number) = partition.filter(|number| !(0..=255).contains(number)) {
        errors.invalid(&at.child("partition"), number, between(1, 255));
    }
}

fn flocker(s: &FlockerVolumeSource, at: &Path, errors: &mut Errors) {
    let name = s.dataset_name.as_deref().unwrap_or_default();
    match (name, s.dataset_uuid.as_deref().unwrap_or_default()) {
        ("", "") => errors.required(at, "one of datasetName and datasetUUID is required"),
        ("", _) | (_, "") => {}
        _ => {
            errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously")
        }
    }
    if name.contains('/') {
        errors.invalid(&at.child("datasetName"), name, "must not contain '/'");
    }
}

fn quobyte(s: &QuobyteVolumeSource, at: &Path, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let is_pair = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'))
    };
    if s.registry.is_empty() {
        errors.required(&at.child("registry"), PAIRS);
    } else if s.tenant.as_ref().is_some_and(|tenant| tenant.len() >= 65) {
        errors.required(&at.child("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for _ in s.registry.split(',').filter(|pair| !is_pair(pair)) {
            errors.invalid(&at.child("registry"), &s.registry, PAIRS);
        }
    }
    required(&s.volume, "volume", at, errors);
}

fn fibre_channel(s: &FCVolumeSource, at: &Path, errors: &mut Errors) {
    let names = s.target_wwns.as_deref().unwrap_or_default();
    let names_at = at.child("targetWWNs");
    match (names.is_empty(), s.wwids.as_ref().is_none_or(Vec::is_empty)) {
        (true, true) => errors.required(&names_at, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => {
            errors.invalid(&names_at, names, "targetWWNs and wwids can not be specified simultaneously");
        }
        _ => {}
    }
    if names.is_empty() {
        return;
    }
    match s.lun {
        None => errors.required(&at.child("lun"), "lun is required if targetWWNs is specified"),
        Some(lun) if !(0..=255).contains(&lun) => errors.invalid(&at.child("lun"), lun, between(0, 255)),
        Some(_) => {}
    }
}

fn azure_disk(s: &AzureDiskVolumeSource, at: &Path, errors: &mut Errors) {
    const MODES: &[&str] = &["None", "ReadOnly", "ReadWrite"];
    const KINDS: &[&str] = &["Dedicated", "Managed", "Shared"];
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    required(&s.disk_name, "diskName", at, errors);
    required(&s.disk_uri, "diskURI", at, errors);
    for (field, value, known) in [("cachingMode", &s.caching_mode, MODES), ("kind", &s.kind, KINDS)] {
        one_of(value.as_deref(), known, &at.child(field), errors);
    }
    let uri_at = at.child("diskURI");
    match s.kind.as_deref() {
        Some("Managed") if !s.disk_uri.starts_with("/subscriptions/") => {
            errors.not_supported(&uri_at, &s.disk_uri, &[MANAGED]);
        }
        Some(kind) if kind != "Managed" && !s.disk_uri.starts_with("https://") => {
            errors.not_supported(&uri_at, &s.disk_uri, &[BLOB]);
        }
        _ => {}
    }
}
