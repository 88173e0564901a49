//! The cache of one resource: its objects, the changes that led to them, and its watchers.
//!
//! Invariant: the objects are the state at `Resource::revision`; changes are applied and handed
//! to the watchers under the lock that a new watcher takes, so it misses none and gets none
//! twice. Upstream counterpart: one `Cacher` with its `watchCache`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::object::{CachedObject, FieldsFn, ReadFn, Verb};
use super::objects::{Objects, Scope};
use super::watcher::{Ended, Event, Filter, Queue, WatchFrom, Watcher};
use crate::store::{Change, KeyValue, Revision};

const HISTORY: usize = 2048;
const HISTORY_BYTES: usize = 4 << 20;
/// Snapshots kept for `continue`, and for how long: as long as stores remember. What a store remembered that far back is
/// kept for the next page only, so that nothing lives on here that is gone there.
const KEPT: usize = 64;
const KEPT_FOR: Duration = Duration::from_secs(300);
const LOADED_FOR: Duration = Duration::from_secs(10);

/// A resource to cache.
#[derive(Clone)]
pub struct ResourceSpec {
    /// Prefix of its keys in the store, with a slash at the end. No prefix begins with another.
    pub prefix: String,
    /// Its selectable fields, if it has any besides name and namespace.
    pub fields: Option<FieldsFn>,
    /// How stored objects are to be seen, if not as they are stored.
    pub read: Option<ReadFn>,
}

/// All objects of a resource at one revision.
#[derive(Clone)]
pub struct Snapshot {
    /// The revision.
    pub revision: Revision,
    /// The objects, in key order.
    pub objects: Objects,
}

/// The history does not reach back to the revision a watch asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// What was asked for.
    pub asked: Revision,
    /// The oldest revision a watch can begin at.
    pub oldest: Revision,
}

/// The cache of one resource.
pub struct Resource {
    spec: ResourceSpec,
    applied: watch::Receiver<Revision>,
    state: RwLock<State>,
    watchers: Mutex<Watchers>,
    /// With when they are to be dropped.
    kept: Mutex<VecDeque<(Instant, Snapshot)>>,
}

struct State {
    objects: Objects,
    /// Revision of the last change applied, or of the load.
    changed: Revision,
    history: VecDeque<Arc<Event>>,
    history_bytes: usize,
    /// All changes after this revision are in `history`.
    oldest: Revision,
}

#[derive(Default)]
struct Watchers {
    all: Vec<Arc<Queue>>,
    by_namespace: HashMap<String, Vec<Arc<Queue>>>,
    by_object: HashMap<String, Vec<Arc<Queue>>>,
    removed: bool,
}

impl Watchers {
    fn add(&mut self, queue: Arc<Queue>) {
        match &queue.scope {
            Scope::All => self.all.push(queue),
            Scope::Namespace(name) => self.by_namespace.entry(name.clone()).or_default().push(queue),
            Scope::Object(key) => self.by_object.entry(key.clone()).or_default().push(queue),
        }
    }

    fn remove(&mut self, queue: &Arc<Queue>) {
        let without = |queues: &mut Vec<Arc<Queue>>| {
            if let Some(place) = queues.iter().position(|q| Arc::ptr_eq(q, queue)) {
                queues.swap_remove(place);
            }
            queues.is_empty()
        };
        match &queue.scope {
            Scope::All => {
                without(&mut self.all);
            }
            Scope::Namespace(name) => {
                if self.by_namespace.get_mut(name).is_some_and(without) {
                    self.by_namespace.remove(name);
                }
            }
            Scope::Object(key) => {
                if self.by_object.get_mut(key).is_some_and(without) {
                    self.by_object.remove(key);
                }
            }
        }
    }

    fn offer(&mut self, event: &Arc<Event>) {
        let Some(subject) = event.subject() else { return };
        self.all.retain(|queue| queue.offer(event));
        if let Some(queues) = self.by_namespace.get_mut(subject.namespace()) {
            queues.retain(|queue| queue.offer(event));
        }
        if let Some(queues) = self.by_object.get_mut(subject.key()) {
            queues.retain(|queue| queue.offer(event));
        }
    }

    fn end(&mut self, why: Ended) {
        let scoped = self.by_namespace.drain().chain(self.by_object.drain()).flat_map(|(_, queues)| queues);
        for queue in self.all.drain(..).chain(scoped) {
            queue.end(why);
        }
    }
}

impl Resource {
    /// The cache of a resource that holds `items` at `revision`.
    pub(super) fn new(
        spec: ResourceSpec,
        applied: watch::Receiver<Revision>,
        revision: Revision,
        items: &[KeyValue],
    ) -> Self {
        let objects = decode(&spec, items);
        let state = State {
            objects,
            changed: revision,
            history: VecDeque::new(),
            history_bytes: 0,
            oldest: revision,
        };
        Self { spec, applied, state: RwLock::new(state), watchers: Mutex::default(), kept: Mutex::default() }
    }

