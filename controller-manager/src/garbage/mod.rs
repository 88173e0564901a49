//! Garbage collection by owner references, over all deletable resources that
//! discovery knows. What other controllers cache anyway feeds the graph from
//! there; the rest is watched as bare metadata. Nothing is collected before
//! every watch has delivered once. Upstream: `pkg/controller/garbagecollector`.

mod graph;
mod plan;
#[cfg(test)]
mod tests;

use api::Message;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, PartialObjectMeta, Request};
use machinery::cache::{Cache, Selectors};
use machinery::queue::Queue;
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, warn};

use crate::Start;
use crate::caches::Visitor;
use crate::discovery::{Served, discover};
use crate::frame::{Actor, Cached, Kind, Metrics, Writes, failure, queue, run_queue};
use crate::kit::owners;
use crate::resource_quota::{GoneFrom, Kinds};
use graph::{Graph, Object, Owner, Uid};
use plan::Decision;

/// How often new kinds are looked for though no definition has changed.
const REDISCOVER: Duration = Duration::from_secs(30);
/// What kinds come from and go with.
const DEFINITIONS: &[&str] = &["customresourcedefinitions", "apiservices"];
/// When to look again at an object whose owner's kind is unknown.
const UNKNOWN_KIND: Duration = Duration::from_secs(30);
/// When to look again after a write that came too late.
const SOON: Duration = Duration::from_millis(20);
/// How long to wait for the first list of every kind.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);
const WORKERS: usize = 8;
/// How many vanished owners are remembered.
const MOST_GONE: usize = 4096;

type Metadatas = Cache<PartialObjectMeta<DynamicObject>>;

/// The collector's memory.
struct Collector {
    client: kube::Client,
    actor: Actor,
    graph: Mutex<Graph>,
    queue: Queue<Uid>,
    metrics: Metrics,
    /// Owners that do not exist as seen from a namespace.
    gone: Mutex<HashSet<(Uid, Arc<str>)>>,
    served: Kinds,
    /// Told of every object that goes.
    gone_from: GoneFrom,
    /// Told when kinds may have come or gone.
    kinds_changed: Notify,
    /// Objects with owners of a kind that nobody knew.
    puzzling: Mutex<HashSet<Uid>>,
}

/// Starts the collector. It notes the kinds that are served, and tells `gone_from` of the kind and namespace of every
/// object that goes.
pub fn start(start: &Start, kinds: Kinds, gone_from: GoneFrom) {
    let collector = Arc::new(Collector {
        client: start.client.clone(),
        actor: start.actor("garbage-collector-controller", Writes::Any),
        graph: Mutex::default(),
        queue: queue(start.clock),
        metrics: start.metrics.clone(),
        gone: Mutex::default(),
        served: kinds,
        gone_from,
        kinds_changed: Notify::new(),
        puzzling: Mutex::default(),
    });
    let mut feeder = Feeder { collector: Arc::clone(&collector), fed: Vec::new() };
    start.caches.each_whole(&mut feeder);
    let watching = collector.watch_the_rest(start.tasks.clone(), feeder.fed);
    start.tasks.spawn_loop("garbage_collector", async move {
        watching.await;
        Ok(())
    });
}

/// Feeds the graph from the caches that are there anyway.
struct Feeder {
    collector: Arc<Collector>,
    /// The kinds of these caches.
    fed: Vec<Kind>,
}

impl Visitor for Feeder {
    fn visit<K: Cached + kube::Resource>(&mut self, cache: &Cache<K>) {
        let kind = Arc::new(Kind::of::<K>());
        self.fed.push((*kind).clone());
        let collector = Arc::clone(&self.collector);
        cache.on_change(move |change| {
            let meta =
                |object: &Option<Arc<K>>| object.as_deref().map(|object| Metadata::metadata(object).clone());
            collector.note(&kind, meta(&change.old).as_ref(), meta(&change.new).as_ref());
        });
    }
}

impl Collector {
    /// Takes a change into the graph and adds what it makes worth a look.
    fn note(&self, kind: &Arc<Kind>, old: Option<&ObjectMeta>, new: Option<&ObjectMeta>) {
        let mut look = BTreeSet::new();
        let mut graph = self.graph.lock();
        let gone = old.filter(|old| new.is_none_or(|new| new.uid != old.uid));
        if let Some(uid) = gone.and_then(|gone| gone.uid.as_deref()) {
            look.append(&mut graph.remove(uid));
        }
        if let Some(object) = new.and_then(|new| Object::from_metadata(Arc::clone(kind), new)) {
            look.append(&mut graph.upsert(object));
        }
        drop(graph);
        look.into_iter().for_each(|uid| self.queue.add(uid));
        if let Some(gone) = gone {
            (self.gone_from)(kind, owners::namespace(gone));
        }
    }

