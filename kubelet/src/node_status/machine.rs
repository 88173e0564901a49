//! What the machine is: processors, memory, disk, kernel, identity. Read from `/proc`, `/sys` and `/etc`.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use k8s_openapi::api::core::v1::NodeSystemInfo;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::cri::RuntimeVersion;
use crate::eviction::Thresholds;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The machine's memory in KiB.
pub fn memory_kib() -> u64 {
    meminfo_kib("MemTotal:").unwrap_or(0)
}

fn meminfo_kib(name: &str) -> Option<u64> {
    let text = read("/proc/meminfo");
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// What the node has, and what pods may use of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resources {
    /// All of it.
    pub capacity: BTreeMap<String, Quantity>,
    /// What is left for pods.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// The node's resources, of which pods may not ask for what is to be left; `disk` is a folder on the disk that they write
/// to.
pub fn resources(max_pods: u32, disk: &Path, least: &Thresholds) -> Resources {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = memory_kib();
    let bytes = nix::sys::statvfs::statvfs(disk).map_or(0, |s| s.blocks() * s.fragment_size());
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpus.to_string())),
        ("memory".to_owned(), Quantity(format!("{memory}Ki"))),
        ("pods".to_owned(), Quantity(max_pods.to_string())),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", bytes / 1024))),
    ]);
    for size in ["hugepages-1Gi", "hugepages-2Mi"] {
        capacity.insert(size.to_owned(), Quantity("0".to_owned()));
    }
    let mut allocatable = capacity.clone();
    let left = memory.saturating_sub(least.memory.of(memory << 10) >> 10);
    allocatable.insert("memory".to_owned(), Quantity(format!("{left}Ki")));
    let left = bytes.saturating_sub(least.disk.of(bytes));
    allocatable.insert("ephemeral-storage".to_owned(), Quantity(left.to_string()));
    Resources { capacity, allocatable }
}

/// Where the kernel has a folder for each size of huge pages.
pub const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

/// The sizes of huge pages that have a folder such as `hugepages-2048kB`, in bytes; none where there are no huge pages.
pub fn huge_page_sizes(dir: &Path) -> Vec<u64> {
    let names =
        fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok());
    let size = |name: String| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let mut sizes: Vec<u64> = names.filter_map(size).map(|kib| kib.saturating_mul(1024)).collect();
    sizes.sort_unstable();
    sizes
}

/// How many processes pods may run together: what the kernel can hold less a tenth, with which the node goes
/// on and people can look what is the matter.
pub fn processes_for_pods() -> io::Result<u64> {
    let most = most_processes()?;
    Ok(most - most / 10)
}

fn most_processes() -> io::Result<u64> {
    let number = |path: &str| -> io::Result<u64> {
        let text = fs::read_to_string(path)?;
        text.trim().parse().map_err(|_| io::Error::other(format!("{path} holds no number")))
    };
    Ok(number("/proc/sys/kernel/pid_max")?.min(number("/proc/sys/kernel/threads-max")?))
}

/// The processor architecture as Kubernetes names it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The id that the operating system was installed with.
pub fn id() -> String {
    read("/etc/machine-id")
}

/// Where the id that a machine was built with is found, in the order in which they are tried: firmware of PCs, device trees,
/// and where a mainframe or container has nothing else.
const UUIDS: [&str; 4] = [
    "/sys/class/dmi/id/product_uuid",
    "/proc/device-tree/system-id",
    "/proc/device-tree/vm,uuid",
    "/etc/machine-id",
];

/// The id that the machine was built with, or was installed with where nothing else can be read.
pub fn uuid() -> String {
    uuid_in(&UUIDS.map(Path::new))
}

fn uuid_in(paths: &[&Path]) -> String {
    let found = paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    found.trim_end_matches('\0').trim().to_owned()
}

/// What the node says of itself.
pub fn info(runtime: &RuntimeVersion) -> NodeSystemInfo {
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("{}://{}", runtime.name, runtime.version),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: api::VERSION.to_owned(),
        machine_id: id(),
        operating_system: std::env::consts::OS.to_owned(),
        os_image: name.unwrap_or("Linux").trim_matches('"').to_owned(),
        system_uuid: uuid(),
        swap: None,
    }
}

/// What is free of something that there is so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Free.
    pub free: u64,
    /// All together.
    pub size: u64,
}

/// What the machine has left; what it does not tell is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Bytes of memory.
    pub memory: Option<Free>,
    /// Bytes of the disk.
    pub disk: Option<Free>,
    /// Files on it.
    pub files: Option<Free>,
    /// Processes.
    pub processes: Option<Free>,
}

impl Left {
    /// Looks; `disk` is a folder on the disk that pods write to.
    pub fn look(disk: &Path) -> Self {
        let fs = nix::sys::statvfs::statvfs(disk).ok();
        let load = read("/proc/loadavg");
        let running = load.split_whitespace().nth(3).and_then(|p| p.split('/').nth(1)?.parse::<u64>().ok());
        let processes = running.zip(most_processes().ok());
        Self {
            memory: meminfo_kib("MemAvailable:")
                .map(|kib| Free { free: kib << 10, size: memory_kib() << 10 }),
            disk: fs.map(|fs| Free {
                free: fs.blocks_available() * fs.fragment_size(),
                size: fs.blocks() * fs.fragment_size(),
            }),
            files: fs.map(|fs| Free { free: fs.files_available(), size: fs.files() }),
            processes: processes.map(|(now, most)| Free { free: most.saturating_sub(now), size: most }),
        }
    }
}

#[cfg(test)]
mod tests;
