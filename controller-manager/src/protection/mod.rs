//! Claims, volumes and volume attributes classes that are in use outlive their deletion: each carries a
//! finalizer from the start, which goes when it is to be deleted and nobody uses it any more.
//! Upstream: `pkg/controller/volume/{pvcprotection,pvprotection,vacprotection}`.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::cache::Cache;
use machinery::queue::Queue;
use serde::Serialize;

use crate::caches::Caches;
use crate::frame::{Action, Cached, Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{owners, pods};
use crate::volumes::{claim_key, claims_of};

/// A kind that is protected.
pub trait Protected: Cached + kube::Resource<DynamicType = ()> + Serialize {
    /// The controller's name.
    const NAME: &'static str;
    /// What holds the object back.
    const FINALIZER: &'static str;

    /// Its cache.
    fn cache(caches: &Caches) -> &Cache<Self>;
    /// What may use it, and where. Of all these none may be missing when it is let go.
    fn users(&self) -> Vec<(Kind, String)>;
    /// Whether somebody uses it.
    fn is_used(&self, caches: &Caches) -> bool;
    /// Adds the objects that may no longer be used after a change of others.
    fn follow(caches: &Caches, keys: &Queue<Key>);
}

/// The controller of one kind.
pub struct Protection<K> {
    caches: Caches,
    of: std::marker::PhantomData<fn() -> K>,
}

impl<K: Protected> Protection<K> {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        K::cache(caches).on_change(move |change| {
            if let Some(new) = &change.new {
                keys.add(Key::of(Metadata::metadata(&**new)));
            }
        });
        K::follow(caches, queue);
        Self { caches: caches.clone(), of: std::marker::PhantomData }
    }
}

/// An object, and whether it is in use; that is asked only when it is to go.
pub struct Snapshot<K> {
    object: Arc<K>,
    used: bool,
}

impl<K: Protected> Controller for Protection<K> {
    type Snapshot = Snapshot<K>;

    const NAME: &'static str = K::NAME;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<K>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot<K>> {
        let namespace = Some(&*key.namespace).filter(|namespace| !namespace.is_empty());
        let object = K::cache(&self.caches).get(namespace, &key.name)?;
        let used = Metadata::metadata(&*object).deletion_timestamp.is_none() || object.is_used(&self.caches);
        Some(Snapshot { object, used })
    }

    fn plan(&self, snapshot: &Snapshot<K>, _now: Timestamp) -> Plan {
        plan(snapshot)
    }

    fn report(&self, snapshot: &Snapshot<K>, outcome: &Outcome, _now: Timestamp) -> Plan {
        if outcome.failure.is_some() { Plan::default() } else { let_go(snapshot) }
    }
}

/// Puts the finalizer on what is to stay; looks once more for users of what may go.
fn plan<K: Protected>(snapshot: &Snapshot<K>) -> Plan {
    if may_go(snapshot) {
        let catch_up = |(kind, namespace)| Action::CatchUp { kind, namespace };
        return Plan {
            actions: snapshot.object.users().into_iter().map(catch_up).collect(),
            ..Plan::default()
        };
    }
    let meta = Metadata::metadata(&*snapshot.object);
    if meta.deletion_timestamp.is_some() || is_held::<K>(meta) {
        return Plan::default();
    }
    change(&snapshot.object, |finalizers| finalizers.push(K::FINALIZER.to_owned()))
}

/// Takes the finalizer off what nobody uses.
fn let_go<K: Protected>(snapshot: &Snapshot<K>) -> Plan {
    if !may_go(snapshot) {
        return Plan::default();
    }
    change(&snapshot.object, |finalizers| finalizers.retain(|finalizer| finalizer != K::FINALIZER))
}

fn is_held<K: Protected>(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == K::FINALIZER)
}

fn may_go<K: Protected>(snapshot: &Snapshot<K>) -> bool {
    let meta = Metadata::metadata(&*snapshot.object);
    meta.deletion_timestamp.is_some() && is_held::<K>(meta) && !snapshot.used
}

