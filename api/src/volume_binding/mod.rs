//! Which volume a claim may be bound to, and how both say so. The controller that binds claims and the scheduler, which
//! chooses volumes for claims that wait for their first consumer, rest on the same rules. Upstream: component-helpers'
//! `storage/volume`.

mod index;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, TopologySelectorTerm,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{pod::placement, quantity::Quantity, validation};

pub use index::{Seeker, VolumeIndex};

/// The annotation of a claim or volume whose binding was the controller's choice and not a user's.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The annotation of a claim whose binding is complete: from now on it has this volume or is lost.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The annotation of a volume that a provisioner made, with the provisioner's name.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The annotation of a claim that a provisioner is to serve, with the provisioner's name.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The annotation by which the scheduler says for which node a claim is to be provisioned.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation that named the class before there was a field, and still counts for more.
pub const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// The annotation of the class that claims get when they name none.
pub const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// The provisioner of volumes on the nodes' own disks, which is part of the controller manager.
pub const LOCAL_PROVISIONER: &str = "skiff.local/volumes";
/// The annotation of a node with the folder in which the kubelet lets such volumes lie.
pub const LOCAL_VOLUMES: &str = "skiff.local/volumes";

/// Whether there is such an annotation.
pub fn has_annotation(meta: &ObjectMeta, name: &str) -> bool {
    annotation(meta, name).is_some()
}

/// The value of an annotation.
pub fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The class that a claim names; `None` when it leaves that to the cluster, an empty text when it wants none.
pub fn class_asked(claim: &PersistentVolumeClaim) -> Option<&str> {
    annotation(&claim.metadata, BETA_CLASS)
        .or_else(|| claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()))
}

/// The class of a claim, empty when it has none.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    class_asked(claim).unwrap_or_default()
}

/// The class of a volume, empty when it has none.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    annotation(&volume.metadata, BETA_CLASS)
        .or_else(|| volume.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()))
        .unwrap_or_default()
}

/// Whether volumes of a class may be made on a node with these labels.
pub fn is_allowed(class: &StorageClass, labels: &BTreeMap<String, String>) -> bool {
    let allowed = class.allowed_topologies.as_deref().unwrap_or_default();
    let lies_in = |term: &TopologySelectorTerm| {
        let mut wanted = term.match_label_expressions.iter().flatten();
        wanted.all(|wanted| labels.get(&wanted.key).is_some_and(|value| wanted.values.contains(value)))
    };
    allowed.is_empty() || allowed.iter().any(lies_in)
}

/// Whether claims of a class are bound only once a pod that uses them has been given a node.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// What a claim asks for.
pub fn size_of_claim(claim: &PersistentVolumeClaim) -> Quantity {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| requests.get("storage")).map(Quantity::of).unwrap_or_default()
}

/// What a volume holds.
pub fn size_of_volume(volume: &PersistentVolume) -> Quantity {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get("storage"));
    capacity.map(Quantity::of).unwrap_or_default()
}

/// Whether a volume is kept for this very claim, or bound to it already.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(wanted) = claim_ref(volume) else { return false };
    let uid = wanted.uid.as_deref().unwrap_or_default();
    wanted.name == claim.metadata.name
        && wanted.namespace == claim.metadata.namespace
        && (uid.is_empty() || claim.metadata.uid.as_deref() == Some(uid))
}

/// The claim that a volume names.
pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether a volume can be reached from a node with these labels.
pub fn is_reachable(volume: &PersistentVolume, labels: &BTreeMap<String, String>) -> bool {
    volume.spec.as_ref().is_none_or(|spec| reaches(spec, labels))
}

/// Whether a volume's spec lets it be used on a node with these labels. No node has a name here.
pub fn reaches(spec: &PersistentVolumeSpec, labels: &BTreeMap<String, String>) -> bool {
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|required| placement::any_term_matches(&required.node_selector_terms, "", labels))
}

/// Whether anybody may have the volume.
pub fn is_free(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Available") && volume.metadata.deletion_timestamp.is_none() && claim_ref(volume).is_none()
}

