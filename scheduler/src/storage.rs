//! Claims and volumes as the scheduler sees them, and which volumes are spoken for by bindings on
//! their way. Upstream counterpart: the scheduler's `volumebinding/binder.go`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::volume_binding::{
    BIND_COMPLETED, SELECTED_NODE, Seeker, VolumeIndex, annotation, class_of_claim, has_annotation,
    is_allowed, is_reachable, size_of_claim, waits_for_consumer,
};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::needs::{Claim, Needs};
use crate::node_view::NodeView;
use crate::plugins::Reason;

/// The provisioner of classes that have none.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

type Key = (String, String);

/// All claims, volumes and classes, and what is promised of them.
#[derive(Debug, Default)]
pub struct Storage {
    volumes: HashMap<String, Arc<PersistentVolume>>,
    index: VolumeIndex,
    claims: HashMap<Key, Arc<PersistentVolumeClaim>>,
    classes: HashMap<String, Arc<StorageClass>>,
    /// How many pods that have a node use each claim.
    users: HashMap<Key, usize>,
    /// By the uid of the pod for which they were made.
    promises: HashMap<String, Promise>,
    /// Of all promises: volumes, and the node for which each claim is to be bound.
    taken: HashSet<String>,
    chosen: HashMap<Key, String>,
}

#[derive(Debug)]
struct Promise {
    volumes: Vec<String>,
    claims: Vec<Key>,
}

/// The claims of a pod.
#[derive(Debug, Default)]
pub struct Claims {
    /// Those that have a volume.
    bound: Vec<Arc<PersistentVolumeClaim>>,
    /// Those that wait for the pod to get a node.
    waiting: Vec<Arc<PersistentVolumeClaim>>,
}

/// What has to happen to a pod's claims before it can run on a node.
#[derive(Debug, Default, PartialEq)]
pub struct Bindings {
    /// Volumes that are there, each with the claim that gets it.
    pub volumes: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims for which a volume has to be made.
    pub provisions: Vec<Arc<PersistentVolumeClaim>>,
    /// Claims that are being bound for another pod on this node.
    pub awaited: Vec<Arc<PersistentVolumeClaim>>,
}

impl Bindings {
    /// The claims that are not bound yet.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<PersistentVolumeClaim>> {
        self.volumes.iter().map(|(_, claim)| claim).chain(&self.provisions).chain(&self.awaited)
    }
}

impl Storage {
    /// Takes in a volume as it was and as it is.
    pub fn set_volume(&mut self, old: Option<&PersistentVolume>, new: Option<&Arc<PersistentVolume>>) {
        if let Some(old) = old {
            self.index.remove(old);
            self.volumes.remove(old.metadata.name.as_deref().unwrap_or_default());
        }
        if let Some(new) = new {
            self.index.insert(new);
            self.volumes.insert(new.metadata.name.clone().unwrap_or_default(), Arc::clone(new));
        }
    }

    /// Takes in a claim as it was and as it is.
    pub fn set_claim(
        &mut self,
        old: Option<&PersistentVolumeClaim>,
        new: Option<&Arc<PersistentVolumeClaim>>,
    ) {
        if let Some(old) = old {
            self.claims.remove(&key_of(old));
        }
        if let Some(new) = new {
            self.claims.insert(key_of(new), Arc::clone(new));
        }
    }

    /// Takes in a class as it was and as it is.
    pub fn set_class(&mut self, old: Option<&StorageClass>, new: Option<&Arc<StorageClass>>) {
        if let Some(name) = old.and_then(|old| old.metadata.name.as_deref()) {
            self.classes.remove(name);
        }
        if let Some(new) = new {
            self.classes.insert(new.metadata.name.clone().unwrap_or_default(), Arc::clone(new));
        }
    }

    /// Counts a pod among the users of its claims.
    pub fn take(&mut self, needs: &Needs) {
        for claim in &needs.claims {
            *self.users.entry(key(needs, claim)).or_default() += 1;
        }
    }

