//! What a cluster is: the description kept in `cluster.json`, and everything
//! that follows from it: folders, names, addresses.
//!
//! Invariant: two clusters with different names and different indices share no
//! folder, namespace, interface, address or cgroup.

use api::{Message, message};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::machine;
use crate::ranges::Ranges;

/// The name of the cluster that `skiff up` makes when none is given.
pub const DEFAULT_NAME: &str = "skiff";
/// The folder below which clusters lie when none is given.
pub const DEFAULT_ROOT: &str = "/var/lib/skiff";
/// A name must leave room for node names, namespaces and socket paths.
const LONGEST_NAME: usize = 24;
/// `sun_path` holds 108 bytes with its end mark; containerd adds `.ttrpc`.
const LONGEST_SOCKET: usize = 107 - ".ttrpc".len();
/// More nodes than this do not fit into the node range.
pub const MOST_NODES: u8 = 100;

/// Where the API server keeps its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// An etcd that Skiff starts and keeps in the cluster's folder.
    Etcd,
    /// Somebody else's etcd.
    ExternalEtcd(Vec<String>),
    /// One file; `None` is a file in the cluster's folder.
    File(Option<PathBuf>),
    /// Nothing outlives the API server.
    Memory,
}

impl std::str::FromStr for Store {
    type Err = Message;

    fn from_str(text: &str) -> Result<Self, Message> {
        match text.split_once(':') {
            None if text == "etcd" => Ok(Store::Etcd),
            None if text == "file" => Ok(Store::File(None)),
            None if text == "memory" => Ok(Store::Memory),
            Some(("file", path)) if path.starts_with('/') => Ok(Store::File(Some(path.into()))),
            Some(("file", _)) => Err("file: needs an absolute path".into()),
            Some(("etcd", endpoints)) => external_etcd(endpoints),
            _ => Err("expected etcd, etcd:URL[,URL], file, file:/PATH or memory".into()),
        }
    }
}

/// Reads a list of etcd endpoints as `--etcd` and `--store etcd:` take it.
pub fn external_etcd(endpoints: &str) -> Result<Store, Message> {
    let mut urls = Vec::new();
    for endpoint in endpoints.split(',') {
        let endpoint = endpoint.trim();
        let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
        let host = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .and_then(|(_, rest)| rest.rsplit_once(':'))
            .filter(|(_, port)| port.trim_end_matches('/').parse::<u16>().is_ok())
            .map(|(host, _)| host)
            .filter(|host| !host.is_empty())
            .ok_or_else(|| format!("{endpoint:?} is not an etcd endpoint such as http://192.0.2.7:2379"))?;
        if host == "localhost" || host.starts_with("127.") || host == "[::1]" {
            return Err(message!(
                "{endpoint:?} is this machine's loopback address, which the API server cannot reach from its own \
                 network namespace: let etcd listen on another address of this machine and name that one"
            ));
        }
        urls.push(url);
    }
    Ok(Store::ExternalEtcd(urls))
}

/// How API server, scheduler, controller-manager and an etcd of our own run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ControlPlane {
    /// As processes of this machine, in a network namespace of their own.
    #[default]
    Processes,
    /// As static pods of the first node.
    Pods,
}

/// A registry that nodes reach over plain HTTP, or under another address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// What image names say: `HOST:PORT`.
    pub host: String,
    /// Where to go: `http://HOST:PORT`.
    pub url: String,
}

impl std::str::FromStr for Registry {
    type Err = Message;

