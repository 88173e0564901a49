//! CRI v1 over the runtime's unix socket. The connection is made lazily and again after the runtime went
//! away, so a restart of the runtime shows as failing calls and heals by itself.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::cri::image_service_client::ImageServiceClient;
use proto::cri::runtime_service_client::RuntimeServiceClient;
use proto::cri::{
    AttachRequest, AuthConfig, Container, ContainerConfig, ContainerFilter, ContainerStats,
    ContainerStatusRequest, CreateContainerRequest, ExecRequest, ExecSyncRequest, ExecSyncResponse, Image,
    ImageFsInfoRequest, ImageSpec, ImageStatusRequest, LinuxContainerResources, ListContainerStatsRequest,
    ListContainersRequest, ListImagesRequest, ListPodSandboxRequest, PodSandbox, PodSandboxConfig,
    PodSandboxFilter, PodSandboxStatusRequest, PortForwardRequest, PullImageRequest, RemoveContainerRequest,
    RemoveImageRequest, RemovePodSandboxRequest, ReopenContainerLogRequest, RunPodSandboxRequest,
    RuntimeCondition, StartContainerRequest, StatusRequest, StopContainerRequest, StopPodSandboxRequest,
    UpdateContainerResourcesRequest, VersionRequest,
};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::{ContainerDetail, CriError, CriResult, Disk, Features, RuntimeVersion, SandboxDetail};
use crate::labels;

/// How long an ordinary call may take.
const CALL: Duration = Duration::from_secs(120);
/// How long making a sandbox may take.
const SANDBOX: Duration = Duration::from_secs(240);
/// Images may be large and networks slow.
const PULL: Duration = Duration::from_secs(60 * 60);
/// containerd lists thousands of containers in one message.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// A connection to the runtime: the calls of CRI v1 that the kubelet makes.
#[derive(Clone)]
pub struct Runtime {
    channel: Channel,
}

impl Runtime {
    /// Prepares a connection to `endpoint` (`unix:///run/…sock` or a plain path); nothing is opened yet.
    pub fn new(endpoint: &str) -> Result<Self, tonic::transport::Error> {
        let path = PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint));
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        // The URI is only a placeholder: the connector above decides where to go.
        let channel = Endpoint::try_from("http://runtime.invalid")?.connect_with_connector_lazy(connector);
        Ok(Self { channel })
    }

    fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE)
    }

    fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_MESSAGE)
    }
}

/// One call with a time limit of its own.
async fn limited<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> CriResult<T> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(CriError {
            code: tonic::Code::DeadlineExceeded,
            message: "context deadline exceeded".to_owned(),
        }),
    }
}

/// Seconds as runtimes take them: those that count in nanoseconds would make too many of them none.
fn seconds(time: Duration) -> i64 {
    const MOST: i64 = i64::MAX / 1_000_000_000;
    i64::try_from(time.as_secs()).unwrap_or(MOST).min(MOST)
}

fn of_pod(pod_uid: &str) -> std::collections::HashMap<String, String> {
    [(labels::POD_UID.to_owned(), pod_uid.to_owned())].into()
}

fn missing(what: &str) -> CriError {
    CriError { code: tonic::Code::Internal, message: format!("the runtime answered without {what}") }
}

/// The process id in containerd's and CRI-O's verbose answer.
fn pid_of(info: &std::collections::HashMap<String, String>) -> Option<i32> {
    #[derive(serde::Deserialize)]
    struct Info {
        pid: Option<i32>,
    }
    let info: Info = serde_json::from_str(info.get("info")?).ok()?;
    info.pid.filter(|pid| *pid > 0)
}

/// The image of sandboxes in containerd's verbose answer.
fn sandbox_image_of(info: &std::collections::HashMap<String, String>) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(info.get("config")?).ok()?;
    config["sandboxImage"].as_str().map(str::to_owned)
}

/// Whether the runtime goes along with the host's SELinux; containerd does when it is told to, and says so in its
/// verbose answer.
fn labels_for_selinux(info: &std::collections::HashMap<String, String>) -> bool {
    let config = info.get("config").and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    config.is_none_or(|config| config["enableSelinux"].as_bool() != Some(false))
}

impl Runtime {
    /// Name and version of the runtime.
    pub async fn version(&self) -> CriResult<RuntimeVersion> {
        let request = VersionRequest { version: "v1".to_owned() };
        let answer = limited(CALL, self.runtime().version(request)).await?;
        // Debian's builds say `1.6.20~ds1`: what follows is no part of the version.
        let version = answer.runtime_version.trim_start_matches('v');
        let version = version.split('~').next().unwrap_or(version).to_owned();
        Ok(RuntimeVersion { name: answer.runtime_name, version })
    }