    /// A pod does not use its claims any more.
    pub fn release(&mut self, needs: &Needs) {
        for claim in &needs.claims {
            let key = key(needs, claim);
            if let Some(users) = self.users.get_mut(&key) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&key);
                }
            }
        }
        self.settle(&needs.uid);
    }

    /// The claims of a pod that one pod alone may use, each with its users.
    pub fn exclusive(&self, needs: &Needs) -> Vec<(String, usize)> {
        let modes =
            |claim: &PersistentVolumeClaim| claim.spec.as_ref().and_then(|spec| spec.access_modes.clone());
        let claims = needs.claims.iter().filter_map(|claim| {
            let key = key(needs, claim);
            let modes = modes(self.claims.get(&key)?).unwrap_or_default();
            let users = self.users.get(&key).copied().unwrap_or(0);
            modes.iter().any(|mode| mode == "ReadWriteOncePod").then(|| (claim.name.clone(), users))
        });
        claims.collect()
    }

    /// The claims of a pod, or why it can have no node at all.
    pub fn claims(&self, needs: &Needs) -> Result<Claims, Reason> {
        let mut claims = Claims::default();
        let mut unbound = false;
        for Claim { name, ephemeral } in &needs.claims {
            let Some(claim) = self.claims.get(&(needs.namespace.clone(), name.clone())) else {
                return Err(Reason(if *ephemeral {
                    format!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"
                    )
                } else {
                    format!("persistentvolumeclaim {name:?} not found")
                }));
            };
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
            if claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Lost")) {
                return Err(Reason(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                )));
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(Reason(format!("persistentvolumeclaim {name:?} is being deleted")));
            }
            let mut owners = claim.metadata.owner_references.iter().flatten();
            let is_owner = owners.any(|owner| owner.controller == Some(true) && owner.uid == needs.uid);
            if *ephemeral && !is_owner {
                let namespace = &needs.namespace;
                return Err(Reason(format!(
                    "PVC {namespace}/{name} was not created for pod {namespace}/{} (pod is not owner)",
                    needs.name
                )));
            }
            if !volume.is_empty() && has_annotation(&claim.metadata, BIND_COMPLETED) {
                claims.bound.push(Arc::clone(claim));
            } else if volume.is_empty() && self.class(claim).is_some_and(waits_for_consumer) {
                claims.waiting.push(Arc::clone(claim));
            } else {
                unbound = true;
            }
        }
        if unbound {
            return Err(Reason("pod has unbound immediate PersistentVolumeClaims".to_owned()));
        }
        // The smallest first, so that small claims do not take what large ones need.
        claims.waiting.sort_by_key(|claim| size_of_claim(claim));
        Ok(claims)
    }

    fn class(&self, claim: &PersistentVolumeClaim) -> Option<&StorageClass> {
        self.classes.get(class_of_claim(claim)).map(Arc::as_ref)
    }

    /// What has to happen to claims on a node, or why they cannot be used there.
    pub fn bindings(&self, claims: &Claims, node: &NodeView) -> Result<Bindings, Vec<&'static str>> {
        let mut reasons = Vec::new();
        let (mut reachable, mut there) = (true, true);
        for claim in &claims.bound {
            let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
            match self.volumes.get(name) {
                Some(volume) => reachable &= is_reachable(volume, &node.labels),
                None => there = false,
            }
        }
        let bindings = self.find(&claims.waiting, node);
        if !reachable {
            reasons.push("node(s) didn't match PersistentVolume's node affinity");
        }
        if bindings.is_none() {
            reasons.push("node(s) didn't find available persistent volumes to bind");
        }
        if !there {
            reasons.push("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
        }
        bindings.filter(|_| reasons.is_empty()).ok_or(reasons)
    }

    fn find(&self, waiting: &[Arc<PersistentVolumeClaim>], node: &NodeView) -> Option<Bindings> {
        let mut bindings = Bindings::default();
        let mut own: HashSet<String> = HashSet::new();
        for claim in waiting {
            let chosen = annotation(&claim.metadata, SELECTED_NODE);
            if let Some(promised) = self.chosen.get(&key_of(claim)) {
                if *promised != node.name {
                    return None;
                }
                bindings.awaited.push(Arc::clone(claim));
            } else if let Some(chosen) = chosen {
                if chosen != node.name {
                    return None;
                }
                bindings.provisions.push(Arc::clone(claim));
            } else {
                let is_taken = |name: &str| own.contains(name) || self.taken.contains(name);
                let seeker = Seeker::Scheduler { labels: &node.labels, is_taken: &is_taken };
                match self.index.find(claim, seeker) {
                    Some(volume) => {
                        own.insert(volume.metadata.name.clone().unwrap_or_default());
                        bindings.volumes.push((volume, Arc::clone(claim)));
                    }
                    None => bindings.provisions.push(Arc::clone(claim)),
                }
            }
        }
        bindings.provisions.iter().all(|claim| self.can_provision(claim, node)).then_some(bindings)
    }

    fn can_provision(&self, claim: &PersistentVolumeClaim, node: &NodeView) -> bool {
        self.class(claim).is_some_and(|class| {
            !matches!(class.provisioner.as_str(), "" | NO_PROVISIONER) && is_allowed(class, &node.labels)
        })
    }

    /// Takes in that a pod's claims are being bound for a node.
    pub fn promise(&mut self, uid: &str, node: &str, bindings: &Bindings) {
        let volumes: Vec<String> =
            bindings.volumes.iter().filter_map(|(volume, _)| volume.metadata.name.clone()).collect();
        let own = bindings.volumes.iter().map(|(_, claim)| claim).chain(&bindings.provisions);
        let claims: Vec<Key> = own.map(|claim| key_of(claim)).collect();
        self.taken.extend(volumes.iter().cloned());
        self.chosen.extend(claims.iter().map(|claim| (claim.clone(), node.to_owned())));
        self.promises.insert(uid.to_owned(), Promise { volumes, claims });
    }

    /// What was promised to a pod is done, or will not be done.
    pub fn settle(&mut self, uid: &str) {
        if let Some(promise) = self.promises.remove(uid) {
            for volume in &promise.volumes {
                self.taken.remove(volume);
            }
            for claim in &promise.claims {
                self.chosen.remove(claim);
            }
        }
    }
}

fn key(needs: &Needs, claim: &Claim) -> Key {
    (needs.namespace.clone(), claim.name.clone())
}

fn key_of(claim: &PersistentVolumeClaim) -> Key {
    (claim.metadata.namespace.clone().unwrap_or_default(), claim.metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests;
