//! What the node, its pods and their containers use, read when somebody asks and never else.
//!
//! Processor, memory and processes come from cgroups, the network from the pods' namespaces, disks from the file
//! systems and the runtime. Corresponds to upstream's `server/stats` and the parts of cAdvisor behind it.

mod claims;
mod metrics;
mod summary;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use api::pod::Qos;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use machinery::beneath::Handle;
use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;

use crate::cgroups::Cgroups;
use crate::cri::Disk;
use crate::pod_spec;
use crate::runtime_config::names;
pub use claims::ClaimMetrics;
pub use metrics::render;
pub use summary::{ComputeStats, Summary};
use summary::{
    ContainerStats, CpuStats, FsStats, InterfaceStats, MemoryStats, NetworkStats, NodeStats, PodReference,
    PodStats, ProcessStats, RlimitStats, RuntimeStats, SwapStats,
};
use usage::{Interface, Memory, Usage};

/// What statistics are drawn from.
pub struct Sources<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The cgroup above all pods'.
    pub cgroup_root: &'a str,
    /// The hierarchy.
    pub cgroups: &'a Cgroups,
    /// Folder of volumes.
    pub root: &'a Path,
    /// Folder of pods' logs.
    pub logs: &'a Path,
    /// The pods of the node.
    pub pods: &'a [std::sync::Arc<Pod>],
    /// What the runtime says of its disks; none when it was not asked.
    pub disk: Option<&'a Disk>,
}

/// Remembers what was read last, so that a rate can be told.
#[derive(Default)]
pub struct Stats {
    last: Mutex<HashMap<String, (Instant, u64)>>,
}

impl Stats {
    /// Reads everything.
    pub fn read(&self, sources: &Sources<'_>) -> Summary {
        let reading = Reading { stats: self, sources, time: machinery::clock::now(), now: Instant::now() };
        let pods: Vec<PodStats> = sources.pods.iter().filter_map(|pod| reading.pod(pod)).collect();
        let summary = Summary { node: reading.node(), pods };
        // Whatever was not read now is gone.
        self.last.lock().retain(|_, (at, _)| *at == reading.now);
        summary
    }
}

/// One look at everything.
struct Reading<'a> {
    stats: &'a Stats,
    sources: &'a Sources<'a>,
    time: Timestamp,
    now: Instant,
}

