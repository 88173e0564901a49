//! PersistentVolume: storage that there is.

use api::{
    quantity::Quantity,
    volume_binding::{BETA_CLASS, annotation},
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};

use crate::builtin::{
    persistent_volume_claim::{access_modes, beta_class_warning},
    pod,
    prelude::*,
};

mod sources;

/// The annotation that held mount options before there was a field.
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

/// The volume with everything taken away that is not its source.
fn source(spec: &PersistentVolumeSpec) -> PersistentVolumeSpec {
    PersistentVolumeSpec {
        access_modes: None,
        capacity: None,
        claim_ref: None,
        mount_options: None,
        node_affinity: None,
        persistent_volume_reclaim_policy: None,
        storage_class_name: None,
        volume_attributes_class_name: None,
        volume_mode: None,
        ..spec.clone()
    }
}

/// Whether a path leads to the root of its node.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

impl Strategy for PersistentVolume {
    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set_text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        set(&mut spec.volume_mode, "Filesystem");
        canonical_list(&mut spec.capacity);
        absent_when_zero(&mut spec.access_modes);
        absent_when_zero(&mut spec.storage_class_name);
        if let Some(path) = &mut spec.host_path {
            set(&mut path.type_, "");
        }
        if let Some(target) = &mut spec.iscsi {
            set_text(&mut target.iscsi_interface, "default");
        }
        if let Some(image) = &mut spec.rbd {
            set_text(&mut image.pool, "rbd");
            set_text(&mut image.user, "admin");
            set_text(&mut image.keyring, "/etc/ceph/keyring");
        }
        if let Some(disk) = &mut spec.azure_disk {
            set(&mut disk.caching_mode, "ReadWrite");
            set(&mut disk.kind, "Shared");
            set(&mut disk.fs_type, "ext4");
            set(&mut disk.read_only, false);
        }
        if let Some(volume) = &mut spec.scale_io {
            set_text(&mut volume.storage_mode, "ThinProvisioned");
            set_text(&mut volume.fs_type, "xfs");
        }
        set_text(&mut self.status.get_or_insert_default().phase, "Pending");
    }

    fn prepare_create(volume: &mut Draft<Self>) {
        // Since when it is Pending was written by the server.
        let since = volume.status.take().and_then(|status| status.last_phase_transition_time);
        let status = volume.status.get_or_insert_default();
        status.last_phase_transition_time = since;
        set_text(&mut status.phase, "Pending");
    }

    fn validate(&self, errors: &mut Errors) {
        const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
        const POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return };
        let modes = spec.access_modes.as_deref().unwrap_or_default();
        let modes_at = at.child("accessModes");
        if modes.is_empty() {
            errors.required(&modes_at, "");
        }
        for mode in modes.iter().filter(|m| !MODES.contains(&m.as_str())) {
            errors.not_supported(&modes_at, mode, MODES);
        }
        let others = modes.iter().any(|m| m != "ReadWriteOncePod" && MODES.contains(&m.as_str()));
        if others && modes.iter().any(|m| m == "ReadWriteOncePod") {
            let why = "may not use ReadWriteOncePod with other access modes";
            errors.forbidden(&modes_at, why);
        }
        let capacity_at = at.child("capacity");
        let capacity = spec.capacity.as_ref();
        if capacity.is_none_or(std::collections::BTreeMap::is_empty) {
            errors.required(&capacity_at, "");
        }
        if capacity.is_none_or(|c| c.len() != 1 || !c.contains_key("storage")) {
            errors.not_supported(&capacity_at, capacity, &["storage"]);
        }
        for (name, wire) in capacity.into_iter().flatten() {
            let size = Quantity::of(wire);
            if size <= Quantity::ZERO {
                errors.invalid(&capacity_at.key(name), size.to_string(), "must be greater than zero");
            }
        }
        one_of(
            spec.persistent_volume_reclaim_policy.as_deref(),
            POLICIES,
            &at.child("persistentVolumeReclaimPolicy"),
            errors,
        );
        if let Some(affinity) = &spec.node_affinity {
            let at = at.child("nodeAffinity.required");
            match &affinity.required {
                Some(required) => pod::validation::node_selector(required, &at, errors),
                None => errors.required(&at, "must specify required node constraints"),
            }
        }
        let name = self.metadata.name.as_deref().unwrap_or_default();
        sources::validate(spec, &source(spec), name, &at, errors);
        let recycled = spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle");
        if recycled && spec.host_path.as_ref().is_some_and(|host| is_root(&host.path)) {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            errors.forbidden(&at.child("persistentVolumeReclaimPolicy"), why);
        }
        if let Some(class) = spec.storage_class_name.as_ref().filter(|class| !class.is_empty()) {
            each(errors, &at.child("storageClassName"), class, dns_subdomain(class));
        }
        one_of(spec.volume_mode.as_deref(), &["Block", "Filesystem"], &at.child("volumeMode"), errors);
        if let Some(class) = &spec.volume_attributes_class_name {
            let class_at = at.child("volumeAttributesClassName");
            if class.is_empty() {
                errors.required(&class_at, "an empty string is disallowed");
            } else {
                each(errors, &class_at, class, dns_subdomain(class));
            }
            if spec.csi.is_none() {
                let why = "has to be specified when using volumeAttributesClassName";
                errors.required(&at.child("csi"), why);
            }
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            return;
        }
        self.validate(errors);
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        if source(new) != source(old) {
            let why = "spec.persistentvolumesource is immutable after creation";
            errors.forbidden(&Path::new("spec.persistentvolumesource"), why);
        }
        immutable(&new.volume_mode, &old.volume_mode, &Path::new("spec.volumeMode"), errors);
        if old.node_affinity.is_some() {
            immutable(&new.node_affinity, &old.node_affinity, &Path::new("spec.nodeAffinity"), errors);
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut said = Vec::new();
        let at = Path::new("spec");
        said.extend(annotation(&self.metadata, BETA_CLASS).map(|_| beta_class_warning()));
        if annotation(&self.metadata, MOUNT_OPTIONS).is_some() {
            let at = Path::new("metadata.annotations").key(MOUNT_OPTIONS);
            said.push(format!("{at}: deprecated since v1.31; use \"mountOptions\" attribute instead"));
        }
        let Some(spec) = &self.spec else { return said };
        if spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle") {
            let at = at.child("persistentVolumeReclaimPolicy");
            said.push(format!("{at}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."));
        }
        let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
        for (i, term) in required.iter().flat_map(|all| &all.node_selector_terms).enumerate() {
            let at = at.child("nodeAffinity.required.nodeSelectorTerms").index(i);
            pod::warnings::term(term, false, &at, &mut said);
        }
        for (field, is_set, since, gone) in [
            ("cephfs", spec.cephfs.is_some(), "v1.28", "v1.31"),
            ("photonPersistentDisk", spec.photon_persistent_disk.is_some(), "v1.11", "v1.16"),
            ("scaleIO", spec.scale_io.is_some(), "v1.16", "v1.22"),
            ("storageOS", spec.storageos.is_some(), "v1.22", "v1.25"),
            ("glusterfs", spec.glusterfs.is_some(), "v1.25", "v1.26"),
            ("rbd", spec.rbd.is_some(), "v1.28", "v1.31"),
        ] {
            if is_set {
                said.push(format!("{}: deprecated in {since}, non-functional in {gone}+", at.child(field)));
            }
        }
        said
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::field("Capacity", "What the volume holds.", &["spec", "capacity", "storage"]),
            Column::text("Access Modes", "How the volume may be mounted.", |volume| {
                access_modes(volume.list_at(&["spec", "accessModes"])).into()
            }),
            Column::field(
                "Reclaim Policy",
                "What becomes of the volume when its claim goes.",
                &["spec", "persistentVolumeReclaimPolicy"],
            ),
            Column::text("Status", "Whether the volume is taken.", cells::phase),
            Column::text("Claim", "The claim that has the volume.", |volume| {
                match volume.str_at(&["spec", "claimRef", "name"]) {
                    "" => "".into(),
                    name => format!("{}/{name}", volume.str_at(&["spec", "claimRef", "namespace"])).into(),
                }
            }),
            Column::field("StorageClass", "The volume's class.", &["spec", "storageClassName"]),
            Column::text("VolumeAttributesClass", "The class of the volume's attributes.", |volume| {
                text_or(volume, &["spec", "volumeAttributesClassName"], "<unset>")
            }),
            Column::field("Reason", "Why the volume is in its state.", &["status", "reason"]),
            Column::age(),
            cells::volume_mode_column(),
        ]
    }
}

#[cfg(test)]
mod tests;
