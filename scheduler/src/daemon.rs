//! The scheduler at work: what the caches tell goes in, bindings and refusals go out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use machinery::cache::{Cache, Change, Selectors};
use machinery::client;
use machinery::events::{EventType, Recorder};
use machinery::leader::{LeaderConfig, Leadership};
use machinery::logging::chain;
use machinery::metrics::registry;
use machinery::serve::{self, Gate, Health};
use machinery::tasks::Tasks;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::args::Config;
use crate::cluster::Cluster;
use crate::metrics::{Metrics, Outcome};
use crate::place::{Unfit, place};
use crate::queue::{Queue, Relief, Turn};
use crate::{NAME, verdict};

/// How many requests are on their way at once.
const IN_FLIGHT: usize = 48;

/// Runs the scheduler until it is told to stop.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    start(config, &tasks).await?;
    tasks.run_until_stopped().await
}

/// Starts the scheduler on `tasks`; it begins to work when the API server is ready and, if
/// so configured, when it leads.
pub async fn start(config: Config, tasks: &Tasks) -> anyhow::Result<()> {
    let client = client::connect(&config.kubeconfig, "skiff-scheduler").await?;
    let mut registry = registry();
    let metrics = Metrics::new(&mut registry);
    let leadership = Leadership::new(LeaderConfig::new("kube-scheduler"));
    let synced = Gate::closed("the API server has not answered yet");
    let (elected, filled) = (leadership.clone(), synced.clone());
    let health = Health::new()
        .live("leaderElection", move || elected.check())
        .ready("informer-sync", move || filled.check());
    serve::spawn(tasks, config.address, &config.tls, registry, health).await?;
    let worker = tasks.clone();
    tasks.spawn("scheduler", async move {
        let tasks = worker;
        let stop = tasks.token();
        if !client::wait_ready(&client, &stop).await {
            return Ok(());
        }
        // Whoever stands by is ready to take over.
        synced.open();
        if config.leader_elect && !leadership.lead(client.clone(), &tasks).await {
            return Ok(());
        }
        synced.close("not all informers are synced");
        let recorder = Recorder::new(client.clone(), NAME, None, &tasks);
        let scheduler = Scheduler::new(client, recorder, metrics);
        stop.run_until_cancelled(scheduler.run(&tasks, &synced)).await.unwrap_or(Ok(()))
    });
    Ok(())
}

/// What the caches tell.
enum News {
    Pod(Change<Pod>),
    Node(Change<Node>),
}

/// What became of a request.
enum Done {
    Bound { turn: Turn, started: Instant, result: Result<(), kube::Error> },
    Reported,
}

struct Scheduler {
    client: kube::Client,
    recorder: Recorder,
    metrics: Metrics,
    cluster: Cluster,
    queue: Queue,
    gated: HashSet<String>,
    /// The node chosen last.
    last: String,
    requests: JoinSet<Done>,
}

impl Scheduler {
    fn new(client: kube::Client, recorder: Recorder, metrics: Metrics) -> Self {
        Self {
            client,
            recorder,
            metrics,
            cluster: Cluster::default(),
            queue: Queue::default(),
            gated: HashSet::new(),
            last: String::new(),
            requests: JoinSet::new(),
        }
    }

