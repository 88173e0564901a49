//! Informers of kube-rs, by pages and by a streamed list, while others write and the server is stopped and started:
//! nothing is lost and nothing told twice.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use harness::client;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube_runtime::watcher::{self, Event, watcher};
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use serde_json::json;

/// What an informer holds: revisions by name.
#[derive(Default)]
struct Held {
    objects: BTreeMap<String, u64>,
    /// The list that is being read.
    listing: Option<BTreeMap<String, u64>>,
    lists: usize,
    newest: u64,
}

fn revision(map: &ConfigMap) -> u64 {
    map.metadata.resource_version.as_deref().unwrap().parse().unwrap()
}

impl Held {
    /// Takes an event in; what was told before, or is older than that, is a mistake of the server's.
    fn hear(&mut self, event: Event<ConfigMap>) {
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(map) => {
                let at = revision(&map);
                let name = map.metadata.name.unwrap();
                assert!(self.objects.get(&name).is_none_or(|known| *known <= at), "{name} went back to {at}");
                let twice = self.listing.as_mut().unwrap().insert(name.clone(), at);
                assert_eq!(twice, None, "{name} is listed twice");
            }
            Event::InitDone => {
                self.objects = self.listing.take().unwrap();
                self.newest = self.newest.max(self.objects.values().copied().max().unwrap_or(0));
                self.lists += 1;
            }
            Event::Apply(map) => {
                self.advance(&map);
                let at = revision(&map);
                self.objects.insert(map.metadata.name.unwrap(), at);
            }
            Event::Delete(map) => {
                self.advance(&map);
                let name = map.metadata.name.unwrap();
                assert!(self.objects.remove(&name).is_some(), "{name} was deleted without being there");
            }
        }
    }

    fn advance(&mut self, map: &ConfigMap) {
        let at = revision(map);
        assert!(at > self.newest, "{:?} at {at} was told after {}", map.metadata.name, self.newest);
        self.newest = at;
    }
}

/// When informers are to do what.
#[derive(Default)]
struct Signals {
    over: AtomicBool,
    /// They read nothing meanwhile.
    deaf: AtomicBool,
}

