//! The cgroups above containers: the node's, one for each quality of service, one for each pod. The runtime
//! makes those of the containers below. Works with the cgroupfs layout of v1 and of v2.
//! Corresponds to upstream's `pkg/kubelet/cm`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::runtime_config::resources::{PERIOD, PodLimits, weight};

/// Controllers of v1 whose limits the kubelet sets or in which it finds processes.
const V1: [&str; 9] =
    ["cpu", "cpuacct", "memory", "pids", "cpuset", "devices", "freezer", "blkio", "systemd"];

/// The hierarchy that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cgroups {
    /// One hierarchy for each controller.
    V1(PathBuf),
    /// One for all.
    V2(PathBuf),
}

impl Cgroups {
    /// Finds out what is mounted.
    pub fn detect() -> Self {
        let base = PathBuf::from("/sys/fs/cgroup");
        if base.join("cgroup.controllers").exists() { Self::V2(base) } else { Self::V1(base) }
    }

    /// The folders of a cgroup, one for each hierarchy.
    fn dirs(&self, path: &str) -> Vec<PathBuf> {
        let path = path.trim_start_matches('/');
        match self {
            Self::V2(base) => vec![base.join(path)],
            Self::V1(base) => {
                let controllers = V1.iter().map(|name| base.join(name)).filter(|dir| dir.is_dir());
                controllers.map(|dir| dir.join(path)).collect()
            }
        }
    }

    /// A file of a cgroup; `controller` is whose it is where each has a hierarchy of its own.
    pub fn file(&self, controller: &str, path: &str, name: &str) -> PathBuf {
        let path = path.trim_start_matches('/');
        match self {
            Self::V1(base) => base.join(controller).join(path).join(name),
            Self::V2(base) => base.join(path).join(name),
        }
    }

    /// The ids of the processes right in a cgroup.
    pub fn processes(&self, path: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file("memory", path, "cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Makes a cgroup and hands the controllers down to it.
    pub fn create(&self, path: &str) -> io::Result<()> {
        match self {
            Self::V1(base) => {
                for dir in self.dirs(path) {
                    fs::create_dir_all(&dir)?;
                    if dir.starts_with(base.join("cpuset")) {
                        inherit_cpuset(&base.join("cpuset"), &dir)?;
                    }
                }
                Ok(())
            }
            Self::V2(base) => {
                let mut at = base.clone();
                for part in Path::new(path.trim_start_matches('/')).components() {
                    for controller in ["cpuset", "cpu", "io", "memory", "pids", "hugetlb"] {
                        // A controller that the machine lacks is refused; limits then have no effect.
                        if let Err(error) =
                            fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"))
                        {
                            tracing::debug!(%error, controller, at = %at.display(), "Controller not available");
                        }
                    }
                    at.push(part);
                    match fs::create_dir(&at) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                        _ => {}
                    }
                }
                Ok(())
            }
        }
    }

    /// Sets what a cgroup may use; a limit of 0 is none.
    pub fn limit(&self, path: &str, limits: &PodLimits) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        match self {
            Self::V2(base) => {
                let dir = base.join(path);
                let quota = if limits.quota > 0 { limits.quota.to_string() } else { "max".to_owned() };
                let memory = if limits.memory > 0 { limits.memory.to_string() } else { "max".to_owned() };
                write(&dir.join("cpu.weight"), &weight(limits.shares).to_string())?;
                write(&dir.join("cpu.max"), &format!("{quota} {PERIOD}"))?;
                write(&dir.join("memory.max"), &memory)
            }
            Self::V1(base) => {
                let cpu = base.join("cpu").join(path);
                write(&cpu.join("cpu.shares"), &limits.shares.to_string())?;
                let or_none = |limit: i64| if limit > 0 { limit } else { -1 }.to_string();
                write(&cpu.join("cpu.cfs_period_us"), &PERIOD.to_string())?;
                write(&cpu.join("cpu.cfs_quota_us"), &or_none(limits.quota))?;
                let memory = base.join("memory").join(path).join("memory.limit_in_bytes");
                write(&memory, &or_none(limits.memory))
            }
        }
    }

    /// Bounds what everything in a cgroup takes together: bytes of memory, and processes.
    pub fn bound(&self, path: &str, memory: u64, processes: u64) -> io::Result<()> {
        let bytes = match self {
            Self::V2(_) => self.file("memory", path, "memory.max"),
            Self::V1(_) => self.file("memory", path, "memory.limit_in_bytes"),
        };
        write(&bytes, &memory.to_string())?;
        self.bound_processes(path, processes)
    }

    /// Bounds how many processes there are in a cgroup.
    pub fn bound_processes(&self, path: &str, processes: u64) -> io::Result<()> {
        write(&self.file("pids", path, "pids.max"), &processes.to_string())
    }

    /// Removes a cgroup with all that is below it. Processes that are still in it are killed: nothing of
    /// the pod may stay.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let mut dirs = self.dirs(path);
        // Runtimes join processes to the unified hierarchy, too, that a machine has beside those of v1.
        if let Self::V1(base) = self {
            dirs.push(base.join("unified").join(path.trim_start_matches('/')));
        }
        dirs.iter().try_for_each(|dir| remove_tree(dir))
    }

    /// Names of the cgroups right below one.
    pub fn children(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for dir in self.dirs(path) {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            names.extend(dirs.filter_map(|entry| entry.file_name().into_string().ok()));
        }
        names.sort();
        names.dedup();
        names
    }
}

/// A file of a controller that is not there is no error: the machine does without.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::write(path, text) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A cpuset takes processes only when it names cpus and memory nodes.
fn inherit_cpuset(root: &Path, dir: &Path) -> io::Result<()> {
    let Ok(below) = dir.strip_prefix(root) else { return Ok(()) };
    let mut at = root.to_owned();
    for part in below.components() {
        let parent = at.clone();
        at.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(at.join(file))?.trim().is_empty() {
                fs::write(at.join(file), fs::read_to_string(parent.join(file))?.trim())?;
            }
        }
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
            kill_all(dir);
            Err(error)
        }
        other => other,
    }
}

fn kill_all(dir: &Path) {
    let processes = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
        tracing::info!(pid, cgroup = %dir.display(), "Killing a process left in a pod's cgroup");
        if let Err(error) = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
        {
            tracing::debug!(pid, %error, "The process is gone already");
        }
    }
}

#[cfg(test)]
mod tests;
