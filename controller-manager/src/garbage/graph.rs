//! Who owns whom, over all kinds: the graph that the watches keep up to date.
//! Its invariant: `dependents` is the exact reverse of the owner references of
//! all objects in it. Upstream: `pkg/controller/garbagecollector/graph_builder.go`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::frame::Kind;

/// The finalizer of a deletion that waits for dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that lets dependents go free.
pub const ORPHAN: &str = "orphan";

/// A uid, shared between the places that hold it.
pub type Uid = Arc<str>;

/// What an object owes to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The owner's uid.
    pub uid: Uid,
    /// `apiVersion` of the owner.
    pub api_version: Arc<str>,
    /// Kind of the owner.
    pub kind: Arc<str>,
    /// Name of the owner.
    pub name: Box<str>,
    /// Whether it is the controlling owner.
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    pub blocks: Option<bool>,
}

/// As much of an object as garbage collection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its uid.
    pub uid: Uid,
    /// Its kind.
    pub kind: Arc<Kind>,
    /// Its namespace, empty when it is cluster-wide.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Box<str>,
    /// The version it was last seen at.
    pub resource_version: Box<str>,
    /// Its owners.
    pub owners: Box<[Owner]>,
    /// Whether it has been asked to go.
    pub deleting: bool,
    /// What holds its deletion up.
    pub finalizers: Box<[Box<str>]>,
}

impl Object {
    /// From an object's metadata; `None` without a uid.
    pub fn from_metadata(kind: Arc<Kind>, meta: &ObjectMeta) -> Option<Object> {
        Some(Object {
            uid: meta.uid.as_deref()?.into(),
            kind,
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
            resource_version: meta.resource_version.as_deref().unwrap_or_default().into(),
            owners: meta.owner_references.iter().flatten().map(owner).collect(),
            deleting: meta.deletion_timestamp.is_some(),
            finalizers: meta.finalizers.iter().flatten().map(|finalizer| finalizer.as_str().into()).collect(),
        })
    }

    /// Whether it carries a finalizer.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| &**finalizer == name)
    }

    /// Whether its deletion waits for its dependents.
    pub fn waits_for_dependents(&self) -> bool {
        self.deleting && self.has_finalizer(FOREGROUND)
    }
}

fn owner(reference: &OwnerReference) -> Owner {
    Owner {
        uid: reference.uid.as_str().into(),
        api_version: reference.api_version.as_str().into(),
        kind: reference.kind.as_str().into(),
        name: reference.name.as_str().into(),
        controller: reference.controller,
        blocks: reference.block_owner_deletion,
    }
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    objects: HashMap<Uid, Object>,
    dependents: HashMap<Uid, HashSet<Uid>>,
}

impl Graph {
    /// An object of this uid.
    pub fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    /// The objects that name this one as an owner, in a stable order.
    pub fn dependents(&self, uid: &str) -> Vec<&Object> {
        let mut found: Vec<&Object> =
            self.dependents.get(uid).into_iter().flatten().filter_map(|uid| self.objects.get(uid)).collect();
        found.sort_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
        found
    }

    /// Takes in an object and says which uids have to be looked at because of it.
    pub fn upsert(&mut self, object: Object) -> BTreeSet<Uid> {
        let mut look = BTreeSet::new();
        let old = self.objects.get(&object.uid);
        let owners_changed = old.is_none_or(|old| old.owners != object.owners);
        let going = object.deleting && (object.has_finalizer(FOREGROUND) || object.has_finalizer(ORPHAN));
        if going || (owners_changed && !object.owners.is_empty()) {
            look.insert(object.uid.clone());
        }
        if owners_changed {
            self.unlink(&object.uid);
            for owner in &object.owners {
                self.dependents.entry(owner.uid.clone()).or_default().insert(object.uid.clone());
            }
        }
        // A dependent that starts to go, or no longer blocks, may free its owner.
        look.extend(self.waiting_owners(&object));
        if let Some(old) = self.objects.insert(object.uid.clone(), object) {
            look.extend(self.waiting_owners(&old));
        }
        look
    }

    /// Takes out an object and says which uids have to be looked at because of it.
    pub fn remove(&mut self, uid: &str) -> BTreeSet<Uid> {
        self.unlink(uid);
        let Some(object) = self.objects.remove(uid) else { return BTreeSet::new() };
        let mut look: BTreeSet<Uid> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        look.extend(self.waiting_owners(&object));
        look
    }

    /// All objects of one kind.
    pub fn of_kind(&self, kind: &Kind) -> impl Iterator<Item = &Object> {
        self.objects.values().filter(move |object| *object.kind == *kind)
    }

    fn waiting_owners(&self, object: &Object) -> Vec<Uid> {
        let owners = object.owners.iter().filter_map(|owner| self.objects.get(&owner.uid));
        owners.filter(|owner| owner.waits_for_dependents()).map(|owner| owner.uid.clone()).collect()
    }

    fn unlink(&mut self, uid: &str) {
        let Some(object) = self.objects.get(uid) else { return };
        for owner in &object.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}
