//! Binds claims and volumes to each other: the volume names the claim, then the claim the volume, then both say Bound.
//! What has been written shows what is to be written next, so any write may be the last before a crash. Upstream:
//! `pkg/controller/volume/persistentvolume`.
//!
//! Keys with a namespace are claims, those without are volumes. A claim looks for a volume through an index; one that
//! found none is remembered, so that a volume which becomes free wakes one claim and not all. (Forgetting it costs a
//! claim the time to its next look.)

mod claim;
mod volume;
mod waiting;

use std::sync::Arc;

use api::volume_binding::{
    DEFAULT_CLASS, LOCAL_PROVISIONER, Seeker, VolumeIndex, annotation, claim_ref, class_asked,
    class_of_claim, is_free, waits_for_consumer,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use machinery::cache::{Change, revision_of};
use machinery::queue::Queue;
use parking_lot::Mutex;

use super::{claim_key, provision, reclaim, volume_name};
use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners, pods};

use waiting::Waiting;

/// What finds the other half of a binding.
#[derive(Default)]
struct Halves {
    volumes: Mutex<VolumeIndex>,
    waiting: Mutex<Waiting>,
}

/// The controller.
pub struct Binder {
    caches: Caches,
    halves: Arc<Halves>,
    image: Option<Arc<str>>,
}

/// One half, and what its fate depends on.
pub enum Snapshot {
    /// A claim.
    Claim(Box<claim::View>),
    /// A volume.
    Volume(Box<volume::View>),
}

impl Binder {
    /// Sees to it that changes reach the queue. The image is that of pods that remove data.
    pub fn new(caches: &Caches, queue: &Queue<Key>, image: Option<Arc<str>>) -> Self {
        let halves = Arc::new(Halves::default());
        follow_volumes(caches, queue, &halves);
        follow_claims(caches, queue, &halves);
        let (keys, claims) = (queue.clone(), caches.claims.clone());
        caches.classes.on_change(move |change| {
            let class = owners::name(&change.latest().metadata);
            let concerned = |claim: &&Arc<PersistentVolumeClaim>| {
                volume_name(claim).is_none() && class_asked(claim).is_none_or(|asked| asked == class)
            };
            claims.list().iter().filter(concerned).for_each(|claim| keys.add(Key::of(&claim.metadata)));
        });
        let keys = queue.clone();
        caches.pods.on_change(move |change| {
            if let Some(volume) = reclaim::volume_of(change.latest()) {
                keys.add(Key::cluster(volume));
            }
        });
        Self { caches: caches.clone(), halves, image }
    }

    fn claim(&self, key: &Key) -> Option<claim::View> {
        let claim = self.caches.claims.get(Some(&key.namespace), &key.name)?;
        let class = self.caches.classes.get(None, class_of_claim(&claim));
        let is_certain = revision_of(&*claim) <= Some(self.caches.volumes.revision());
        let mut view = claim::View { class, is_certain, ..claim::View::of(&claim) };
        if let Some(name) = volume_name(&claim) {
            view.volume = self.caches.volumes.get(None, name);
        } else if !claim::is_complete(&claim) {
            view.volume = self.find(&claim, view.class.as_deref());
            if view.volume.is_none() {
                self.add_ways_out(&mut view);
            }
        }
        Some(view)
    }

    fn find(
        &self,
        claim: &Arc<PersistentVolumeClaim>,
        class: Option<&StorageClass>,
    ) -> Option<Arc<PersistentVolume>> {
        let waits = class.is_some_and(waits_for_consumer);
        if !waits {
            // Before it looks: a volume that becomes free in between finds it here.
            self.halves.waiting.lock().insert(claim);
        }
        let found = self.halves.volumes.lock().find(claim, Seeker::Binder { waits });
        if found.is_some() {
            self.halves.waiting.lock().remove(claim);
        }
        found
    }

    /// Adds what can be done for a claim without a volume.
    fn add_ways_out(&self, view: &mut claim::View) {
        if class_asked(&view.claim).is_none() {
            view.default_class = default_class(&self.caches.classes.list());
        }
        let meta = &view.claim.metadata;
        let users = self.caches.pods_by_claim.get(&claim_key(owners::namespace(meta), owners::name(meta)));
        let unplaced = |pod: &&Arc<Pod>| !pods::is_finished(pod) && pods::node_name(pod).is_empty();
        view.consumers =
            users.iter().filter(unplaced).map(|pod| owners::name(&pod.metadata).to_owned()).collect();
        if view.class.as_ref().is_some_and(|class| class.provisioner == LOCAL_PROVISIONER) {
            view.nodes = self.caches.nodes.list();
        }
    }

