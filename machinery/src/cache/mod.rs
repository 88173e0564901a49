//! The objects of one kind in memory, kept by LIST and WATCH, with the revision they stand at.
//!
//! Invariant: the revision only grows, readers never see an object older than one they saw
//! before, and change handlers run in order, after the change can be read. kube-runtime's
//! reflector does not tell the revision, which a loop needs so as never to plan on a cache
//! older than its own last write. Upstream counterpart: client-go's reflector and informers.

mod contents;
mod reflect;

use std::fmt::Debug;
use std::sync::Arc;

use kube::Resource;
use kube::core::PartialObjectMeta;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use contents::Contents;

use crate::tasks::Tasks;

/// Which objects of the kind a cache holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors {
    /// Label selector, such as `app=web`.
    pub labels: Option<String>,
    /// Field selector, such as `spec.nodeName=node-1`.
    pub fields: Option<String>,
}

impl Selectors {
    /// All objects.
    pub fn all() -> Self {
        Self::default()
    }

    /// Objects with these fields.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: Some(selector.into()), ..Self::default() }
    }

    /// Objects with these labels.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: Some(selector.into()), ..Self::default() }
    }
}

/// What happened to one object: created if there is no old one, deleted if there is no new one.
#[derive(Debug, Clone)]
pub struct Change<K> {
    /// The object before.
    pub old: Option<Arc<K>>,
    /// The object now.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest state that is known of the object, also if it is deleted.
    pub fn latest(&self) -> &Arc<K> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has an old object or a new one")
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// How far a cache has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    synced: bool,
    revision: u64,
    /// How often the store behind the API server was found to have started anew.
    resets: u64,
}

struct Shared<K> {
    contents: RwLock<Contents<K>>,
    /// Locked while a change is made and told, so that all handlers see all changes in order.
    handlers: Mutex<Vec<Handler<K>>>,
    progress: watch::Sender<Progress>,
    changes: watch::Sender<u64>,
}

/// A cache. Clones share it; it ends with the last of them.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
    _until_dropped: Arc<DropGuard>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), _until_dropped: Arc::clone(&self._until_dropped) }
    }
}

impl<K> Cache<K>
where
    K: Resource + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    /// Starts to fill a cache with the objects of an API: of one namespace or of all.
    pub fn start(api: kube::Api<K>, selectors: Selectors, tasks: &Tasks) -> Self {
        let url = api.resource_url().to_owned();
        Self::start_at(api.into_client(), url, selectors, tasks)
    }

    /// Like [`Cache::start`]; what `slim` takes from objects is not remembered. Names, the UID and the version must stay.
    pub fn start_slim(api: kube::Api<K>, selectors: Selectors, slim: fn(&mut K), tasks: &Tasks) -> Self {
        let url = api.resource_url().to_owned();
        Self::fill(api.into_client(), url, selectors, slim, tasks)
    }

    /// Like [`Cache::start`], from the path of the collection.
    pub fn start_at(client: kube::Client, url: String, selectors: Selectors, tasks: &Tasks) -> Self {
        Self::fill(client, url, selectors, |_| (), tasks)
    }

    fn fill(
        client: kube::Client,
        url: String,
        selectors: Selectors,
        slim: fn(&mut K),
        tasks: &Tasks,
    ) -> Self {
        let stop = tasks.child();
        let cache = Self::empty(stop.clone());
        let reflection =
            reflect::Reflection { client, url, selectors, slim, shared: Arc::clone(&cache.shared) };
        tasks.spawn_finite("cache", async move {
            stop.run_until_cancelled(reflection.run()).await;
        });
        cache
    }
}

impl<K> Cache<PartialObjectMeta<K>>
where
    K: Resource + Clone + Debug + Send + Sync + 'static,
{
    /// Starts to fill a cache with the metadata alone of an API's objects.
    pub fn start_metadata(api: kube::Api<K>, selectors: Selectors, tasks: &Tasks) -> Self {
        let url = api.resource_url().to_owned();
        Self::start_at(api.into_client(), url, selectors, tasks)
    }
}

