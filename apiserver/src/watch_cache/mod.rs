//! The registry in memory: what all reads and watches are served from.
//!
//! Invariant: one watch on the whole registry, applied in revision order, feeds every
//! resource, so all stand at one revision. A gap in that watch ends all watchers rather than
//! hide a change from them. Upstream counterpart: `storage/cacher`, one per resource.

mod index;
mod object;
mod objects;
mod resource;
mod scan;
#[cfg(test)]
mod tests;
mod watcher;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{FutureExt as _, StreamExt as _};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub use index::{Index, Indexed};
pub use object::{CachedObject, Fields, FieldsFn, ReadFn, TAIL, shown_at};
pub use objects::{Objects, Scope};
pub use resource::{Resource, ResourceSpec, Snapshot};
pub use watcher::{Ended, Filter, WatchEvent, WatchFrom, Watcher};

use crate::store::{Batch, Change, ChangeStream, KeyValue, Revision, Store, StoreError};

/// Every key of ours begins with this.
pub const REGISTRY: &str = "/registry/";

/// How many revisions of history a new cache asks the store for, so that watches of before a
/// restart can go on.
const PREROLL: Revision = 1000;
/// How long a read waits for the cache to catch up with the store.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Batches that are due together are announced together.
const TOGETHER: usize = 256;

/// The registry in memory.
pub struct WatchCache {
    store: Arc<dyn Store>,
    registry: Mutex<Registry>,
    /// The same resources as in `registry`, for readers.
    resources: RwLock<BTreeMap<String, Arc<Resource>>>,
    /// The revision that all resources have reached.
    applied: watch::Sender<Revision>,
    tickets: AtomicU64,
    answer: tokio::sync::Mutex<Answer>,
    /// Asks the feeder to load everything again.
    distrust: Notify,
}

/// What the feeder works on. Held while changes are applied and while resources come and go.
#[derive(Default)]
struct Registry {
    resources: BTreeMap<String, Arc<Resource>>,
    /// Keys that belong to no resource, for example objects of a kind not served yet.
    unclaimed: BTreeMap<String, KeyValue>,
}

/// The store's last answer, and the last question it answers.
struct Answer {
    ticket: u64,
    revision: Result<Revision, StoreError>,
}

impl WatchCache {
    /// Fills a cache from the store. It follows the store while [`Self::run`] runs.
    pub async fn load(
        store: Arc<dyn Store>,
        specs: impl IntoIterator<Item = ResourceSpec>,
    ) -> Result<Arc<Self>, StoreError> {
        let now = store.revision().await?;
        let loaded = match store.load(REGISTRY, Some(now.saturating_sub(PREROLL).max(1))).await {
            Err(StoreError::Compacted { .. }) => store.load(REGISTRY, None).await?,
            loaded => loaded?,
        };
        let cache = Self {
            store,
            registry: Mutex::new(Registry {
                resources: BTreeMap::new(),
                unclaimed: loaded.items.into_iter().map(|item| (item.key.clone(), item)).collect(),
            }),
            resources: RwLock::default(),
            applied: watch::Sender::new(loaded.revision),
            tickets: AtomicU64::new(0),
            answer: tokio::sync::Mutex::new(Answer { ticket: 0, revision: Ok(0) }),
            distrust: Notify::new(),
        };
        for spec in specs {
            cache.add(spec);
        }
        Ok(Arc::new(cache))
    }

