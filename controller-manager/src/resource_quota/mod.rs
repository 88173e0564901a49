//! ResourceQuotas: what is used of them, counted anew when something goes, when a quota is made or changed, and every
//! five minutes. What is made is charged by the API server in the same transaction.
//!
//! Invariant: nothing is written over a charge that the counts do not show. A charge changes the quota at the revision
//! of the object that it is for. So objects are read as of the quota's revision or later, and the result is written
//! over that revision of the quota alone.
//!
//! Pods, services and claims are read from the caches if something of their kind has changed since, so that they
//! are that new; otherwise, and all else, from the API server. All else is only counted, in a list of the API
//! server for each kind that a quota names: few are named, and keeping the names of everything in every namespace
//! for them would cost more. Upstream: `pkg/controller/resourcequota`.

mod plan;
#[cfg(test)]
mod tests;

use api::Message;
use std::sync::Arc;
use std::time::Duration;

use api::quota::{Amounts, Charged, Counted, is_in_scope};
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::core::Request;
use kube::core::params::{ListParams, VersionMatch};
use machinery::cache::{Cache, revision_of};
use machinery::clock::Clock;
use machinery::queue::Queue;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::Start;
use crate::caches::Caches;
use crate::discovery::Served;
use crate::frame::{Actor, Cached, Key, Kind, Timestamp, Writes, failure, queue, run_queue};
use crate::kit::owners;

/// How often all is counted though nothing is known to have gone.
const RESYNC: Duration = Duration::from_secs(300);
/// When to count again what an API server may not have charged that did not know a new limit yet.
const SETTLED: Duration = Duration::from_secs(1);
/// When to look again at what was changed meanwhile.
const SOON: Duration = Duration::from_millis(20);
/// When to look again for a kind that a quota names and nobody serves.
const UNKNOWN_KIND: Duration = Duration::from_secs(30);
/// How long to wait for a cache to show the revision of a quota before the API server is asked.
const CATCH_UP: Duration = Duration::from_millis(100);
const WORKERS: usize = 4;

/// The kinds that the API serves, as the garbage collector finds them.
pub type Kinds = Arc<Mutex<Vec<Served>>>;

/// What is told the kind and namespace of an object that is gone.
pub type GoneFrom = Box<dyn Fn(&Kind, &str) + Send + Sync>;

/// Starts the controller. What it returns is to be told of every object that goes: its kind and its namespace.
pub fn start(start: &Start, kinds: Kinds) -> GoneFrom {
    let caches = start.caches;
    let keys: Queue<Key> = queue(start.clock);
    let changed = keys.clone();
    caches.quotas.on_change(move |change| {
        if change.new.as_deref().is_some_and(|quota| plan::is_new_to(change.old.as_deref(), quota)) {
            changed.add(Key::of(&change.latest().metadata));
        }
    });
    follow(&caches.pods, caches, &keys, start.clock);
    follow(&caches.services, caches, &keys, start.clock);
    follow(&caches.claims, caches, &keys, start.clock);
    let worker = Arc::new(Worker {
        client: start.client.clone(),
        actor: start.actor("resourcequota-controller", Writes::Kinds([Kind::of::<ResourceQuota>()].into())),
        caches: caches.clone(),
        kinds,
        clock: start.clock.clone(),
    });
    run_queue(start.tasks, "resource_quota", WORKERS, keys.clone(), start.metrics, move |key: Key| {
        let worker = Arc::clone(&worker);
        async move { worker.reconcile(&key).await }
    });
    let quotas = caches.quotas.clone();
    Box::new(move |kind, namespace| {
        let Some(counted) = Counted::of(&kind.group, &kind.plural) else { return };
        for quota in quotas.list_in(namespace) {
            if plan::names(&quota).any(|name| counted.counts(name)) {
                keys.add(Key::of(&quota.metadata));
            }
        }
    })
}

/// An object that lives on can cost less than before, or belong to another quota.
fn follow<K>(cache: &Cache<K>, caches: &Caches, keys: &Queue<Key>, clock: &Clock)
where
    K: Cached + kube::Resource<DynamicType = ()> + Charged,
{
    let (quotas, keys, clock) = (caches.quotas.clone(), keys.clone(), clock.clone());
    cache.on_change(move |change| {
        let (Some(old), Some(new)) = (change.old.as_deref(), change.new.as_deref()) else { return };
        let quotas = quotas.list_in(owners::namespace(Metadata::metadata(new)));
        if quotas.is_empty() {
            return;
        }
        let now = clock.now();
        let costs_the_same = old.usage(now) == new.usage(now);
        for quota in quotas {
            if !costs_the_same || is_in_scope(&quota, old) != is_in_scope(&quota, new) {
                keys.add(Key::of(&quota.metadata));
            }
        }
    });
}

struct Worker {
    client: kube::Client,
    actor: Actor,
    caches: Caches,
    kinds: Kinds,
    clock: Clock,
}

