//! The scheduler at work: what the caches tell goes in, bindings and refusals go out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use machinery::cache::{Cache, Change, Selectors};
use machinery::client;
use machinery::events::{EventType, Recorder};
use machinery::leader::{LeaderConfig, Leadership};
use machinery::logging::chain;
use machinery::metrics::registry;
use machinery::serve::{self, Gate, Health};
use machinery::tasks::Tasks;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use crate::NAME;
use crate::args::Config;
use crate::cluster::Cluster;
use crate::metrics::{Metrics, Outcome};
use crate::needs::Needs;
use crate::node_view::NodeChange;
use crate::place::{Unfit, place};
use crate::preempt::preempt;
use crate::queue::{Queue, Relief, Turn};
use crate::requests::{BindError, Requests, full_name};
use crate::storage::Bindings;
use crate::verdict;

/// With so many requests on their way no further pod is taken up.
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
    let client = client::connect(&config.kubeconfig, "skiff-scheduler")?;
    let mut registry = registry();
    let metrics = Metrics::new(&mut registry);
    let leadership = Leadership::new(LeaderConfig::new("kube-scheduler")).told_to(&mut registry);
    let synced = Gate::closed("the API server has not answered yet");
    let (elected, filled) = (leadership.clone(), synced.clone());
    let health = Health::new()
        .live("leaderElection", move || elected.check())
        .ready("informer-sync", move || filled.check());
    serve::spawn(tasks, &config.serving, client.clone(), registry, health).await?;
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
        let client = if config.leader_elect { leadership.fenced(client) } else { client };
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
    Namespace(Change<Namespace>),
    Budget(Change<PodDisruptionBudget>),
    Claim(Change<PersistentVolumeClaim>),
    Volume(Change<PersistentVolume>),
    Class(Change<StorageClass>),
}

