//! All objects of a resource in key order, as a value that is cheap to copy.
//!
//! Invariant: leaves are sorted, never empty and hold at most `LEAF` objects. A copy shares
//! everything; a later change copies one leaf and the list of leaves. Home-made because lists
//! walk contiguous leaves and the crates for persistent trees bring many dependencies.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use super::object::CachedObject;

const LEAF: usize = 128;

type Leaf = Arc<Vec<Arc<CachedObject>>>;

/// Which objects of a resource a list or watch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// Those of a namespace.
    Namespace(String),
    /// The one with this key (`namespace/name` or `name`).
    Object(String),
}

impl Scope {
    /// The least key that can be in scope.
    fn first(&self) -> String {
        match self {
            Scope::All => String::new(),
            Scope::Namespace(namespace) => format!("{namespace}/"),
            Scope::Object(key) => key.clone(),
        }
    }

    /// Whether an object is in scope.
    pub fn contains(&self, object: &CachedObject) -> bool {
        match self {
            Scope::All => true,
            Scope::Namespace(namespace) => object.namespace() == namespace,
            Scope::Object(key) => object.key() == key,
        }
    }
}

/// Objects in key order. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Objects {
    leaves: Arc<Vec<Leaf>>,
    count: usize,
    /// The keys under which something is stored that cannot be read.
    unread: Arc<BTreeSet<String>>,
}

impl Objects {
    /// Takes objects in any order.
    pub(super) fn from_unsorted(mut objects: Vec<Arc<CachedObject>>) -> Self {
        objects.sort_by(|a, b| a.key().cmp(b.key()));
        let count = objects.len();
        let leaves = objects.chunks(LEAF).map(|chunk| Arc::new(chunk.to_vec())).collect();
        Self { leaves: Arc::new(leaves), count, unread: Arc::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none, also none that cannot be read.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.unread.is_empty()
    }

    /// The first key in scope under which something is stored that cannot be read: then nobody knows what else is there.
    pub fn unread(&self, scope: &Scope) -> Option<&str> {
        let first = scope.first();
        let key = self.unread.range::<str, _>((Bound::Included(&*first), Bound::Unbounded)).next()?;
        let is_meant = match scope {
            Scope::Object(wanted) => key == wanted,
            _ => key.starts_with(&first),
        };
        is_meant.then_some(key)
    }

    /// All such keys.
    pub(super) fn all_unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }

    /// Notes whether what is stored under a key can be read.
    pub(super) fn set_unread(&mut self, key: &str, is_unread: bool) {
        if is_unread {
            Arc::make_mut(&mut self.unread).insert(key.to_owned());
        } else if self.unread.contains(key) {
            Arc::make_mut(&mut self.unread).remove(key);
        }
    }

    /// The first leaf that may hold `key`, and the place in it.
    fn find(&self, key: &str) -> (usize, Result<usize, usize>) {
        let leaf = self.leaves.partition_point(|leaf| leaf.last().is_some_and(|last| last.key() < key));
        let place = match self.leaves.get(leaf) {
            Some(objects) => objects.binary_search_by(|object| object.key().cmp(key)),
            None => Err(0),
        };
        (leaf, place)
    }

    /// The object with this key.
    pub fn get(&self, key: &str) -> Option<&Arc<CachedObject>> {
        let (leaf, place) = self.find(key);
        let place = place.ok()?;
        Some(&self.leaves[leaf][place])
    }

    /// Puts an object in its place; returns what had its key before.
    pub(super) fn insert(&mut self, object: Arc<CachedObject>) -> Option<Arc<CachedObject>> {
        let (mut leaf, mut place) = self.find(object.key());
        let leaves = Arc::make_mut(&mut self.leaves);
        if leaf == leaves.len() && leaf > 0 {
            leaf -= 1;
            place = Err(leaves[leaf].len());
        }
        let Some(objects) = leaves.get_mut(leaf).map(Arc::make_mut) else {
            leaves.push(Arc::new(vec![object]));
            self.count += 1;
            return None;
        };
        match place {
            Ok(place) => Some(std::mem::replace(&mut objects[place], object)),
            Err(place) => {
                objects.insert(place, object);
                self.count += 1;
                if objects.len() > LEAF {
                    // Names that only grow fill their leaves.
                    let half = if place == LEAF { LEAF } else { LEAF / 2 };
                    let upper = objects.split_off(half);
                    leaves.insert(leaf + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<CachedObject>> {
        let (leaf, place) = self.find(key);
        let place = place.ok()?;
        let leaves = Arc::make_mut(&mut self.leaves);
        let objects = Arc::make_mut(&mut leaves[leaf]);
        let removed = objects.remove(place);
        self.count -= 1;
        if objects.is_empty() {
            leaves.remove(leaf);
        } else if objects.len() < LEAF / 4 && leaf + 1 < leaves.len() {
            let next = leaves.remove(leaf + 1);
            let objects = Arc::make_mut(&mut leaves[leaf]);
            objects.extend(next.iter().cloned());
            if objects.len() > LEAF {
                let upper = objects.split_off(LEAF / 2);
                leaves.insert(leaf + 1, Arc::new(upper));
            }
        }
        Some(removed)
    }

    /// The objects in scope, in key order, from the key `from` on.
    pub fn scan<'a>(
        &'a self,
        scope: &'a Scope,
        from: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> {
        self.scan_from(self.position(scope, from)).take_while(|object| scope.contains(object))
    }

    /// Where a scan begins, for [`Self::scan_from`].
    pub(super) fn position(&self, scope: &Scope, from: Option<&str>) -> (usize, usize) {
        let first = scope.first();
        let (leaf, place) = self.find(from.unwrap_or_default().max(&first));
        (leaf, place.unwrap_or_else(|place| place))
    }

    /// All objects from a position on.
    pub(super) fn scan_from(
        &self,
        (leaf, place): (usize, usize),
    ) -> impl Iterator<Item = &Arc<CachedObject>> {
        let leaves = self.leaves.get(leaf..).unwrap_or_default();
        leaves.iter().enumerate().flat_map(move |(i, objects)| &objects[if i == 0 { place } else { 0 }..])
    }

    /// The next object at a position, which moves on.
    pub(super) fn step(&self, position: &mut (usize, usize)) -> Option<&Arc<CachedObject>> {
        loop {
            let leaf = self.leaves.get(position.0)?;
            if let Some(object) = leaf.get(position.1) {
                position.1 += 1;
                return Some(object);
            }
            *position = (position.0 + 1, 0);
        }
    }
}

#[cfg(test)]
mod tests;