    /// What the resource is.
    pub fn spec(&self) -> &ResourceSpec {
        &self.spec
    }

    /// The revision up to which the whole registry has been applied.
    pub(super) fn applied(&self) -> Revision {
        *self.applied.borrow()
    }

    /// All objects as they are stored.
    pub(super) fn items(&self) -> Vec<KeyValue> {
        let objects = self.state.read().objects.clone();
        let item = |object: &Arc<CachedObject>| KeyValue {
            key: format!("{}{}", self.spec.prefix, object.key()),
            value: object.stored(),
            revision: object.revision(),
        };
        let unread = objects.all_unread().map(|key| KeyValue {
            key: format!("{}{key}", self.spec.prefix),
            value: Bytes::new(),
            revision: 0,
        });
        objects.scan(&Scope::All, None).map(item).chain(unread).collect()
    }

    /// The revision of the last change of the resource, or of the load.
    pub fn changed(&self) -> Revision {
        self.state.read().changed
    }

    /// Whether there are no objects.
    pub fn is_empty(&self) -> bool {
        self.state.read().objects.is_empty()
    }

    /// The object with this key (`namespace/name` or `name`).
    pub fn get(&self, key: &str) -> Option<Arc<CachedObject>> {
        self.state.read().objects.get(key).cloned()
    }

    /// All objects, and the revision at which they are the resource's state.
    pub fn snapshot(&self) -> Snapshot {
        // Read before the objects: they are at least this new, and newer only up to `changed`.
        let applied = self.applied();
        let state = self.state.read();
        Snapshot { revision: applied.max(state.changed), objects: state.objects.clone() }
    }

    /// The changes after a revision, and that of the last one; all objects instead, when the history does not reach back
    /// that far.
    pub(super) fn changes_after(&self, seen: Revision) -> (Revision, Result<Vec<Arc<Event>>, Objects>) {
        let state = self.state.read();
        if seen < state.oldest || seen > state.changed {
            return (state.changed, Err(state.objects.clone()));
        }
        let first = state.history.partition_point(|event| event.revision <= seen);
        (state.changed, Ok(state.history.range(first..).cloned().collect()))
    }

    /// Keeps a snapshot of the present findable for some minutes.
    pub fn keep(&self, snapshot: &Snapshot) {
        self.keep_until(snapshot, Instant::now() + KEPT_FOR);
    }

    /// Keeps a snapshot that the store remembered findable for some seconds.
    pub(super) fn keep_loaded(&self, snapshot: &Snapshot) {
        self.keep_until(snapshot, Instant::now() + LOADED_FOR);
    }

    /// Whoever is kept already, is so no longer for it.
    fn keep_until(&self, snapshot: &Snapshot, until: Instant) {
        let mut kept = self.kept.lock();
        expire(&mut kept, Instant::now());
        if kept.iter().any(|(_, s)| s.revision == snapshot.revision) {
            return;
        }
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((until, snapshot.clone()));
    }

    /// The snapshot kept at exactly this revision.
    pub(super) fn kept(&self, revision: Revision, now: Instant) -> Option<Snapshot> {
        let mut kept = self.kept.lock();
        expire(&mut kept, now);
        kept.iter().find(|(_, snapshot)| snapshot.revision == revision).map(|(_, snapshot)| snapshot.clone())
    }

    /// Drops snapshots that are too old.
    pub(super) fn expire_kept(&self) {
        expire(&mut self.kept.lock(), Instant::now());
    }

    /// Starts a watch.
    pub fn watch(
        self: &Arc<Self>,
        from: WatchFrom,
        scope: Scope,
        filter: Option<Filter>,
    ) -> Result<Watcher, Expired> {
        let mut watchers = self.watchers.lock();
        let applied = self.applied();
        let state = self.state.read();
        let mut backlog = VecDeque::new();
        let mut initial = None;
        let mut after = applied.max(state.changed);
        match from {
            WatchFrom::Now => {}
            WatchFrom::Initial => initial = Some((after, state.objects.clone())),
            WatchFrom::Revision(revision) if revision < state.oldest => {
                return Err(Expired { asked: revision, oldest: state.oldest });
            }
            WatchFrom::Revision(revision) => {
                let first = state.history.partition_point(|event| event.revision <= revision);
                let concerned = |event: &&Arc<Event>| event.subject().is_some_and(|s| scope.contains(s));
                backlog.extend(state.history.range(first..).filter(concerned).cloned());
                after = revision;
            }
        }
        drop(state);
        let queue = Arc::new(Queue::new(scope, filter, after));
        if watchers.removed {
            queue.end(Ended::Removed);
        } else {
            watchers.add(Arc::clone(&queue));
        }
        Ok(Watcher::new(Arc::clone(self), queue, initial, backlog))
    }

