//! What the server on port 10250 asks of the rest of the kubelet.

use api::Message;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::Below;
use proto::cri::{AttachRequest, ContainerState, ExecRequest, PodSandboxState, PortForwardRequest};

use crate::cri::CriError;
use crate::kubelet::Kubelet;
use crate::labels;
use crate::pod_spec;
use crate::server::{self, Found};
use crate::stats::Summary;

/// The kubelet as its server sees it.
pub struct Backend(pub Arc<Kubelet>);

fn words(error: CriError) -> Message {
    error.rpc().into()
}

#[async_trait]
impl server::Backend for Backend {
    fn pods(&self) -> Vec<Arc<Pod>> {
        self.0.pods.list()
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.0.pods.get(namespace, name)
    }

    async fn running(&self, pod: &Pod, container: &str) -> Result<Option<String>, Message> {
        let all = self.0.runtime.list_containers(Some(pod_spec::uid(pod))).await.map_err(words)?;
        let found = all.into_iter().find(|c| {
            c.state() == ContainerState::ContainerRunning
                && c.labels.get(labels::CONTAINER_NAME).is_some_and(|name| name == container)
        });
        Ok(found.map(|c| c.id))
    }

    async fn sandbox(&self, pod: &Pod) -> Result<Option<String>, Message> {
        let all = self.0.runtime.list_sandboxes(Some(pod_spec::uid(pod))).await.map_err(words)?;
        Ok(all.into_iter().find(|s| s.state() == PodSandboxState::SandboxReady).map(|s| s.id))
    }

    async fn container(&self, id: &str) -> Result<Found, Message> {
        let detail = self.0.runtime.container_status(id).await.map_err(words)?;
        let running = detail.status.state() == ContainerState::ContainerRunning;
        let log = Below::new(&self.0.places.logs, Path::new(&detail.status.log_path));
        Ok(Found { log: log.map_err(Message::of)?, running })
    }

    async fn stats(&self, disks: bool) -> Result<Summary, Message> {
        let disk = match disks {
            true => Some(self.0.runtime.disk().await.map_err(words)?),
            false => None,
        };
        let kubelet = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || kubelet.summary(disk.as_ref()));
        read.await.map_err(Message::of)
    }

    async fn exec(&self, request: ExecRequest) -> Result<String, Message> {
        self.0.runtime.exec(request).await.map_err(words)
    }

    async fn attach(&self, request: AttachRequest) -> Result<String, Message> {
        self.0.runtime.attach(request).await.map_err(words)
    }

    async fn port_forward(&self, request: PortForwardRequest) -> Result<String, Message> {
        self.0.runtime.port_forward(request).await.map_err(words)
    }
}
