//! One watch on a resource: what it still has to be told, in order.
//!
//! Invariant: a watcher yields the state it began with and then every change that concerns it,
//! once and in order, or ends. The feeder never waits for it: a watcher whose queue is full is
//! cut off. Upstream counterpart: `cacheWatcher`.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::object::{CachedObject, Verb};
use super::objects::{Objects, Scope};
use super::resource::Resource;
use crate::store::Revision;

/// Changes a slow watcher may lag behind.
const QUEUE: usize = 4096;

/// Says which objects a watcher wants to see, besides its scope.
pub type Filter = Arc<dyn Fn(&CachedObject) -> bool + Send + Sync>;

/// One object's change, shared by all watchers.
pub(super) struct Event {
    pub revision: Revision,
    pub object: Option<Arc<CachedObject>>,
    pub previous: Option<Arc<CachedObject>>,
    /// The last state, deleted at this revision; made when the first watcher needs it.
    gone: OnceLock<Option<Arc<CachedObject>>>,
    /// The line that says ADDED for an object that was modified; made likewise.
    added: OnceLock<Bytes>,
}

impl Event {
    pub fn new(
        revision: Revision,
        object: Option<Arc<CachedObject>>,
        previous: Option<Arc<CachedObject>>,
    ) -> Self {
        Self { revision, object, previous, gone: OnceLock::new(), added: OnceLock::new() }
    }

    /// Any state of the object: they all have the same key.
    pub fn subject(&self) -> Option<&Arc<CachedObject>> {
        self.object.as_ref().or(self.previous.as_ref())
    }

    /// What the change is to someone who sees only what the filter lets through.
    pub fn verb(&self, filter: Option<&Filter>) -> Option<Verb> {
        let sees = |state: &Option<Arc<CachedObject>>| {
            state.as_ref().is_some_and(|object| filter.is_none_or(|filter| filter(object)))
        };
        match (sees(&self.previous), sees(&self.object)) {
            (false, true) => Some(Verb::Added),
            (true, true) => Some(Verb::Modified),
            (true, false) => Some(Verb::Deleted),
            (false, false) => None,
        }
    }

    fn told(&self, verb: Verb) -> Option<WatchEvent> {
        let (object, line) = match verb {
            Verb::Deleted => {
                let gone = self.gone.get_or_init(|| {
                    self.previous.as_ref().map(|previous| Arc::new(previous.deleted_at(self.revision)))
                });
                let gone = gone.as_ref()?;
                (gone, gone.event(Verb::Deleted))
            }
            Verb::Added if self.previous.is_some() => {
                let object = self.object.as_ref()?;
                (object, self.added.get_or_init(|| object.event(Verb::Added)).clone())
            }
            _ => {
                let object = self.object.as_ref()?;
                (object, object.event(verb))
            }
        };
        Some(WatchEvent::Object { verb, object: Arc::clone(object), line })
    }
}

/// What a watcher yields.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Something happened to an object.
    Object {
        /// What it is to this watcher.
        verb: Verb,
        /// The object's new state; when deleted its last one, at the revision of the deletion.
        object: Arc<CachedObject>,
        /// The event as a line of JSON, shared by all watchers.
        line: Bytes,
    },
    /// All objects that existed when the watch began, at this revision, have been yielded.
    /// Comes once, only in a watch from [`WatchFrom::Initial`].
    InitialEnd(Revision),
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With the first change after this revision.
    Revision(Revision),
    /// With the next change.
    Now,
    /// With all objects as added ones, and then the changes after that.
    Initial,
}

/// Why a watcher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// It did not keep up.
    #[error("watcher was too slow")]
    TooSlow,
    /// The changes between its last event and now are unknown: 410, list again.
    #[error("the history this watch needs is gone")]
    Expired,
    /// The resource is not served any more.
    #[error("resource was removed")]
    Removed,
}

/// What the feeder shares with a watcher.
pub(super) struct Queue {
    pub scope: Scope,
    pub filter: Option<Filter>,
    /// Changes up to this revision are known to the watcher.
    pub after: Revision,
    inner: Mutex<Inner>,
    /// Rings when there is something new in it.
    told: Notify,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<(Verb, Arc<Event>)>,
    ended: Option<Ended>,
}

impl Queue {
    pub fn new(scope: Scope, filter: Option<Filter>, after: Revision) -> Self {
        Self { scope, filter, after, inner: Mutex::default(), told: Notify::new() }
    }

