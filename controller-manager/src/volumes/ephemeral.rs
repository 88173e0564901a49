//! Claims that pods bring along: made for the pod, owned by it, and gone with it. Upstream:
//! `pkg/controller/volume/ephemeral`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::pod::ephemeral_claim;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::queue::Queue;

use super::tell;
use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp, Told, reference};
use crate::kit::{follow, owners, pods};

/// The controller.
pub struct EphemeralClaims {
    caches: Caches,
}

/// A pod, and the claims of the names that its volumes' would have.
pub struct Snapshot {
    pod: Arc<Pod>,
    claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
}

impl EphemeralClaims {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.pods.on_change(move |change| {
            if let Some(pod) = change.new.as_ref().filter(|pod| volumes(pod).next().is_some()) {
                keys.add(Key::of(&pod.metadata));
            }
        });
        follow::dependents(&caches.pods, &caches.claims, queue, |change| change.new.is_none(), |_, _| false);
        Self { caches: caches.clone() }
    }
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter(|volume| volume.ephemeral.is_some())
}

impl Controller for EphemeralClaims {
    type Snapshot = Snapshot;

    const NAME: &'static str = "ephemeral_volume_controller";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<PersistentVolumeClaim>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let pod = self.caches.pods.get(Some(&key.namespace), &key.name)?;
        if pods::is_terminating(&pod) {
            return None;
        }
        let claim = |volume: &Volume| {
            let name = ephemeral_claim(owners::name(&pod.metadata), &volume.name);
            Some((name.clone(), self.caches.claims.get(Some(&key.namespace), &name)?))
        };
        let claims = volumes(&pod).filter_map(claim).collect();
        Some(Snapshot { pod, claims })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        Plan { actions: plan(snapshot), ..Plan::default() }
    }
}

/// Makes the claims that are missing; the first that belongs to somebody else ends it.
fn plan(Snapshot { pod, claims }: &Snapshot) -> Vec<Action> {
    let mut actions = Vec::new();
    for volume in volumes(pod) {
        let name = ephemeral_claim(owners::name(&pod.metadata), &volume.name);
        match claims.get(&name) {
            None => actions.extend(create(pod, volume, &name)),
            Some(claim) if is_of(claim, pod) => {}
            Some(_) => {
                let (namespace, owner) = (owners::namespace(&pod.metadata), owners::name(&pod.metadata));
                let message = format!(
                    "ephemeral volume {}: PVC {namespace}/{name} was not created for pod {namespace}/{owner} (pod is not owner)",
                    volume.name
                );
                actions.push(tell(&**pod, true, "FailedBinding", message));
                return actions;
            }
        }
    }
    actions
}

fn is_of(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    owners::controller_of(&claim.metadata).is_some_and(|owner| owner.uid == owners::uid(&pod.metadata))
}

fn create(pod: &Pod, volume: &Volume, name: &str) -> Option<Action> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
    let wanted = template.metadata.clone().unwrap_or_default();
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: pod.metadata.namespace.clone(),
            annotations: wanted.annotations,
            labels: wanted.labels,
            owner_references: Some(vec![owners::controller_ref(&Kind::of::<Pod>(), &pod.metadata)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    };
    let failed = format!("ephemeral volume {}: create PVC {name}: {{error}}", volume.name);
    let told = Told { about: reference(pod), done: None, failed: Some(("FailedBinding", failed)) };
    Some(Action::create_many(&claim, 1, Some(told)))
}

#[cfg(test)]
mod tests;
