//! What a cache holds: a map by namespace and name, and the revision it stands at. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Resource;

use super::{Change, revision_of};

pub(super) struct Contents<K> {
    namespaces: BTreeMap<Box<str>, BTreeMap<Box<str>, Arc<K>>>,
    revision: u64,
}

impl<K> Default for Contents<K> {
    fn default() -> Self {
        Self { namespaces: BTreeMap::new(), revision: 0 }
    }
}

impl<K: Resource> Contents<K> {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.namespaces.get(namespace)?.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.namespaces.values().flat_map(BTreeMap::values)
    }

    pub(super) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        self.namespaces.get(namespace).into_iter().flat_map(BTreeMap::values)
    }

    pub(super) fn len(&self) -> usize {
        self.namespaces.values().map(BTreeMap::len).sum()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes `objects` the contents and returns what is different: first what is gone, then
    /// what is new or changed, each by namespace and name.
    pub(super) fn replace(&mut self, objects: Vec<Arc<K>>, revision: u64) -> Vec<Change<K>> {
        let mut before = std::mem::take(&mut self.namespaces);
        self.revision = revision;
        for object in objects {
            let (namespace, name) = key(&*object);
            let kept = before.get(namespace).and_then(|objects| objects.get(name));
            let object = match kept {
                Some(kept) if same(&**kept, &*object) => Arc::clone(kept),
                _ => object,
            };
            self.insert(object);
        }
        let mut changes = Vec::new();
        for (namespace, objects) in &mut before {
            let now = self.namespaces.get(namespace);
            objects.retain(|name, object| {
                let stays = now.is_some_and(|now| now.contains_key(name));
                if !stays {
                    changes.push(Change { old: Some(Arc::clone(object)), new: None });
                }
                stays
            });
        }
        for (namespace, objects) in &self.namespaces {
            let before = before.get(namespace);
            for (name, object) in objects {
                let old = before.and_then(|before| before.get(name));
                if !old.is_some_and(|old| Arc::ptr_eq(old, object)) {
                    changes.push(Change { old: old.cloned(), new: Some(Arc::clone(object)) });
                }
            }
        }
        changes
    }

    /// Puts in one event; one that is older than what is there changes nothing.
    pub(super) fn apply(&mut self, object: Arc<K>, deleted: bool) -> Option<Change<K>> {
        let revision = revision_of(&*object).unwrap_or(0);
        let (namespace, name) = key(&*object);
        let old = self.get(namespace, name).cloned();
        let outdated = old
            .as_ref()
            .and_then(|old| revision_of(&**old))
            .is_some_and(|known| if deleted { known > revision } else { known >= revision });
        if outdated || (old.is_none() && revision < self.revision) {
            return None;
        }
        let new = if deleted {
            self.remove(namespace, name);
            None
        } else {
            self.insert(Arc::clone(&object));
            Some(object)
        };
        self.advance(revision);
        (old.is_some() || new.is_some()).then_some(Change { old, new })
    }

    pub(super) fn advance(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    fn insert(&mut self, object: Arc<K>) {
        let (namespace, name) = key(&*object);
        match self.namespaces.get_mut(namespace) {
            Some(objects) => objects.insert(name.into(), Arc::clone(&object)),
            None => {
                self.namespaces.entry(namespace.into()).or_default().insert(name.into(), Arc::clone(&object))
            }
        };
    }

    fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(objects) = self.namespaces.get_mut(namespace) {
            objects.remove(name);
            if objects.is_empty() {
                self.namespaces.remove(namespace);
            }
        }
    }
}

fn key<K: Resource>(object: &K) -> (&str, &str) {
    let meta = object.meta();
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn same<K: Resource>(one: &K, other: &K) -> bool {
    let (one, other) = (one.meta(), other.meta());
    one.uid == other.uid && one.resource_version.is_some() && one.resource_version == other.resource_version
}