/// Follows the maps until told that all is over.
fn inform(port: u16, config: watcher::Config, signals: Arc<Signals>) -> (Arc<Mutex<Held>>, Followed) {
    let held: Arc<Mutex<Held>> = Arc::default();
    let hearing = held.clone();
    let task = tokio::spawn(async move {
        let maps: Api<ConfigMap> = Api::namespaced(client(port, Some("secret")), "default");
        let mut events = std::pin::pin!(watcher(maps, config));
        while !signals.over.load(Ordering::SeqCst) {
            if signals.deaf.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let Ok(event) = tokio::time::timeout(Duration::from_millis(50), events.next()).await else {
                continue;
            };
            match event.unwrap() {
                Ok(event) => hearing.lock().hear(event),
                // The server is away, or does not know the revision any more: the informer goes on by itself.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    (held, task)
}

type Followed = tokio::task::JoinHandle<()>;

/// A server with a runtime of its own, with which connections end that are still open.
struct Served {
    tasks: Tasks,
    runtime: tokio::runtime::Runtime,
    port: u16,
}

impl Served {
    async fn start(folder: &Path, port: u16) -> Self {
        let tasks = Tasks::new();
        let mut config = harness::config(folder);
        config.store = format!("file:{}", folder.join("store").display()).parse().unwrap();
        config.listen.1 = port;
        // Whoever does not read holds the end of a server up for as long as a request may take.
        config.request_timeout = Duration::from_secs(1);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let owner = tasks.clone();
        let start = runtime.spawn(async move { apiserver::start(config, &owner).await.unwrap().port() });
        let port = start.await.unwrap();
        Self { tasks, runtime, port }
    }

    async fn stop(self) {
        let Self { tasks, runtime, .. } = self;
        runtime
            .spawn(async move { tasks.stop_and_join(Duration::from_secs(10)).await })
            .await
            .unwrap()
            .unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
    }
}

/// Makes, changes and deletes maps, and counts what was done. Returns how many requests found no server.
async fn write(port: u16, round: usize, done: Arc<AtomicUsize>) -> usize {
    let maps: Api<ConfigMap> = Api::namespaced(client(port, Some("secret")), "default");
    let mut away = 0;
    let mut count = |result: Result<(), kube::Error>| match result {
        Ok(()) => {
            done.fetch_add(1, Ordering::SeqCst);
        }
        // It is there already, or not any more.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(_) => away += 1,
    };
    for i in 0..30 {
        let map =
            json!({"metadata": {"name": format!("m{i}"), "labels": {"even": (i % 2 == 0).to_string()}}});
        let map = serde_json::from_value(map).unwrap();
        count(maps.create(&PostParams::default(), &map).await.map(drop));
        let patch = Patch::Merge(json!({"data": {"round": round.to_string(), "i": i.to_string()}}));
        let name = format!("m{}", (i * 7 + round) % 30);
        count(maps.patch(&name, &PatchParams::default(), &patch).await.map(drop));
        if i % 5 == round % 5 {
            let name = format!("m{}", (i + 3) % 30);
            count(maps.delete(&name, &DeleteParams::default()).await.map(drop));
        }
        // In and out of a selector.
        let patch =
            Patch::Merge(json!({"metadata": {"labels": {"even": round.is_multiple_of(2).to_string()}}}));
        let name = format!("m{}", (i * 11) % 30);
        count(maps.patch(&name, &PatchParams::default(), &patch).await.map(drop));
    }
    away
}

/// Writes more than is remembered of what happened.
async fn flood(port: u16) {
    let maps: Api<ConfigMap> = Api::namespaced(client(port, Some("secret")), "default");
    for i in 0..8 {
        let map = json!({"metadata": {"name": format!("big{i}")}, "data": {"k": "x".repeat(900_000)}});
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    }
    for i in 0..8 {
        maps.delete(&format!("big{i}"), &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_told_twice_whatever_happens_to_the_server() {
    machinery::tls::use_ring();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Served::start(folder.path(), 0).await;
    let port = server.port;
    assert!(machinery::client::wait_ready(&client(port, Some("secret")), &server.tasks.token()).await);
    let signals = Arc::new(Signals::default());
    let informers = [
        ("pages", watcher::Config::default().page_size(4), ""),
        ("any version", watcher::Config::default().any_semantic(), ""),
        ("streamed", watcher::Config::default().streaming_lists(), ""),
        ("selected", watcher::Config::default().streaming_lists().labels("even=true"), "even=true"),
        ("short", watcher::Config::default().timeout(1), ""),
    ]
    .map(|(name, config, labels)| (name, inform(port, config, signals.clone()), labels));
    for round in 0..3 {
        let done = Arc::new(AtomicUsize::new(0));
        let writing = tokio::spawn(write(port, round, done.clone()));
        // The server goes while they write.
        while done.load(Ordering::SeqCst) < 20 && !writing.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // In one round they miss more than the server remembers, and are told to list again.
        let deaf = round == 1;
        signals.deaf.store(deaf, Ordering::SeqCst);
        if deaf {
            flood(port).await;
        }
        server.stop().await;
        server = Served::start(folder.path(), port).await;
        signals.deaf.store(false, Ordering::SeqCst);
        writing.await.unwrap();
        assert!(done.load(Ordering::SeqCst) >= 20, "round {round}: hardly anything was written");
        let after = Arc::new(AtomicUsize::new(0));
        assert_eq!(write(port, round + 10, after.clone()).await, 0, "the server is there");
        assert!(after.load(Ordering::SeqCst) >= 60, "round {round}: {after:?}");
    }
    let maps: Api<ConfigMap> = Api::namespaced(client(port, Some("secret")), "default");
    for (name, (held, task), labels) in informers {
        let listed = maps.list(&ListParams::default().labels(labels)).await.unwrap();
        let there: BTreeMap<String, u64> =
            listed.items.iter().map(|map| (map.metadata.name.clone().unwrap(), revision(map))).collect();
        assert!(!there.is_empty(), "{name}");
        for _ in 0..500 {
            if task.is_finished() || held.lock().objects == there {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!task.is_finished(), "the informer {name:?} was told something wrong");
        assert_eq!(held.lock().objects, there, "{name}");
        assert!(held.lock().lists > 1, "{name} was never told to list again");
    }
    signals.over.store(true, Ordering::SeqCst);
    server.stop().await;
}
