//! From a claim of a pod to the PersistentVolume behind it, as far as the pod may have it on this node.
//! Corresponds to upstream's `desired_state_of_world_populator.go`.

use api::{Message, message, volume_binding::reaches};
use k8s_openapi::api::core::v1::{
    self, Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod,
};

use super::source::{Source, Volume};
use super::{Around, VolumeError, Volumes, Wanted};
use crate::pod_spec;

const PROTECTED: &str = "kubernetes.io/pvc-protection";

impl Volumes {
    /// What stands behind a claim, or behind the claim that was made for a volume of this pod alone; none for a
    /// volume that has nothing to do with claims.
    pub(super) async fn claimed(
        &self,
        pod: &Pod,
        volume: &v1::Volume,
        around: Around<'_>,
    ) -> Option<Result<Wanted, VolumeError>> {
        let claim = claim_of(pod, volume)?;
        let found = match self.bound(pod, &claim, volume.ephemeral.is_some()).await {
            Ok((name, spec)) => {
                let source = volume.persistent_volume_claim.as_ref();
                let read_only = source.and_then(|source| source.read_only).unwrap_or(false);
                wanted(pod, volume, &spec, around, Found { name, claim, read_only })
            }
            Err(message) => {
                Err(VolumeError::Process { volume: volume.name.clone(), message: message.into() })
            }
        };
        Some(found)
    }

    /// The PersistentVolume that a claim is bound to.
    async fn bound(
        &self,
        pod: &Pod,
        claim: &str,
        own: bool,
    ) -> Result<(String, PersistentVolumeSpec), Message> {
        let namespace = pod_spec::namespace(pod);
        let wrong = |why: Message| message!("error processing PVC {namespace}/{claim}: {why}");
        let failed = |error| wrong(message!("failed to fetch PVC from API server: {}", said(error)));
        let found = self.objects.claim(namespace, claim).await.map_err(failed)?;
        let found = found.ok_or_else(|| {
            let none = format!("persistentvolumeclaims {claim:?} not found");
            wrong(message!("failed to fetch PVC from API server: {none}"))
        })?;
        let name = bound_to(&found).map_err(|why| wrong(why.into()))?;
        if own && !is_for(pod, &found) {
            let pod = pod_spec::name(pod);
            return Err(message!(
                "PVC {namespace}/{claim} was not created for pod {namespace}/{pod} (pod is not owner)"
            ));
        }
        let failed = |why| wrong(message!("failed to fetch PV {name} from API server: {why}"));
        let volume = self.objects.volume(name).await.map_err(|error| failed(said(error).into()))?;
        let volume = volume.ok_or_else(|| failed(message!("persistentvolumes {name:?} not found")))?;
        let spec = belonging_to(volume, name, &found).map_err(wrong)?;
        Ok((name.to_owned(), spec))
    }
}

/// The claim of a volume: one that it names, or the one that is made for it alone.
pub fn claim_of(pod: &Pod, volume: &v1::Volume) -> Option<String> {
    let own = volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod_spec::name(pod), volume.name));
    volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone()).or(own)
}

/// What the API answered, without words about the way there.
fn said(error: kube::Error) -> String {
    match error {
        kube::Error::Api(answer) => answer.message,
        other => other.to_string(),
    }
}

/// The name of the volume that a claim is bound to, while pods may begin to use it.
fn bound_to(claim: &PersistentVolumeClaim) -> Result<&str, &'static str> {
    let protected = claim.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == PROTECTED);
    if claim.metadata.deletion_timestamp.is_some() && !protected {
        return Err("PVC is being deleted");
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Err("PVC is not bound");
    }
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    name.filter(|name| !name.is_empty()).ok_or("PVC has empty pvc.Spec.VolumeName")
}

/// Whether a claim was made for this pod.
fn is_for(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && owner.uid == pod_spec::uid(pod))
}

/// A volume's spec, if the volume says itself that it belongs to the claim.
fn belonging_to(
    volume: PersistentVolume,
    name: &str,
    claim: &PersistentVolumeClaim,
) -> Result<PersistentVolumeSpec, Message> {
    let spec = volume.spec.unwrap_or_default();
    let theirs = spec.claim_ref.as_ref().map(|claim| claim.uid.as_deref().unwrap_or_default());
    let ours = claim.metadata.uid.as_deref().unwrap_or_default();
    match theirs {
        Some(theirs) if theirs == ours => Ok(spec),
        None => Err(message!(
            "found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        )),
        Some(theirs) => Err(message!(
            "found PV object {name} but its pv.Spec.ClaimRef.UID {theirs} does not point to claim.UID {ours}"
        )),
    }
}

/// What a claim led to.
struct Found {
    /// The PersistentVolume.
    name: String,
    claim: String,
    read_only: bool,
}

/// A PersistentVolume as a volume of the pod, if it can be one on this node.
fn wanted(
    pod: &Pod,
    volume: &v1::Volume,
    spec: &PersistentVolumeSpec,
    around: Around<'_>,
    found: Found,
) -> Result<Wanted, VolumeError> {
    if let Some(message) = wrong_mode(pod, &volume.name, spec.volume_mode.as_deref().unwrap_or("Filesystem"))
    {
        return Err(VolumeError::Process { volume: volume.name.clone(), message });
    }
    let Found { name, claim, read_only } = found;
    let refused = |step, message| VolumeError::Mount {
        step,
        volume: name.clone(),
        message,
        names: vec![volume.name.clone()],
    };
    let labels = |node: &Node| node.metadata.labels.clone().unwrap_or_default();
    if around.node.is_some_and(|node| !reaches(spec, &labels(node))) {
        return Err(refused("NodeAffinity check failed", "no matching NodeSelectorTerms".to_owned()));
    }
    let source = Source::of_persistent(spec, read_only)
        .map_err(|why| refused("NewMounter initialization failed", why.into()))?;
    let alone = spec.access_modes.as_deref() == Some(&["ReadWriteOncePod".to_owned()]);
    let claimed = Volume { name, claim: Some(claim), source };
    Ok(Wanted { name: volume.name.clone(), volume: claimed, read_only, alone })
}

/// Why a volume of this mode is not for those containers that name it.
fn wrong_mode(pod: &Pod, volume: &str, mode: &str) -> Option<String> {
    let spec = pod_spec::spec(pod);
    let mut containers = pod_spec::init_containers(pod).iter().chain(&spec.containers);
    let is_device = containers
        .any(|container| container.volume_devices.iter().flatten().any(|device| device.name == volume));
    match (mode, is_device) {
        ("Filesystem", false) => None,
        ("Block", true) => {
            Some(format!("volume {volume} has volumeMode Block, which this node does not offer"))
        }
        (_, is_device) => {
            let list = if is_device { "volumeDevices" } else { "volumeMounts" };
            Some(format!("volume {volume} has volumeMode {mode}, but is specified in {list}"))
        }
    }
}

#[cfg(test)]
mod tests;