    fn from_str(text: &str) -> Result<Self, Message> {
        let (host, url) = text
            .split_once('=')
            .ok_or("expected HOST:PORT=http://HOST:PORT, as in 10.60.0.1:5000=http://10.60.0.1:5000")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(fits) {
            return Err(message!("{host:?} is not a registry host such as registry.local:5000"));
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        match rest {
            Some(rest) if !rest.is_empty() && !rest.contains(['"', '\\', ' ', '\n']) => {
                Ok(Registry { host: host.into(), url: url.into() })
            }
            _ => Err(message!("{url:?} is not an address such as http://10.60.0.1:5000")),
        }
    }
}

/// The description of a cluster, kept in `cluster.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The cluster's name, a DNS label.
    pub name: String,
    /// The folder that holds everything of this cluster.
    pub dir: PathBuf,
    /// How many nodes it has.
    pub nodes: u8,
    /// Its store.
    pub store: Store,
    /// How its control plane runs.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// Its addresses.
    pub ranges: Ranges,
    /// Whether pods and nodes may talk to the world beyond this machine.
    pub outbound: bool,
    /// Registries with addresses of their own.
    pub registries: Vec<Registry>,
    /// The folder the daemons' programs are started from.
    pub bin_dir: PathBuf,
    /// The kubeconfig that got the cluster's entries.
    pub kubeconfig: PathBuf,
    /// What containerd puts image layers together with.
    pub snapshotter: String,
    /// How much the daemons log (`-v`).
    pub verbosity: u8,
    /// The resolver configuration that pods inherit.
    #[serde(default = "machine::plain_resolver")]
    pub resolver: PathBuf,
    /// What it has beyond its daemons, by name.
    #[serde(default)]
    pub addons: Vec<String>,
    /// Whether the objects of these were made; from then on they are the user's.
    #[serde(default)]
    pub addons_made: bool,
    /// What the user gives daemons beside what they have from here: `--KEY=VALUE`, by program.
    #[serde(default)]
    pub arguments: BTreeMap<String, Vec<String>>,
}

/// Checks a cluster's name: a DNS label that leaves room for what is derived from it.
pub fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ok = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.chars().all(inner)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-');
    if !ok {
        bail!(
            "{name:?} cannot be the name of a cluster: it must start with a lower case letter, consist of lower case \
             letters, digits and '-', end with a letter or digit, and have at most {LONGEST_NAME} characters"
        );
    }
    Ok(())
}

/// Checks that the sockets below `dir` have paths that the kernel takes.
pub fn check_dir(dir: &Path, name: &str) -> Result<()> {
    if !dir.is_absolute() {
        bail!("--root must be an absolute path");
    }
    let text = dir.to_str().context("--root must be plain text")?;
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\' | '\'')) {
        bail!("--root must not contain blanks, quotes or backslashes");
    }
    let longest = node_socket(dir, &node_name(name, MOST_NODES - 1));
    let length = longest.as_os_str().len();
    if length > LONGEST_SOCKET {
        bail!(
            "the folder {text} makes the path of a containerd socket too long ({length} bytes, {LONGEST_SOCKET} fit): \
             choose a shorter --root or --name"
        );
    }
    Ok(())
}

fn node_name(cluster: &str, index: u8) -> String {
    match cluster {
        DEFAULT_NAME => format!("node-{}", index + 1),
        _ => format!("{cluster}-node-{}", index + 1),
    }
}

fn node_socket(dir: &Path, node: &str) -> PathBuf {
    dir.join("nodes").join(node).join("run/containerd.sock")
}

/// One node: a network namespace with its own containerd, kubelet and proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its position, from 0.
    pub index: u8,
    /// The node's name in the API.
    pub name: String,
    /// Its InternalIP.
    pub address: Ipv4Addr,
    /// Its network namespace.
    pub netns: String,
    /// The host's end of its cable.
    pub link: String,
    /// Its folder.
    pub dir: PathBuf,
    /// The parent of its pods' cgroups.
    pub cgroup: String,
}

impl Node {
    /// containerd's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("run/containerd.sock")
    }
    /// The kubelet's root folder.
    pub fn kubelet_dir(&self) -> PathBuf {
        self.dir.join("kubelet")
    }
    /// The folder of the manifests of its static pods.
    pub fn manifests_dir(&self) -> PathBuf {
        self.dir.join("manifests")
    }
    /// Where containerd keeps images and snapshots.
    pub fn containerd_root(&self) -> PathBuf {
        self.dir.join("containerd/root")
    }
    /// Where containerd keeps what lives as long as a boot.
    pub fn containerd_state(&self) -> PathBuf {
        self.dir.join("containerd/state")
    }
    /// The folder of registry hosts (`certs.d`).
    pub fn registry_dir(&self) -> PathBuf {
        self.dir.join("containerd/certs.d")
    }
}

impl Cluster {
    /// The node with this position.
    pub fn node(&self, index: u8) -> Node {
        let name = node_name(&self.name, index);
        Node {
            index,
            address: self.ranges.node_address(index),
            netns: format!("skiff-{}-node-{}", self.name, index + 1),
            link: format!("skiff{}-n{}", self.ranges.index, index + 1),
            dir: self.dir.join("nodes").join(&name),
            cgroup: format!("{}/{}", self.cgroup(), name),
            name,
        }
    }

