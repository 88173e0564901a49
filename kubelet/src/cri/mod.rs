//! The runtime as the kubelet sees it: CRI v1 behind one trait, so that tests can stand in for containerd.
//! Errors carry the runtime's words unchanged, since people read them in events and statuses.
//! Corresponds to upstream's `cri-client` and `k8s.io/cri-api`.

mod client;
#[cfg(test)]
pub(crate) mod fake;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
pub use client::Client;
use proto::cri::{
    AttachRequest, AuthConfig, Container, ContainerConfig, ContainerStatus, ExecRequest, ExecSyncResponse,
    Image, LinuxContainerResources, PodSandbox, PodSandboxConfig, PodSandboxStatus, PortForwardRequest,
    RuntimeCondition,
};

/// A refusal of the runtime, or the impossibility to ask it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct CriError {
    /// The gRPC code.
    pub code: tonic::Code,
    /// The runtime's words.
    pub message: String,
}

impl CriError {
    /// The error as gRPC clients usually print it, code first.
    pub fn rpc(&self) -> String {
        format!("rpc error: code = {:?} desc = {}", self.code, self.message)
    }

    /// Whether the thing asked for is not there.
    pub fn not_found(&self) -> bool {
        self.code == tonic::Code::NotFound
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self { code: status.code(), message: status.message().to_owned() }
    }
}

/// Result of a call to the runtime.
pub type CriResult<T> = Result<T, CriError>;

/// A container's status with the process id of its first process, when the runtime tells.
#[derive(Debug, Clone, Default)]
pub struct ContainerDetail {
    /// What CRI says.
    pub status: ContainerStatus,
    /// The first process, as seen from the runtime.
    pub pid: Option<i32>,
}

/// A sandbox's status with the process id of its pause program, when the runtime tells.
#[derive(Debug, Clone, Default)]
pub struct SandboxDetail {
    /// What CRI says.
    pub status: PodSandboxStatus,
    /// The pause program, as seen from the runtime.
    pub pid: Option<i32>,
}

/// The runtime's disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// A folder on the file system that images lie on.
    pub images: PathBuf,
    /// Bytes that images take.
    pub used: u64,
    /// Bytes that each container has written beside its volumes, by its id.
    pub layers: HashMap<String, u64>,
}

/// Which runtime it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// For example `containerd`.
    pub name: String,
    /// For example `1.6.20`, without a leading `v`.
    pub version: String,
}

/// What a runtime says that it can do, each of which older ones do not and do not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// It leaves the groups of the image out when asked to.
    pub groups_policy: bool,
    /// It makes mounts read-only with all that is mounted below them.
    pub recursive_read_only: bool,
    /// It labels processes and files for SELinux, unless it says otherwise.
    pub selinux: bool,
}

/// The calls of CRI v1 that the kubelet makes.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the runtime.
    async fn version(&self) -> CriResult<RuntimeVersion>;
    /// The runtime's own conditions (`RuntimeReady`, `NetworkReady`).
    async fn conditions(&self) -> CriResult<Vec<RuntimeCondition>>;
    /// What it can do for pods of one of its handlers (of a RuntimeClass; the default one is empty).
    async fn features(&self, handler: &str) -> CriResult<Features>;
    /// All sandboxes, or those of one pod.
    async fn list_sandboxes(&self, pod_uid: Option<&str>) -> CriResult<Vec<PodSandbox>>;
    /// One sandbox with its addresses.
    async fn sandbox_status(&self, id: &str) -> CriResult<SandboxDetail>;
    /// Makes and starts a sandbox; answers its id.
    async fn run_sandbox(&self, config: PodSandboxConfig, handler: &str) -> CriResult<String>;
    /// Stops a sandbox and takes its network down; fine when it is stopped already.
    async fn stop_sandbox(&self, id: &str) -> CriResult<()>;
    /// Forgets a stopped sandbox.
    async fn remove_sandbox(&self, id: &str) -> CriResult<()>;
    /// All containers, or those of one pod.
    async fn list_containers(&self, pod_uid: Option<&str>) -> CriResult<Vec<Container>>;
    /// One container.
    async fn container_status(&self, id: &str) -> CriResult<ContainerDetail>;
    /// Makes a container; answers its id.
    async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> CriResult<String>;
    /// Starts a made container.
    async fn start_container(&self, id: &str) -> CriResult<()>;
    /// Sends the stop signal, waits `grace`, kills; returns when the container has ended.
    async fn stop_container(&self, id: &str, grace: Duration) -> CriResult<()>;
    /// Forgets a container.
    async fn remove_container(&self, id: &str) -> CriResult<()>;
    /// Changes what a running container may use.
    async fn update_container(&self, id: &str, resources: LinuxContainerResources) -> CriResult<()>;
    /// Runs a command in a container and collects what it writes.
    async fn exec_sync(&self, id: &str, command: &[String], timeout: Duration)
    -> CriResult<ExecSyncResponse>;
    /// Prepares an exec session; answers the runtime's streaming URL.
    async fn exec(&self, request: ExecRequest) -> CriResult<String>;
    /// Prepares an attach session; answers the runtime's streaming URL.
    async fn attach(&self, request: AttachRequest) -> CriResult<String>;
    /// Prepares a port-forward session; answers the runtime's streaming URL.
    async fn port_forward(&self, request: PortForwardRequest) -> CriResult<String>;
    /// Makes the runtime open a container's log file anew.
    async fn reopen_log(&self, id: &str) -> CriResult<()>;
    /// The image of that name, when it is on the node.
    async fn image_status(&self, image: &str) -> CriResult<Option<Image>>;
    /// All images on the node.
    async fn list_images(&self) -> CriResult<Vec<Image>>;
    /// The image that sandboxes are made of, if the runtime tells.
    async fn sandbox_image(&self) -> CriResult<Option<String>>;
    /// The disk that images and writable layers take.
    async fn disk(&self) -> CriResult<Disk>;
    /// Fetches an image; answers its reference.
    async fn pull_image(&self, image: &str, auth: Option<AuthConfig>) -> CriResult<String>;
    /// Deletes an image.
    async fn remove_image(&self, image: &str) -> CriResult<()>;
}