impl<K: Resource> Cache<K> {
    fn empty(stop: CancellationToken) -> Self {
        let shared = Shared {
            contents: RwLock::new(Contents::default()),
            handlers: Mutex::new(Vec::new()),
            progress: watch::Sender::new(Progress::default()),
            changes: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared), _until_dropped: Arc::new(stop.drop_guard()) }
    }

    /// A filled cache that nothing feeds, for tests of what reads caches.
    pub fn fixed(objects: impl IntoIterator<Item = K>) -> Self {
        let cache = Self::empty(CancellationToken::new());
        cache.shared.replace(objects.into_iter().map(Arc::new).collect(), 0);
        cache
    }

    /// One object; cluster-scoped ones have no namespace.
    pub fn get(&self, namespace: Option<&str>, name: &str) -> Option<Arc<K>> {
        self.shared.contents.read().get(namespace.unwrap_or_default(), name).cloned()
    }

    /// All objects, sorted by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.contents.read().iter().cloned().collect()
    }

    /// All objects of a namespace, sorted by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.contents.read().iter_in(namespace).cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.shared.contents.read().len()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the cache was filled once.
    pub fn synced(&self) -> bool {
        self.shared.progress.borrow().synced
    }

    /// Waits until the cache was filled once.
    pub async fn wait_synced(&self) {
        self.wait_until(|progress| progress.synced).await;
    }

    /// The revision the cache stands at: all changes up to it are in.
    pub fn revision(&self) -> u64 {
        self.shared.progress.borrow().revision
    }

    /// Waits until the cache stands at a revision or past it; also returns when the store
    /// behind the API server has started anew and may never get there.
    pub async fn wait_for(&self, revision: u64) {
        let resets = self.shared.progress.borrow().resets;
        self.wait_until(|progress| {
            progress.synced && (progress.revision >= revision || progress.resets != resets)
        })
        .await;
    }

    async fn wait_until(&self, reached: impl FnMut(&Progress) -> bool) {
        let ended = self.shared.progress.subscribe().wait_for(reached).await.is_err();
        debug_assert!(!ended, "this handle keeps the sender");
    }

    /// Tells from now on when to look again.
    pub fn subscribe(&self) -> Subscription {
        Subscription { changes: self.shared.changes.subscribe() }
    }

    /// Has every change told to `handler`, in order, beginning with the objects that are
    /// there already. It must be quick and must not add handlers; it may read the cache.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.shared.handlers.lock();
        for object in self.list() {
            handler(&Change { old: None, new: Some(object) });
        }
        handlers.push(Box::new(handler));
    }
}

impl<K: Resource> Shared<K> {
    /// Puts in the whole truth as of a revision, and tells what is different.
    fn replace(&self, objects: Vec<Arc<K>>, revision: u64) {
        let handlers = self.handlers.lock();
        let (changes, reset) = {
            let mut contents = self.contents.write();
            let reset = revision < contents.revision();
            (contents.replace(objects, revision), reset)
        };
        self.tell(&handlers, &changes);
        self.progress.send_modify(|progress| {
            *progress =
                Progress { synced: true, revision, resets: progress.resets.wrapping_add(u64::from(reset)) };
        });
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Puts in one event of a watch.
    fn apply(&self, object: Arc<K>, deleted: bool) {
        let handlers = self.handlers.lock();
        let (change, revision) = {
            let mut contents = self.contents.write();
            (contents.apply(object, deleted), contents.revision())
        };
        let changed = change.is_some();
        self.tell(&handlers, change.as_slice());
        self.advance(revision);
        if changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn bookmark(&self, revision: u64) {
        self.contents.write().advance(revision);
        self.advance(revision);
    }

    fn advance(&self, revision: u64) {
        self.progress.send_if_modified(|progress| {
            let forward = revision > progress.revision;
            if forward {
                progress.revision = revision;
            }
            forward
        });
    }

    fn tell(&self, handlers: &[Handler<K>], changes: &[Change<K>]) {
        for change in changes {
            for handler in handlers {
                handler(change);
            }
        }
    }
}

/// Tells when a cache has changed; changes that come together are told once.
#[derive(Debug, Clone)]
pub struct Subscription {
    changes: watch::Receiver<u64>,
}

impl Subscription {
    /// Waits for the next change since the last call (or since subscribing).
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The cache is gone: nothing will change any more.
            std::future::pending::<()>().await;
        }
    }
}

/// The revision of an object, for comparison. Revisions are decimal numbers (true since
/// Kubernetes 1.35 by contract).
pub fn revision_of(object: &impl Resource) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests;
