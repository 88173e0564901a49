//! Which clusters this machine knows: one small file each in `/run/skiff`, so
//! that a cluster is found by its name wherever its folder lies, and a lock
//! under which names and address ranges are handed out.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, DEFAULT_ROOT};
use crate::files;

/// The folder of registrations; it is empty after a reboot.
const DIR: &str = "/run/skiff";
/// Written when a cluster switched the machine's forwarding on.
const FORWARDING: &str = "ip_forward";

/// Held while a cluster gets its name and ranges, or gives them back.
pub struct Lock {
    _file: fs::File,
}

/// Takes the machine-wide lock.
pub fn lock() -> Result<Lock> {
    let path = Path::new(DIR).join("lock");
    loop {
        files::make_dir(Path::new(DIR))?;
        let file =
            machinery::files::open_lock(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mine = file.metadata().context("cannot look at a lock")?.ino();
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        // Whoever held it may have removed the file, and the next one made another.
        if fs::metadata(&path).is_ok_and(|now| now.ino() == mine) {
            return Ok(Lock { _file: file });
        }
    }
}

fn link(name: &str) -> PathBuf {
    Path::new(DIR).join(format!("{name}.cluster"))
}

/// Where the cluster called `name` lies: below `root` if one is given, else where
/// it is registered, unless nothing was ever made there, else below the default root.
pub fn find(name: &str, root: Option<&Path>) -> PathBuf {
    match (root, fs::read_link(link(name))) {
        (Some(root), _) => root.join(name),
        (None, Ok(dir)) if dir.exists() => dir,
        (None, _) => Path::new(DEFAULT_ROOT).join(name),
    }
}

/// The folders that may hold clusters: registered ones and those below `root`.
fn candidates(root: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(DIR).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".cluster") {
            dirs.extend(fs::read_link(entry.path()).ok());
        }
    }
    for root in [root, Path::new(DEFAULT_ROOT)] {
        dirs.extend(fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    dirs.sort();
    dirs.dedup();
    dirs
}

/// All clusters of this machine: registered ones and those below `root`. One that cannot be read keeps no other from
/// coming up; while it runs its addresses are found in the machine's routes.
pub fn known(root: &Path) -> Vec<Cluster> {
    let read = |dir: &PathBuf| {
        Cluster::load(dir).unwrap_or_else(|e| {
            say!("Passed over another cluster: {e:#}");
            None
        })
    };
    candidates(root).iter().filter_map(read).collect()
}

/// The names of all clusters, also of those that only root may look into.
pub fn names(root: &Path) -> Vec<String> {
    let clusters = candidates(root).into_iter().filter(|dir| Cluster::file_in(dir).exists());
    let mut names: Vec<String> =
        clusters.filter_map(|dir| Some(dir.file_name()?.to_string_lossy().into_owned())).collect();
    names.sort();
    names.dedup();
    names
}

/// Registers a cluster. Refuses a name that lives in another folder.
pub fn register(name: &str, dir: &Path) -> Result<()> {
    let path = link(name);
    if let Ok(other) = fs::read_link(&path) {
        if other == dir {
            return Ok(());
        }
        if Cluster::load(&other)?.is_some() {
            bail!(
                "a cluster called {name} lives in {} already: choose another --name, or take that one down first",
                other.display()
            );
        }
        files::remove(&path)?;
    }
    std::os::unix::fs::symlink(dir, &path).with_context(|| format!("cannot make {}", path.display()))
}

/// Forgets a cluster, and the folder of registrations with the last one.
pub fn forget(name: &str, dir: &Path, _lock: &Lock) -> Result<()> {
    let path = link(name);
    if fs::read_link(&path).is_ok_and(|present| present == dir) {
        files::remove(&path)?;
    }
    let is_link = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".cluster");
    let others = |entry: fs::DirEntry| is_link(&entry) && entry.path().exists();
    if fs::read_dir(DIR).into_iter().flatten().flatten().any(others) {
        return Ok(());
    }
    let forwarding = Path::new(DIR).join(FORWARDING);
    if forwarding.exists() {
        fs::write("/proc/sys/net/ipv4/ip_forward", "0").context("cannot switch forwarding off again")?;
    }
    files::remove_tree(Path::new(DIR))
}

/// Switches the machine's forwarding on and remembers that it was off.
pub fn switch_forwarding_on(_lock: &Lock) -> Result<()> {
    let setting = "/proc/sys/net/ipv4/ip_forward";
    let present = fs::read_to_string(setting).with_context(|| format!("cannot read {setting}"))?;
    if present.trim() == "0" {
        files::replace(&Path::new(DIR).join(FORWARDING), b"0\n", 0o600)?;
        fs::write(setting, "1").context("cannot switch forwarding on")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
