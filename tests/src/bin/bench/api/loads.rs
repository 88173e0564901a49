//! The loads: which requests are sent, and what is printed about them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::Scope;
use super::client::{Client, Figures, crowd};
use super::server::Server;
use crate::process::{cpu, resident};

/// The size of the floor's list, about that of a thousand pods.
pub const LIST_BYTES: usize = 4 << 20;
/// Where objects are made.
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The same of pods.
pub const PODS: &str = "/api/v1/namespaces/default/pods";
/// And of accounts.
pub const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
/// As many as there is time for.
pub const ANY: usize = usize::MAX;
/// How many events a second watchers are told in all. About what etcd's disk allows, and the same for each server: one
/// that works without a pause finds its caches warm and takes less for each.
const EVENTS: f64 = 40_000.0;

/// A ConfigMap of about 1 KiB.
pub fn config_map(name: &str, number: usize) -> Bytes {
    let data = format!("{number:0>900}");
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": data}});
    Bytes::from(map.to_string())
}

/// A pod as deployments make them: about 4 KB once it is stored.
pub fn pod(name: &str) -> Bytes {
    let variable =
        |number: usize| json!({"name": format!("SETTING_{number}"), "value": format!("value-{number}")});
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "tier": "front", "bench": "pods"}},
        "spec": {
            "nodeSelector": {"bench": "nowhere"},
            "containers": [{
                "name": "web", "image": "registry.example/web:v1",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": (0..12).map(variable).collect::<Vec<_>>(),
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "livenessProbe": probe, "readinessProbe": probe,
                "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}],
            }],
            "volumes": [{"name": "config", "configMap": {"name": "web"}}],
        },
    });
    Bytes::from(pod.to_string())
}

/// One sort of load.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Creating ConfigMaps.
    Create,
    /// Creating ConfigMaps that a quota counts.
    Quota,
    /// Reading one.
    Get,
    /// Following one that changes.
    Watch,
    /// Creating pods.
    Pod,
    /// Listing them.
    List,
    /// Creating them as an account with a token, among many roles.
    Account,
}

/// Loads on one server.
pub struct Bench<'a> {
    server: &'a Server,
    scope: Scope,
    loads: &'a [Load],
    pods: usize,
}

/// A time in milliseconds.
pub fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// What a load found, in one line.
pub fn print(what: &str, figures: &Figures) {
    println!(
        "  {what:<46} {:>10} of cpu each {:>9.0}/s   p50 {:>10}   p99 {:>10}",
        ms(figures.cpu_each()),
        figures.rate(),
        ms(figures.within(0.5)),
        ms(figures.within(0.99)),
    );
}

impl<'a> Bench<'a> {
    /// Loads for a server on which nothing is yet.
    pub fn new(server: &'a Server, scope: Scope, loads: &'a [Load]) -> Self {
        Self { server, scope, loads, pods: 0 }
    }

    /// Runs them one after the other and prints what they find.
    pub async fn run(mut self) {
        if !self.server.is_floor() {
            println!(
                "  {:<46} {:.0} ms",
                "from start to ready",
                self.server.ready_after().as_secs_f64() * 1e3
            );
        }
        self.memory("memory after start");
        let is_wanted = |load| self.loads.contains(&load);
        let clients_of = |load| if is_wanted(load) { self.scope.clients } else { &[] };
        for &clients in clients_of(Load::Create) {
            self.creates(MAPS, &format!("create a ConfigMap of 1 KiB, {clients} clients"), clients).await;
        }
        for &clients in clients_of(Load::Quota).iter().filter(|_| !self.server.is_floor()) {
            let maps = self.limited(&format!("limited-{clients}")).await;
            self.creates(&maps, &format!("the same with a quota, {clients} clients"), clients).await;
        }
        for &clients in clients_of(Load::Get) {
            self.gets(clients).await;
        }
        for &watchers in self.scope.watchers.iter().filter(|_| is_wanted(Load::Watch)) {
            self.watches(watchers).await;
        }
        if self.server.is_floor() {
            if is_wanted(Load::List) {
                self.lists(1_000, "").await;
            }
            return self.memory("memory after that");
        }
        let (creates, lists) = (is_wanted(Load::Pod), is_wanted(Load::List));
        if creates || lists {
            // Without a controller manager nobody else makes the account that pods need.
            let account = json!({"metadata": {"name": "default"}}).to_string();
            Client::connect(self.server).await.whole(&Method::POST, ACCOUNTS, account.into()).await;
        }
        if creates {
            // Lists come next, and their first is of so many.
            self.pod_creates(if lists { self.scope.pods[0] } else { ANY }).await;
            self.memory(&format!("memory with {} pods", self.pods));
        }
        for &pods in self.scope.pods.iter().filter(|_| lists) {
            self.fill(pods).await;
            self.memory(&format!("memory with {} pods", self.pods));
            self.lists(pods, "").await;
            self.lists(pods, "?resourceVersion=0").await;
            self.memory(&format!("memory with {} pods, after that", self.pods));
        }
    }

    fn memory(&self, when: &str) {
        println!("  {when:<46} {:.1} MB", resident(self.server.pid()));
    }

