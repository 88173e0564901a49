//! The folders and files of each node and of the control plane, made before any daemon starts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::{Cluster, Node};
use crate::{containerd, files};

/// The names under which a runtime calls the pod-network plugin: its own, and the one that brings `lo` up.
const CNI_NAMES: [&str; 2] = ["skiff-cni", "loopback"];

fn ensure_link(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|present| present == target) {
        return Ok(());
    }
    files::remove(link)?;
    symlink(target, link).with_context(|| format!("cannot make {}", link.display()))
}

fn ensure_node(cluster: &Cluster, node: &Node) -> Result<()> {
    let dirs = [
        node.kubelet_dir(),
        node.manifests_dir(),
        cluster.log_dir(Some(node)).join("pods"),
        containerd::cni_bin_dir(node),
        containerd::cni_conf_dir(node),
    ];
    dirs.iter().try_for_each(|dir| files::make_dir(dir))?;
    for name in CNI_NAMES {
        ensure_link(&cluster.bin_dir.join("cni"), &containerd::cni_bin_dir(node).join(name))?;
    }
    containerd::ensure_config(cluster, node)
}

/// Makes all folders and configuration files of the cluster.
pub fn ensure(cluster: &Cluster) -> Result<()> {
    files::make_private_dir(&cluster.control_plane_dir())?;
    for dir in [cluster.log_dir(None), cluster.run_dir()] {
        files::make_dir(&dir)?;
    }
    cluster.all_nodes().iter().try_for_each(|node| ensure_node(cluster, node))
}
