//! The runtime as the kubelet sees it: CRI v1 over its socket; tests serve one of their own there.
//! Errors carry the runtime's words unchanged, since people read them in events and statuses.
//! Corresponds to upstream's `cri-client` and `k8s.io/cri-api`.

mod client;
#[cfg(test)]
#[path = "tests/scripted.rs"]
pub(crate) mod scripted;

use std::collections::HashMap;
use std::path::PathBuf;

pub use client::Runtime;
use proto::cri::{ContainerStatus, PodSandboxStatus};

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