fn change<K: Protected>(object: &Arc<K>, edit: impl FnOnce(&mut Vec<String>)) -> Plan {
    let mut changed = (**object).clone();
    let meta: &mut ObjectMeta = Metadata::metadata_mut(&mut changed);
    let finalizers = meta.finalizers.get_or_insert_default();
    edit(finalizers);
    if finalizers.is_empty() {
        meta.finalizers = None;
    }
    Plan { actions: Action::change(&**object, &changed, None).into_iter().collect(), ..Plan::default() }
}

impl Protected for PersistentVolumeClaim {
    const NAME: &'static str = "pvc_protection_controller";
    const FINALIZER: &'static str = "kubernetes.io/pvc-protection";

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.claims
    }

    fn users(&self) -> Vec<(Kind, String)> {
        vec![(Kind::of::<Pod>(), owners::namespace(&self.metadata).to_owned())]
    }

    fn is_used(&self, caches: &Caches) -> bool {
        let meta = &self.metadata;
        let users = caches.pods_by_claim.get(&claim_key(owners::namespace(meta), owners::name(meta)));
        users.iter().any(|pod| uses(pod, meta))
    }

    fn follow(caches: &Caches, keys: &Queue<Key>) {
        let keys = keys.clone();
        caches.pods.on_change(move |change| {
            if change.new.as_ref().is_none_or(|pod| is_shut_down(pod)) {
                let pod = change.latest();
                let namespace = owners::namespace(&pod.metadata);
                claims_of(pod).for_each(|claim| keys.add(Key::new(namespace, &claim)));
            }
        });
    }
}

/// Whether a pod that names a claim needs it. One without a node can still be kept from starting; and one that is shut
/// down, but waits for the claim that was made for it to go first (deleted in the foreground), would wait for ever.
fn uses(pod: &Pod, claim: &ObjectMeta) -> bool {
    let is_own = || owners::controller_of(claim).is_some_and(|owner| owner.uid == owners::uid(&pod.metadata));
    let waits_for_it = is_shut_down(pod) && is_own();
    !pods::node_name(pod).is_empty() && !waits_for_it
}

/// Whether its node has nothing of a pod any more.
fn is_shut_down(pod: &Pod) -> bool {
    pods::is_terminating(pod) && pod.metadata.deletion_grace_period_seconds == Some(0)
}

impl Protected for PersistentVolume {
    const NAME: &'static str = "pv_protection_controller";
    const FINALIZER: &'static str = "kubernetes.io/pv-protection";

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.volumes
    }

    fn users(&self) -> Vec<(Kind, String)> {
        // Its own phase says whether it is used.
        Vec::new()
    }

    fn is_used(&self, _caches: &Caches) -> bool {
        self.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    }

    fn follow(_caches: &Caches, _keys: &Queue<Key>) {}
}

impl Protected for VolumeAttributesClass {
    const NAME: &'static str = "vac_protection_controller";
    const FINALIZER: &'static str = "kubernetes.io/vac-protection";

    fn cache(caches: &Caches) -> &Cache<Self> {
        &caches.attributes_classes
    }

    fn users(&self) -> Vec<(Kind, String)> {
        vec![
            (Kind::of::<PersistentVolumeClaim>(), String::new()),
            (Kind::of::<PersistentVolume>(), String::new()),
        ]
    }

    fn is_used(&self, caches: &Caches) -> bool {
        let name = owners::name(&self.metadata);
        caches.claims.list().iter().any(|claim| classes_of_claim(claim).any(|class| class == name))
            || caches.volumes.list().iter().any(|volume| class_of_volume(volume) == Some(name))
    }

    fn follow(caches: &Caches, keys: &Queue<Key>) {
        let queue = keys.clone();
        caches.claims.on_change(move |change| {
            for class in change.old.iter().flat_map(|claim| classes_of_claim(claim)) {
                queue.add(Key::cluster(class));
            }
        });
        let queue = keys.clone();
        caches.volumes.on_change(move |change| {
            if let Some(class) = change.old.as_deref().and_then(class_of_volume) {
                queue.add(Key::cluster(class));
            }
        });
    }
}

/// The classes that a claim wants, has, or is being moved to.
fn classes_of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let present = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let next = status.and_then(|status| status.modify_volume_status.as_ref());
    let next = next.and_then(|next| next.target_volume_attributes_class_name.as_deref());
    [wanted, present, next].into_iter().flatten()
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    volume.spec.as_ref()?.volume_attributes_class_name.as_deref()
}
