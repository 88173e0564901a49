//! What a worker tells of its pod: waits by events, all else by the pod's status.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use machinery::events::EventType::Warning;

use super::Worker;
use super::status_writer::StatusWriter;
use crate::plan::Waiting;
use crate::pod_spec;
use crate::pod_status::{self, Facts};
use crate::runtime_state::PodView;

impl Worker {
    /// Tells of a wait once, by an event.
    pub(super) fn tell_waits(&mut self, pod: &Pod, waiting: &BTreeMap<String, Waiting>) {
        for (name, wait) in waiting.iter().filter(|(_, wait)| wait.reason == "CrashLoopBackOff") {
            if self.told.get(name) == Some(wait) {
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
        self.told = waiting.clone();
    }

    /// Renders the pod's status and hands it to the writer when it has changed.
    pub(super) fn show(
        &mut self,
        pod: &Arc<Pod>,
        view: &PodView,
        waiting: &BTreeMap<String, Waiting>,
        over: bool,
    ) {
        let mut base = Pod::clone(pod);
        let of_api = base.status.take().unwrap_or_default();
        base.status = Some(match &self.status {
            Some(own) => with_foreign_conditions(own.clone(), &of_api),
            None => of_api.clone(),
        });
        let node = self.kubelet.node_facts();
        let health = self.probes.health();
        let status = pod_status::render(&Facts {
            pod: &base,
            view,
            waiting,
            health: &health,
            host_ips: &node.host_ips,
            runtime: &self.kubelet.runtime_name,
            ended: self.ended.as_ref(),
            unresized: self.unresized.as_ref(),
            over,
            seen: self.seen,
            now: Timestamp::now(),
        });
        if self.status.as_ref() == Some(&status) {
            // While the node was thought lost, its pods were marked unready: they are not.
            if let Some(writer) = self.writer.as_ref().filter(|writer| writer.settled(pod))
                && overwritten(&of_api, &status)
            {
                writer.write_over(status, of_api);
            }
            return;
        }
        let subject = &self.subject;
        let writer = self.writer.get_or_insert_with(|| {
            StatusWriter::start(&self.kubelet, &subject.namespace, &subject.name, &subject.uid, of_api)
        });
        writer.write(status.clone());
        self.status = Some(status);
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