    /// Watches the kinds nobody else does, and starts to work once all have been read.
    async fn watch_the_rest(self: Arc<Self>, tasks: Tasks, fed: Vec<Kind>) {
        let mut watches: HashMap<Kind, Metadatas> = HashMap::new();
        let mut working = false;
        loop {
            match discover(&self.client).await {
                Err(error) => warn!(%error, "cannot ask which resources there are"),
                Ok(discovered) => {
                    let served = discovered.resources;
                    let wanted: Vec<&Served> = served
                        .iter()
                        .filter(|served| {
                            served.can(&["list", "watch", "delete"]) && served.kind.plural != "events"
                        })
                        .filter(|served| !fed.contains(&served.kind))
                        .collect();
                    watches.retain(|kind, _| {
                        let kept = wanted.iter().any(|served| served.kind == *kind);
                        if !kept {
                            self.forget(kind);
                        }
                        kept
                    });
                    for served in &wanted {
                        if !watches.contains_key(&served.kind) {
                            watches.insert(served.kind.clone(), self.watch(&served.kind, &tasks));
                        }
                    }
                    // A kind that cannot be listed holds the others up no longer than this.
                    let all = futures::future::join_all(watches.values().map(Metadatas::wait_synced));
                    if tokio::time::timeout(SYNC_PATIENCE, all).await.is_err() {
                        let late = watches.iter().filter(|(_, watch)| !watch.synced());
                        let late: Vec<&str> = late.map(|(kind, _)| kind.plural.as_str()).collect();
                        warn!(?late, "collecting garbage without knowing all kinds");
                    }
                    *self.served.lock() = served;
                    self.puzzling.lock().drain().for_each(|uid| self.queue.add(uid));
                    if !std::mem::replace(&mut working, true) {
                        Arc::clone(&self).work(&tasks);
                    }
                }
            }
            let pause = if working { REDISCOVER } else { Duration::from_secs(1) };
            let _either = tokio::time::timeout(pause, self.kinds_changed.notified()).await;
        }
    }

    fn watch(self: &Arc<Self>, kind: &Kind, tasks: &Tasks) -> Metadatas {
        debug!(%kind.plural, "watching for garbage");
        let gvk = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural);
        let api = kube::Api::<DynamicObject>::all_with(self.client.clone(), &resource);
        let watch: Metadatas = Cache::start_metadata(api, Selectors::all(), tasks);
        let (collector, kind) = (Arc::clone(self), Arc::new(kind.clone()));
        let defines = DEFINITIONS.contains(&kind.plural.as_str());
        watch.on_change(move |change| {
            if defines {
                collector.kinds_changed.notify_one();
            }
            let meta = |object: &Option<Arc<PartialObjectMeta<DynamicObject>>>| {
                object.as_deref().map(|object| object.metadata.clone())
            };
            collector.note(&kind, meta(&change.old).as_ref(), meta(&change.new).as_ref());
        });
        watch
    }

    /// Drops all objects of a kind that is no longer served.
    fn forget(&self, kind: &Kind) {
        let mut graph = self.graph.lock();
        let uids: Vec<Uid> = graph.of_kind(kind).map(|object| object.uid.clone()).collect();
        for uid in uids {
            graph.remove(&uid);
        }
    }

    fn work(self: Arc<Self>, tasks: &Tasks) {
        let (queue, metrics) = (self.queue.clone(), self.metrics.clone());
        run_queue(tasks, "garbage_collector_attempt_to_delete", WORKERS, queue, &metrics, move |uid: Uid| {
            let collector = Arc::clone(&self);
            async move { collector.look_at(&uid).await }
        });
    }

    async fn look_at(&self, uid: &Uid) -> Result<Option<Duration>, Message> {
        let mut alive = HashSet::new();
        loop {
            let decision = {
                let (graph, gone) = (self.graph.lock(), self.gone.lock());
                let Some(object) = graph.get(uid) else { return Ok(None) };
                let decision = plan::decide(
                    &graph,
                    object,
                    |uid| gone.contains(&(uid.clone(), object.namespace.clone())),
                    &alive,
                );
                match decision {
                    Decision::Ask(owners) => Err((owners, object.namespace.clone())),
                    Decision::Act(plan, next) => Ok((plan, next)),
                }
            };
            match decision {
                Err((owners, namespace)) => {
                    for owner in owners {
                        match self.exists(&owner, &namespace).await? {
                            Some(true) => drop(alive.insert(owner.uid)),
                            Some(false) => self.remember_gone(owner.uid, &namespace),
                            None => {
                                self.puzzling.lock().insert(uid.clone());
                                return Ok(Some(UNKNOWN_KIND));
                            }
                        }
                    }
                }
                Ok((plan, next)) => {
                    next.into_iter().for_each(|uid| self.queue.add(uid));
                    return match self.actor.carry_out(plan.actions).await.failure {
                        Some(failure) if failure.is_passing() => Ok(Some(SOON)),
                        Some(failure) => Err(failure.message.into()),
                        None => Ok(plan.requeue_after),
                    };
                }
            }
        }
    }

    fn remember_gone(&self, uid: Uid, namespace: &Arc<str>) {
        let mut gone = self.gone.lock();
        if gone.len() >= MOST_GONE {
            gone.clear();
        }
        gone.insert((uid, Arc::clone(namespace)));
    }

    /// Whether an owner exists, by the API server's word; `None` when its kind is unknown.
    async fn exists(&self, owner: &Owner, namespace: &str) -> Result<Option<bool>, Message> {
        let served = self.served.lock().iter().find(|served| is_kind(&served.kind, owner)).cloned();
        let Some(served) = served else { return Ok(None) };
        if served.namespaced && namespace.is_empty() {
            // Something cluster-wide cannot be owned from within a namespace.
            return Ok(Some(false));
        }
        let path = served.kind.path(if served.namespaced { namespace } else { "" });
        let request =
            Request::new(path).get_metadata(&owner.name, &Default::default()).map_err(Message::of)?;
        match self.client.request::<PartialObjectMeta<DynamicObject>>(request).await {
            Ok(found) => Ok(Some(found.metadata.uid.as_deref() == Some(&*owner.uid))),
            Err(error) => {
                let failure = failure(&error);
                if failure.reason == "NotFound" { Ok(Some(false)) } else { Err(failure.message.into()) }
            }
        }
    }
}

/// Whether an owner reference means this kind, in whatever version.
fn is_kind(kind: &Kind, owner: &Owner) -> bool {
    let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
    kind.kind == *owner.kind && kind.group == group
}
