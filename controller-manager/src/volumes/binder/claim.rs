//! What becomes of a claim. Upstream: `syncClaim` and what it calls.

use std::sync::Arc;

use api::volume_binding::{
    self, BIND_COMPLETED, BOUND_BY_CONTROLLER, LOCAL_PROVISIONER, SELECTED_NODE, STORAGE_PROVISIONER,
    annotation, claim_ref, class_of_claim, has_annotation, is_bound_to, mismatch, waits_for_consumer,
};
use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeStatus,
};
use k8s_openapi::api::storage::v1::StorageClass;

use super::super::provision::{self, Refusal};
use super::super::{RESYNC, annotate, status, strip, tell, volume_name};
use crate::frame::{Action, Kind, Plan, Told, reference};
use crate::kit::owners;

/// The name of [`STORAGE_PROVISIONER`] before it was final; provisioners still look for it.
const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";

/// A claim and what its fate depends on.
pub struct View {
    pub claim: Arc<PersistentVolumeClaim>,
    /// The volume that it names, or else one that was found for it.
    pub volume: Option<Arc<PersistentVolume>>,
    /// The class that it names.
    pub class: Option<Arc<StorageClass>>,
    /// The class for it when it names none.
    pub default_class: Option<String>,
    /// The pods without a node that use it.
    pub consumers: Vec<String>,
    /// Where a volume can be made for it.
    pub nodes: Vec<Arc<Node>>,
    /// Whether all volumes are known that the claim can name.
    pub is_certain: bool,
}

impl View {
    /// A claim alone.
    pub fn of(claim: &Arc<PersistentVolumeClaim>) -> Self {
        View {
            claim: Arc::clone(claim),
            volume: None,
            class: None,
            default_class: None,
            consumers: Vec::new(),
            nodes: Vec::new(),
            is_certain: false,
        }
    }
}

/// Whether the claim was bound once: then it has its volume or is lost.
pub fn is_complete(claim: &PersistentVolumeClaim) -> bool {
    has_annotation(&claim.metadata, BIND_COMPLETED)
}

/// What is to be done.
enum Verdict<'a> {
    /// Bind to this volume, or see the binding through.
    Bind(&'a PersistentVolume),
    /// The volume is gone, or another's.
    Lost(&'static str, &'static str),
    /// Nothing but waiting; perhaps with words (a warning or not, reason, message).
    Wait(Option<(bool, &'static str, String)>),
    /// Name the default class.
    Default(&'a str),
    /// Have a volume made.
    Provision(&'a StorageClass),
}

/// What to do for a claim.
pub fn plan(view: &View) -> Plan {
    let claim = &*view.claim;
    let actions = match judge(view) {
        Verdict::Bind(volume) => bind(volume, claim),
        Verdict::Lost(..) if view.is_certain || phase(claim) == "Lost" => Vec::new(),
        // The volume may be so new that it is not known here: lost is what is not there for sure.
        Verdict::Lost(..) => {
            vec![Action::CatchUp { kind: Kind::of::<PersistentVolume>(), namespace: String::new() }]
        }
        Verdict::Default(class) => {
            let mut named = claim.clone();
            named.spec.get_or_insert_default().storage_class_name = Some(class.to_owned());
            Action::change(claim, &named, None).into_iter().collect()
        }
        Verdict::Wait(told) => {
            let told = told.map(|(warning, reason, message)| tell(claim, warning, reason, message));
            let actions = without_volume(claim, "Pending").into_iter().chain(told).collect();
            return Plan { actions, requeue_after: Some(RESYNC) };
        }
        Verdict::Provision(class) => {
            return Plan { actions: provision(view, class), requeue_after: Some(RESYNC) };
        }
    };
    Plan { actions, requeue_after: None }
}

/// Goes on with what `plan` has begun.
pub fn report(view: &View) -> Vec<Action> {
    match judge(view) {
        Verdict::Bind(volume) => bind(volume, &view.claim),
        Verdict::Lost(reason, message) => {
            let lost = without_volume(&view.claim, "Lost");
            lost.into_iter().flat_map(|lost| [lost, tell(&*view.claim, true, reason, message)]).collect()
        }
        _ => Vec::new(),
    }
}

fn judge(view: &View) -> Verdict<'_> {
    let claim = &*view.claim;
    match (is_complete(claim), volume_name(claim), view.volume.as_deref()) {
        (false, Some(_), None) => Verdict::Wait(None),
        (false, Some(name), Some(volume)) => judge_asked(claim, name, volume),
        (false, None, Some(volume)) => Verdict::Bind(volume),
        (false, None, None) => judge_unbound(view),
        (true, None, _) => Verdict::Lost(
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        ),
        (true, Some(_), None) => Verdict::Lost(
            "ClaimLost",
            "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        ),
        (true, Some(_), Some(volume)) => match claim_ref(volume) {
            Some(named) if named.uid != claim.metadata.uid => Verdict::Lost(
                "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly",
            ),
            _ => Verdict::Bind(volume),
        },
    }
}

/// A claim whose user has chosen a volume.
fn judge_asked<'a>(claim: &PersistentVolumeClaim, name: &str, volume: &'a PersistentVolume) -> Verdict<'a> {
    if claim_ref(volume).is_none() {
        return match mismatch(volume, claim) {
            None => Verdict::Bind(volume),
            Some(why) => {
                let message = format!("Cannot bind to requested volume {name:?}: {why}");
                Verdict::Wait(Some((true, "VolumeMismatch", message)))
            }
        };
    }
    if is_bound_to(volume, claim) {
        return Verdict::Bind(volume);
    }
    let message = format!("volume {name:?} already bound to a different claim.");
    Verdict::Wait(Some((true, "FailedBinding", message)))
}

/// A claim for which there is no volume.
fn judge_unbound(view: &View) -> Verdict<'_> {
    let claim = &*view.claim;
    if let Some(class) = &view.default_class {
        return Verdict::Default(class);
    }
    let named = class_of_claim(claim);
    match &view.class {
        Some(class) if waits_for_consumer(class) && !has_annotation(&claim.metadata, SELECTED_NODE) => {
            Verdict::Wait(Some(awaited(&view.consumers)))
        }
        Some(class) => Verdict::Provision(class),
        None if named.is_empty() => {
            let message = "no persistent volumes available for this claim and no storage class is set";
            Verdict::Wait(Some((false, "FailedBinding", message.to_owned())))
        }
        None => {
            let message = format!("storageclass.storage.k8s.io {named:?} not found");
            Verdict::Wait(Some((true, "ProvisioningFailed", message)))
        }
    }
}

fn awaited(consumers: &[String]) -> (bool, &'static str, String) {
    let message = match consumers {
        [] => {
            let message = "waiting for first consumer to be created before binding";
            return (false, "WaitForFirstConsumer", message.to_owned());
        }
        [pod] => format!("waiting for pod {pod} to be scheduled"),
        pods => format!("waiting for pods {} to be scheduled", pods.join(",")),
    };
    (false, "WaitForPodScheduled", message)
}

/// The writes of a binding that can be made now: the volume names the claim; the volume says that it is bound and the
/// claim names the volume; the claim says that it is bound.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Vec<Action> {
    if let Some(action) = Action::change(volume, &volume_binding::bind(volume, claim), None) {
        return vec![action];
    }
    let present = volume.status.clone().unwrap_or_default();
    let bound = match present.phase.as_deref() {
        Some("Bound") => present,
        _ => PersistentVolumeStatus { phase: Some("Bound".to_owned()), message: None, ..present },
    };
    let volume_says = status(volume, &volume.status, &bound);
    let mut named = claim.clone();
    if volume_name(claim) != volume.metadata.name.as_deref() {
        named.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
        if !has_annotation(&claim.metadata, BOUND_BY_CONTROLLER) {
            annotate(&mut named.metadata, BOUND_BY_CONTROLLER, "yes");
        }
    }
    if !is_complete(claim) {
        annotate(&mut named.metadata, BIND_COMPLETED, "yes");
    }
    let names = Action::change(claim, &named, None);
    let claim_says = names.is_none().then(|| status(claim, &claim.status, &has(claim, volume))).flatten();
    volume_says.into_iter().chain(names).chain(claim_says).collect()
}