/// As much of a list as it takes to count it.
#[derive(Deserialize)]
struct Number {
    items: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Listed<K> {
    items: Vec<K>,
}

impl Worker {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Message> {
        if self.kinds.lock().is_empty() {
            return Ok(Some(SOON));
        }
        if self.caches.quotas.get(Some(&key.namespace), &key.name).is_none() {
            return Ok(None);
        }
        let words = |error: kube::Error| failure(&error).message;
        let Some(quota) = self.present(key).await.map_err(words)? else { return Ok(None) };
        let counted = self.count(&quota).await.map_err(words)?;
        let done = self.actor.carry_out(plan::write(&quota, &counted.used).into_iter().collect()).await;
        match done.failure {
            Some(failure) if failure.is_passing() => Ok(Some(SOON)),
            Some(failure) => Err(failure.message.into()),
            None if plan::is_new_to(None, &quota) => Ok(Some(counted.again.min(SETTLED))),
            None => Ok(Some(counted.again)),
        }
    }

    /// The quota as the API server has it now: the cache may lag behind charges.
    async fn present(&self, key: &Key) -> Result<Option<ResourceQuota>, kube::Error> {
        let quotas: kube::Api<ResourceQuota> = kube::Api::namespaced(self.client.clone(), &key.namespace);
        quotas.get_opt(&key.name).await
    }

    async fn count(&self, quota: &ResourceQuota) -> Result<Count, kube::Error> {
        let kinds = self.kinds.lock().clone();
        let mut count = Count { used: Amounts::new(), again: RESYNC };
        let mut unknown: Vec<&str> = plan::names(quota).collect();
        let caches = &self.caches;
        let fresh = tokio::join!(
            is_fresh(&caches.pods, quota),
            is_fresh(&caches.services, quota),
            is_fresh(&caches.claims, quota)
        );
        for served in kinds.iter().filter(|served| served.namespaced && served.can(&["create", "list"])) {
            let kind = &served.kind;
            let Some(counted) = Counted::of(&kind.group, &kind.plural) else { continue };
            if plan::names(quota).any(|name| counted.counts(name)) {
                unknown.retain(|name| !counted.counts(name));
                self.count_kind(quota, kind, &counted, fresh, &mut count).await?;
            }
        }
        if !unknown.is_empty() {
            count.again = UNKNOWN_KIND;
        }
        Ok(count)
    }

    async fn count_kind(
        &self,
        quota: &ResourceQuota,
        kind: &Kind,
        counted: &Counted,
        fresh: (bool, bool, bool),
        count: &mut Count,
    ) -> Result<(), kube::Error> {
        let (caches, now) = (&self.caches, self.clock.now());
        let used = if *kind == Kind::of::<Pod>() {
            let pods = self.all(&caches.pods, fresh.0, quota).await?;
            count.look_again_at_end_of(&pods, now);
            plan::usage(quota, counted, pods.iter().map(|pod| &**pod), now)
        } else if *kind == Kind::of::<Service>() {
            plan::usage(
                quota,
                counted,
                self.all(&caches.services, fresh.1, quota).await?.iter().map(|o| &**o),
                now,
            )
        } else if *kind == Kind::of::<PersistentVolumeClaim>() {
            plan::usage(
                quota,
                counted,
                self.all(&caches.claims, fresh.2, quota).await?.iter().map(|o| &**o),
                now,
            )
        } else if *kind == Kind::of::<ResourceClaim>() {
            let listed: Listed<ResourceClaim> = self.list(quota, kind, false).await?;
            plan::usage(quota, counted, &listed.items, now)
        } else {
            let listed: Number = self.list(quota, kind, true).await?;
            plan::usage(quota, counted, std::iter::repeat_n(counted, listed.items.len()), now)
        };
        count.used.extend(used);
        Ok(())
    }

    /// The objects of the quota's namespace, none older than the quota.
    async fn all<K>(
        &self,
        cache: &Cache<K>,
        is_fresh: bool,
        quota: &ResourceQuota,
    ) -> Result<Vec<Arc<K>>, kube::Error>
    where
        K: Cached + kube::Resource<DynamicType = ()> + DeserializeOwned,
    {
        if is_fresh {
            return Ok(cache.list_in(owners::namespace(&quota.metadata)));
        }
        let listed: Listed<K> = self.list(quota, &Kind::of::<K>(), false).await?;
        Ok(listed.items.into_iter().map(Arc::new).collect())
    }

    /// The same from the API server.
    async fn list<T: DeserializeOwned>(
        &self,
        quota: &ResourceQuota,
        kind: &Kind,
        metadata_alone: bool,
    ) -> Result<T, kube::Error> {
        let revision = quota.metadata.resource_version.as_deref().unwrap_or_default();
        let params = ListParams::default().at(revision).matching(VersionMatch::NotOlderThan);
        let request = Request::new(kind.path(owners::namespace(&quota.metadata)));
        let request = if metadata_alone { request.list_metadata(&params) } else { request.list(&params) };
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }
}

/// Whether a cache shows all that happened before the quota was written, or soon does.
async fn is_fresh<K>(cache: &Cache<K>, quota: &ResourceQuota) -> bool
where
    K: Cached + kube::Resource<DynamicType = ()> + DeserializeOwned,
{
    let revision = revision_of(quota).unwrap_or(u64::MAX);
    tokio::time::timeout(CATCH_UP, cache.wait_for(revision)).await.is_ok()
}

/// What was counted, and when to count again.
struct Count {
    used: Amounts,
    again: Duration,
}

impl Count {
    /// Pods whose nodes do not answer stop to count by the clock alone.
    fn look_again_at_end_of(&mut self, pods: &[Arc<Pod>], now: Timestamp) {
        if let Some(wait) = plan::next_end(pods, now) {
            self.again = self.again.min(wait);
        }
    }
}
