//! Events about the node, its pods and their containers, by the kubelet.

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use machinery::events::{EventType, Recorder, reference};

use crate::pod_spec::{self, Role};

/// Records what happens to pods.
#[derive(Debug, Clone)]
pub struct Notes {
    recorder: Recorder,
}

impl Notes {
    /// Notes that go to a recorder.
    pub fn new(recorder: Recorder) -> Self {
        Self { recorder }
    }

    /// Something happened to the node.
    pub fn node(&self, name: &str, kind: EventType, reason: &str, message: impl Into<String>) {
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(name.to_owned()),
            // Upstream names the node here, too: its uid is not known before it is registered.
            uid: Some(name.to_owned()),
            ..ObjectReference::default()
        };
        self.recorder.event_at(about, kind, reason, message);
    }

    /// Something happened to a pod as a whole.
    pub fn pod(&self, pod: &Pod, kind: EventType, reason: &str, message: impl Into<String>) {
        self.recorder.event(pod, kind, reason, message);
    }

    /// Something happened to a container of a pod.
    pub fn container(
        &self,
        pod: &Pod,
        container: &Container,
        role: Role,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let mut about = reference(pod);
        about.field_path = Some(pod_spec::field_path(&container.name, role));
        self.recorder.event_at(about, kind, reason, message);
    }
}