/// The status of a claim that has a volume. What it holds is taken over once; from then on growing is another's matter.
fn has(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaimStatus {
    let mut status = claim.status.clone().unwrap_or_default();
    let spec = volume.spec.clone().unwrap_or_default();
    status.access_modes = spec.access_modes;
    let was = status.phase.replace("Bound".to_owned());
    if was.as_deref() != Some("Bound") {
        status.capacity = spec.capacity;
    }
    if was.as_deref() == Some("Pending") {
        status.current_volume_attributes_class_name = spec.volume_attributes_class_name;
    }
    status
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Says that a claim has no volume.
fn without_volume(claim: &PersistentVolumeClaim, phase: &str) -> Option<Action> {
    let new = PersistentVolumeClaimStatus {
        phase: Some(phase.to_owned()),
        access_modes: None,
        capacity: None,
        current_volume_attributes_class_name: None,
        ..claim.status.clone().unwrap_or_default()
    };
    status(claim, &claim.status, &new)
}

/// Has a volume made: here, or by whoever goes by the class' provisioner.
fn provision(view: &View, class: &StorageClass) -> Vec<Action> {
    let claim = &*view.claim;
    let provisioner = &*class.provisioner;
    if provisioner.starts_with("kubernetes.io/") {
        let message = format!("no volume plugin matched name: {provisioner}");
        return vec![tell(claim, true, "ProvisioningFailed", message)];
    }
    if annotation(&claim.metadata, STORAGE_PROVISIONER) != Some(provisioner) {
        let mut annotated = claim.clone();
        annotate(&mut annotated.metadata, BETA_STORAGE_PROVISIONER, provisioner);
        annotate(&mut annotated.metadata, STORAGE_PROVISIONER, provisioner);
        return Action::change(claim, &annotated, None).into_iter().collect();
    }
    if provisioner != LOCAL_PROVISIONER {
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
        );
        return vec![tell(claim, false, "ExternalProvisioning", message)];
    }
    match provision::volume(claim, class, &view.nodes) {
        Ok(volume) => {
            let name = owners::name(&volume.metadata);
            let done = format!("Successfully provisioned volume {name} using {provisioner}");
            let failed = format!(
                "Error creating provisioned PV object for claim {}/{}: {{error}}. Deleting the volume.",
                owners::namespace(&claim.metadata),
                owners::name(&claim.metadata)
            );
            let told = Told {
                about: reference(claim),
                done: Some(("ProvisioningSucceeded", done)),
                failed: Some(("ProvisioningFailed", failed)),
            };
            vec![Action::create_many(&volume, 1, Some(told))]
        }
        Err(refusal) => {
            let (why, again) = match refusal {
                Refusal::Asked(why) => (why, None),
                Refusal::Node(why) => {
                    let mut freed = claim.clone();
                    strip(&mut freed.metadata, SELECTED_NODE);
                    (why.into(), Action::change(claim, &freed, None))
                }
            };
            let class = owners::name(&class.metadata);
            let message = format!("Failed to provision volume with StorageClass {class:?}: {why}");
            again.into_iter().chain([tell(claim, true, "ProvisioningFailed", message)]).collect()
        }
    }
}