    fn volume(&self, key: &Key) -> Option<volume::View> {
        let volume = self.caches.volumes.get(None, &key.name)?;
        let is_certain = revision_of(&*volume) <= Some(self.caches.claims.revision());
        let mut view = volume::View { image: self.image.clone(), is_certain, ..volume::View::of(&volume) };
        let Some(named) = claim_ref(&volume) else { return Some(view) };
        let namespace = named.namespace.as_deref().unwrap_or_default();
        let name = named.name.as_deref().unwrap_or_default();
        view.claim = self.caches.claims.get(Some(namespace), name);
        if view.is_returned() {
            // A new claim of the same name has another volume, and so have its users.
            if view.claim.is_none() {
                let users = self.caches.pods_by_claim.get(&claim_key(namespace, name));
                let users = users.iter().filter(|pod| !pods::is_finished(pod));
                view.users = users.map(|pod| claim_key(namespace, owners::name(&pod.metadata))).collect();
            }
            view.pod = self.caches.pods_by_owner.get(owners::uid(&volume.metadata)).into_iter().next();
            view.has_node =
                !provision::is_ours(&volume) || provision::has_node(&volume, &self.caches.nodes.list());
        }
        Some(view)
    }
}

/// Of several default classes the newest, and of those made in the same second the first by name.
fn default_class(classes: &[Arc<StorageClass>]) -> Option<String> {
    let is_default = |class: &&Arc<StorageClass>| annotation(&class.metadata, DEFAULT_CLASS) == Some("true");
    let made = |class: &Arc<StorageClass>| class.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let newest = classes.iter().filter(is_default).rev().max_by_key(|class| made(class));
    newest.and_then(|class| class.metadata.name.clone())
}

fn follow_volumes(caches: &Caches, queue: &Queue<Key>, halves: &Arc<Halves>) {
    let (keys, halves, claims) = (queue.clone(), Arc::clone(halves), caches.claims_by_volume.clone());
    caches.volumes.on_change(move |Change { old, new }| {
        let mut volumes = halves.volumes.lock();
        old.iter().for_each(|old| volumes.remove(old));
        new.iter().for_each(|new| volumes.insert(new));
        drop(volumes);
        for volume in old.iter().chain(new) {
            if let Some(claim) = claim_ref(volume) {
                let (namespace, name) = (claim.namespace.as_deref(), claim.name.as_deref());
                keys.add(Key::new(namespace.unwrap_or_default(), name.unwrap_or_default()));
            }
        }
        let Some(volume) = new.as_ref().or(old.as_ref()) else { return };
        let name = owners::name(&volume.metadata);
        keys.add(Key::cluster(name));
        claims.get(name).iter().for_each(|claim| keys.add(Key::of(&claim.metadata)));
        if let Some(free) = new.as_ref().filter(|volume| is_free(volume))
            && let Some(claim) = halves.waiting.lock().take_for(free)
        {
            keys.add(claim);
        }
    });
}

fn follow_claims(caches: &Caches, queue: &Queue<Key>, halves: &Arc<Halves>) {
    follow::objects(&caches.claims, queue);
    let (keys, halves) = (queue.clone(), Arc::clone(halves));
    caches.claims.on_change(move |change| {
        if let Some(old) = &change.old {
            // What it is now is looked at, and waits again if it must.
            halves.waiting.lock().remove(old);
        }
        let had = change.old.as_deref().and_then(volume_name);
        let has = change.new.as_deref().and_then(volume_name);
        had.into_iter().chain(has).for_each(|volume| keys.add(Key::cluster(volume)));
        for volume in halves.volumes.lock().naming(change.latest()) {
            keys.add(Key::of(&volume.metadata));
        }
    });
}

impl Controller for Binder {
    type Snapshot = Snapshot;

    const NAME: &'static str = "persistentvolume-binder-controller";

    const WORKERS: usize = 32;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<PersistentVolume>(), Kind::of::<PersistentVolumeClaim>(), Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        if key.namespace.is_empty() {
            return Some(Snapshot::Volume(Box::new(self.volume(key)?)));
        }
        Some(Snapshot::Claim(Box::new(self.claim(key)?)))
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        match snapshot {
            Snapshot::Claim(view) => claim::plan(view),
            Snapshot::Volume(view) => volume::plan(view, now),
        }
    }

    fn report(&self, snapshot: &Snapshot, outcome: &Outcome, _now: Timestamp) -> Plan {
        let actions = match snapshot {
            _ if outcome.failure.is_some() => Vec::new(),
            Snapshot::Claim(view) => claim::report(view),
            Snapshot::Volume(view) => volume::report(view),
        };
        Plan { actions, requeue_after: None }
    }
}

#[cfg(test)]
mod tests;