/// What became of a request.
enum Done {
    /// A pod's claims are bound, or were not.
    Ready {
        turn: Turn,
        node: String,
        started: Instant,
        result: Result<(), BindError>,
    },
    Bound {
        turn: Turn,
        started: Instant,
        result: Result<(), BindError>,
    },
    /// A pod that was to make room for another is going, or could not be told to.
    Evicted {
        preemptor: String,
        done: bool,
    },
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
    /// What is short.
    in_flight: JoinSet<Done>,
    /// What may take long: the binding of claims.
    waiting: JoinSet<Done>,
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
            in_flight: JoinSet::new(),
            waiting: JoinSet::new(),
        }
    }

    async fn run(mut self, tasks: &Tasks, synced: &Gate) -> anyhow::Result<()> {
        let unfinished = Selectors::fields("status.phase!=Succeeded,status.phase!=Failed");
        let client = &self.client;
        let pods: Cache<Pod> = Cache::start(Api::all(client.clone()), unfinished, tasks);
        let nodes: Cache<Node> = Cache::start(Api::all(client.clone()), Selectors::all(), tasks);
        let namespaces: Cache<Namespace> = Cache::start(Api::all(client.clone()), Selectors::all(), tasks);
        let budgets: Cache<PodDisruptionBudget> =
            Cache::start(Api::all(client.clone()), Selectors::all(), tasks);
        let claims: Cache<PersistentVolumeClaim> =
            Cache::start(Api::all(client.clone()), Selectors::all(), tasks);
        let volumes: Cache<PersistentVolume> =
            Cache::start(Api::all(client.clone()), Selectors::all(), tasks);
        let classes: Cache<StorageClass> = Cache::start(Api::all(client.clone()), Selectors::all(), tasks);
        nodes.wait_synced().await;
        pods.wait_synced().await;
        namespaces.wait_synced().await;
        budgets.wait_synced().await;
        claims.wait_synced().await;
        volumes.wait_synced().await;
        classes.wait_synced().await;
        synced.open();
        let (tell, mut news) = mpsc::unbounded_channel();
        // What pods depend on is learnt before they are.
        tell_of(&nodes, &tell, News::Node);
        tell_of(&namespaces, &tell, News::Namespace);
        tell_of(&budgets, &tell, News::Budget);
        tell_of(&classes, &tell, News::Class);
        tell_of(&volumes, &tell, News::Volume);
        tell_of(&claims, &tell, News::Claim);
        tell_of(&pods, &tell, News::Pod);
        let (client, recorder) = (self.client.clone(), self.recorder.clone());
        let requests = Requests::new(client, recorder, nodes, pods, claims, volumes);
        loop {
            while let Ok(item) = news.try_recv() {
                self.learn(item);
            }
            let next_due = self.queue.ripen(Instant::now());
            while self.in_flight.len() < IN_FLIGHT
                && let Some(turn) = self.queue.pop(Instant::now())
            {
                self.schedule(&requests, turn);
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
                Some(done) = self.in_flight.join_next() => self.finish(&requests, done?),
                Some(done) = self.waiting.join_next() => self.finish(&requests, done?),
                () = due => {}
            }
        }
    }

    fn learn(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Node(Change { new: Some(node), .. }) => {
                let change = self.cluster.set_node(&node);
                if change != NodeChange::default() {
                    self.queue.relieve(Relief::Node(change), now);
                }
            }
            News::Node(Change { old, .. }) => {
                if let Some(name) = old.as_ref().and_then(|node| node.metadata.name.as_deref()) {
                    self.cluster.remove_node(name);
                    self.queue.relieve(Relief::PodGone, now);
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
            News::Namespace(change) => {
                let meta = &change.latest().metadata;
                let name = meta.name.clone().unwrap_or_default();
                match change.new.as_ref().and_then(|_| meta.labels.clone()) {
                    Some(labels) => drop(self.cluster.namespaces.insert(name, labels)),
                    None => drop(self.cluster.namespaces.remove(&name)),
                }
                self.queue.relieve(Relief::PodPlaced, now);
            }
            News::Budget(change) => {
                let meta = &change.latest().metadata;
                let key = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
                match change.new {
                    Some(budget) => drop(self.cluster.budgets.insert(key, budget)),
                    None => drop(self.cluster.budgets.remove(&key)),
                }
            }
            News::Claim(Change { old, new }) => {
                self.cluster.storage.set_claim(old.as_deref(), new.as_ref());
                self.queue.relieve(Relief::Storage, now);
            }
            News::Volume(Change { old, new }) => {
                self.cluster.storage.set_volume(old.as_deref(), new.as_ref());
                self.queue.relieve(Relief::Storage, now);
            }
            News::Class(Change { old, new }) => {
                self.cluster.storage.set_class(old.as_deref(), new.as_ref());
                self.queue.relieve(Relief::Storage, now);
            }
        }
    }

    fn learn_pod(&mut self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let spec = pod.spec.as_ref();
        self.gated.remove(uid);
        if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()) {
            self.queue.remove(uid);
            let (was_placed, now) = (self.cluster.has_pod(uid), Instant::now());
            if self.cluster.confirm(uid, node, &Arc::new(Needs::of(pod))) {
                self.queue.relieve(Relief::PodPlaced, now);
                // What it took before is free.
                if was_placed {
                    self.queue.relieve(Relief::PodGone, now);
                }
            }
            return;
        }
        let ours = spec.and_then(|spec| spec.scheduler_name.as_deref()).is_none_or(|name| name == NAME);
        if !ours || pod.metadata.deletion_timestamp.is_some() {
            self.queue.remove(uid);
            self.withdraw(uid);
            return;
        }
        if spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
            self.queue.remove(uid);
            self.gated.insert(uid.to_owned());
            return;
        }
        let waits = self.queue.contains(uid);
        // A pod whose binding has just been accepted may still look unbound here.
        if waits || !self.cluster.has_pod(uid) {
            self.queue.put(uid, pod, Instant::now());
        }
        // What a scheduler before this one promised is kept.
        let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
        let begins = !waits && !self.cluster.has_pod(uid);
        if let Some(node) = nominated.filter(|node| begins && !node.is_empty()) {
            self.cluster.nominate(node, &Arc::new(Needs::of(pod)));
        }
    }

    fn forget(&mut self, pod: &Pod) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.gated.remove(uid);
        self.queue.remove(uid);
        self.withdraw(uid);
        if self.cluster.remove_pod(uid) {
            self.queue.relieve(Relief::PodGone, Instant::now());
        }
    }

    /// Gives up the room that was kept for a pod, to others.
    fn withdraw(&mut self, uid: &str) {
        if self.cluster.withdraw(uid) {
            self.queue.relieve(Relief::PodGone, Instant::now());
        }
    }

    fn schedule(&mut self, requests: &Arc<Requests>, turn: Turn) {
        let started = Instant::now();
        let chosen = place(&self.cluster, &turn.needs, &self.last).map(str::to_owned);
        self.metrics.decided(started.elapsed());
        match chosen {
            Ok(node) => self.reserve(requests, turn, node, started),
            Err(unfit) => self.refuse(requests, &turn, &unfit, started),
        }
    }

    /// Takes what the pod needs of the node, then binds its claims, then the pod itself.
    fn reserve(&mut self, requests: &Arc<Requests>, turn: Turn, node: String, started: Instant) {
        let bindings = self.cluster.bindings(&turn.needs, &node);
        self.cluster.assume(&turn.uid, &node, &turn.needs);
        self.queue.relieve(Relief::PodPlaced, started);
        self.last.clone_from(&node);
        if bindings == Bindings::default() {
            return self.bind(requests, turn, node, started);
        }
        self.cluster.storage.promise(&turn.uid, &node, &bindings);
        let requests = Arc::clone(requests);
        self.waiting.spawn(async move {
            let result = requests.bind_claims(&turn.pod, &node, &bindings).await;
            Done::Ready { turn, node, started, result }
        });
    }

    fn bind(&mut self, requests: &Arc<Requests>, turn: Turn, node: String, started: Instant) {
        let (requests, recorder) = (Arc::clone(requests), self.recorder.clone());
        self.in_flight.spawn(async move {
            let result = requests.bind(&turn.pod, &node).await;
            if result.is_ok() {
                let message = format!("Successfully assigned {} to {node}", full_name(&turn.pod));
                recorder.event(&*turn.pod, EventType::Normal, "Scheduled", message);
            }
            Done::Bound { turn, started, result }
        });
    }

    fn refuse(&mut self, requests: &Arc<Requests>, turn: &Turn, unfit: &Unfit, started: Instant) {
        let chosen = preempt(&self.cluster, &turn.needs, unfit);
        self.metrics.preempted(chosen.as_ref().ok().map(|preemption| preemption.victims.len()));
        self.queue.unfit(&turn.uid, unfit.filters());
        self.metrics.attempted(Outcome::Unschedulable, started.elapsed());
        let message = verdict::sentence(unfit, chosen.as_ref().err());
        if let Ok(preemption) = &chosen {
            self.cluster.nominate(&preemption.node, &turn.needs);
            for victim in preemption.victims.iter().filter(|victim| !victim.leaving) {
                let (requests, victim) = (Arc::clone(requests), Arc::clone(victim));
                let (preemptor, node) = (turn.uid.clone(), preemption.node.clone());
                self.in_flight.spawn(async move {
                    let done = requests.evict(&victim, &preemptor, &node).await;
                    Done::Evicted { preemptor, done }
                });
            }
        } else if !chosen.as_ref().is_err_and(|hopeless| hopeless.waits()) {
            self.withdraw(&turn.uid);
        }
        self.report(requests, &turn.pod, "Unschedulable", message);
    }

    /// Says on the pod and in an event why it has no node, and on the pod which one it will get.
    fn report(&mut self, requests: &Arc<Requests>, pod: &Arc<Pod>, reason: &'static str, message: String) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let nominated = self.cluster.nominated_node(uid).unwrap_or_default();
        let patch = verdict::status(pod, reason, &message, nominated, machinery::clock::now());
        self.recorder.event(&**pod, EventType::Warning, "FailedScheduling", message);
        let Some(patch) = patch else { return };
        let (requests, pod) = (Arc::clone(requests), Arc::clone(pod));
        self.in_flight.spawn(async move {
            requests.patch_status(&pod, patch).await;
            Done::Reported
        });
    }

    fn finish(&mut self, requests: &Arc<Requests>, done: Done) {
        match done {
            Done::Reported => {}
            Done::Evicted { done: true, .. } => {}
            // It has to be looked at anew, unless it is on its way to a node already.
            Done::Evicted { preemptor, .. } if self.cluster.has_pod(&preemptor) => {}
            Done::Evicted { preemptor, .. } => self.queue.failed(&preemptor, Instant::now()),
            Done::Ready { turn, node, started, result: Ok(()) } => self.bind(requests, turn, node, started),
            Done::Bound { turn, result: Ok(()), started } => {
                self.queue.remove(&turn.uid);
                self.metrics.attempted(Outcome::Scheduled, started.elapsed());
                self.metrics.scheduled(turn.attempts, turn.since.elapsed());
            }
            Done::Ready { turn, started, result: Err(error), .. }
            | Done::Bound { turn, started, result: Err(error) } => {
                self.cluster.unassume(&turn.uid);
                self.queue.relieve(Relief::PodGone, Instant::now());
                self.metrics.attempted(Outcome::Error, started.elapsed());
                let waits = self.queue.contains(&turn.uid);
                self.queue.failed(&turn.uid, Instant::now());
                tracing::info!(pod = full_name(&turn.pod), error = chain(&error), "Binding failed");
                // A pod that is gone or has got a node from elsewhere has nothing to be told.
                if waits && !error.is_moot() {
                    self.report(requests, &turn.pod, "SchedulerError", chain(&error));
                }
            }
        }
    }
}

fn tell_of<K: kube::Resource + Clone + 'static>(
    cache: &Cache<K>,
    tell: &UnboundedSender<News>,
    news: fn(Change<K>) -> News,
) {
    let tell = tell.clone();
    // The channel is gone only when the scheduler is.
    cache.on_change(move |change| drop(tell.send(news(change.clone()))));
}