    /// Follows the store until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow() => {}
            () = self.expire_snapshots() => {}
        }
        Ok(())
    }

    /// Adds a resource, or finds the one that is there.
    pub fn add(&self, spec: ResourceSpec) -> Arc<Resource> {
        let mut registry = self.registry.lock();
        if let Some(resource) = registry.resources.get(&spec.prefix) {
            return Arc::clone(resource);
        }
        let items = registry.claim(&spec.prefix);
        let prefix = spec.prefix.clone();
        let resource = Arc::new(Resource::new(spec, self.applied.subscribe(), self.revision(), &items));
        registry.resources.insert(prefix.clone(), Arc::clone(&resource));
        self.resources.write().insert(prefix, Arc::clone(&resource));
        resource
    }

    /// Keeps a resource in another way from now on. Its watchers end: what they were told may be seen
    /// differently now.
    pub fn replace(&self, spec: ResourceSpec) {
        let mut registry = self.registry.lock();
        let prefix = spec.prefix.clone();
        let Some(old) = registry.resources.get(&prefix).cloned() else {
            drop(registry);
            self.add(spec);
            return;
        };
        let revision = self.revision().max(old.changed());
        let new = Arc::new(Resource::new(spec, self.applied.subscribe(), revision, &old.items()));
        registry.resources.insert(prefix.clone(), Arc::clone(&new));
        self.resources.write().insert(prefix, new);
        old.remove();
    }

    /// Stops serving a resource and ends its watchers. Its objects stay in the store.
    pub fn remove(&self, prefix: &str) {
        let mut registry = self.registry.lock();
        let Some(resource) = registry.resources.remove(prefix) else { return };
        self.resources.write().remove(prefix);
        resource.remove();
        registry.unclaimed.extend(resource.items().into_iter().map(|item| (item.key.clone(), item)));
    }

    /// The resource with this prefix.
    pub fn resource(&self, prefix: &str) -> Option<Arc<Resource>> {
        self.resources.read().get(prefix).cloned()
    }

    /// The revision the cache stands at.
    pub fn revision(&self) -> Revision {
        *self.applied.borrow()
    }

    /// Waits until the cache stands at or behind `revision`. Never returns if that never
    /// comes: the caller limits the time.
    pub async fn wait_for(&self, revision: Revision) {
        if self.revision() >= revision {
            return;
        }
        let mut applied = self.applied.subscribe();
        // The sender is ours, so the wait cannot fail.
        let _reached = applied.wait_for(|applied| *applied >= revision).await;
    }

    /// Waits until the cache shows everything that was committed before this call. Returns
    /// the revision that had to be reached.
    pub async fn fresh(&self) -> Result<Revision, StoreError> {
        let revision = match self.store.local_revision() {
            Some(revision) => revision,
            None => self.ask().await?,
        };
        match tokio::time::timeout(CATCH_UP, self.wait_for(revision)).await {
            Ok(()) => Ok(revision),
            Err(_) => {
                self.distrust.notify_one();
                let behind = format!("cache stands at {}, the store at {revision}", self.revision());
                Err(StoreError::Unavailable(behind))
            }
        }
    }

    /// The store's revision. All who wait at the same time share a question that was asked
    /// after the last of them came.
    async fn ask(&self) -> Result<Revision, StoreError> {
        let mine = self.tickets.fetch_add(1, Ordering::SeqCst) + 1;
        let mut answer = self.answer.lock().await;
        if answer.ticket < mine {
            let ticket = self.tickets.load(Ordering::SeqCst);
            let seen = self.revision();
            let revision = self.store.revision().await;
            if let Ok(revision) = revision
                && revision < seen
            {
                tracing::warn!(revision, seen, "The store went back in time");
                self.distrust.notify_one();
            }
            *answer = Answer { ticket, revision };
        }
        answer.revision.clone()
    }

    /// A resource's objects at an older revision: from a snapshot that was kept, or from the
    /// store if that remembers. `None` if neither does.
    pub async fn snapshot_at(
        &self,
        resource: &Resource,
        revision: Revision,
    ) -> Result<Option<Snapshot>, StoreError> {
        if let Some(snapshot) = resource.kept(revision, Instant::now()) {
            return Ok(Some(snapshot));
        }
        let current = resource.snapshot();
        if current.revision == revision {
            return Ok(Some(current));
        }
        match self.store.load(&resource.spec().prefix, Some(revision)).await {
            Ok(loaded) => {
                let objects = resource::decode(resource.spec(), &loaded.items);
                let snapshot = Snapshot { revision, objects };
                resource.keep_loaded(&snapshot);
                Ok(Some(snapshot))
            }
            Err(StoreError::Compacted { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Loads everything again, since something can be read that could not be.
    pub fn reread(&self) {
        self.distrust.notify_one();
    }

    async fn expire_snapshots(&self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let resources: Vec<_> = self.resources.read().values().cloned().collect();
            resources.iter().for_each(|resource| resource.expire_kept());
        }
    }

    async fn follow(&self) {
        const PAUSE: Duration = Duration::from_millis(50);
        let mut pause = PAUSE;
        loop {
            let error = match self.store.watch(REGISTRY, self.revision()).await {
                Ok(stream) => {
                    let before = self.revision();
                    let error = self.feed(stream).await;
                    if self.revision() > before {
                        pause = PAUSE;
                    }
                    error
                }
                Err(error) => Some(error),
            };
            match error {
                None | Some(StoreError::Compacted { .. }) => {
                    if let Err(error) = self.reload().await {
                        tracing::warn!(%error, "Cannot load the registry again");
                    }
                }
                Some(error) => tracing::warn!(%error, "Lost the watch on the store"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Applies a watch until it fails, or until the cache is distrusted (`None`).
    async fn feed(&self, mut stream: ChangeStream) -> Option<StoreError> {
        loop {
            let next = tokio::select! {
                () = self.distrust.notified() => return None,
                next = stream.next() => next,
            };
            let mut revision = self.revision();
            let mut next = Some(next);
            let mut failed = None;
            for _ in 0..TOGETHER {
                let Some(item) = next.take().or_else(|| stream.next().now_or_never()) else { break };
                match item {
                    Some(Ok(batch)) => {
                        self.apply(&batch);
                        revision = revision.max(batch.revision);
                    }
                    Some(Err(error)) => failed = Some(error),
                    None => failed = Some(StoreError::Lost("the watch ended".into())),
                }
                if failed.is_some() {
                    break;
                }
            }
            self.applied.send_replace(revision);
            if failed.is_some() {
                return failed;
            }
            // A busy store must not keep the others of this thread from running.
            tokio::task::yield_now().await;
        }
    }

    fn apply(&self, batch: &Batch) {
        let mut registry = self.registry.lock();
        for commit in batch.changes.chunk_by(|a, b| a.revision() == b.revision()) {
            // A reader of a resource must not see half of a commit.
            let mut groups: Vec<(Option<Arc<Resource>>, Vec<&Change>)> = Vec::with_capacity(1);
            for change in commit {
                let owner = registry.owner(change.key());
                let same = |other: &Option<Arc<Resource>>| match (other, &owner) {
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    (None, None) => true,
                    _ => false,
                };
                match groups.iter_mut().find(|(other, _)| same(other)) {
                    Some((_, changes)) => changes.push(change),
                    None => groups.push((owner, vec![change])),
                }
            }
            for (owner, changes) in groups {
                match owner {
                    Some(resource) => resource.apply(commit[0].revision(), &changes),
                    None => registry.store_unclaimed(&changes),
                }
            }
        }
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let loaded = self.store.load(REGISTRY, None).await?;
        let mut registry = self.registry.lock();
        tracing::warn!(from = self.revision(), to = loaded.revision, "Loaded the registry again");
        registry.unclaimed = loaded.items.into_iter().map(|item| (item.key.clone(), item)).collect();
        let resources: Vec<_> = registry.resources.values().cloned().collect();
        for resource in resources {
            let items = registry.claim(&resource.spec().prefix);
            resource.reset(loaded.revision, &items);
        }
        self.applied.send_replace(loaded.revision);
        Ok(())
    }
}

impl Registry {
    /// Takes out the unclaimed keys below a prefix.
    fn claim(&mut self, prefix: &str) -> Vec<KeyValue> {
        let mut behind = self.unclaimed.split_off(prefix);
        let end = behind.keys().find(|key| !key.starts_with(prefix)).cloned();
        if let Some(end) = end {
            self.unclaimed.append(&mut behind.split_off(&end));
        }
        behind.into_values().collect()
    }

    /// The resource a key belongs to.
    fn owner(&self, key: &str) -> Option<Arc<Resource>> {
        let (prefix, resource) =
            self.resources.range::<str, _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        key.starts_with(prefix.as_str()).then(|| Arc::clone(resource))
    }

    fn store_unclaimed(&mut self, changes: &[&Change]) {
        for change in changes {
            match (*change).clone() {
                Change::Put { key, value, revision, .. } => {
                    self.unclaimed.insert(key.clone(), KeyValue { key, value, revision });
                }
                Change::Delete { key, .. } => {
                    self.unclaimed.remove(&key);
                }
            }
        }
    }
}
