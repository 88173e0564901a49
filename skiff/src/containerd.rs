//! Each node's containerd: its configuration, its registry hosts, its images.
//!
//! Root, state, socket, runc's state and pod namespaces all lie in the node's
//! folder, so that a machine's own containerd and other nodes are never met.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs};

use crate::cluster::{Cluster, Node, Registry};
use crate::files;
use crate::image::Archive;

/// The image that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "skiff.local/pause:1";
/// The namespace in which CRI keeps its images and containers.
const CRI_NAMESPACE: &str = "k8s.io";
/// Plugins that a node does not use and that take time to look around.
const UNUSED: [&str; 7] = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
];

/// The file that holds a node's containerd configuration.
pub fn config_path(node: &Node) -> PathBuf {
    node.dir.join("containerd/config.toml")
}

/// The folder with the node's CNI programs.
pub fn cni_bin_dir(node: &Node) -> PathBuf {
    node.dir.join("cni/bin")
}

/// The folder with the node's CNI configuration, written by the kubelet.
pub fn cni_conf_dir(node: &Node) -> PathBuf {
    node.dir.join("cni/net.d")
}

/// Renders a node's `config.toml`.
pub fn render(cluster: &Cluster, node: &Node) -> String {
    let state = node.containerd_state();
    let unused = UNUSED.map(|plugin| format!("{plugin:?}")).join(", ");
    // check_dir has refused paths that would need escaping.
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
oom_score = 0
disabled_plugins = [{unused}]

[grpc]
  address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin}"
    conf_dir = "{cni_conf}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{runc}"
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{registries}"
"#,
        root = node.containerd_root().display(),
        state = state.display(),
        socket = node.socket().display(),
        cni_bin = cni_bin_dir(node).display(),
        cni_conf = cni_conf_dir(node).display(),
        snapshotter = cluster.snapshotter,
        runc = state.join("runc").display(),
        registries = node.registry_dir().display(),
    )
}

/// Renders the `hosts.toml` of a registry.
fn render_host(registry: &Registry) -> String {
    format!("server = \"{0}\"\n\n[host.\"{0}\"]\n  capabilities = [\"pull\", \"resolve\"]\n", registry.url)
}

/// Writes the node's configuration of containerd.
pub fn ensure_config(cluster: &Cluster, node: &Node) -> Result<()> {
    for dir in [node.containerd_root(), node.containerd_state(), node.registry_dir(), node.dir.join("run")] {
        files::make_dir(&dir)?;
    }
    for registry in &cluster.registries {
        let dir = node.registry_dir().join(&registry.host);
        files::make_dir(&dir)?;
        files::ensure(&dir.join("hosts.toml"), render_host(registry).as_bytes(), 0o644)?;
    }
    files::ensure(&config_path(node), render(cluster, node).as_bytes(), 0o644)?;
    Ok(())
}

/// Chooses the snapshotter: overlayfs if the file system below `dir` carries it, else native.
pub fn choose_snapshotter(dir: &Path) -> Result<String> {
    let kind = statfs(dir).with_context(|| format!("cannot look at the file system of {}", dir.display()))?;
    let known =
        [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC].contains(&kind.filesystem_type());
    let carries = known || mounts_overlay(dir)?;
    Ok(if carries { "overlayfs".into() } else { "native".into() })
}

/// Tries it out, for file systems that we do not know; overlayfs itself is one that does not carry it.
fn mounts_overlay(dir: &Path) -> Result<bool> {
    let probe =
        tempfile::tempdir_in(dir).with_context(|| format!("cannot make a folder in {}", dir.display()))?;
    let [lower, upper, work, merged] =
        ["lower", "upper", "work", "merged"].map(|name| probe.path().join(name));
    for part in [&lower, &upper, &work, &merged] {
        files::make_dir(part)?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    if mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(options.as_str())).is_err() {
        return Ok(false);
    }
    umount2(&merged, MntFlags::MNT_DETACH).context("cannot take a probing mount away")?;
    Ok(true)
}

fn ctr(node: &Node) -> std::process::Command {
    let mut command = crate::program::command("ctr");
    command.arg("--address").arg(node.socket()).args(["--namespace", CRI_NAMESPACE]);
    command
}

/// Whether the node has an image of this name. One that does not answer has none.
pub fn knows(node: &Node, image: &str) -> bool {
    let listed = ctr(node).args(["images", "list", "--quiet", &format!("name=={image}")]).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).trim() == image)
}

/// Loads an image archive into the node.
pub fn import(cluster: &Cluster, node: &Node, path: &Path) -> Result<()> {
    let archive = Archive::open(path)?;
    let mut command = ctr(node);
    command.args(["images", "import", "--snapshotter", &cluster.snapshotter, "-"]);
    let output = command.stdin(archive.input()?).output().context("cannot start ctr")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} does not take {}: {}", node.name, path.display(), said.trim().trim_start_matches("ctr: "));
    }
    Ok(())
}

/// The sockets of the node's shims, which containerd keeps outside of its state folder.
pub fn shim_sockets(node: &Node) -> Vec<PathBuf> {
    let tasks = node.containerd_state().join("io.containerd.runtime.v2.task").join(CRI_NAMESPACE);
    let address = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("address")).ok();
    let addresses = fs::read_dir(tasks).into_iter().flatten().flatten().filter_map(address);
    let socket = |address: String| address.trim().strip_prefix("unix://").map(PathBuf::from);
    let mut sockets: Vec<PathBuf> = addresses.filter_map(socket).collect();
    sockets.sort();
    sockets.dedup();
    sockets
}

#[cfg(test)]
mod tests;
