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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_sandboxes_in_the_folder_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let netns = "containerd/state/io.containerd.grpc.v1.cri/netns/cni-1";
        let of = |sandbox: &str| {
            format!(
                r#"{{"kind": "cniCacheV1", "containerId": "1", "config": "e30=", "result": {{"cniVersion": "0.3.1",
                "interfaces": [{{"name": "cni0"}}, {{"name": "eth0", "sandbox": "{sandbox}"}}]}}}}"#
            )
        };
        let files = [
            ("skiff-1-eth0", of(&format!("/d/two/nodes/two-node-1/{netns}"))),
            ("cni-loopback-1-lo", of(&format!("/d/two/nodes/two-node-2/{netns}"))),
            ("skiff-2-eth0", of(&format!("/d/two-x/nodes/two-x-node-1/{netns}"))),
            ("bridge-3-eth0", of("/run/netns/cni-3")),
            ("net-4-eth0", r#"{"kind": "cniCacheV1", "result": {"cniVersion": "1.0.0"}}"#.into()),
            ("other", "/d/two/nodes".into()),
        ];
        for (name, content) in &files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        fs::create_dir(dir.path().join("folder")).unwrap();
        // The second time, and without the folder, there is nothing to do.
        for _ in 0..2 {
            remove_in(dir.path(), Path::new("/d/two")).unwrap();
        }
        remove_in(&dir.path().join("none"), Path::new("/d/two")).unwrap();
        let entries = fs::read_dir(dir.path()).unwrap();
        let mut left: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["bridge-3-eth0", "folder", "net-4-eth0", "other", "skiff-2-eth0"]);
    }
}