    /// Applies changes of one revision and tells the watchers. What cannot be read is told to nobody: the watches end.
    pub(super) fn apply(&self, revision: Revision, changes: &[&Change]) {
        let mut events = Vec::with_capacity(changes.len());
        let mut unread = Vec::new();
        let mut watchers = self.watchers.lock();
        for change in changes {
            let key = &change.key()[self.spec.prefix.len()..];
            // Only the feeder writes, so what is read here is still true below.
            let previous = self.state.read().objects.get(key).cloned();
            let object = match change {
                Change::Put { value, .. } => {
                    let verb = if previous.is_some() { Verb::Modified } else { Verb::Added };
                    object(&self.spec, key, value, revision, verb)
                }
                Change::Delete { .. } => None,
            };
            if object.is_none() && matches!(change, Change::Put { .. }) {
                unread.push(key);
                continue;
            }
            if object.is_some() || previous.is_some() {
                events.push(Arc::new(Event::new(revision, object, previous)));
            }
        }
        let mut forgotten = Vec::new();
        {
            let mut state = self.state.write();
            for event in &events {
                match (&event.object, &event.previous) {
                    (Some(object), _) => drop(state.objects.insert(Arc::clone(object))),
                    (None, Some(previous)) => drop(state.objects.remove(previous.key())),
                    (None, None) => {}
                }
                state.remember(event, &mut forgotten);
            }
            for change in changes {
                let key = &change.key()[self.spec.prefix.len()..];
                state.objects.set_unread(key, unread.contains(&key));
            }
            for key in &unread {
                state.objects.remove(key);
            }
            state.changed = revision;
            if !unread.is_empty() {
                state.forget();
            }
        }
        for event in &events {
            watchers.offer(event);
        }
        if !unread.is_empty() {
            watchers.end(Ended::Expired);
        }
    }

    /// Replaces everything: what happened in between is unknown, so all watchers end.
    pub(super) fn reset(&self, revision: Revision, items: &[KeyValue]) {
        let objects = decode(&self.spec, items);
        let mut watchers = self.watchers.lock();
        {
            let mut state = self.state.write();
            state.objects = objects;
            state.changed = revision;
            state.forget();
        }
        self.kept.lock().clear();
        watchers.end(Ended::Expired);
    }

    /// Ends all watchers for good.
    pub(super) fn remove(&self) {
        let mut watchers = self.watchers.lock();
        watchers.removed = true;
        watchers.end(Ended::Removed);
    }

    pub(super) fn forget(&self, queue: &Arc<Queue>) {
        self.watchers.lock().remove(queue);
    }
}

impl State {
    /// Forgets what has led to the present.
    fn forget(&mut self) {
        self.history.clear();
        self.history_bytes = 0;
        self.oldest = self.changed;
    }

    /// Adds to the history. What has to go is handed out, to be freed without the lock.
    fn remember(&mut self, event: &Arc<Event>, forgotten: &mut Vec<Arc<Event>>) {
        self.history_bytes += weight(event);
        self.history.push_back(Arc::clone(event));
        while self.history.len() > HISTORY || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { return };
            self.history_bytes -= weight(&oldest);
            self.oldest = oldest.revision;
            forgotten.push(oldest);
        }
    }
}

fn weight(event: &Event) -> usize {
    event.subject().map_or(0, |object| object.size())
}

fn expire(kept: &mut VecDeque<(Instant, Snapshot)>, now: Instant) {
    kept.retain(|(until, _)| now < *until);
}

fn object(
    spec: &ResourceSpec,
    key: &str,
    value: &[u8],
    revision: Revision,
    verb: Verb,
) -> Option<Arc<CachedObject>> {
    let shown = spec.read.as_ref().and_then(|read| read(value));
    let object =
        CachedObject::new(key, shown.as_deref().unwrap_or(value), revision, verb, spec.fields.as_ref());
    let object = object.map(|object| if shown.is_some() { object.stored_as(value) } else { object });
    if object.is_none() {
        tracing::error!(prefix = spec.prefix, key, revision, "Cannot read what is stored");
    }
    object.map(Arc::new)
}

pub(super) fn decode(spec: &ResourceSpec, items: &[KeyValue]) -> Objects {
    let (mut decoded, mut unread) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        let key = item.key.get(spec.prefix.len()..).unwrap_or_default();
        match object(spec, key, &item.value, item.revision, Verb::Added) {
            Some(object) => decoded.push(object),
            None => unread.push(key),
        }
    }
    let mut objects = Objects::from_unsorted(decoded);
    unread.into_iter().for_each(|key| objects.set_unread(key, true));
    objects
}
