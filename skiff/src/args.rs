//! The command line of `skiff`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::Message;
use clap::{Args, Parser, Subcommand};

use crate::cluster::{Cluster, ControlPlane, DEFAULT_NAME, Registry, Store};
use crate::registration;

/// A small Kubernetes: clusters on this machine, one network namespace per node.
#[derive(Debug, Parser)]
#[command(name = "skiff", version, about, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What `skiff` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Bring a cluster up, or bring one that was stopped or killed back
    Up(Box<UpArgs>),
    /// Stop a cluster and remove everything of it, also from the kubeconfig that `up` put it into
    Down(ClusterArgs),
    /// Stop a cluster; the next `up` finds its data
    Stop(ClusterArgs),
    /// Load an image archive into all nodes
    Load(LoadArgs),
    /// Show a cluster's daemons and nodes
    Status(ClusterArgs),
    /// Show the log of a daemon: apiserver, node-1/kubelet, …
    Logs(LogsArgs),
    /// Keep a cluster's daemons running (started by `up`)
    #[command(hide = true)]
    Supervise(SuperviseArgs),
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Name of the cluster
    #[arg(long, default_value = DEFAULT_NAME)]
    pub name: String,
    /// Folder below which clusters lie [default: where the cluster is, or /var/lib/skiff]
    #[arg(long, value_name = "DIR", env = "SKIFF_ROOT")]
    pub root: Option<PathBuf>,
}

impl ClusterArgs {
    /// Where the cluster lies.
    pub fn dir(&self) -> PathBuf {
        registration::find(&self.name, self.root.as_deref())
    }

    /// The cluster, which must be there.
    pub fn existing(&self) -> anyhow::Result<Cluster> {
        crate::cluster::check_name(&self.name)?;
        let dir = self.dir();
        Cluster::load(&dir)?.ok_or_else(|| anyhow::anyhow!(self.missing()))
    }

    /// Says that the cluster is not there, and which ones are.
    pub fn missing(&self) -> String {
        let root = self.root.as_deref().unwrap_or(Path::new(crate::cluster::DEFAULT_ROOT));
        match registration::names(root).as_slice() {
            [] => format!("there is no cluster called {}, and no other one", self.name),
            [other] => format!("there is no cluster called {}, but one called {other}", self.name),
            others => format!("there is no cluster called {}; there are {}", self.name, others.join(", ")),
        }
    }
}

/// Flags of `skiff up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the flags")]
    pub cluster: ClusterArgs,
    /// How many nodes [default: 1, or as many as the cluster has]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(1..=i64::from(crate::cluster::MOST_NODES)))]
    pub nodes: Option<u8>,
    /// Kubeconfig that gets the cluster's entries [default: $KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where objects are kept: etcd, etcd:URL[,URL], file, file:/PATH, memory [default: etcd]
    #[arg(long)]
    pub store: Option<Store>,
    /// Use this etcd instead of one of our own; the same as --store etcd:ENDPOINTS
    #[arg(long, value_name = "ENDPOINTS", conflicts_with = "store", value_parser = crate::cluster::external_etcd)]
    pub etcd: Option<Store>,
    /// How API server, scheduler, controller-manager and etcd run: beside the nodes, or as static pods of the first one
    /// [default: processes]
    #[arg(long, value_name = "HOW")]
    pub control_plane: Option<ControlPlane>,
    /// Image archives to load into all nodes
    #[arg(long, value_name = "TAR", num_args = 1..)]
    pub image: Vec<PathBuf>,
    /// Where to find a registry, as in registry.local:5000=http://10.60.0.1:5000
    #[arg(long, value_name = "HOST:PORT=URL")]
    pub registry: Vec<Registry>,
    /// Leave out what else the cluster has
    #[arg(long, value_name = "ADDON", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(crate::addons::names()))]
    pub without: Vec<String>,
    /// Keep pods and nodes away from everything beyond this machine, until --no-outbound=false
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub no_outbound: Option<bool>,
    /// Further flags of the API server; what is given to a daemon takes the place of what it was given before, '' of all
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument)]
    pub kube_apiserver_arg: Vec<String>,
    /// Further flags of the controller manager
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument)]
    pub kube_controller_manager_arg: Vec<String>,
    /// Further flags of the scheduler
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument)]
    pub kube_scheduler_arg: Vec<String>,
    /// Further flags of each node's kubelet
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument)]
    pub kubelet_arg: Vec<String>,
    /// Further flags of each node's proxy
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument)]
    pub kube_proxy_arg: Vec<String>,
    /// How much the daemons log
    #[arg(short = 'v', long = "v", value_name = "N")]
    pub verbosity: Option<u8>,
}

impl UpArgs {
    /// What is given to daemons, by program.
    pub fn arguments(&self) -> BTreeMap<String, Vec<String>> {
        let all = [
            ("apiserver", &self.kube_apiserver_arg),
            ("controller-manager", &self.kube_controller_manager_arg),
            ("scheduler", &self.kube_scheduler_arg),
            ("kubelet", &self.kubelet_arg),
            ("proxy", &self.kube_proxy_arg),
        ];
        let given = all.into_iter().filter(|(_, given)| !given.is_empty());
        let some = |given: &[String]| given.iter().filter(|argument| !argument.is_empty()).cloned().collect();
        given.map(|(program, given)| (program.to_owned(), some(given))).collect()
    }
}

/// Reads a daemon's flag as it is given to `up`; nothing stays nothing.
fn argument(text: &str) -> Result<String, Message> {
    let key = text.split_once('=').map(|(key, _)| key);
    let is_flag = |key: &str| {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(fits)
    };
    match key.is_some_and(is_flag) {
        true => Ok(format!("--{text}")),
        false if text.is_empty() => Ok(String::new()),
        false => Err("expected KEY=VALUE, as in audit-log-maxage=7".into()),
    }
}

/// Flags of `skiff load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Image archives as `docker save` writes them
    #[arg(value_name = "IMAGE.tar", required = true)]
    pub images: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the flags")]
    pub cluster: ClusterArgs,
}

/// Flags of `skiff logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Which daemon: apiserver, node-1/kubelet, supervisor, …
    pub daemon: String,
    /// Go on as the log grows
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "a doc comment would become the help of the flags")]
    pub cluster: ClusterArgs,
}

/// Flags of `skiff supervise`.
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    /// Name of the cluster, so that `ps` shows it
    #[arg(long)]
    pub cluster: String,
    /// The cluster's folder
    #[arg(long)]
    pub dir: PathBuf,
}

/// The folder that daemons are started from: `$SKIFF_BIN_DIR`, else where `skiff` lies.
pub fn bin_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("SKIFF_BIN_DIR") {
        return Ok(std::path::absolute(dir)?);
    }
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_path_buf())
}

#[cfg(test)]
mod tests;
