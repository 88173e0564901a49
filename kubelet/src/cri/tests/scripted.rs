//! A runtime for tests, which serves CRI over a unix socket as containerd does, and runs nothing: what a program does is
//! its command (`run`, `deaf`, `exit CODE`). What it holds outlives the kubelet and its own server; it refuses, hangs
//! and dies on command.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use machinery::clock::Clock;
use parking_lot::Mutex;
use proto::cri::image_service_server::{ImageService, ImageServiceServer};
use proto::cri::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use proto::cri::*;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

use super::Runtime;

/// What a trap does to the call that springs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with an error.
    Refuse,
    /// Never answers, and says that it has sprung.
    Hang,
}

/// A fault in store for a call.
#[derive(Debug, Clone)]
pub(crate) struct Trap {
    /// Which one, among those that change something.
    pub(crate) call: String,
    /// The call has its effect all the same.
    pub(crate) after: bool,
    /// What happens.
    pub(crate) fault: Fault,
}

/// What the runtime holds.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) sandboxes: BTreeMap<String, PodSandboxStatus>,
    pub(crate) containers: BTreeMap<String, Made>,
    pub(crate) images: Vec<Image>,
    /// Bytes that containers have written, by id.
    pub(crate) layers: BTreeMap<String, u64>,
    pub(crate) images_at: String,
    pub(crate) refuse_logs: bool,
    /// It is stopped: what is asked of it and its images is answered when it goes on.
    pub(crate) stopped: bool,
    pub(crate) without_network: bool,
    /// What was asked for that changes something.
    pub(crate) calls: Vec<String>,
    /// The programs that were started, by container and command, in order.
    pub(crate) ran: Vec<String>,
    pub(crate) trap: Option<Trap>,
    /// The calls that are always refused.
    pub(crate) stubborn: Vec<String>,
}

/// A container: what it was made from, and how it is.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) sandbox: String,
    pub(crate) config: ContainerConfig,
    pub(crate) status: ContainerStatus,
}

#[derive(Clone)]
pub(crate) struct Scripted {
    socket: Arc<tempfile::TempDir>,
    pub(crate) clock: Clock,
    state: Arc<Mutex<State>>,
    sprung: Arc<Notify>,
    server: Arc<Mutex<Option<tokio::runtime::Runtime>>>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Scripted {
    /// One that serves.
    pub(crate) fn new() -> Self {
        let this = Self {
            socket: Arc::new(tempfile::tempdir().expect("the test has a temporary folder")),
            clock: Clock::default(),
            state: Arc::default(),
            sprung: Arc::default(),
            server: Arc::default(),
        };
        this.serve();
        this
    }

    /// What it holds.
    pub(crate) fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// A kubelet's connection to it.
    pub(crate) fn client(&self) -> Arc<Runtime> {
        let path = self.path();
        Arc::new(Runtime::new(&path.to_string_lossy()).expect("a path is an endpoint"))
    }

    fn path(&self) -> PathBuf {
        self.socket.path().join("cri.sock")
    }

    /// Serves, the first time or again.
    pub(crate) fn serve(&self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("there is room for a thread");
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(self.path()).expect("nobody else has this socket")
        };
        let (runtimes, images) =
            (RuntimeServiceServer::new(self.clone()), ImageServiceServer::new(self.clone()));
        let server = tonic::transport::Server::builder().add_service(runtimes).add_service(images);
        runtime.spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
        *self.server.lock() = Some(runtime);
    }

    /// Dies: its connections break, its containers go on.
    pub(crate) fn die(&self) {
        if let Some(runtime) = self.server.lock().take() {
            runtime.shutdown_background();
        }
        std::fs::remove_file(self.path()).expect("it was serving");
    }

    /// Waits until a call hangs.
    pub(crate) async fn sprung(&self) {
        self.sprung.notified().await;
    }

    fn time(&self) -> i64 {
        i64::try_from(self.clock.now().as_nanosecond()).expect("the test is not that late")
    }

