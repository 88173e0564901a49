//! A runtime for tests: it is well, has images, and runs nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use proto::cri::{
    AttachRequest, AuthConfig, Container, ContainerConfig, ExecRequest, ExecSyncResponse, Image,
    LinuxContainerResources, PodSandbox, PodSandboxConfig, PortForwardRequest, RuntimeCondition,
};

use super::{ContainerDetail, CriError, CriResult, Disk, Features, Runtime, RuntimeVersion, SandboxDetail};

/// The runtime that is none.
#[derive(Default)]
pub(crate) struct Fake {
    /// Its images.
    pub(crate) images: Mutex<Vec<Image>>,
    /// Whether it refuses to begin logs anew.
    pub(crate) refuse_logs: AtomicBool,
    /// Its disk.
    pub(crate) disk: Mutex<Disk>,
    /// Its containers.
    pub(crate) containers: Mutex<Vec<Container>>,
}

fn refused<T>() -> CriResult<T> {
    Err(CriError { code: tonic::Code::Unimplemented, message: "this runtime runs nothing".to_owned() })
}

#[async_trait]
impl Runtime for Fake {
    async fn version(&self) -> CriResult<RuntimeVersion> {
        Ok(RuntimeVersion::default())
    }

    async fn conditions(&self) -> CriResult<Vec<RuntimeCondition>> {
        let condition = |kind: &str| RuntimeCondition {
            r#type: kind.to_owned(),
            status: true,
            ..RuntimeCondition::default()
        };
        Ok(["RuntimeReady", "NetworkReady"].map(condition).into())
    }

    async fn features(&self, _handler: &str) -> CriResult<Features> {
        Ok(Features::default())
    }

    async fn list_sandboxes(&self, _pod_uid: Option<&str>) -> CriResult<Vec<PodSandbox>> {
        Ok(Vec::new())
    }

    async fn sandbox_status(&self, _id: &str) -> CriResult<SandboxDetail> {
        refused()
    }

    async fn run_sandbox(&self, _config: PodSandboxConfig, _handler: &str) -> CriResult<String> {
        refused()
    }

    async fn stop_sandbox(&self, _id: &str) -> CriResult<()> {
        refused()
    }

    async fn remove_sandbox(&self, _id: &str) -> CriResult<()> {
        refused()
    }

    async fn list_containers(&self, _pod_uid: Option<&str>) -> CriResult<Vec<Container>> {
        Ok(self.containers.lock().clone())
    }

    async fn container_status(&self, _id: &str) -> CriResult<ContainerDetail> {
        refused()
    }

    async fn create_container(
        &self,
        _sandbox: &str,
        _config: ContainerConfig,
        _sandbox_config: PodSandboxConfig,
    ) -> CriResult<String> {
        refused()
    }

    async fn start_container(&self, _id: &str) -> CriResult<()> {
        refused()
    }

    async fn update_container(&self, _id: &str, _resources: LinuxContainerResources) -> CriResult<()> {
        refused()
    }

    async fn stop_container(&self, _id: &str, _grace: Duration) -> CriResult<()> {
        refused()
    }

    async fn remove_container(&self, _id: &str) -> CriResult<()> {
        refused()
    }

    async fn exec_sync(
        &self,
        _id: &str,
        _command: &[String],
        _timeout: Duration,
    ) -> CriResult<ExecSyncResponse> {
        refused()
    }

    async fn exec(&self, _request: ExecRequest) -> CriResult<String> {
        refused()
    }

    async fn attach(&self, _request: AttachRequest) -> CriResult<String> {
        refused()
    }

    async fn port_forward(&self, _request: PortForwardRequest) -> CriResult<String> {
        refused()
    }

    async fn reopen_log(&self, _id: &str) -> CriResult<()> {
        if self.refuse_logs.load(Ordering::SeqCst) { refused() } else { Ok(()) }
    }

    async fn image_status(&self, image: &str) -> CriResult<Option<Image>> {
        Ok(self.images.lock().iter().find(|known| known.id == image).cloned())
    }

    async fn list_images(&self) -> CriResult<Vec<Image>> {
        Ok(self.images.lock().clone())
    }

    async fn sandbox_image(&self) -> CriResult<Option<String>> {
        Ok(None)
    }

    async fn disk(&self) -> CriResult<Disk> {
        Ok(self.disk.lock().clone())
    }

    async fn pull_image(&self, _image: &str, _auth: Option<AuthConfig>) -> CriResult<String> {
        refused()
    }

    async fn remove_image(&self, image: &str) -> CriResult<()> {
        self.images.lock().retain(|known| known.id != image);
        Ok(())
    }
}
