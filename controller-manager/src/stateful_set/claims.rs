//! The claims of a StatefulSet's pods: made before the pod, found again by name, and kept or deleted with pod and set
//! as `persistentVolumeClaimRetentionPolicy` says: who is to be deleted along is owned by what it goes with.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::identity;
use super::plan::Snapshot;
use crate::frame::{Action, Kind, Told, reference};
use crate::kit::owners;

/// Makes the claims that a pod lacks.
pub(super) fn create(snapshot: &Snapshot, pod: &str) -> Vec<Action> {
    let spec = snapshot.spec();
    let missing = |template: &&PersistentVolumeClaim| {
        !snapshot.claims.contains_key(&identity::claim_name(template, pod))
    };
    let create = |template: &PersistentVolumeClaim| {
        let claim = claim(&snapshot.set, template, pod);
        let (set, name) = (owners::name(&snapshot.set.metadata), owners::name(&claim.metadata));
        let told = Told {
            about: reference(&*snapshot.set),
            done: Some((
                "SuccessfulCreate",
                format!("create Claim {name} Pod {pod} in StatefulSet {set} success"),
            )),
            failed: Some((
                "FailedCreate",
                format!("create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {{error}}"),
            )),
        };
        Action::create_many(&claim, 1, Some(told))
    };
    spec.volume_claim_templates.iter().flatten().filter(missing).map(create).collect()
}

fn claim(set: &StatefulSet, template: &PersistentVolumeClaim, pod: &str) -> PersistentVolumeClaim {
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone());
    let mut labels = template.metadata.labels.clone().unwrap_or_default();
    labels.extend(selector.unwrap_or_default());
    let policy = Policy::of(set);
    let owner = policy.with_set.then(|| set_reference(set));
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(identity::claim_name(template, pod)),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: template.metadata.annotations.clone(),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// With what a claim goes.
#[derive(Clone, Copy)]
struct Policy {
    with_set: bool,
    with_pod: bool,
}

impl Policy {
    fn of(set: &StatefulSet) -> Self {
        let policy =
            set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
        let deletes = |word: Option<&String>| word.is_some_and(|word| word == "Delete");
        Policy {
            with_set: deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
            with_pod: deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }
}

fn set_reference(set: &StatefulSet) -> OwnerReference {
    owners::controller_ref(&Kind::of::<StatefulSet>(), &set.metadata)
}

/// Lets a pod's claims belong to what they are to go with: to the set, or to a pod that is to be scaled away; but not to
/// two controllers.
pub(super) fn assign(snapshot: &Snapshot, pod: &Pod, condemned: bool) -> Vec<Action> {
    let policy = Policy::of(&snapshot.set);
    let by_set = set_reference(&snapshot.set);
    let by_pod = owners::controller_ref(&Kind::of::<Pod>(), &pod.metadata);
    let mut owners = Vec::new();
    if condemned && policy.with_pod {
        owners.push(by_pod.clone());
    } else if policy.with_set {
        owners.push(by_set.clone());
    }
    let name = owners::name(&pod.metadata);
    let templates = snapshot.spec().volume_claim_templates.iter().flatten();
    let claims = templates.filter_map(|template| snapshot.claims.get(&identity::claim_name(template, name)));
    let change = |claim: &PersistentVolumeClaim| {
        let mut changed = claim.clone();
        let mut references = claim.metadata.owner_references.clone().unwrap_or_default();
        let is_ours = |owner: &OwnerReference| {
            owner.uid == by_set.uid || (owner.kind == by_pod.kind && owner.name == by_pod.name)
        };
        let is_anothers = references.iter().any(|owner| owner.controller == Some(true) && !is_ours(owner));
        let wanted: &[OwnerReference] = if is_anothers { &[] } else { &owners };
        let known = |owner: &OwnerReference| (owner.uid.clone(), owner.controller);
        let had = references.iter().filter(|owner| is_ours(owner)).map(known);
        if had.eq(wanted.iter().map(known)) {
            return None;
        }
        references.retain(|owner| !is_ours(owner));
        references.extend_from_slice(wanted);
        changed.metadata.owner_references = Some(references).filter(|references| !references.is_empty());
        Action::change(claim, &changed, None)
    };
    claims.filter_map(|claim| change(claim)).collect()
}
