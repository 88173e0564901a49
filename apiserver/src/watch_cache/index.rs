//! What is made of resources' objects to be looked up in: brought up to the cache when it is asked for, by what has
//! changed since.

use std::sync::Arc;

use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{CachedObject, Resource, Scope, WatchCache};
use crate::{resources::BuiltIn, store::Revision};

/// What can be kept as an index over the objects of several resources.
pub trait Indexed: Default {
    /// Takes an object in, in the place of what it was before. `part` is the number of its resource.
    fn take(&mut self, part: usize, object: &CachedObject);

    /// Forgets an object that is gone.
    fn forget(&mut self, part: usize, object: &CachedObject);

    /// Forgets all of a resource: what has changed is not known.
    fn clear(&mut self, part: usize);
}

/// An index.
pub struct Index<K> {
    resources: Vec<Arc<Resource>>,
    state: RwLock<State<K>>,
}

#[derive(Default)]
struct State<K> {
    /// The last change of each resource that is in.
    seen: Vec<Revision>,
    known: K,
}

impl<K: Indexed> Index<K> {
    /// An index over some resources, empty until it is read.
    pub fn new(cache: &WatchCache, resources: &[BuiltIn]) -> Self {
        Self::over(resources.iter().filter_map(|resource| cache.resource(resource.prefix)).collect())
    }

    /// The same, over these.
    pub fn over(resources: Vec<Arc<Resource>>) -> Self {
        let state = State { seen: vec![0; resources.len()], known: K::default() };
        Self { resources, state: RwLock::new(state) }
    }

    /// The index as of now.
    pub fn read(&self) -> MappedRwLockReadGuard<'_, K> {
        let state = self.state.read();
        let is_new =
            self.resources.iter().zip(&state.seen).all(|(resource, seen)| resource.changed() == *seen);
        let state = if is_new {
            state
        } else {
            drop(state);
            let mut state = self.state.write();
            state.catch_up(&self.resources);
            RwLockWriteGuard::downgrade(state)
        };
        RwLockReadGuard::map(state, |state| &state.known)
    }
}

impl<K: Indexed> State<K> {
    fn catch_up(&mut self, resources: &[Arc<Resource>]) {
        for (part, (resource, seen)) in resources.iter().zip(&mut self.seen).enumerate() {
            let (at, changes) = resource.changes_after(*seen);
            *seen = at;
            match changes {
                Ok(events) => {
                    for event in events {
                        match (&event.object, &event.previous) {
                            (Some(object), _) => self.known.take(part, object),
                            (None, Some(gone)) => self.known.forget(part, gone),
                            (None, None) => {}
                        }
                    }
                }
                Err(objects) => {
                    self.known.clear(part);
                    objects.scan(&Scope::All, None).for_each(|object| self.known.take(part, object));
                }
            }
        }
    }
}
