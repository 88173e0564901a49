//! The answer to `/stats/summary`, as clients know it. Corresponds to upstream's `kubelet/pkg/apis/stats/v1alpha1`.

use jiff::Timestamp;
use serde::Serialize;

/// All that is used on the node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The node itself.
    pub node: NodeStats,
    /// Its pods.
    pub pods: Vec<PodStats>,
}

/// What the node uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStats {
    /// Its name.
    pub node_name: String,
    /// Groups of processes other than single pods.
    pub system_containers: Vec<ContainerStats>,
    /// Since when it runs.
    pub start_time: Timestamp,
    /// What it computes with.
    #[serde(flatten)]
    pub compute: ComputeStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs, reason = "the type says it")]
    pub network: Option<NetworkStats>,
    /// The disk that volumes and logs lie on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs: Option<FsStats>,
    /// The disks of the runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RuntimeStats>,
    /// Process ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rlimit: Option<RlimitStats>,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStats {
    /// Which one.
    pub pod_ref: PodReference,
    /// Since when it runs.
    pub start_time: Timestamp,
    /// Its containers.
    pub containers: Vec<ContainerStats>,
    /// What it computes with.
    #[serde(flatten)]
    pub compute: ComputeStats,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs, reason = "the type says it")]
    pub network: Option<NetworkStats>,
    /// Writable layers and logs of its containers.
    #[serde(rename = "ephemeral-storage", skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<FsStats>,
    /// Its claims.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume: Vec<VolumeStats>,
    /// Its processes.
    #[serde(rename = "process_stats", skip_serializing_if = "Option::is_none")]
    pub process_stats: Option<ProcessStats>,
}

/// Which pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodReference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStats {
    /// Its name in the pod.
    pub name: String,
    /// Since when it runs.
    pub start_time: Timestamp,
    /// What it computes with.
    #[serde(flatten)]
    pub compute: ComputeStats,
    /// What it wrote beside its volumes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<FsStats>,
    /// Its logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<FsStats>,
}

/// Processor time and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ComputeStats {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs, reason = "the type says it")]
    pub cpu: Option<CpuStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs, reason = "the type says it")]
    pub memory: Option<MemoryStats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[allow(missing_docs, reason = "the type says it")]
    pub swap: Option<SwapStats>,
}

/// Processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuStats {
    /// When it was read.
    pub time: Timestamp,
    /// Nanoseconds in each second since the last time somebody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_nano_cores: Option<u64>,
    /// Nanoseconds so far.
    pub usage_core_nano_seconds: u64,
}

/// Memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    /// When it was read.
    pub time: Timestamp,
    /// What the limit leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// All that is charged.
    pub usage_bytes: u64,
    /// What cannot be given back at once.
    pub working_set_bytes: u64,
    /// What programs hold themselves.
    pub rss_bytes: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that had to wait for a disk.
    pub major_page_faults: u64,
}

/// What lies on a swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SwapStats {
    /// When it was read.
    pub time: Timestamp,
    /// Bytes.
    pub swap_usage_bytes: u64,
}

/// What went through the network, by the first interface and by all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkStats {
    /// When it was read.
    pub time: Timestamp,
    /// The interface that matters.
    #[serde(flatten)]
    pub default: InterfaceStats,
    /// All interfaces.
    pub interfaces: Vec<InterfaceStats>,
}

/// What went through one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceStats {
    /// Its name.
    pub name: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Errors at receiving.
    pub rx_errors: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Errors at sending.
    pub tx_errors: u64,
}

/// Disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FsStats {
    /// When it was read.
    pub time: Timestamp,
    /// What is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// All there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_bytes: Option<u64>,
    /// What is used.
    pub used_bytes: u64,
    /// Inodes left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_free: Option<u64>,
    /// All inodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    /// Inodes used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inodes_used: Option<u64>,
}

/// A volume that a claim is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStats {
    /// The file system that it lies on.
    #[serde(flatten)]
    pub fs: FsStats,
    /// Its name in the pod's spec.
    pub name: String,
    /// Its claim.
    pub pvc_ref: ClaimReference,
}

/// Which claim.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ClaimReference {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// The disks of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeStats {
    /// Where images lie.
    pub image_fs: FsStats,
    /// Where writable layers lie.
    pub container_fs: FsStats,
}

/// Process ids of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RlimitStats {
    /// When it was read.
    pub time: Timestamp,
    /// How many there may be.
    pub maxpid: u64,
    /// How many there are.
    pub curproc: u64,
}

/// Processes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProcessStats {
    /// How many there are.
    #[serde(rename = "process_count")]
    pub process_count: u64,
}