    /// Adds a change if it concerns the watcher. False if the watcher is at its end.
    pub fn offer(&self, event: &Arc<Event>) -> bool {
        if event.revision <= self.after {
            return true;
        }
        let Some(verb) = event.verb(self.filter.as_ref()) else { return true };
        let mut inner = self.inner.lock();
        if inner.ended.is_some() {
            return false;
        }
        if inner.events.len() >= QUEUE {
            drop(inner);
            self.end(Ended::TooSlow);
            return false;
        }
        inner.events.push_back((verb, Arc::clone(event)));
        drop(inner);
        self.told.notify_one();
        true
    }

    pub fn end(&self, why: Ended) {
        let mut inner = self.inner.lock();
        inner.ended.get_or_insert(why);
        if why != Ended::Removed {
            inner.events.clear();
        }
        drop(inner);
        self.told.notify_one();
    }

    /// The next changes, at most so many; waits for one.
    async fn take(&self, most: usize) -> Result<Vec<(Verb, Arc<Event>)>, Ended> {
        loop {
            {
                let mut inner = self.inner.lock();
                if !inner.events.is_empty() {
                    let count = inner.events.len().min(most);
                    return Ok(inner.events.drain(..count).collect());
                }
                inner.ended.map_or(Ok(()), Err)?;
            }
            self.told.notified().await;
        }
    }
}

/// One watch on a resource.
pub struct Watcher {
    resource: Arc<Resource>,
    queue: Arc<Queue>,
    initial: Option<Initial>,
    /// Changes that were history when the watch began.
    backlog: VecDeque<Arc<Event>>,
    /// The last change that was yielded, or the revision the watch began at.
    seen: Revision,
}

struct Initial {
    revision: Revision,
    objects: Objects,
    position: (usize, usize),
}

impl Watcher {
    pub(super) fn new(
        resource: Arc<Resource>,
        queue: Arc<Queue>,
        initial: Option<(Revision, Objects)>,
        backlog: VecDeque<Arc<Event>>,
    ) -> Self {
        let initial = initial.map(|(revision, objects)| Initial {
            position: objects.position(&queue.scope, None),
            revision,
            objects,
        });
        let seen = queue.after;
        Self { resource, queue, initial, backlog, seen }
    }

    /// Waits for the next events; yields at least one and at most `most` (at least 1).
    /// Dropping the future loses nothing.
    pub async fn next(&mut self, most: usize) -> Result<Vec<WatchEvent>, Ended> {
        loop {
            let known = self.known(most);
            if !known.is_empty() {
                return Ok(known);
            }
            let told = self.queue.take(most.max(1)).await?;
            self.seen = told.last().map_or(self.seen, |(_, event)| event.revision);
            let told: Vec<WatchEvent> = told.iter().filter_map(|(verb, event)| event.told(*verb)).collect();
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    /// Events that were there when the watch began.
    fn known(&mut self, most: usize) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        if let Some(initial) = &mut self.initial {
            while events.len() < most.max(1) {
                let next = initial.objects.step(&mut initial.position);
                let Some(object) = next.filter(|object| self.queue.scope.contains(object)) else {
                    events.push(WatchEvent::InitialEnd(initial.revision));
                    self.initial = None;
                    return events;
                };
                if self.queue.filter.as_ref().is_none_or(|filter| filter(object)) {
                    let line = object.event(Verb::Added);
                    events.push(WatchEvent::Object { verb: Verb::Added, object: Arc::clone(object), line });
                }
            }
            return events;
        }
        while events.len() < most.max(1)
            && let Some(event) = self.backlog.pop_front()
        {
            self.seen = event.revision;
            if let Some(verb) = event.verb(self.queue.filter.as_ref()) {
                events.extend(event.told(verb));
            }
        }
        events
    }

    /// The revision for a bookmark: everything up to it has been yielded. `None` while there
    /// is something to yield or nothing more will come.
    pub fn bookmark(&self) -> Option<Revision> {
        // Read before the queue: what has been applied up to here is already queued.
        let revision = self.resource.applied();
        let inner = self.queue.inner.lock();
        let idle = self.initial.is_none()
            && self.backlog.is_empty()
            && inner.events.is_empty()
            && inner.ended.is_none();
        // Ahead of `applied` a part of the last commit may still be on its way.
        (idle && revision >= self.seen).then_some(revision)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.resource.forget(&self.queue);
    }
}
