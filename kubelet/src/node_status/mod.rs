//! The node as the API shows it: registration, status, heartbeat.
//!
//! The status is rendered from what the machine and the runtime say ([`render`] is pure), and written when it
//! has changed or every five minutes. The heartbeat is the node's Lease in `kube-node-lease`. Corresponds to
//! upstream's `kubelet_node_status.go` and `component-helpers/apimachinery/lease`.

mod heartbeat;
pub mod machine;
mod pulse;
mod question;
mod registration;
mod render;

use std::sync::Arc;
use std::time::Duration;

use api::volume_binding::LOCAL_VOLUMES;
use api::{Message, message};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams};
use machinery::backoff::Backoff;
use machinery::cache::{Cache, revision_of};
use machinery::clock::Clock;
use machinery::events::EventType;
use machinery::logging::chain;
use machinery::serve::Gate;
use machinery::tasks::Tasks;
use proto::cri::{Image, RuntimeCondition};
use serde_json::json;
use tokio::sync::{Notify, oneshot};

pub use pulse::Pulse;
pub use render::{Observed, render};

use crate::args::Config;
use crate::cri::{Runtime, RuntimeVersion};
use crate::eviction::Pressures;
use crate::images::Images;
use crate::pod_worker::Notes;
use crate::runtime_config::names;
use machine::{Left, Resources};
use question::Question;
use registration::{Held, Machine, Registration, RegistrationError};

/// How often the node is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// The same while it is not ready yet.
const LOOK_UNREADY: Duration = Duration::from_millis(100);
/// After how long an unchanged status is written again.
const REPORT: SignedDuration = SignedDuration::from_secs(300);
/// For how long the quick looks go on before they slow down to one a second.
const HURRY: SignedDuration = SignedDuration::from_secs(30);
/// How often while the runtime owes an answer.
const LOOK_SILENT: Duration = Duration::from_secs(1);
/// How long the runtime may be silent until it counts as down: upstream's `maxWaitForContainerRuntime`.
const DOWN: Duration = Duration::from_secs(30);
/// Who attaches volumes: no kubelet does.
const CONTROLLER_ATTACHES: &str = "volumes.kubernetes.io/controller-managed-attach-detach";
/// The longest pause between tries to register the node.
const REGISTER_AGAIN: Duration = Duration::from_secs(5);

/// What a keeper works with.
pub struct Around {
    /// The command line.
    pub config: Arc<Config>,
    /// The API.
    pub client: kube::Client,
    /// The container runtime.
    pub runtime: Arc<Runtime>,
    /// Which one that is.
    pub version: RuntimeVersion,
    /// What the node has.
    pub resources: Resources,
    /// Events.
    pub notes: Notes,
    /// All nodes as the API has them.
    pub nodes: Cache<Node>,
    /// The node's images.
    pub images: Arc<Images>,
    /// What the node is short of.
    pub pressures: Pressures,
    /// The time that the runtime's silence is measured by.
    pub clock: Clock,
}

/// Keeps the node's object up to date.
pub struct NodeKeeper {
    of: Around,
    pulse: Pulse,
    registered: Gate,
    /// The revision at which the node's object was last known to be this machine's.
    ours_at: u64,
    /// Left from a registration that was refused: what it saw of the other holder.
    registration: Option<Registration>,
    /// What the runtime is asked about itself, and what it said last.
    asked: Question<Vec<RuntimeCondition>>,
    said: Result<Vec<RuntimeCondition>, Message>,
    /// The images, and which there were last.
    asked_images: Question<Arc<Vec<Image>>>,
    listed: Arc<Vec<Image>>,
    /// What the API holds as far as known, and when the kubelet last wrote it.
    written: Option<(NodeStatus, Timestamp)>,
    began: Timestamp,
    /// Whether the node was last seen to take no more pods.
    unschedulable: bool,
}

impl NodeKeeper {
    /// A keeper of this node.
    pub fn new(of: Around) -> Self {
        Self {
            pulse: Pulse::new(of.clock.clone()),
            of,
            registered: Gate::closed("the node is not registered yet"),
            ours_at: 0,
            registration: None,
            asked: Question::new(),
            said: Ok(Vec::new()),
            asked_images: Question::new(),
            listed: Arc::default(),
            written: None,
            began: machinery::clock::now(),
            unschedulable: false,
        }
    }

    /// Beats each time the runtime answers.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Open once the node is registered.
    pub fn registered(&self) -> Gate {
        self.registered.clone()
    }

