//! Volumes made to order: folders on the nodes' own disks. The kubelet offers the folder in which they lie (an
//! annotation of its node), and makes a volume's own when a pod mounts it first; so a volume is there as soon as its
//! object is. Counterpart of upstream's in-tree provisioners, with their words, and of local-path-provisioner.

use api::{Message, message};
use std::collections::BTreeMap;
use std::sync::Arc;

use api::volume_binding::{
    self, PROVISIONED_BY, SELECTED_NODE, annotation, class_of_claim, is_allowed, is_reachable, size_of_claim,
};
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{annotate, labels_of};
use crate::kit::owners;

/// What holds a volume back until its data are gone.
pub const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
/// The access modes of a folder on one node's disk.
const MODES: [&str; 2] = ["ReadWriteOnce", "ReadWriteOncePod"];

/// Why there is no volume.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// The node is not one for it: the scheduler is to choose again.
    Node(String),
    /// What is asked for cannot be had.
    Asked(Message),
}

/// Whether the volume was made here.
pub fn is_ours(volume: &PersistentVolume) -> bool {
    annotation(&volume.metadata, PROVISIONED_BY) == Some(volume_binding::LOCAL_PROVISIONER)
}

/// The volume that a claim is given, on the node that the scheduler selected or else on one of all.
///
/// # Errors
/// When it cannot be made.
pub fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    nodes: &[Arc<Node>],
) -> Result<PersistentVolume, Refusal> {
    check(claim, class).map_err(Refusal::Asked)?;
    let (node, folder) = node(claim, class, nodes)?;
    let label = "kubernetes.io/hostname";
    let hostname = labels_of(&node.metadata).get(label).cloned();
    let here = NodeSelectorRequirement {
        key: label.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![hostname.unwrap_or_else(|| owners::name(&node.metadata).to_owned())]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![here]), match_fields: None };
    let name = format!("pvc-{}", owners::uid(&claim.metadata));
    let asked = claim.spec.clone().unwrap_or_default();
    let mut metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    annotate(&mut metadata, PROVISIONED_BY, volume_binding::LOCAL_PROVISIONER);
    annotate(&mut metadata, volume_binding::BOUND_BY_CONTROLLER, "yes");
    if class.reclaim_policy.as_deref() == Some("Delete") {
        metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    }
    let spec = PersistentVolumeSpec {
        capacity: Some(BTreeMap::from([("storage".to_owned(), size_of_claim(claim).wire())])),
        access_modes: asked.access_modes,
        volume_mode: asked.volume_mode,
        persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
        storage_class_name: Some(class_of_claim(claim).to_owned()),
        claim_ref: Some(volume_binding::reference(claim)),
        local: Some(LocalVolumeSource {
            path: format!("{}/{name}", folder.trim_end_matches('/')),
            fs_type: None,
        }),
        node_affinity: Some(VolumeNodeAffinity {
            required: Some(NodeSelector { node_selector_terms: vec![term] }),
        }),
        ..PersistentVolumeSpec::default()
    };
    Ok(PersistentVolume { metadata, spec: Some(spec), status: None })
}

/// Refuses what a folder cannot be.
fn check(claim: &PersistentVolumeClaim, class: &StorageClass) -> Result<(), Message> {
    let plugin = volume_binding::LOCAL_PROVISIONER;
    let asked = claim.spec.clone().unwrap_or_default();
    let options = class.mount_options.as_deref().unwrap_or_default();
    let modes = asked.access_modes.as_deref().unwrap_or_default();
    if let Some(parameter) = class.parameters.iter().flatten().map(|(name, _)| name).next() {
        return Err(message!("invalid option {parameter:?} for volume plugin {plugin}"));
    }
    if !options.is_empty() {
        return Err(message!(
            "Mount options are not supported by the provisioner but StorageClass {:?} has mount options [{}]",
            owners::name(&class.metadata),
            options.join(" ")
        ));
    }
    if asked.data_source.is_some() || asked.data_source_ref.is_some() {
        return Err(message!(
            "plugin {plugin:?} is not a CSI plugin. Only CSI plugin can provision a claim with a datasource"
        ));
    }
    if asked.volume_mode.as_deref() == Some("Block") {
        return Err(message!("{plugin} does not support block volume provisioning"));
    }
    if !modes.iter().all(|mode| MODES.contains(&mode.as_str())) {
        let (modes, possible) = (modes.join(" "), MODES.join(" "));
        return Err(message!("invalid AccessModes [{modes}]: only AccessModes [{possible}] are supported"));
    }
    if asked.selector.is_some() {
        return Err("claim.Spec.Selector is not supported for dynamic provisioning".into());
    }
    if asked.volume_attributes_class_name.is_some_and(|name| !name.is_empty()) {
        return Err(message!("{plugin} does not support volume attributes classes"));
    }
    Ok(())
}

/// The node, and the folder that it offers.
fn node<'a>(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    nodes: &'a [Arc<Node>],
) -> Result<(&'a Node, &'a str), Refusal> {
    let folder = |node: &'a Arc<Node>| {
        let folder = annotation(&node.metadata, volume_binding::LOCAL_VOLUMES)?;
        is_allowed(class, labels_of(&node.metadata)).then_some((&**node, folder))
    };
    if let Some(selected) = annotation(&claim.metadata, SELECTED_NODE) {
        let node = nodes.iter().find(|node| owners::name(&node.metadata) == selected);
        let node = node.ok_or_else(|| {
            Refusal::Node(format!("Failed to get target node: node {selected:?} not found"))
        })?;
        return folder(node)
            .ok_or_else(|| Refusal::Node(format!("node {selected:?} offers no folder for volumes")));
    }
    let candidates: Vec<_> = nodes.iter().filter(|node| is_fit(node)).filter_map(folder).collect();
    // Identities are spread evenly, and so are volumes.
    let lot = owners::uid(&claim.metadata)
        .bytes()
        .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    candidates
        .get(lot % candidates.len().max(1))
        .copied()
        .ok_or_else(|| Refusal::Asked("no node offers a folder for volumes".into()))
}

fn is_fit(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && node.spec.as_ref().is_none_or(|spec| spec.unschedulable != Some(true))
}

/// Whether the node with a volume's data is still one of the cluster's.
pub fn has_node(volume: &PersistentVolume, nodes: &[Arc<Node>]) -> bool {
    nodes.iter().any(|node| is_reachable(volume, labels_of(&node.metadata)))
}

#[cfg(test)]
mod tests;