    /// A namespace whose ConfigMaps a quota counts: where they are made.
    async fn limited(&self, namespace: &str) -> String {
        let mut client = Client::connect(self.server).await;
        let within = format!("/api/v1/namespaces/{namespace}");
        let hard = json!({"count/configmaps": "1000000000"});
        let object = json!({"metadata": {"name": namespace}});
        client.whole(&Method::POST, "/api/v1/namespaces", object.to_string().into()).await;
        let mut quota = json!({"metadata": {"name": "maps"}, "spec": {"hard": hard}});
        client.whole(&Method::POST, &format!("{within}/resourcequotas"), quota.to_string().into()).await;
        // Without a controller manager nobody else counts what there is.
        quota["status"] = json!({"hard": hard, "used": {"count/configmaps": "0"}});
        let status = format!("{within}/resourcequotas/maps/status");
        client.whole(&Method::PUT, &status, quota.to_string().into()).await;
        format!("{within}/configmaps")
    }

    async fn creates(&self, maps: &str, what: &str, clients: usize) {
        let maps = maps.to_owned();
        let request = move |client: usize, count: usize| {
            let name = format!("map-{clients}-{client}-{count}");
            (maps.clone(), config_map(&name, count))
        };
        let figures = crowd(self.server, clients, self.scope.span, ANY, Method::POST, request).await;
        print(what, &figures);
    }

    async fn gets(&self, clients: usize) {
        let path = format!("{MAPS}/read-{clients}");
        let object = config_map(&format!("read-{clients}"), 0);
        Client::connect(self.server).await.whole(&Method::POST, MAPS, object).await;
        let request = move |_: usize, _: usize| (path.clone(), Bytes::new());
        let figures = crowd(self.server, clients, self.scope.span, ANY, Method::GET, request).await;
        print(&format!("get a ConfigMap of 1 KiB, {clients} clients"), &figures);
    }

    async fn pod_creates(&mut self, most: usize) {
        let request = |client: usize, count: usize| (PODS.to_owned(), pod(&format!("pod-{client}-{count}")));
        let figures = crowd(self.server, 16, self.scope.span, most, Method::POST, request).await;
        self.pods = figures.operations;
        print("create a pod, 16 clients", &figures);
    }

    /// Creates pods until there are so many.
    async fn fill(&mut self, wanted: usize) {
        let missing = wanted.saturating_sub(self.pods);
        let before = self.pods;
        let request = move |client: usize, count: usize| {
            (PODS.to_owned(), pod(&format!("fill-{before}-{client}-{count}")))
        };
        let long = Duration::from_secs(600);
        let figures = crowd(self.server, 16, long, missing, Method::POST, request).await;
        self.pods += figures.operations;
    }

    async fn lists(&self, pods: usize, query: &'static str) {
        let path = format!("{PODS}{query}");
        let request = move |_: usize, _: usize| (path.clone(), Bytes::new());
        let clients = if pods > 1_000 { 4 } else { 16 };
        let figures = crowd(self.server, clients, self.scope.span, ANY, Method::GET, request).await;
        let size = figures.size as f64 / f64::from(1 << 20);
        print(&format!("list {pods} pods{query} ({size:.1} MB)"), &figures);
    }

    /// One client changes an object again and again; many follow it.
    async fn watches(&self, watchers: usize) {
        let name = format!("watched-{watchers}");
        let mut writer = Client::connect(self.server).await;
        writer.whole(&Method::POST, MAPS, config_map(&name, 0)).await;
        let delivered = Arc::new(Semaphore::new(0));
        let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3D{name}");
        let mut following = Vec::new();
        for _ in 0..watchers {
            let mut client = Client::connect(self.server).await;
            let mut events = client.send(&Method::GET, &path, Bytes::new()).await.into_body();
            let delivered = Arc::clone(&delivered);
            following.push(tokio::spawn(async move {
                let _connection = client;
                while let Some(Ok(frame)) = events.frame().await {
                    let lines = frame.data_ref().map_or(0, |data| memchr::memchr_iter(b'\n', data).count());
                    delivered.add_permits(lines);
                }
            }));
        }
        let all_told = || async {
            let all = u32::try_from(watchers).expect("watchers can be counted");
            delivered.acquire_many(all).await.expect("it is never closed").forget();
        };
        if !self.server.is_floor() {
            // What each watcher is told at first is none of the events that count.
            all_told().await;
        }
        let (began, before) = (Instant::now(), cpu(self.server.pid()));
        let mut writes = 0;
        let object = format!("{MAPS}/{name}");
        let mut beat = tokio::time::interval(Duration::from_secs(1).mul_f64(watchers as f64 / EVENTS));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while began.elapsed() < self.scope.span {
            beat.tick().await;
            writes += 1;
            writer.whole(&Method::PUT, &object, config_map(&name, writes)).await;
            // A writer waits for its readers: what is measured is their delivery, not what is left out.
            all_told().await;
        }
        let (elapsed, used) = (began.elapsed(), cpu(self.server.pid()) - before);
        let events = (writes * watchers) as f64;
        following.iter().for_each(tokio::task::JoinHandle::abort);
        println!(
            "  {:<46} {:>10} of cpu each {:>9.0}/s   {writes} writes included",
            format!("watch event to {watchers} watchers"),
            ms(used.div_f64(events)),
            events / elapsed.as_secs_f64(),
        );
    }
}
