//! Caches as the frame sees them: something to wait for after writing, and
//! indexes that answer "whose?" and "on which node?" without a walk over all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::cache::{Cache, Change, revision_of};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::act::{Doomed, Present};
use super::plan::Kind;

/// What a cache can be waited for.
#[async_trait]
pub trait Watched: Send + Sync {
    /// What it holds.
    fn kind(&self) -> &Kind;
    /// Whether it holds the object of this name, if there is one.
    fn covers(&self, namespace: &str, name: &str) -> bool;
    /// Returns once it stands at the revision and has seen the doomed go.
    async fn seen(&self, revision: Option<u64>, doomed: Vec<Doomed>);
    /// Returns once it shows all of these, or later states of them.
    async fn shows(&self, there: Vec<Present>);
}

/// A type that the frame can cache.
pub trait Cached:
    k8s_openapi::Resource
    + Metadata<Ty = ObjectMeta>
    + DeserializeOwned
    + Clone
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Cached for K where
    K: k8s_openapi::Resource
        + Metadata<Ty = ObjectMeta>
        + DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static
{
}

struct WatchedCache<K: kube::Resource> {
    kind: Kind,
    cache: Cache<K>,
    covers: fn(&str, &str) -> bool,
}

/// The cache as something to wait for; `covers` says which namespaces and names are in it.
pub fn watched<K>(cache: &Cache<K>, covers: fn(&str, &str) -> bool) -> Arc<dyn Watched>
where
    K: Cached + kube::Resource,
{
    Arc::new(WatchedCache { kind: Kind::of::<K>(), cache: cache.clone(), covers })
}

#[async_trait]
impl<K> Watched for WatchedCache<K>
where
    K: Cached + kube::Resource,
{
    fn kind(&self) -> &Kind {
        &self.kind
    }

    fn covers(&self, namespace: &str, name: &str) -> bool {
        (self.covers)(namespace, name)
    }

    async fn seen(&self, revision: Option<u64>, mut doomed: Vec<Doomed>) {
        if let Some(revision) = revision {
            self.cache.wait_for(revision).await;
        }
        let mut changes = self.cache.subscribe();
        loop {
            doomed.retain(|doomed| {
                let namespace = Some(doomed.namespace.as_str()).filter(|namespace| !namespace.is_empty());
                self.cache.get(namespace, &doomed.name).is_some_and(|object| {
                    let meta = Metadata::metadata(&*object);
                    meta.uid.as_deref() == Some(&*doomed.uid) && meta.deletion_timestamp.is_none()
                })
            });
            if doomed.is_empty() {
                return;
            }
            changes.changed().await;
        }
    }

    async fn shows(&self, mut there: Vec<Present>) {
        let mut changes = self.cache.subscribe();
        loop {
            there.retain(|present| {
                let object = self.cache.get(Some(&present.namespace), &present.name);
                object.is_none_or(|object| revision_of(&*object) < Some(present.revision))
            });
            if there.is_empty() {
                return;
            }
            changes.changed().await;
        }
    }
}

/// Objects of one kind under one key.
type Bucket<K> = BTreeMap<(String, String), Arc<K>>;

/// Objects of a cache by some property, for example by their owner.
pub struct Index<K> {
    buckets: Arc<Mutex<HashMap<String, Bucket<K>>>>,
}

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Index { buckets: Arc::clone(&self.buckets) }
    }
}

impl<K: Cached + kube::Resource> Index<K> {
    /// Follows the cache; `keys` says where an object belongs, if anywhere.
    pub fn follow<Keys>(cache: &Cache<K>, keys: fn(&K) -> Keys) -> Self
    where
        Keys: IntoIterator<Item = String> + 'static,
    {
        let index = Index { buckets: Arc::default() };
        let buckets: Arc<Mutex<HashMap<String, Bucket<K>>>> = Arc::clone(&index.buckets);
        cache.on_change(move |change: &Change<K>| {
            let mut buckets = buckets.lock();
            if let Some(old) = change.old.as_deref() {
                for place in keys(old) {
                    let Some(bucket) = buckets.get_mut(&place) else { continue };
                    bucket.remove(&identity(old));
                    if bucket.is_empty() {
                        buckets.remove(&place);
                    }
                }
            }
            if let Some(new) = &change.new {
                for place in keys(new) {
                    buckets.entry(place).or_default().insert(identity(&**new), Arc::clone(new));
                }
            }
        });
        index
    }

    /// What belongs there, by namespace and name.
    pub fn get(&self, key: &str) -> Vec<Arc<K>> {
        self.buckets.lock().get(key).map(|bucket| bucket.values().cloned().collect()).unwrap_or_default()
    }
}

fn identity<K: Cached>(object: &K) -> (String, String) {
    let meta = Metadata::metadata(object);
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