    /// All nodes in order.
    pub fn all_nodes(&self) -> Vec<Node> {
        (0..self.nodes).map(|index| self.node(index)).collect()
    }

    /// The cgroup above everything of this cluster.
    pub fn cgroup(&self) -> String {
        format!("/skiff/{}", self.name)
    }

    /// The network namespace of etcd, API server, scheduler and controller-manager.
    pub fn control_plane_netns(&self) -> String {
        match self.control_plane {
            ControlPlane::Processes => format!("skiff-{}-control-plane", self.name),
            ControlPlane::Pods => self.node(0).netns,
        }
    }

    /// The host's end of the control plane's cable.
    pub fn control_plane_link(&self) -> String {
        format!("skiff{}-cp", self.ranges.index)
    }

    /// The host's bridge that everything is plugged into.
    pub fn bridge(&self) -> String {
        format!("skiff{}", self.ranges.index)
    }

    /// The iptables chain that holds this cluster's rules on the host.
    pub fn chain(&self) -> String {
        format!("SKIFF-{}", self.ranges.index)
    }

    /// The name of context, cluster and user in kubeconfig files.
    pub fn context(&self) -> String {
        match self.name.as_str() {
            DEFAULT_NAME => DEFAULT_NAME.to_owned(),
            name => format!("skiff-{name}"),
        }
    }

    /// The URL of the API server.
    pub fn server(&self) -> String {
        format!("https://{}:6443", self.ranges.control_plane())
    }

    /// The folder of certificates, keys and the daemons' kubeconfigs.
    pub fn pki_dir(&self) -> PathBuf {
        self.dir.join("pki")
    }

    /// The kubeconfig of the daemon or user called `name`.
    pub fn kubeconfig_of(&self, name: &str) -> PathBuf {
        self.pki_dir().join(format!("{name}.kubeconfig"))
    }

    /// The folder of the control plane's data.
    pub fn control_plane_dir(&self) -> PathBuf {
        self.dir.join("control-plane")
    }

    /// The folder of the data of an etcd of our own.
    pub fn etcd_dir(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    /// The folder of the supervisor's records: pid files and its lock.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The folder of a daemon's log; `node` is `None` for the control plane.
    pub fn log_dir(&self, node: Option<&Node>) -> PathBuf {
        match node {
            Some(node) => node.dir.join("logs"),
            None => self.control_plane_dir().join("logs"),
        }
    }

    /// The description's file in a cluster's folder.
    pub fn file_in(dir: &Path) -> PathBuf {
        dir.join("cluster.json")
    }

    /// What stands in for that file when it is damaged: without it nobody could take the cluster down.
    fn copy_in(dir: &Path) -> PathBuf {
        dir.join("cluster.copy.json")
    }

    /// Reads the description of the cluster in `dir`, if there is one.
    pub fn load(dir: &Path) -> Result<Option<Cluster>> {
        let path = Self::file_in(dir);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes).or_else(|e| {
                    let copy = std::fs::read(Self::copy_in(dir)).unwrap_or_default();
                    serde_json::from_slice(&copy).map_err(|_| e)
                });
                read.map(Some).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(e)
                if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                Err(e).with_context(|| format!("cannot read {}: put sudo in front", path.display()))
            }
            Err(e) => Err(e).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the description.
    pub fn save(&self) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        files::replace(&Self::copy_in(&self.dir), &bytes, 0o600)?;
        files::replace(&Self::file_in(&self.dir), &bytes, 0o600)
    }
}

/// A cluster called `two` for tests.
#[cfg(test)]
pub fn sample(nodes: u8) -> Cluster {
    Cluster {
        name: "two".into(),
        dir: "/var/lib/skiff/two".into(),
        nodes,
        store: Store::Etcd,
        control_plane: ControlPlane::Processes,
        ranges: Ranges::of(1),
        outbound: true,
        registries: Vec::new(),
        bin_dir: "/usr/local/bin".into(),
        kubeconfig: "/root/.kube/config".into(),
        snapshotter: "overlayfs".into(),
        verbosity: 2,
        resolver: machine::plain_resolver(),
        addons: vec!["dns".into()],
        addons_made: false,
        arguments: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