    async fn unless_stopped(&self) {
        while self.state().stopped {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn spring(&self, trap: Option<&Trap>) -> Result<(), Status> {
        match trap.map(|trap| trap.fault) {
            None => Ok(()),
            Some(Fault::Refuse) => Err(Status::unknown("refused by the script")),
            Some(Fault::Hang) => {
                self.sprung.notify_one();
                std::future::pending().await
            }
        }
    }

    /// A call that changes something, and may have a trap set for it.
    async fn change<T>(
        &self,
        what: String,
        effect: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Answer<T> {
        let trap = {
            let mut state = self.state();
            let trap = state.trap.take_if(|trap| trap.call == what);
            let refused = state.stubborn.contains(&what);
            state.calls.push(what);
            if refused {
                return Err(Status::unknown("refused by the script"));
            }
            trap
        };
        self.spring(trap.as_ref().filter(|trap| !trap.after)).await?;
        let done = effect(&mut self.state())?;
        self.spring(trap.as_ref().filter(|trap| trap.after)).await?;
        Ok(Response::new(done))
    }
}

/// Whether labels are those that are asked for.
fn chosen(labels: &HashMap<String, String>, asked: Option<&HashMap<String, String>>) -> bool {
    asked.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn missing<T>(found: Option<T>) -> Result<T, Status> {
    found.ok_or_else(|| Status::not_found("not found"))
}

fn name(container: &Made) -> String {
    container.config.metadata.clone().unwrap_or_default().name
}

fn end(container: &mut Made, now: i64, code: i32) {
    if container.status.state() == ContainerState::ContainerRunning {
        container.status.set_state(ContainerState::ContainerExited);
        container.status.finished_at = now;
        container.status.exit_code = code;
        let reason = if code == 0 { "Completed" } else { "Error" };
        container.status.reason = reason.to_owned();
    }
}

/// The code that a command ends with at once, if it does.
fn code(command: &[String]) -> Option<i32> {
    match command {
        [exit, code] if exit == "exit" => code.parse().ok(),
        _ => None,
    }
}

/// Calls that no test makes.
macro_rules! absent {
    ($($name:ident($request:ty) -> $answer:ty;)*) => {$(
        fn $name<'a, 'b>(&'a self, _: Request<$request>) -> Pin<Box<dyn Future<Output = Answer<$answer>> + Send + 'b>>
        where
            'a: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("not in the script")) })
        }
    )*};
}

#[tonic::async_trait]
impl RuntimeService for Scripted {
    type GetContainerEventsStream = tokio_stream::Empty<Result<ContainerEventResponse, Status>>;

    absent! {
        exec(ExecRequest) -> ExecResponse;
        attach(AttachRequest) -> AttachResponse;
        port_forward(PortForwardRequest) -> PortForwardResponse;
        container_stats(ContainerStatsRequest) -> ContainerStatsResponse;
        pod_sandbox_stats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
        list_pod_sandbox_stats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
        update_runtime_config(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
        checkpoint_container(CheckpointContainerRequest) -> CheckpointContainerResponse;
        get_container_events(GetEventsRequest) -> Self::GetContainerEventsStream;
        list_metric_descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse;
        list_pod_sandbox_metrics(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse;
        runtime_config(RuntimeConfigRequest) -> RuntimeConfigResponse;
    }

    async fn version(&self, _: Request<VersionRequest>) -> Answer<VersionResponse> {
        let runtime_name = "scripted".to_owned();
        Ok(Response::new(VersionResponse { runtime_name, ..VersionResponse::default() }))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusResponse> {
        self.unless_stopped().await;
        let without_network = self.state().without_network;
        let condition = |kind: &str| RuntimeCondition {
            r#type: kind.to_owned(),
            status: kind != "NetworkReady" || !without_network,
            ..RuntimeCondition::default()
        };
        let status = RuntimeStatus { conditions: ["RuntimeReady", "NetworkReady"].map(condition).into() };
        Ok(Response::new(StatusResponse { status: Some(status), ..StatusResponse::default() }))
    }

    async fn run_pod_sandbox(&self, request: Request<RunPodSandboxRequest>) -> Answer<RunPodSandboxResponse> {
        let (config, now) = (request.into_inner().config.unwrap_or_default(), self.time());
        let metadata = config.metadata.clone().unwrap_or_default();
        let id = format!("{}-{}", metadata.uid, metadata.attempt);
        self.change(format!("run sandbox {}", metadata.attempt), |state| {
            if state.sandboxes.contains_key(&id) {
                return Err(Status::already_exists("the sandbox's name is taken"));
            }
            let network =
                PodSandboxNetworkStatus { ip: "192.0.2.9".to_owned(), ..PodSandboxNetworkStatus::default() };
            let status = PodSandboxStatus {
                id: id.clone(),
                metadata: Some(metadata),
                created_at: now,
                network: Some(network),
                labels: config.labels,
                annotations: config.annotations,
                ..PodSandboxStatus::default()
            };
            state.sandboxes.insert(id.clone(), status);
            Ok(RunPodSandboxResponse { pod_sandbox_id: id })
        })
        .await
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<StopPodSandboxRequest>,
    ) -> Answer<StopPodSandboxResponse> {
        let (id, now) = (request.into_inner().pod_sandbox_id, self.time());
        self.change("stop sandbox".to_owned(), |state| {
            state.containers.values_mut().filter(|c| c.sandbox == id).for_each(|c| end(c, now, 137));
            missing(state.sandboxes.get_mut(&id))?.set_state(PodSandboxState::SandboxNotready);
            Ok(StopPodSandboxResponse {})
        })
        .await
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<RemovePodSandboxRequest>,
    ) -> Answer<RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        self.change("remove sandbox".to_owned(), |state| {
            state.sandboxes.remove(&id);
            state.containers.retain(|_, container| container.sandbox != id);
            Ok(RemovePodSandboxResponse {})
        })
        .await
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<PodSandboxStatusRequest>,
    ) -> Answer<PodSandboxStatusResponse> {
        let status = missing(self.state().sandboxes.get(&request.get_ref().pod_sandbox_id).cloned())?;
        Ok(Response::new(PodSandboxStatusResponse {
            status: Some(status),
            ..PodSandboxStatusResponse::default()
        }))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<ListPodSandboxRequest>,
    ) -> Answer<ListPodSandboxResponse> {
        let asked = request.get_ref().filter.as_ref().map(|filter| &filter.label_selector);
        let state = self.state();
        let found = state.sandboxes.values().filter(|sandbox| chosen(&sandbox.labels, asked));
        let items = found.map(|sandbox| PodSandbox {
            id: sandbox.id.clone(),
            metadata: sandbox.metadata.clone(),
            state: sandbox.state,
            created_at: sandbox.created_at,
            labels: sandbox.labels.clone(),
            annotations: sandbox.annotations.clone(),
            runtime_handler: String::new(),
        });
        Ok(Response::new(ListPodSandboxResponse { items: items.collect() }))
    }

    async fn create_container(
        &self,
        request: Request<CreateContainerRequest>,
    ) -> Answer<CreateContainerResponse> {
        let (request, now) = (request.into_inner(), self.time());
        let config = request.config.unwrap_or_default();
        let metadata = config.metadata.clone().unwrap_or_default();
        let id = format!("{}-{}-{}", request.pod_sandbox_id, metadata.name, metadata.attempt);
        self.change(format!("create {}", metadata.name), |state| {
            missing(state.sandboxes.get(&request.pod_sandbox_id))?;
            if state.containers.contains_key(&id) {
                return Err(Status::already_exists("the container's name is taken"));
            }
            let mut status = ContainerStatus {
                id: id.clone(),
                metadata: Some(metadata),
                created_at: now,
                image: config.image.clone(),
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
                ..ContainerStatus::default()
            };
            status.set_state(ContainerState::ContainerCreated);
            state.containers.insert(id.clone(), Made { sandbox: request.pod_sandbox_id, config, status });
            Ok(CreateContainerResponse { container_id: id })
        })
        .await
    }

    async fn start_container(
        &self,
        request: Request<StartContainerRequest>,
    ) -> Answer<StartContainerResponse> {
        let (id, now) = (request.into_inner().container_id, self.time());
        let what = self.state().containers.get(&id).map(name).unwrap_or_default();
        self.change(format!("start {what}"), |state| {
            let container = missing(state.containers.get_mut(&id))?;
            if container.status.state() != ContainerState::ContainerCreated {
                return Err(Status::failed_precondition("it was started before"));
            }
            container.status.set_state(ContainerState::ContainerRunning);
            container.status.started_at = now;
            if let Some(code) = code(&container.config.command) {
                end(container, now, code);
            }
            let program = format!("{what}: {}", container.config.command.join(" "));
            state.ran.push(program);
            Ok(StartContainerResponse {})
        })
        .await
    }

    async fn stop_container(&self, request: Request<StopContainerRequest>) -> Answer<StopContainerResponse> {
        let request = request.into_inner();
        let id = &request.container_id;
        let found = self.state().containers.get(id).map(|made| (name(made), made.config.command == ["deaf"]));
        let (what, deaf) = missing(found)?;
        if deaf {
            let grace = Duration::from_secs(request.timeout.unsigned_abs());
            self.clock.sleep_until(self.clock.instant() + grace).await;
        }
        let now = self.time();
        self.change(format!("stop {what}"), |state| {
            end(missing(state.containers.get_mut(id))?, now, if deaf { 137 } else { 0 });
            Ok(StopContainerResponse {})
        })
        .await
    }

    async fn remove_container(
        &self,
        request: Request<RemoveContainerRequest>,
    ) -> Answer<RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        let what = self.state().containers.get(&id).map(name).unwrap_or_default();
        self.change(format!("remove {what}"), |state| {
            state.containers.remove(&id);
            Ok(RemoveContainerResponse {})
        })
        .await
    }

    async fn list_containers(
        &self,
        request: Request<ListContainersRequest>,
    ) -> Answer<ListContainersResponse> {
        let asked = request.get_ref().filter.as_ref().map(|filter| &filter.label_selector);
        let state = self.state();
        let found = state.containers.values().filter(|made| chosen(&made.config.labels, asked));
        let containers = found.map(|Made { sandbox, status, .. }| Container {
            id: status.id.clone(),
            pod_sandbox_id: sandbox.clone(),
            metadata: status.metadata.clone(),
            image: status.image.clone(),
            state: status.state,
            created_at: status.created_at,
            labels: status.labels.clone(),
            annotations: status.annotations.clone(),
            ..Container::default()
        });
        Ok(Response::new(ListContainersResponse { containers: containers.collect() }))
    }

    async fn container_status(
        &self,
        request: Request<ContainerStatusRequest>,
    ) -> Answer<ContainerStatusResponse> {
        let state = self.state();
        let made = missing(state.containers.get(&request.get_ref().container_id))?;
        let status = Some(made.status.clone());
        Ok(Response::new(ContainerStatusResponse { status, ..ContainerStatusResponse::default() }))
    }

    async fn update_container_resources(
        &self,
        _: Request<UpdateContainerResourcesRequest>,
    ) -> Answer<UpdateContainerResourcesResponse> {
        self.change("update".to_owned(), |_| Ok(UpdateContainerResourcesResponse {})).await
    }

    async fn reopen_container_log(
        &self,
        _: Request<ReopenContainerLogRequest>,
    ) -> Answer<ReopenContainerLogResponse> {
        match self.state().refuse_logs {
            true => Err(Status::unknown("refused by the script")),
            false => Ok(Response::new(ReopenContainerLogResponse {})),
        }
    }

    async fn exec_sync(&self, request: Request<ExecSyncRequest>) -> Answer<ExecSyncResponse> {
        let request = request.into_inner();
        let what = self.state().containers.get(&request.container_id).map(name).unwrap_or_default();
        let what = format!("{what} does {}", request.cmd.join(" "));
        self.change(what.clone(), |state| {
            state.ran.push(what);
            let exit_code = code(&request.cmd).unwrap_or_default();
            Ok(ExecSyncResponse { exit_code, ..ExecSyncResponse::default() })
        })
        .await
    }

    async fn list_container_stats(
        &self,
        _: Request<ListContainerStatsRequest>,
    ) -> Answer<ListContainerStatsResponse> {
        let stats = |(id, used): (&String, &u64)| ContainerStats {
            attributes: Some(ContainerAttributes { id: id.clone(), ..ContainerAttributes::default() }),
            writable_layer: Some(FilesystemUsage {
                used_bytes: Some(UInt64Value { value: *used }),
                ..FilesystemUsage::default()
            }),
            ..ContainerStats::default()
        };
        let stats = self.state().layers.iter().map(stats).collect();
        Ok(Response::new(ListContainerStatsResponse { stats }))
    }
}

#[tonic::async_trait]
impl ImageService for Scripted {
    async fn list_images(&self, _: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        self.unless_stopped().await;
        Ok(Response::new(ListImagesResponse { images: self.state().images.clone() }))
    }

    async fn image_status(&self, request: Request<ImageStatusRequest>) -> Answer<ImageStatusResponse> {
        let asked = request.into_inner().image.unwrap_or_default().image;
        let found = self.state().images.iter().find(|image| image.id == asked).cloned();
        Ok(Response::new(ImageStatusResponse { image: found, ..ImageStatusResponse::default() }))
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Answer<PullImageResponse> {
        let request = request.into_inner();
        let (id, who) = (request.image.unwrap_or_default().image, request.auth.unwrap_or_default().username);
        let who = if who.is_empty() { who } else { format!(" as {who}") };
        self.change(format!("pull {id}{who}"), |state| {
            state.images.push(Image { id: id.clone(), ..Image::default() });
            Ok(PullImageResponse { image_ref: id })
        })
        .await
    }

    async fn remove_image(&self, request: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        let id = request.into_inner().image.unwrap_or_default().image;
        self.state().images.retain(|image| image.id != id);
        Ok(Response::new(RemoveImageResponse {}))
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Answer<ImageFsInfoResponse> {
        let fs_id = Some(FilesystemIdentifier { mountpoint: self.state().images_at.clone() });
        let image_filesystems = vec![FilesystemUsage { fs_id, ..FilesystemUsage::default() }];
        Ok(Response::new(ImageFsInfoResponse { image_filesystems, ..ImageFsInfoResponse::default() }))
    }
}