    /// Registers the node, then keeps status and heartbeat until stopped. Tells when it is registered: before
    /// that nothing may be done in the node's name.
    pub fn spawn(mut self, tasks: &Tasks) -> oneshot::Receiver<()> {
        let (tell, registered) = oneshot::channel();
        let (stop, owner) = (tasks.token(), tasks.clone());
        tasks.spawn("node", async move {
            if stop.run_until_cancelled(self.register_patiently()).await.is_none() {
                return Ok(());
            }
            self.registered.open();
            // Nobody listens any more when the process is to stop.
            tell.send(()).ok();
            self.note(EventType::Normal, "Starting", "Starting kubelet.");
            let lease = heartbeat::Heartbeat::new(self.of.client.clone(), &self.of.config.node);
            owner.spawn_loop("heartbeat", async move {
                lease.run().await;
                Ok(())
            });
            Ok(stop.run_until_cancelled(self.keep()).await.unwrap_or(Ok(()))?)
        });
        registered
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.of.client.clone())
    }

    /// Registers the node as soon as that can be done, also when another machine has it now.
    async fn register_patiently(&mut self) {
        let mut told = None;
        while let Err(held) = self.register().await {
            if told.as_ref() != Some(&held) {
                tracing::error!("{held}");
                self.note(EventType::Warning, "NodeNameTaken", &held.to_string());
            }
            self.registered.close(held.to_string());
            told = Some(held);
            tokio::time::sleep(REGISTER_AGAIN).await;
        }
    }

    /// Registers the node, unless another machine keeps it alive.
    async fn register(&mut self) -> Result<(), Held> {
        let mut registration = self.registration.take().unwrap_or_else(|| Registration::new(&self.of.client));
        let mut backoff = Backoff::new(LOOK_UNREADY, REGISTER_AGAIN);
        let registered = loop {
            let node = self.node().await;
            match registration.register(&node).await {
                Ok(()) => break Ok(()),
                Err(RegistrationError::Held(held)) => break Err(held),
                Err(RegistrationError::Api(error)) => {
                    tracing::warn!(error = chain(&error), "Cannot register the node yet");
                }
            }
            tokio::time::sleep(backoff.pause()).await;
        };
        self.registration = registered.is_err().then_some(registration);
        registered
    }

    /// The node's object as it is first made.
    async fn node(&mut self) -> Node {
        let unready = Taint {
            key: "node.kubernetes.io/not-ready".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        Node {
            metadata: ObjectMeta {
                name: Some(self.of.config.node.clone()),
                labels: Some(self.labels()),
                annotations: Some(
                    [
                        (LOCAL_VOLUMES.to_owned(), self.volumes()),
                        (CONTROLLER_ATTACHES.to_owned(), "true".to_owned()),
                    ]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                provider_id: Some(self.of.config.provider_id.clone()).filter(|id| !id.is_empty()),
                taints: Some(self.of.config.taints.iter().cloned().chain([unready]).collect()),
                ..NodeSpec::default()
            }),
            status: Some(self.status().await),
        }
    }

    /// Where volumes on this node's disk lie.
    fn volumes(&self) -> String {
        names::local_volumes(&self.of.config.root_dir).display().to_string()
    }

    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let own = [
            ("beta.kubernetes.io/arch", machine::architecture()),
            ("beta.kubernetes.io/os", std::env::consts::OS),
            ("kubernetes.io/arch", machine::architecture()),
            ("kubernetes.io/hostname", self.of.config.node.as_str()),
            ("kubernetes.io/os", std::env::consts::OS),
        ];
        let mut labels = self.of.config.labels.clone();
        labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }

    /// Keeps the status up to date; ends when another machine has taken the node over.
    async fn keep(&mut self) -> Result<(), Held> {
        let (changed, own) = (Arc::new(Notify::new()), self.of.config.node.clone());
        let tell = Arc::clone(&changed);
        self.of.nodes.on_change(move |change| {
            if change.latest().metadata.name.as_deref() == Some(&own) {
                tell.notify_one();
            }
        });
        loop {
            self.catch_up()?;
            self.tell_schedulable();
            if let Err(error) = self.report().await {
                tracing::warn!(error = chain(&error), "Cannot write the node's status");
                if matches!(&error, kube::Error::Api(answer) if answer.code == 404) {
                    self.written = None;
                    self.register().await?;
                }
            }
            let ready = self.written.as_ref().is_some_and(|(status, _)| render::is_ready(status));
            let hurry = machinery::clock::now().duration_since(self.began) < HURRY;
            let pause = tokio::time::sleep(match (ready, hurry) {
                _ if self.asked.is_open() => LOOK_SILENT,
                (true, _) => LOOK,
                (false, true) => LOOK_UNREADY,
                (false, false) => Duration::from_secs(1),
            });
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = changed.notified() => {
                        // What came in before a write of ours is no news, but may not have been told yet.
                        if self.news().is_some() || self.takes_no_pods() != Some(self.unschedulable) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// The node's object if somebody else wrote it last.
    fn news(&self) -> Option<(Arc<Node>, u64)> {
        let node = self.of.nodes.get(None, &self.of.config.node)?;
        let revision = revision_of(&*node)?;
        (self.ours_at > 0 && revision > self.ours_at).then_some((node, revision))
    }

    /// Takes notice of what others wrote: while the node was thought lost, its conditions were made Unknown.
    /// Fails when the object speaks of another machine since it last spoke of this one, whose name was given
    /// away while it was gone. Whoever notices stops, and then waits for its turn.
    fn catch_up(&mut self) -> Result<(), Held> {
        let Some((node, revision)) = self.news() else { return Ok(()) };
        registration::check(&node, Machine::own(&self.of.config.node_ip))?;
        self.ours_at = revision;
        if let (Some((written, _)), Some(status)) = (&mut self.written, &node.status) {
            written.clone_from(status);
        }
        Ok(())
    }

    /// Whether the node takes no more pods, as far as it is known.
    fn takes_no_pods(&self) -> Option<bool> {
        let node = self.of.nodes.get(None, &self.of.config.node)?;
        Some(node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)))
    }

    fn tell_schedulable(&mut self) {
        let Some(now) = self.takes_no_pods() else { return };
        if std::mem::replace(&mut self.unschedulable, now) != now {
            self.tell(if now { "NodeNotSchedulable" } else { "NodeSchedulable" });
        }
    }

    async fn status(&mut self) -> NodeStatus {
        let (runtime, images) = (Arc::clone(&self.of.runtime), Arc::clone(&self.of.images));
        let (said, images) = tokio::join!(
            self.asked.ask(async move { runtime.conditions().await }),
            self.asked_images.ask(async move { images.list().await }),
        );
        match said {
            Some(Ok(conditions)) => {
                self.pulse.beat();
                self.said = Ok(conditions);
            }
            Some(Err(error)) => self.said = Err(error.rpc().into()),
            // One that is slow holds what it said before for a while.
            None if self.pulse.silence() >= DOWN => {
                self.said = Err(message!("it has not answered for {} s", DOWN.as_secs()));
            }
            None => {}
        }
        match images {
            Some(Ok(images)) => self.listed = images,
            Some(Err(error)) => {
                tracing::debug!(error = error.rpc(), "Cannot list images; the last list stays")
            }
            None => {}
        }
        let (left, now) = (Left::look(&self.of.config.root_dir), machinery::clock::now());
        let before = self.written.as_ref().map(|(status, _)| status);
        render(&Observed {
            config: &self.of.config,
            resources: &self.of.resources,
            version: &self.of.version,
            runtime: &self.said,
            pressure: self.of.pressures.note(&left, now),
            images: &self.listed,
            before,
            now,
        })
    }

    /// Writes the status if it says something new, or has not been written for long.
    async fn report(&mut self) -> Result<(), kube::Error> {
        let now = machinery::clock::now();
        if self.written.is_none() {
            // A kubelet that was started again goes on from what the API shows.
            let present = self.api().get(&self.of.config.node).await?;
            self.ours_at = revision_of(&present).unwrap_or_default();
            self.written = present.status.map(|status| (status, Timestamp::UNIX_EPOCH));
        }
        let status = self.status().await;
        if let Some((before, at)) = &self.written
            && render::same(before, &status)
            && now.duration_since(*at) < REPORT
        {
            return Ok(());
        }
        let patch = Patch::Strategic(json!({"status": status}));
        let node = self.api().patch_status(&self.of.config.node, &PatchParams::default(), &patch).await?;
        self.ours_at = revision_of(&node).unwrap_or_default();
        self.tell_changes(&status);
        self.written = Some((status, now));
        Ok(())
    }

    /// Tells what has changed since the kubelet last wrote the status: at first all, but for a node that is not ready
    /// yet, which would be told of as ready no more.
    fn tell_changes(&self, status: &NodeStatus) {
        let written = self.written.as_ref().filter(|(_, at)| *at != Timestamp::UNIX_EPOCH);
        let of = |status: &NodeStatus, kind: &str| -> Option<NodeCondition> {
            status.conditions.iter().flatten().find(|c| c.type_ == kind).cloned()
        };
        for condition in status.conditions.iter().flatten() {
            let before = written.and_then(|(before, _)| of(before, &condition.type_));
            let not_yet_ready = condition.type_ == "Ready" && condition.status != "True";
            if before.map_or(not_yet_ready, |before| before.status == condition.status) {
                continue;
            }
            if let Some(reason) = render::event_reason(condition) {
                self.tell(reason);
            }
        }
    }

    /// Tells what the node has become.
    fn tell(&self, reason: &str) {
        let message = format!("Node {} status is now: {reason}", self.of.config.node);
        self.note(EventType::Normal, reason, &message);
    }

    fn note(&self, kind: EventType, reason: &str, message: &str) {
        self.of.notes.node(&self.of.config.node, kind, reason, message);
    }
}

#[cfg(test)]
pub(crate) mod tests;