    /// The runtime's own conditions (`RuntimeReady`, `NetworkReady`).
    pub async fn conditions(&self) -> CriResult<Vec<RuntimeCondition>> {
        let answer = limited(CALL, self.runtime().status(StatusRequest { verbose: false })).await?;
        Ok(answer.status.ok_or_else(|| missing("a status"))?.conditions)
    }

    /// What it can do for pods of one of its handlers (of a RuntimeClass; the default one is empty).
    pub async fn features(&self, handler: &str) -> CriResult<Features> {
        let answer = limited(CALL, self.runtime().status(StatusRequest { verbose: true })).await?;
        let handler = answer.runtime_handlers.iter().find(|known| known.name == handler);
        Ok(Features {
            groups_policy: answer.features.is_some_and(|f| f.supplemental_groups_policy),
            recursive_read_only: handler
                .and_then(|known| known.features.as_ref())
                .is_some_and(|f| f.recursive_read_only_mounts),
            selinux: labels_for_selinux(&answer.info),
        })
    }

    /// All sandboxes, or those of one pod.
    pub async fn list_sandboxes(&self, pod_uid: Option<&str>) -> CriResult<Vec<PodSandbox>> {
        let filter = pod_uid
            .map(|uid| PodSandboxFilter { label_selector: of_pod(uid), ..PodSandboxFilter::default() });
        Ok(limited(CALL, self.runtime().list_pod_sandbox(ListPodSandboxRequest { filter })).await?.items)
    }

