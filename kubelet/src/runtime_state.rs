//! What the runtime holds of one pod: its sandboxes and containers, newest first. Built from CRI's lists and
//! the labels on them alone, so it is the same before and after a restart of the kubelet.
//! Corresponds to upstream's `kubecontainer.PodStatus`.

use jiff::Timestamp;
use proto::cri::{Container, ContainerState, ContainerStatus, PodSandbox, PodSandboxState, PodSandboxStatus};

use crate::labels;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Made, never started.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended.
    Exited,
    /// The runtime lost track of it.
    #[default]
    Unknown,
}

impl State {
    fn of(state: i32) -> Self {
        match ContainerState::try_from(state) {
            Ok(ContainerState::ContainerCreated) => Self::Created,
            Ok(ContainerState::ContainerRunning) => Self::Running,
            Ok(ContainerState::ContainerExited) => Self::Exited,
            _ => Self::Unknown,
        }
    }
}

/// One sandbox of the pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SandboxView {
    /// The runtime's id.
    pub id: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
    /// Whether the pause program and the network stand.
    pub ready: bool,
    /// When it was made, in nanoseconds.
    pub created: i64,
    /// Its addresses; none on the host's network.
    pub ips: Vec<String>,
}

/// One container of the pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerView {
    /// The runtime's id.
    pub id: String,
    /// Its name in the pod's spec.
    pub name: String,
    /// How many of the same name came before.
    pub attempt: u32,
    /// The sandbox it lives in.
    pub sandbox: String,
    /// Hash of the spec it was made from.
    pub hash: String,
    /// Where it is in its life.
    pub state: State,
    /// When it was made, in nanoseconds; so are the two below, 0 when it has not happened.
    pub created: i64,
    /// When its program started.
    pub started: i64,
    /// When its program ended.
    pub finished: i64,
    /// What its program answered.
    pub exit_code: i32,
    /// The runtime's word for the end (`Completed`, `Error`, `OOMKilled`, `StartError`).
    pub reason: String,
    /// The runtime's or the program's last words.
    pub message: String,
    /// The image's name as the runtime knows it.
    pub image: String,
    /// The image by content.
    pub image_ref: String,
    /// The grace period it was made with.
    pub grace: Option<i64>,
    /// Where it writes its log.
    pub log_path: String,
    /// Where it has mounts that are read-only with all that is mounted below them.
    pub recursive_read_only: Vec<String>,
    /// The process id of its program, when the runtime tells.
    pub pid: Option<i32>,
}

impl ContainerView {
    /// When it ended; none while it has not.
    pub fn finished_at(&self) -> Option<Timestamp> {
        (self.finished > 0).then(|| seconds(self.finished))
    }
}

/// A runtime's time, cut to the whole seconds that the API carries.
pub fn seconds(nanoseconds: i64) -> Timestamp {
    Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// All of one pod, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    /// Sandboxes, highest attempt first.
    pub sandboxes: Vec<SandboxView>,
    /// Containers, highest attempt first.
    pub containers: Vec<ContainerView>,
}

impl PodView {
    /// Brings both lists into their order.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created)));
        self.containers.sort_by_key(|c| std::cmp::Reverse((c.attempt, c.created)));
    }

    /// Whether the runtime holds nothing of the pod.
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }

    /// The sandbox that the pod lives in.
    pub fn ready_sandbox(&self) -> Option<&SandboxView> {
        self.sandboxes.iter().find(|s| s.ready)
    }

    /// The newest container of a name.
    pub fn newest(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The containers of a name, newest first.
    pub fn of_name<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a ContainerView> + use<'a, 'n> {
        self.containers.iter().filter(move |c| c.name == name)
    }

    /// The containers whose program runs.
    pub fn running(&self) -> impl Iterator<Item = &ContainerView> {
        self.containers.iter().filter(|c| c.state == State::Running)
    }

    /// A container by its id.
    pub fn by_id(&self, id: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.id == id)
    }
}

/// Reads a sandbox from CRI's list.
pub fn sandbox(sandbox: &PodSandbox) -> SandboxView {
    SandboxView {
        id: sandbox.id.clone(),
        attempt: sandbox.metadata.as_ref().map_or(0, |m| m.attempt),
        ready: sandbox.state == PodSandboxState::SandboxReady as i32,
        created: sandbox.created_at,
        ips: Vec::new(),
    }
}

/// The addresses of a sandbox.
pub fn sandbox_ips(status: &PodSandboxStatus) -> Vec<String> {
    let Some(network) = &status.network else { return Vec::new() };
    let more = network.additional_ips.iter().map(|ip| ip.ip.clone());
    std::iter::once(network.ip.clone()).chain(more).filter(|ip| !ip.is_empty()).collect()
}

/// The state that CRI's list gives to a container.
pub fn state(container: &Container) -> State {
    State::of(container.state)
}

/// Reads a container from CRI's list and its status.
pub fn container(container: &Container, status: &ContainerStatus, pid: Option<i32>) -> ContainerView {
    let recursive = status.mounts.iter().filter(|mount| mount.recursive_read_only);
    let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    ContainerView {
        id: container.id.clone(),
        name: container.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
        attempt: container.metadata.as_ref().map_or(0, |m| m.attempt),
        sandbox: container.pod_sandbox_id.clone(),
        hash: annotation(labels::CONTAINER_HASH),
        state: State::of(status.state),
        created: status.created_at,
        started: status.started_at,
        finished: status.finished_at,
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        image: status.image.as_ref().map(|i| i.image.clone()).unwrap_or_default(),
        image_ref: status.image_ref.clone(),
        grace: annotation(labels::GRACE_PERIOD).parse().ok(),
        log_path: status.log_path.clone(),
        recursive_read_only: recursive.map(|mount| mount.container_path.clone()).collect(),
        pid,
    }
}
