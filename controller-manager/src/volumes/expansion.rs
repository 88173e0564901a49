//! Claims that were made larger. Folders on nodes' disks have no size of their own, so that growing is a matter of
//! saying so: first in the volume, then in the claim. What other volumes need is done by who made them. Upstream:
//! `pkg/controller/volume/expand`, and external-resizer's words for what it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use api::volume_binding::{claim_ref, is_bound_to, size_of_claim, size_of_volume};
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition, PersistentVolumeClaimStatus,
};
use machinery::queue::Queue;

use super::{provision, status, tell, volume_name};
use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp, api_time};

const RESIZING: &str = "Resizing";
const STORAGE: &str = "storage";

/// The controller.
pub struct Expansion {
    caches: Caches,
}

/// A bound claim that wants more than it has, and its volume.
pub struct Snapshot {
    claim: Arc<PersistentVolumeClaim>,
    volume: Arc<PersistentVolume>,
}

impl Expansion {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.claims.on_change(move |change| {
            if let Some(claim) = change.new.as_ref().filter(|claim| wants_more(claim)) {
                keys.add(Key::of(&claim.metadata));
            }
        });
        let keys = queue.clone();
        caches.volumes.on_change(move |change| {
            if let Some(claim) =
                change.new.as_deref().filter(|volume| provision::is_ours(volume)).and_then(claim_ref)
            {
                let (namespace, name) = (claim.namespace.as_deref(), claim.name.as_deref());
                keys.add(Key::new(namespace.unwrap_or_default(), name.unwrap_or_default()));
            }
        });
        Self { caches: caches.clone() }
    }
}

/// Whether a bound claim asks for more than it has.
fn wants_more(claim: &PersistentVolumeClaim) -> bool {
    let Some(status) = &claim.status else { return false };
    status.phase.as_deref() == Some("Bound") && size_of_claim(claim) > granted(status)
}

fn granted(status: &PersistentVolumeClaimStatus) -> Quantity {
    status.capacity.as_ref().and_then(|all| all.get(STORAGE)).map(Quantity::of).unwrap_or_default()
}

impl Controller for Expansion {
    type Snapshot = Snapshot;

    const NAME: &'static str = "volume_expand";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<PersistentVolume>(), Kind::of::<PersistentVolumeClaim>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let claim =
            self.caches.claims.get(Some(&key.namespace), &key.name).filter(|claim| wants_more(claim))?;
        let volume = self.caches.volumes.get(None, volume_name(&claim)?)?;
        let is_its =
            is_bound_to(&volume, &claim) && claim_ref(&volume).is_some_and(|named| named.uid.is_some());
        is_its.then_some(Snapshot { claim, volume })
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        Plan { actions: plan(snapshot, now), ..Plan::default() }
    }
}

/// The next step: each can be seen in the objects, so that any of them may be the last before a crash.
fn plan(Snapshot { claim, volume }: &Snapshot, now: Timestamp) -> Vec<Action> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if !provision::is_ours(volume) {
        // Whose the volume is looks after it; for what nobody can expand, this is all that is ever said.
        let nobody = volume.spec.as_ref().is_some_and(|spec| spec.csi.is_none());
        let message = "waiting for an external controller to expand this PVC";
        return vec![tell(&**claim, nobody, "ExternalExpanding", message)];
    }
    let wanted = size_of_claim(claim);
    let present = claim.status.clone().unwrap_or_default();
    let conditions = present.conditions.clone().unwrap_or_default();
    let sizes = |of: Option<BTreeMap<_, _>>| {
        let mut sizes = of.unwrap_or_default();
        sizes.insert(STORAGE.to_owned(), wanted.wire());
        Some(sizes)
    };
    let begun = conditions.iter().any(|condition| condition.type_ == RESIZING);
    if !begun {
        let mut growing = present.clone();
        growing.conditions.get_or_insert_default().push(PersistentVolumeClaimCondition {
            type_: RESIZING.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(api_time(now)),
            ..PersistentVolumeClaimCondition::default()
        });
        growing.allocated_resources = sizes(present.allocated_resources.clone());
        let in_progress = (STORAGE.to_owned(), "ControllerResizeInProgress".to_owned());
        growing.allocated_resource_statuses.get_or_insert_default().extend([in_progress]);
        let message = format!("External resizer is resizing volume {name}");
        return status(&**claim, &claim.status, &growing)
            .into_iter()
            .chain([tell(&**claim, false, RESIZING, message)])
            .collect();
    }
    if size_of_volume(volume) < wanted {
        let mut grown = (**volume).clone();
        let spec = grown.spec.get_or_insert_default();
        spec.capacity = sizes(spec.capacity.take());
        return Action::change(&**volume, &grown, None).into_iter().collect();
    }
    let mut grown = present.clone();
    grown.capacity = sizes(present.capacity.clone());
    grown.allocated_resources = sizes(present.allocated_resources);
    grown.allocated_resource_statuses = None;
    grown.conditions = Some(conditions.into_iter().filter(|condition| condition.type_ != RESIZING).collect());
    grown.conditions = grown.conditions.filter(|conditions: &Vec<_>| !conditions.is_empty());
    status(&**claim, &claim.status, &grown)
        .into_iter()
        .chain([tell(&**claim, false, "VolumeResizeSuccessful", "Resize volume succeeded")])
        .collect()
}

#[cfg(test)]
mod tests;
