//! The cluster's cgroups: `/skiff/NAME` in every hierarchy that is mounted.
//!
//! Daemons and shims stand in `/skiff/NAME/daemons` of one hierarchy, pods
//! below `/skiff/NAME/NODE`, so everything that runs can be found here.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::processes;

/// How long the kernel may take to let an emptied cgroup go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Finds the mounted hierarchies in the text of `/proc/self/mountinfo`,
/// the unified one (if any) first.
pub fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let unified = match back.split(' ').next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        Some((!unified, processes::unescape(front.split(' ').nth(4)?)))
    };
    let mut found: Vec<(bool, PathBuf)> = mountinfo.lines().filter_map(mount).collect();
    found.sort_by_key(|(legacy, _)| *legacy);
    found.into_iter().map(|(_, path)| path).collect()
}

fn mounted() -> Result<Vec<PathBuf>> {
    Ok(hierarchies(&processes::mountinfo()?))
}

fn below(root: &Path, cluster: &Cluster) -> PathBuf {
    root.join(cluster.cgroup().trim_start_matches('/'))
}

/// Moves this process, and with it all that it will start, into the cluster's daemons.
pub fn enter(cluster: &Cluster) -> Result<()> {
    let Some(root) = mounted()?.into_iter().next() else { return Ok(()) };
    let group = below(&root, cluster).join("daemons");
    fs::create_dir_all(&group).with_context(|| format!("cannot make the cgroup {}", group.display()))?;
    let procs = group.join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string())
        .with_context(|| format!("cannot enter {}", group.display()))
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    // A group may go away while we look: what cannot be read is gone.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
    found.push(dir.to_path_buf());
}

/// The cluster's cgroups, children before parents.
fn groups(cluster: &Cluster) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for root in mounted()? {
        walk(&below(&root, cluster), &mut found);
    }
    Ok(found)
}

/// The processes in the cluster's cgroups.
pub fn members(cluster: &Cluster) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for group in groups(cluster)? {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    }
    Ok(pids)
}

/// Removes the cluster's cgroups, and `/skiff` with the last cluster.
pub fn remove(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for group in groups(cluster)? {
        loop {
            match fs::remove_dir(&group) {
                Ok(()) => break,
                Err(e) if e.kind() == ErrorKind::NotFound => break,
                Err(e) if e.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(e) => {
                    return Err(e).with_context(|| format!("cannot remove the cgroup {}", group.display()));
                }
            }
        }
    }
    for root in mounted()? {
        // Another cluster may live below it; then it stays.
        let _ = fs::remove_dir(root.join("skiff"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