impl Reading<'_> {
    fn usage(&self, cgroup: &str) -> Option<Usage> {
        usage::of(self.sources.cgroups, cgroup)
    }

    fn cpu(&self, cgroup: &str, usage: &Usage) -> Option<CpuStats> {
        let used = usage.cpu?;
        let before = self.stats.last.lock().insert(cgroup.to_owned(), (self.now, used));
        let rate = before.and_then(|(at, before)| {
            let seconds = self.now.duration_since(at).as_secs_f64();
            (seconds > 0.0).then(|| (used.saturating_sub(before) as f64 / seconds) as u64)
        });
        Some(CpuStats { time: self.time, usage_nano_cores: rate, usage_core_nano_seconds: used })
    }

    fn compute(&self, cgroup: &str, usage: &Usage) -> ComputeStats {
        ComputeStats {
            cpu: self.cpu(cgroup, usage),
            memory: usage.memory.as_ref().map(|memory| self.memory(memory)),
            swap: self.swap(usage.memory.as_ref()),
        }
    }

    fn memory(&self, memory: &Memory) -> MemoryStats {
        MemoryStats {
            time: self.time,
            available_bytes: memory.limit.map(|limit| limit.saturating_sub(memory.working_set)),
            usage_bytes: memory.usage,
            working_set_bytes: memory.working_set,
            rss_bytes: memory.rss,
            page_faults: memory.faults.0,
            major_page_faults: memory.faults.1,
        }
    }

    fn swap(&self, memory: Option<&Memory>) -> Option<SwapStats> {
        Some(SwapStats { time: self.time, swap_usage_bytes: memory?.swap? })
    }

    fn network(&self, pid: &str) -> Option<NetworkStats> {
        let stats = |interface: Interface| InterfaceStats {
            name: interface.name,
            rx_bytes: interface.received.0,
            rx_errors: interface.received.1,
            tx_bytes: interface.sent.0,
            tx_errors: interface.sent.1,
        };
        let interfaces: Vec<InterfaceStats> = usage::interfaces(pid).into_iter().map(stats).collect();
        let default = interfaces.iter().find(|interface| interface.name == "eth0").or(interfaces.first());
        Some(NetworkStats { time: self.time, default: default?.clone(), interfaces })
    }

    fn disk_of(&self, dir: &Path) -> Option<FsStats> {
        disk_of(dir, self.time)
    }

    fn node(&self) -> NodeStats {
        let root = self.sources.cgroup_root;
        let mut usage = self.usage(root).unwrap_or_default();
        let meminfo = || std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        usage.memory.get_or_insert_with(|| usage::machine_memory(&meminfo()));
        let fs = self.disk_of(self.sources.root);
        let booted = booted();
        let pods = format!("{}/kubepods", root.trim_end_matches('/'));
        let of_pods = self.usage(&pods).map(|usage| ContainerStats {
            name: "pods".to_owned(),
            start_time: booted,
            compute: self.compute(&pods, &usage),
            rootfs: None,
            logs: None,
        });
        NodeStats {
            node_name: self.sources.node.to_owned(),
            system_containers: of_pods.into_iter().collect(),
            start_time: booted,
            compute: self.compute(root, &usage),
            network: self.network("self"),
            fs,
            runtime: self.sources.disk.and_then(|disk| {
                let image_fs = self.disk_of(&disk.images)?;
                Some(RuntimeStats {
                    image_fs: FsStats { used_bytes: disk.used, ..image_fs },
                    container_fs: FsStats { used_bytes: disk.used, ..image_fs },
                })
            }),
            rlimit: rlimit(self.time),
        }
    }

    /// A pod with a cgroup of its own; one that has ended has none any more.
    fn pod(&self, pod: &Pod) -> Option<PodStats> {
        let cgroup = names::cgroup(self.sources.cgroup_root, Qos::of(pod), pod_spec::uid(pod));
        let usage = self.usage(&cgroup)?;
        let status = pod.status.as_ref()?;
        let below = self.sources.cgroups.children(&cgroup);
        let lists = [&status.init_container_statuses, &status.container_statuses];
        let statuses = lists.into_iter().flatten().flatten();
        let found = statuses.filter_map(|container| self.container(pod, &cgroup, &below, container));
        let containers: Vec<ContainerStats> = found.collect();
        let own = |fs: fn(&ContainerStats) -> Option<FsStats>| -> u64 {
            containers.iter().filter_map(fs).map(|fs| fs.used_bytes).sum()
        };
        let used = own(|container| container.logs) + own(|container| container.rootfs);
        let disk = self.sources.disk.and_then(|_| self.disk_of(self.sources.root));
        Some(PodStats {
            pod_ref: PodReference {
                name: pod_spec::name(pod).to_owned(),
                namespace: pod_spec::namespace(pod).to_owned(),
                uid: pod_spec::uid(pod).to_owned(),
            },
            start_time: status.start_time.as_ref().map_or(self.time, |time| time.0),
            compute: self.compute(&cgroup, &usage),
            network: match pod_spec::host_network(pod) {
                true => None,
                false => below.iter().find_map(|child| {
                    let procs = self.sources.cgroups.processes(&format!("{cgroup}/{child}"));
                    procs.first().and_then(|pid| self.network(pid))
                }),
            },
            ephemeral_storage: disk.map(|disk| FsStats { used_bytes: used, inodes_used: None, ..disk }),
            volume: claims::of(self.sources.root, pod, self.time),
            process_stats: usage.processes.map(|process_count| ProcessStats { process_count }),
            containers,
        })
    }

    /// A container that runs. Runtimes name its cgroup after its id.
    fn container(
        &self,
        pod: &Pod,
        of_pod: &str,
        below: &[String],
        status: &ContainerStatus,
    ) -> Option<ContainerStats> {
        let running = status.state.as_ref()?.running.as_ref()?;
        let (_, id) = status.container_id.as_deref()?.split_once("://")?;
        let cgroup = format!("{of_pod}/{}", below.iter().find(|child| child.contains(id))?);
        let usage = self.usage(&cgroup)?;
        let on_disk = |used: u64, disk: FsStats| FsStats { used_bytes: used, inodes_used: None, ..disk };
        let disk = self.sources.disk;
        Some(ContainerStats {
            name: status.name.clone(),
            start_time: running.started_at.as_ref().map_or(self.time, |time| time.0),
            compute: self.compute(&cgroup, &usage),
            rootfs: disk.and_then(|disk| Some(on_disk(*disk.layers.get(id)?, self.disk_of(&disk.images)?))),
            logs: disk.and_then(|_| {
                let used = size_of_logs(self.sources.logs, pod, &status.name);
                Some(on_disk(used, self.disk_of(self.sources.logs)?))
            }),
        })
    }
}

/// The file system that a folder lies on.
fn disk_of(dir: &Path, time: Timestamp) -> Option<FsStats> {
    let fs = statvfs(dir).ok()?;
    let (size, free) = (fs.blocks() * fs.fragment_size(), fs.blocks_available() * fs.fragment_size());
    Some(FsStats {
        time,
        available_bytes: Some(free),
        capacity_bytes: Some(size),
        used_bytes: (fs.blocks() - fs.blocks_free()) * fs.fragment_size(),
        inodes_free: Some(fs.files_free()),
        inodes: Some(fs.files()),
        inodes_used: Some(fs.files() - fs.files_free()),
    })
}

/// Bytes in the files of a container's log, as far as they can be seen.
pub(crate) fn size_of_logs(root: &Path, pod: &Pod, container: &str) -> u64 {
    let sizes = || -> std::io::Result<u64> {
        let dir = names::log_dir(root, pod).join(container);
        let dir = Handle::open(root)?.dir(dir.strip_prefix(root).unwrap_or(&dir))?;
        let mut size = 0;
        for name in dir.names()? {
            let metadata = dir.at(name?)?.metadata()?;
            size += if metadata.is_file() { metadata.len() } else { 0 };
        }
        Ok(size)
    };
    sizes().unwrap_or(0)
}

/// When the machine was started.
fn booted() -> Timestamp {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default()
}

fn rlimit(time: Timestamp) -> Option<RlimitStats> {
    let load = std::fs::read_to_string("/proc/loadavg").ok()?;
    let most = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok()?;
    Some(RlimitStats {
        time,
        maxpid: most.trim().parse().ok()?,
        curproc: load.split_whitespace().nth(3)?.split('/').nth(1)?.parse().ok()?,
    })
}
