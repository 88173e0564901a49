//! What a worker tells of its pod: waits by events, all else by the pod's status.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use machinery::events::EventType::Warning;

use super::Worker;
use super::status_writer::StatusWriter;
use crate::kubelet::Kubelet;
use crate::plan::life::Life;
use crate::plan::{Plan, Waiting};
use crate::pod_spec;
use crate::pod_status::{self, Facts};
use crate::runtime_state::PodView;

/// What was told of a pod.
pub(super) struct Reporter {
    kubelet: Arc<Kubelet>,
    /// When the kubelet first saw the pod.
    seen: Timestamp,
    status: Option<PodStatus>,
    writer: Option<StatusWriter>,
    /// Waits of which an event told already.
    waits: BTreeMap<String, Waiting>,
}

impl Reporter {
    /// One that has told nothing yet.
    pub(super) fn new(kubelet: Arc<Kubelet>) -> Self {
        Self { seen: kubelet.clock.now(), kubelet, status: None, writer: None, waits: BTreeMap::new() }
    }

    /// When the pod began to be active.
    pub(super) fn began(&self, pod: &Pod) -> Timestamp {
        let status = self.status.as_ref().or(pod.status.as_ref());
        status.and_then(|status| status.start_time.clone()).map_or(self.seen, |time| time.0)
    }

    /// A static pod with the status that was told last: nobody else may have it.
    pub(super) fn with_own_status(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        match self.status.clone().filter(|_| pod_spec::is_static(pod)) {
            Some(status) => Arc::new(Pod { status: Some(status), ..Pod::clone(pod) }),
            None => Arc::clone(pod),
        }
    }

    /// Nothing was told of the pod before.
    pub(super) fn begin_anew(&mut self) {
        self.status = Some(PodStatus::default());
    }

    /// Whether it was told that a static pod has run to its end.
    pub(super) fn has_finished(&self, pod: &Arc<Pod>) -> bool {
        pod_spec::is_static(pod) && api::pod::is_finished(&self.with_own_status(pod))
    }

    /// Tells of a wait once, by an event.
    pub(super) fn tell_waits(&mut self, pod: &Pod, waiting: &BTreeMap<String, Waiting>) {
        for (name, wait) in waiting.iter().filter(|(_, wait)| wait.reason == "CrashLoopBackOff") {
            if self.waits.get(name) == Some(wait) {
                continue;
            }
            if let Some((container, role)) = pod_spec::container(pod, name) {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    pod_spec::described(pod)
                );
                self.kubelet.notes.container(pod, &container, role, Warning, "BackOff", message);
            }
        }
        self.waits = waiting.clone();
    }

    /// Hands a status to the writer when it has changed, or when somebody wrote over it. A mirror that was made anew
    /// has a writer of its own.
    fn tell(&mut self, in_api: Option<&Pod>, status: PodStatus) {
        let told = self.status.as_ref() == Some(&status);
        self.status = Some(status.clone());
        let Some(in_api) = in_api else {
            self.writer = None;
            return;
        };
        let of_api = in_api.status.clone().unwrap_or_default();
        match self.writer.as_ref().filter(|writer| writer.is_for(in_api)) {
            None => {
                let writer = StatusWriter::start(&self.kubelet, in_api, of_api);
                writer.write(status);
                self.writer = Some(writer);
            }
            Some(writer) if !told => writer.write(status),
            // While the node was thought lost, its pods were marked unready: they are not.
            Some(writer) if writer.settled(in_api) && overwritten(&of_api, &status) => {
                writer.write_over(status, of_api);
            }
            Some(_) => {}
        }
    }

    /// Waits until the API has what was told last, or has the pod no more.
    pub(super) async fn flush(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.flush().await;
        }
    }
}

impl Worker {
    /// Tells the pod's status, as long as the API has something of it.
    pub(super) fn show(&mut self, pod: &Arc<Pod>, view: &PodView, plan: &Plan) {
        let in_api = self.kubelet.pods.in_api(&self.subject);
        let mut base = Pod::clone(pod);
        let of_api =
            in_api.as_ref().and_then(|pod| pod.status.clone()).or(base.status.take()).unwrap_or_default();
        base.status = Some(match &self.reporter.status {
            Some(own) => with_foreign_conditions(own.clone(), &of_api),
            None => of_api,
        });
        let node = self.kubelet.node_facts();
        let status = pod_status::render(&Facts {
            pod: &base,
            view,
            waiting: &plan.waiting,
            health: &self.probes.health(),
            host_ips: &node.host_ips,
            runtime: &self.kubelet.runtime_name,
            ended: self.life.why(),
            unresized: self.sizes.unresized.as_ref(),
            over: plan.done && self.life != Life::Running,
            seen: self.reporter.seen,
            now: self.now(),
        });
        self.reporter.tell(in_api.as_deref(), status);
    }
}

/// Whether somebody else changed a condition that is the kubelet's.
fn overwritten(of_api: &PodStatus, own: &PodStatus) -> bool {
    let value = |status: &PodStatus, kind: &str| {
        status.conditions.iter().flatten().find(|c| c.type_ == kind).map(|c| c.status.clone())
    };
    pod_status::OWN_CONDITIONS.iter().any(|kind| value(of_api, kind) != value(own, kind))
}

/// The kubelet's status with the conditions that others wrote meanwhile.
fn with_foreign_conditions(mut own: PodStatus, of_api: &PodStatus) -> PodStatus {
    let mine = |kind: &str| pod_status::OWN_CONDITIONS.contains(&kind);
    let mut conditions = own.conditions.take().unwrap_or_default();
    conditions.retain(|condition| mine(&condition.type_));
    conditions.extend(of_api.conditions.iter().flatten().filter(|c| !mine(&c.type_)).cloned());
    own.conditions = Some(conditions);
    own
}