    /// One sandbox with its addresses.
    pub async fn sandbox_status(&self, id: &str) -> CriResult<SandboxDetail> {
        let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: true };
        let answer = limited(CALL, self.runtime().pod_sandbox_status(request)).await?;
        let pid = pid_of(&answer.info);
        Ok(SandboxDetail { status: answer.status.ok_or_else(|| missing("a sandbox status"))?, pid })
    }

    /// Makes and starts a sandbox; answers its id.
    pub async fn run_sandbox(&self, config: PodSandboxConfig, handler: &str) -> CriResult<String> {
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(limited(SANDBOX, self.runtime().run_pod_sandbox(request)).await?.pod_sandbox_id)
    }

    /// Stops a sandbox and takes its network down; fine when it is stopped already.
    pub async fn stop_sandbox(&self, id: &str) -> CriResult<()> {
        let request = StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        limited(SANDBOX, self.runtime().stop_pod_sandbox(request)).await.map(drop)
    }

    /// Forgets a stopped sandbox.
    pub async fn remove_sandbox(&self, id: &str) -> CriResult<()> {
        let request = RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        limited(SANDBOX, self.runtime().remove_pod_sandbox(request)).await.map(drop)
    }

    /// All containers, or those of one pod.
    pub async fn list_containers(&self, pod_uid: Option<&str>) -> CriResult<Vec<Container>> {
        let filter =
            pod_uid.map(|uid| ContainerFilter { label_selector: of_pod(uid), ..ContainerFilter::default() });
        Ok(limited(CALL, self.runtime().list_containers(ListContainersRequest { filter })).await?.containers)
    }

    /// One container.
    pub async fn container_status(&self, id: &str) -> CriResult<ContainerDetail> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let answer = limited(CALL, self.runtime().container_status(request)).await?;
        let pid = pid_of(&answer.info);
        Ok(ContainerDetail { status: answer.status.ok_or_else(|| missing("a container status"))?, pid })
    }

    /// Makes a container; answers its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        sandbox_config: PodSandboxConfig,
    ) -> CriResult<String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(limited(CALL, Box::pin(self.runtime().create_container(request))).await?.container_id)
    }

    /// Starts a made container.
    pub async fn start_container(&self, id: &str) -> CriResult<()> {
        let request = StartContainerRequest { container_id: id.to_owned() };
        limited(CALL, self.runtime().start_container(request)).await.map(drop)
    }

    /// Sends the stop signal, waits `grace`, kills; returns when the container has ended.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> CriResult<()> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout: seconds(grace) };
        limited(CALL.saturating_add(grace), self.runtime().stop_container(request)).await.map(drop)
    }

    /// Changes what a running container may use.
    pub async fn update_container(&self, id: &str, resources: LinuxContainerResources) -> CriResult<()> {
        let request = UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(resources),
            ..UpdateContainerResourcesRequest::default()
        };
        limited(CALL, self.runtime().update_container_resources(request)).await.map(drop)
    }

    /// Forgets a container.
    pub async fn remove_container(&self, id: &str) -> CriResult<()> {
        let request = RemoveContainerRequest { container_id: id.to_owned() };
        limited(CALL, self.runtime().remove_container(request)).await.map(drop)
    }

    /// Runs a command in a container and collects what it writes.
    pub async fn exec_sync(
        &self,
        id: &str,
        command: &[String],
        timeout: Duration,
    ) -> CriResult<ExecSyncResponse> {
        let request =
            ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout: seconds(timeout) };
        limited(CALL.saturating_add(timeout), self.runtime().exec_sync(request)).await
    }

    /// Prepares an exec session; answers the runtime's streaming URL.
    pub async fn exec(&self, request: ExecRequest) -> CriResult<String> {
        Ok(limited(CALL, self.runtime().exec(request)).await?.url)
    }

    /// Prepares an attach session; answers the runtime's streaming URL.
    pub async fn attach(&self, request: AttachRequest) -> CriResult<String> {
        Ok(limited(CALL, self.runtime().attach(request)).await?.url)
    }

    /// Prepares a port-forward session; answers the runtime's streaming URL.
    pub async fn port_forward(&self, request: PortForwardRequest) -> CriResult<String> {
        Ok(limited(CALL, self.runtime().port_forward(request)).await?.url)
    }

    /// Makes the runtime open a container's log file anew.
    pub async fn reopen_log(&self, id: &str) -> CriResult<()> {
        let request = ReopenContainerLogRequest { container_id: id.to_owned() };
        limited(CALL, self.runtime().reopen_container_log(request)).await.map(drop)
    }

    /// The image of that name, when it is on the node.
    pub async fn image_status(&self, image: &str) -> CriResult<Option<Image>> {
        let request = ImageStatusRequest { image: Some(spec(image)), verbose: false };
        Ok(limited(CALL, self.images().image_status(request)).await?.image)
    }

    /// All images on the node.
    pub async fn list_images(&self) -> CriResult<Vec<Image>> {
        Ok(limited(CALL, self.images().list_images(ListImagesRequest { filter: None })).await?.images)
    }

    /// The image that sandboxes are made of, if the runtime tells.
    pub async fn sandbox_image(&self) -> CriResult<Option<String>> {
        let answer = limited(CALL, self.runtime().status(StatusRequest { verbose: true })).await?;
        Ok(sandbox_image_of(&answer.info))
    }

    /// The disk that images and writable layers take.
    pub async fn disk(&self) -> CriResult<Disk> {
        let mut images = self.images();
        let (images, layers) =
            tokio::try_join!(limited(CALL, images.image_fs_info(ImageFsInfoRequest {})), self.layers(),)?;
        let mut disk = Disk { layers, ..Disk::default() };
        for fs in images.image_filesystems {
            disk.used += fs.used_bytes.map_or(0, |used| used.value);
            disk.images = fs.fs_id.map(|id| PathBuf::from(id.mountpoint)).unwrap_or_default();
        }
        Ok(disk)
    }

    /// Bytes that each container has written beside its volumes, by its id.
    pub async fn layers(&self) -> CriResult<HashMap<String, u64>> {
        let request = ListContainerStatsRequest { filter: None };
        let answer = limited(CALL, self.runtime().list_container_stats(request)).await?;
        let layer = |container: ContainerStats| {
            let used = container.writable_layer.and_then(|layer| layer.used_bytes);
            (container.attributes.map(|a| a.id).unwrap_or_default(), used.map_or(0, |used| used.value))
        };
        Ok(answer.stats.into_iter().map(layer).collect())
    }

    /// Fetches an image; answers its reference.
    pub async fn pull_image(&self, image: &str, auth: Option<AuthConfig>) -> CriResult<String> {
        let request = PullImageRequest { image: Some(spec(image)), auth, sandbox_config: None };
        Ok(limited(PULL, Box::pin(self.images().pull_image(request))).await?.image_ref)
    }

    /// Deletes an image.
    pub async fn remove_image(&self, image: &str) -> CriResult<()> {
        let request = RemoveImageRequest { image: Some(spec(image)) };
        limited(CALL, self.images().remove_image(request)).await.map(drop)
    }
}

fn spec(image: &str) -> ImageSpec {
    ImageSpec { image: image.to_owned(), ..ImageSpec::default() }
}

#[cfg(test)]
mod tests;
