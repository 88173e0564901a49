//! The node as the API shows it: registration, status, heartbeat.
//!
//! The status is rendered from what the machine and the runtime say ([`render`] is pure), and written when it
//! has changed or every five minutes. The heartbeat is the node's Lease in `kube-node-lease`. Corresponds to
//! upstream's `kubelet_node_status.go` and `component-helpers/apimachinery/lease`.

mod heartbeat;
pub mod machine;
mod pulse;
mod render;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, ObjectReference, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use machinery::events::{EventType, Recorder};
use machinery::tasks::Tasks;
use serde_json::json;

pub use pulse::Pulse;
pub use render::{Observed, render};

use crate::args::Config;
use crate::cri::{Runtime, RuntimeVersion};
use machine::Resources;

/// How often the node is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// The same while it is not ready yet.
const LOOK_UNREADY: Duration = Duration::from_millis(100);
/// After how long an unchanged status is written again.
const REPORT: SignedDuration = SignedDuration::from_secs(300);
/// For how long the quick looks go on before they slow down to one a second.
const HURRY: SignedDuration = SignedDuration::from_secs(30);

/// Keeps the node's object up to date.
pub struct NodeKeeper {
    config: Arc<Config>,
    client: kube::Client,
    runtime: Arc<dyn Runtime>,
    version: RuntimeVersion,
    resources: Resources,
    recorder: Recorder,
    pulse: Pulse,
    /// What the runtime said last.
    images: Vec<k8s_cri::v1::Image>,
    /// What was written last, and when.
    written: Option<(NodeStatus, Timestamp)>,
    began: Timestamp,
}

impl NodeKeeper {
    /// A keeper of this node.
    pub fn new(
        config: Arc<Config>,
        client: kube::Client,
        runtime: Arc<dyn Runtime>,
        version: RuntimeVersion,
        resources: Resources,
        recorder: Recorder,
    ) -> Self {
        let began = Timestamp::now();
        Self {
            config,
            client,
            runtime,
            version,
            resources,
            recorder,
            pulse: Pulse::new(),
            images: Vec::new(),
            written: None,
            began,
        }
    }

    /// Beats each time the runtime answers.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Registers the node, then keeps status and heartbeat until stopped.
    pub fn spawn(mut self, tasks: &Tasks) {
        let stop = tasks.token();
        let lease = heartbeat::Heartbeat::new(self.client.clone(), &self.config.node);
        let beating = stop.clone();
        let tasks_of_lease = tasks.clone();
        tasks.spawn("node", async move {
            if stop.run_until_cancelled(self.register()).await.is_none() {
                return Ok(());
            }
            self.note(EventType::Normal, "Starting", "Starting kubelet.");
            tasks_of_lease.spawn("heartbeat", async move {
                beating.run_until_cancelled(lease.run()).await;
                Ok(())
            });
            stop.run_until_cancelled(self.keep()).await;
            Ok(())
        });
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Creates the node's object, or brings the labels of the one that is there up to date.
    async fn register(&mut self) {
        let mut pause = LOOK_UNREADY;
        loop {
            match self.try_register().await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "Cannot register the node yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    async fn try_register(&mut self) -> Result<(), kube::Error> {
        let labels = self.labels();
        let unready = Taint {
            key: "node.kubernetes.io/not-ready".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let node = Node {
            metadata: ObjectMeta {
                name: Some(self.config.node.clone()),
                labels: Some(labels.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                taints: Some(self.config.taints.iter().cloned().chain([unready]).collect()),
                ..NodeSpec::default()
            }),
            status: Some(self.status().await),
        };
        match self.api().create(&PostParams::default(), &node).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {
                let patch = json!({"metadata": {"labels": labels}});
                self.api()
                    .patch(&self.config.node, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .map(drop)
            }
            Err(error) => Err(error),
        }
    }

    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let own = [
            ("beta.kubernetes.io/arch", machine::architecture()),
            ("beta.kubernetes.io/os", std::env::consts::OS),
            ("kubernetes.io/arch", machine::architecture()),
            ("kubernetes.io/hostname", self.config.node.as_str()),
            ("kubernetes.io/os", std::env::consts::OS),
        ];
        let mut labels = self.config.labels.clone();
        labels.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        labels
    }

    async fn keep(&mut self) {
        loop {
            if let Err(error) = self.report().await {
                tracing::warn!(%error, "Cannot write the node's status");
                if matches!(&error, kube::Error::Api(answer) if answer.code == 404) {
                    self.written = None;
                    self.register().await;
                }
            }
            let ready = self.written.as_ref().is_some_and(|(status, _)| render::is_ready(status));
            let hurry = Timestamp::now().duration_since(self.began) < HURRY;
            tokio::time::sleep(match (ready, hurry) {
                (true, _) => LOOK,
                (false, true) => LOOK_UNREADY,
                (false, false) => Duration::from_secs(1),
            })
            .await;
        }
    }

    async fn status(&mut self) -> NodeStatus {
        let conditions = self.runtime.conditions().await.map_err(|error| error.rpc());
        if conditions.is_ok() {
            self.pulse.beat();
        }
        match self.runtime.list_images().await {
            Ok(images) => self.images = images,
            Err(error) => tracing::debug!(error = error.rpc(), "Cannot list images; the last list stays"),
        }
        let before = self.written.as_ref().map(|(status, _)| status);
        render(&Observed {
            config: &self.config,
            resources: &self.resources,
            version: &self.version,
            runtime: &conditions,
            pressure: machine::pressure(&self.config.root_dir),
            images: &self.images,
            before,
            now: Timestamp::now(),
        })
    }

    /// Writes the status if it says something new, or has not been written for long.
    async fn report(&mut self) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        if self.written.is_none() {
            // A kubelet that was started again goes on from what the API shows.
            let present = self.api().get(&self.config.node).await?;
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
        self.api().patch_status(&self.config.node, &PatchParams::default(), &patch).await?;
        self.tell_changes(&status);
        self.written = Some((status, now));
        Ok(())
    }

    fn tell_changes(&self, status: &NodeStatus) {
        let of = |status: &NodeStatus, kind: &str| -> Option<NodeCondition> {
            status.conditions.iter().flatten().find(|c| c.type_ == kind).cloned()
        };
        for condition in status.conditions.iter().flatten() {
            let before = self.written.as_ref().and_then(|(before, _)| of(before, &condition.type_));
            if before.is_some_and(|b| b.status == condition.status) {
                continue;
            }
            let Some(reason) = render::event_reason(condition) else { continue };
            let message = format!("Node {} status is now: {reason}", self.config.node);
            self.note(EventType::Normal, reason, &message);
        }
    }

    fn note(&self, kind: EventType, reason: &str, message: &str) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.config.node.clone()),
            // Upstream names the node here, too: its uid is not known before it is registered.
            uid: Some(self.config.node.clone()),
            ..ObjectReference::default()
        };
        self.recorder.event_at(about, kind, reason, message);
    }
}
