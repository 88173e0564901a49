//! What becomes of a volume. Upstream: `syncVolume` and what it calls.

use std::sync::Arc;

use api::volume_binding::{PROVISIONED_BY, claim_ref, has_annotation, modes_differ};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus, Pod};

use super::super::reclaim::{self, Released};
use super::super::{provision, status, tell, volume_name};
use crate::frame::{Action, Kind, Plan, Timestamp};
use crate::kit::owners;

/// A volume and what its fate depends on.
pub struct View {
    pub volume: Arc<PersistentVolume>,
    /// The claim of the name that it names.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// `namespace/name` of pods that use it.
    pub users: Vec<String>,
    /// The pod that removes its data.
    pub pod: Option<Arc<Pod>>,
    /// The image of such pods.
    pub image: Option<Arc<str>>,
    /// Whether a node is left that holds its data.
    pub has_node: bool,
    /// Whether all claims are known that the volume can name.
    pub is_certain: bool,
}

impl View {
    /// A volume alone.
    pub fn of(volume: &Arc<PersistentVolume>) -> Self {
        View {
            volume: Arc::clone(volume),
            claim: None,
            users: Vec::new(),
            pod: None,
            image: None,
            has_node: true,
            is_certain: false,
        }
    }

    /// Whether it has been found that the claim is gone.
    pub fn is_returned(&self) -> bool {
        matches!(phase(&self.volume), "Released" | "Failed")
    }
}

fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// How a volume stands to the claim that it names.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    /// It names none, or waits for one of a name.
    Free,
    /// The claim is about to name it, too.
    HalfBound,
    /// The same, but for a claim that wants another mode.
    Unfit,
    /// Both name each other.
    Bound,
    /// The claim has another volume, and this one was not made for it.
    Superfluous,
    /// The claim is gone, or has another volume than this one, which was made for it.
    Returned,
}

fn standing(View { volume, claim, .. }: &View) -> Standing {
    let Some(named) =
        claim_ref(volume).filter(|named| named.uid.as_deref().is_some_and(|uid| !uid.is_empty()))
    else {
        return Standing::Free;
    };
    let Some(claim) = claim.as_deref().filter(|claim| claim.metadata.uid == named.uid) else {
        return Standing::Returned;
    };
    match volume_name(claim) {
        None if modes_differ(volume, claim) => Standing::Unfit,
        None => Standing::HalfBound,
        name if name == volume.metadata.name.as_deref() => Standing::Bound,
        _ if has_annotation(&volume.metadata, PROVISIONED_BY) && policy(volume) == "Delete" => {
            Standing::Returned
        }
        _ => Standing::Superfluous,
    }
}

fn policy(volume: &PersistentVolume) -> &str {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy.unwrap_or_default()
}

/// What to do for a volume.
pub fn plan(view: &View, now: Timestamp) -> Plan {
    let volume = &*view.volume;
    if let Some(action) = held_for_its_data(volume) {
        return Plan { actions: vec![action], requeue_after: None };
    }
    let actions = match standing(view) {
        Standing::Free => enter(volume, "Available").into_iter().collect(),
        Standing::HalfBound => Vec::new(),
        Standing::Unfit => told_unfit(view),
        Standing::Bound => enter(volume, "Bound").into_iter().collect(),
        Standing::Superfluous => {
            Action::change(volume, &reclaim::unbound(volume), None).into_iter().collect()
        }
        Standing::Returned if view.is_returned() => {
            let released = Released {
                volume,
                users: &view.users,
                pod: view.pod.as_deref(),
                image: view.image.as_deref(),
                has_node: view.has_node,
            };
            return reclaim::plan(&released, now);
        }
        Standing::Returned if view.is_certain => Vec::new(),
        // The claim may be so new that it is not known here: nothing is given back that somebody may have.
        Standing::Returned => {
            let namespace = claim_ref(volume).and_then(|claim| claim.namespace.clone()).unwrap_or_default();
            vec![Action::CatchUp { kind: Kind::of::<PersistentVolumeClaim>(), namespace }]
        }
    };
    Plan { actions, requeue_after: None }
}

/// Says that a volume is released, now that it is certain.
pub fn report(view: &View) -> Vec<Action> {
    let returned = standing(view) == Standing::Returned && !view.is_returned();
    returned.then(|| enter(&view.volume, "Released")).flatten().into_iter().collect()
}

fn enter(volume: &PersistentVolume, new: &str) -> Option<Action> {
    if phase(volume) == new {
        return None;
    }
    let present = volume.status.clone().unwrap_or_default();
    let new = PersistentVolumeStatus { phase: Some(new.to_owned()), message: None, ..present };
    status(volume, &volume.status, &new)
}

/// A volume made here is held back for as long as its data are to go with it.
fn held_for_its_data(volume: &PersistentVolume) -> Option<Action> {
    if !provision::is_ours(volume) {
        return None;
    }
    let mut right = reclaim::without_finalizer(volume);
    if policy(volume) == "Delete" {
        if volume.metadata.deletion_timestamp.is_some()
            || right.metadata.finalizers != volume.metadata.finalizers
        {
            return None;
        }
        right.metadata.finalizers.get_or_insert_default().push(provision::FINALIZER.to_owned());
    }
    Action::change(volume, &right, None)
}

fn told_unfit(View { volume, claim, .. }: &View) -> Vec<Action> {
    let Some(claim) = claim else { return Vec::new() };
    let to_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
        owners::name(&claim.metadata)
    );
    let to_claim = format!(
        "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
        owners::name(&volume.metadata)
    );
    vec![tell(&**volume, true, "VolumeMismatch", to_volume), tell(&**claim, true, "VolumeMismatch", to_claim)]
}