    async fn run(mut self, tasks: &Tasks, synced: &Gate) -> anyhow::Result<()> {
        let nodes: Cache<Node> = Cache::start(Api::all(self.client.clone()), Selectors::all(), tasks);
        let unfinished = Selectors::fields("status.phase!=Succeeded,status.phase!=Failed");
        let pods: Cache<Pod> = Cache::start(Api::all(self.client.clone()), unfinished, tasks);
        nodes.wait_synced().await;
        pods.wait_synced().await;
        synced.open();
        let (tell, mut news) = mpsc::unbounded_channel();
        let tell_too = tell.clone();
        // The channel is gone only when this future is.
        nodes.on_change(move |change| drop(tell.send(News::Node(change.clone()))));
        pods.on_change(move |change| drop(tell_too.send(News::Pod(change.clone()))));
        loop {
            while let Ok(item) = news.try_recv() {
                self.learn(item);
            }
            let next_due = self.queue.ripen(Instant::now());
            while self.requests.len() < IN_FLIGHT
                && let Some(turn) = self.queue.pop(Instant::now())
            {
                self.schedule(turn);
            }
            self.metrics.sizes(self.queue.counts(), self.gated.len(), self.cluster.sizes());
            let due = async {
                match next_due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                item = news.recv() => self.learn(item.context("the caches are gone")?),
                Some(done) = self.requests.join_next() => self.finish(done?),
                () = due => {}
            }
        }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Node(Change { new: Some(node), .. }) => {
                let change = self.cluster.set_node(&node);
                if change != crate::cluster::NodeChange::default() {
                    self.queue.relieve(Relief::Node(change), Instant::now());
                }
            }
            News::Node(Change { old, .. }) => {
                if let Some(name) = old.as_ref().and_then(|node| node.metadata.name.as_deref()) {
                    self.cluster.remove_node(name);
                }
            }
            News::Pod(Change { old, new }) => {
                if let Some(old) = &old
                    && new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid)
                {
                    self.forget(old);
                }
                if let Some(pod) = &new {
                    self.learn_pod(pod);
                }
            }
        }
    }

    fn learn_pod(&mut self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let spec = pod.spec.as_ref();
        self.gated.remove(uid);
        if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()) {
            self.queue.remove(uid);
            self.cluster.confirm(uid, node, &Arc::new(crate::cluster::Needs::of(pod)));
            return;
        }
        let ours = spec.and_then(|spec| spec.scheduler_name.as_deref()).is_none_or(|name| name == NAME);
        if !ours || pod.metadata.deletion_timestamp.is_some() {
            self.queue.remove(uid);
            return;
        }
        if spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
            self.queue.remove(uid);
            self.gated.insert(uid.to_owned());
            return;
        }
        // A pod whose binding has just been accepted may still look unbound here.
        if self.queue.contains(uid) || !self.cluster.has_pod(uid) {
            self.queue.put(uid, pod, Instant::now());
        }
    }

    fn forget(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.gated.remove(uid);
        self.queue.remove(uid);
        if self.cluster.remove_pod(uid) {
            self.queue.relieve(Relief::PodGone, Instant::now());
        }
    }

    fn schedule(&mut self, turn: Turn) {
        let started = Instant::now();
        let chosen = place(&self.cluster, &turn.needs, &self.last).map(str::to_owned);
        self.metrics.decided(started.elapsed());
        match chosen {
            Ok(node) => {
                self.cluster.assume(&turn.uid, &node, &turn.needs);
                self.last.clone_from(&node);
                let (client, recorder) = (self.client.clone(), self.recorder.clone());
                self.requests.spawn(async move {
                    let result = bind(&client, &turn.pod, &node).await;
                    if result.is_ok() {
                        let message = format!("Successfully assigned {} to {node}", full_name(&turn.pod));
                        recorder.event(&*turn.pod, EventType::Normal, "Scheduled", message);
                    }
                    Done::Bound { turn, started, result }
                });
            }
            Err(unfit) => self.refuse(&turn, &unfit, started),
        }
    }

    fn refuse(&mut self, turn: &Turn, unfit: &Unfit, started: Instant) {
        let message = verdict::sentence(&turn.needs, unfit);
        self.queue.unfit(&turn.uid, unfit.filters());
        self.metrics.attempted(Outcome::Unschedulable, started.elapsed());
        self.report(&turn.pod, "Unschedulable", message);
    }

    /// Says on the pod and in an event why it has no node.
    fn report(&mut self, pod: &Arc<Pod>, reason: &'static str, message: String) {
        let condition = verdict::condition(pod, reason, &message, Timestamp::now());
        self.recorder.event(&**pod, EventType::Warning, "FailedScheduling", message);
        let Some(condition) = condition else { return };
        let (client, pod) = (self.client.clone(), Arc::clone(pod));
        self.requests.spawn(async move {
            let (namespace, name) = names(&pod);
            let api: Api<Pod> = Api::namespaced(client, namespace);
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
            if let Err(error) =
                api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await
            {
                tracing::warn!(
                    pod = full_name(&pod),
                    error = chain(&error),
                    "Cannot say why the pod has no node"
                );
            }
            Done::Reported
        });
    }

    fn finish(&mut self, done: Done) {
        let Done::Bound { turn, started, result } = done else { return };
        match result {
            Ok(()) => {
                self.queue.remove(&turn.uid);
                self.metrics.attempted(Outcome::Scheduled, started.elapsed());
                self.metrics.scheduled(turn.attempts, turn.since.elapsed());
            }
            Err(error) => {
                self.cluster.unassume(&turn.uid);
                self.metrics.attempted(Outcome::Error, started.elapsed());
                let gone = matches!(&error, kube::Error::Api(status) if matches!(status.code, 404 | 409));
                let waits = self.queue.contains(&turn.uid);
                self.queue.failed(&turn.uid, Instant::now());
                tracing::info!(pod = full_name(&turn.pod), error = chain(&error), "Binding failed");
                // A pod that is gone or has got a node from elsewhere has nothing to be told.
                if waits && !gone {
                    self.report(&turn.pod, "SchedulerError", format!("binding rejected: {}", chain(&error)));
                }
            }
        }
    }
}

async fn bind(client: &kube::Client, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let (namespace, name) = names(pod);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: pod.metadata.uid.clone(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let body = serde_json::to_vec(&binding).map_err(kube::Error::SerdeError)?;
    let request = kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
        .create_subresource("binding", name, &PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(drop)
}

fn names(pod: &Pod) -> (&str, &str) {
    (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default())
}

fn full_name(pod: &Pod) -> String {
    let (namespace, name) = names(pod);
    format!("{namespace}/{name}")
}