/// Whether a free volume is one that the claim could be given.
pub fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    is_free(volume) && mismatch(volume, claim).is_none() && fits_labels(volume, claim)
}

fn fits_labels(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_none_or(|wanted| validation::selects(wanted, volume.metadata.labels.as_ref()))
}

/// The volume as it is once bound to the claim: the first of the writes that bind both.
pub fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut bound = volume.clone();
    if !is_bound_to(volume, claim) {
        let annotations = bound.metadata.annotations.get_or_insert_default();
        annotations.entry(BOUND_BY_CONTROLLER.to_owned()).or_insert_with(|| "yes".to_owned());
    }
    if claim_ref(volume).is_none_or(|named| named.uid != claim.metadata.uid) || !is_bound_to(volume, claim) {
        bound.spec.get_or_insert_default().claim_ref = Some(reference(claim));
    }
    bound
}

/// How a volume names its claim.
pub fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// Why a volume that a claim names is not for it, in upstream's words.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    let (wanted, offered) = (Shelf::of_claim(claim), Shelf::of_volume(volume));
    let why = if volume.metadata.deletion_timestamp.is_some() {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        return Some(format!("the volume is marked for deletion {name:?}"));
    } else if size_of_volume(volume).value() < size_of_claim(claim).value() {
        "requested PV is too small"
    } else if offered.class != wanted.class {
        "storageClassName does not match"
    } else if offered.attributes != wanted.attributes {
        "volumeAttributesClassName does not match"
    } else if offered.mode != wanted.mode {
        "incompatible volumeMode"
    } else if !offered.modes.has_all(wanted.modes) {
        "incompatible accessMode"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// Whether a volume is a file system where the claim wants a device, or the other way round.
pub fn modes_differ(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    Shelf::of_claim(claim).mode != Shelf::of_volume(volume).mode
}

/// A set of access modes; a mode that nobody knows is in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct AccessModes(u8);

impl AccessModes {
    fn of(modes: Option<&Vec<String>>) -> Self {
        let bit = |mode: &String| match mode.as_str() {
            "ReadWriteOnce" => 1,
            "ReadOnlyMany" => 2,
            "ReadWriteMany" => 4,
            "ReadWriteOncePod" => 8,
            _ => 0,
        };
        Self(modes.into_iter().flatten().map(bit).fold(0, |all, bit| all | bit))
    }

    fn has_all(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    fn len(self) -> u32 {
        self.0.count_ones()
    }
}

/// All that a claim and its volume must have in common, but for size and labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Shelf {
    class: String,
    attributes: String,
    mode: String,
    modes: AccessModes,
}

impl Shelf {
    fn of_claim(claim: &PersistentVolumeClaim) -> Self {
        let spec = claim.spec.as_ref();
        Self {
            class: class_of_claim(claim).to_owned(),
            attributes: spec.and_then(|spec| spec.volume_attributes_class_name.clone()).unwrap_or_default(),
            mode: mode(spec.and_then(|spec| spec.volume_mode.as_ref())),
            modes: AccessModes::of(spec.and_then(|spec| spec.access_modes.as_ref())),
        }
    }

    fn of_volume(volume: &PersistentVolume) -> Self {
        let spec = volume.spec.as_ref();
        Self {
            class: class_of_volume(volume).to_owned(),
            attributes: spec.and_then(|spec| spec.volume_attributes_class_name.clone()).unwrap_or_default(),
            mode: mode(spec.and_then(|spec| spec.volume_mode.as_ref())),
            modes: AccessModes::of(spec.and_then(|spec| spec.access_modes.as_ref())),
        }
    }

    /// Whether volumes of this shelf are what the claim asks for, or more.
    fn suits(&self, wanted: &Self) -> bool {
        self.class == wanted.class && self.is_of_the_sort(wanted)
    }

    fn is_of_the_sort(&self, wanted: &Self) -> bool {
        self.attributes == wanted.attributes && self.mode == wanted.mode && self.modes.has_all(wanted.modes)
    }
}

fn mode(mode: Option<&String>) -> String {
    mode.cloned().unwrap_or_else(|| "Filesystem".to_owned())
}

#[cfg(test)]
mod tests;
