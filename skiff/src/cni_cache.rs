//! What container runtimes remember of the pod networks they set up: one file per
//! sandbox and network in a folder of the whole machine, which containerd cannot
//! be told to keep elsewhere. Pods that run at `down` leave theirs there.
//!
//! Invariant: only files about sandboxes in the cluster's folder are touched.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::files;

/// The folder that the CNI library uses when a runtime names none.
const DIR: &str = "/var/lib/cni/results";

#[derive(Deserialize)]
struct Remembered {
    result: Wired,
}

#[derive(Deserialize)]
struct Wired {
    #[serde(default)]
    interfaces: Vec<Interface>,
}

/// An interface; `sandbox` is the path of the network namespace it is in, empty on the node.
#[derive(Deserialize)]
struct Interface {
    #[serde(default)]
    sandbox: String,
}

/// Whether what is remembered is about a sandbox in this folder.
fn is_of(content: &[u8], cluster_dir: &Path) -> bool {
    // What cannot be read is somebody else's.
    let Ok(remembered) = serde_json::from_slice::<Remembered>(content) else { return false };
    remembered
        .result
        .interfaces
        .iter()
        .any(|interface| Path::new(&interface.sandbox).starts_with(cluster_dir))
}

fn remove_in(dir: &Path, cluster_dir: &Path) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("cannot read {}", dir.display()))?,
    };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        // Others' files come and go meanwhile.
        if fs::read(&path).is_ok_and(|content| is_of(&content, cluster_dir)) {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// Removes what is remembered of the cluster's sandboxes, none of which may run any more.
pub fn remove(cluster: &Cluster) -> Result<()> {
    remove_in(Path::new(DIR), &cluster.dir)
}

#[cfg(test)]
mod tests;
