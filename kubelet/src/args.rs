//! The kubelet's flags, its configuration file, and the configuration they become.

mod file;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use anyhow::Context as _;
use api::quantity::Quantity;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Taint;
use machinery::args::{ClientArgs, CommonArgs};
use machinery::tls::TlsSource;

use crate::certificates;
use crate::eviction;
use crate::images::collect::Thresholds;
use crate::log_rotation;
use crate::security::Sysctls;

/// Runs the pods of a node through a container runtime.
#[derive(Debug, clap::Parser)]
#[command(name = "kubelet", version = api::VERSION, args_override_self = true)]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    client: ClientArgs,
    /// File of a KubeletConfiguration (`kubelet.config.k8s.io/v1beta1`), whose fields stand for flags that are not given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the API server's address and a token, by which the node is given credentials of its own while
    /// `--kubeconfig` has none that are good: they are written there.
    #[arg(long, value_name = "FILE")]
    bootstrap_kubeconfig: Option<PathBuf>,
    /// Folder of certificates that were issued to this kubelet; `pki` below `--root-dir` by default.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Whether the credentials are renewed before they run out.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    rotate_certificates: bool,
    /// Whether the API server is asked for the serving certificate, and again before that runs out. Somebody has to approve
    /// it.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    rotate_server_certificates: bool,
    /// The node's name; the host's name by default.
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// The node's address, published as its InternalIP; by default that with which it talks to other networks.
    #[arg(long, value_name = "ADDRESS")]
    node_ip: Option<IpAddr>,
    /// What a cloud calls the node, published as its `spec.providerID`.
    #[arg(long, value_name = "ID", default_value = "")]
    provider_id: String,
    /// Folder of all that the kubelet keeps.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    root_dir: PathBuf,
    /// Folder of the pods' logs.
    #[arg(long, value_name = "DIR", default_value = "/var/log/pods")]
    pod_log_dir: PathBuf,
    /// The container runtime's socket.
    #[arg(long, value_name = "URL", default_value = "unix:///run/containerd/containerd.sock")]
    container_runtime_endpoint: String,
    /// Authorities whose clients may ask for logs and sessions.
    #[arg(long, value_name = "FILE")]
    client_ca_file: PathBuf,
    /// Serving certificate; self-signed when absent.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    address: IpAddr,
    /// Port to listen on.
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    port: u16,
    /// Where `/healthz` is answered without TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    healthz_bind_address: IpAddr,
    /// The port of that; 0 answers nowhere.
    #[arg(long, value_name = "PORT", default_value_t = 10248)]
    healthz_port: u16,
    /// Name servers of the cluster.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// All pods' range; what leaves it is masqueraded.
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Option<Ipv4Net>,
    /// Range of the addresses of load balancers. For those that are given to this node, it answers on its network.
    #[arg(long, value_name = "CIDR")]
    load_balancer_ip_range: Option<Ipv4Net>,
    /// The cgroup below which pods live.
    #[arg(long, value_name = "PATH", default_value = "/")]
    cgroup_root: String,
    /// How many pods the node takes.
    #[arg(long, value_name = "N", default_value_t = 110)]
    max_pods: u32,
    /// How many processes a pod may have; -1 is no limit but that of the node.
    #[arg(long, value_name = "N", default_value_t = -1, allow_hyphen_values = true)]
    pod_max_pids: i64,
    /// Folder in which the runtime looks for network configurations; without it another network plugin is
    /// in charge.
    #[arg(long, value_name = "DIR")]
    cni_conf_dir: Option<PathBuf>,
    /// Folder of manifests of pods that run here without an API server, or one such file; names that begin with a
    /// dot are passed over.
    #[arg(long, value_name = "PATH")]
    pod_manifest_path: Option<PathBuf>,
    /// Labels the node is registered with: `key=value,…`.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    node_labels: Vec<String>,
    /// Taints the node is registered with: `key=value:effect,…`.
    #[arg(long, value_name = "TAINTS", value_delimiter = ',')]
    register_with_taints: Vec<String>,
    /// How large a container's log may grow before it is rotated; a negative size is no limit.
    #[arg(long, value_name = "SIZE", default_value = "10Mi", allow_hyphen_values = true)]
    container_log_max_size: String,
    /// How many log files a container may have.
    #[arg(long, value_name = "N", default_value_t = 5)]
    container_log_max_files: usize,
    /// How full, in percent, the disk of images may become before unused ones are removed; 100 never removes any.
    #[arg(long, value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u8).range(0..=100))]
    image_gc_high_threshold: u8,
    /// How full the disk may remain then.
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(0..=100))]
    image_gc_low_threshold: u8,
    /// How little may be left of the node's memory, disk and process ids before it ends pods and takes no more:
    /// `memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,pid.available<10%`. What is not named then may run
    /// out. By default 100Mi of memory, and of the disk 5% or 1Gi and 10,000 files, what is less.
    #[arg(long, value_name = "THRESHOLDS")]
    eviction_hard: Option<eviction::Thresholds>,
    /// Kernel settings that pods may have besides those that do no harm to others: `kernel.sem,net.*,…`.
    #[arg(long, value_name = "SYSCTLS", value_delimiter = ',')]
    allowed_unsafe_sysctls: Vec<String>,
    /// The resolver configuration that pods inherit.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    resolv_conf: PathBuf,
}

/// What the kubelet needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The API server and the node's credentials.
    pub kubeconfig: PathBuf,
    /// The API server, and how to get such.
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// Folder of the certificates that were issued here.
    pub cert_dir: PathBuf,
    /// Whether the credentials are renewed.
    pub rotate_certificates: bool,
    /// The node's name.
    pub node: String,
    /// Its address.
    pub node_ip: IpAddr,
    /// What a cloud calls it.
    pub provider_id: String,
    /// Folder of all that the kubelet keeps.
    pub root_dir: PathBuf,
    /// Folder of the pods' logs.
    pub log_dir: PathBuf,
    /// The container runtime's socket.
    pub runtime: String,
    /// Authorities of clients.
    pub client_ca: PathBuf,
    /// The serving certificate.
    pub tls: TlsSource,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where health is answered without TLS.
    pub healthz: Option<SocketAddr>,
    /// Name servers of the cluster.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// All pods' range.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Range of the addresses of load balancers.
    pub load_balancers: Option<Ipv4Net>,
    /// The cgroup below which pods live.
    pub cgroup_root: String,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// How many processes a pod may have, if that is limited.
    pub pod_processes: Option<u64>,
    /// Where network configurations are written, if that is ours to do.
    pub cni_conf_dir: Option<PathBuf>,
    /// Where manifests of static pods lie.
    pub manifests: Option<PathBuf>,
    /// Labels the node is registered with.
    pub labels: BTreeMap<String, String>,
    /// Taints the node is registered with.
    pub taints: Vec<Taint>,
    /// How large logs may grow.
    pub logs: log_rotation::Limits,
    /// How little may be left.
    pub eviction: eviction::Thresholds,
    /// The kernel settings that pods may have.
    pub sysctls: Sysctls,
    /// When unused images are removed.
    pub image_gc: Thresholds,
    /// The resolver configuration that pods inherit.
    pub resolver: PathBuf,
}

impl Args {
    /// The flags of this process, and what its configuration file stands for.
    ///
    /// # Errors
    /// When that file cannot be used. Flags that cannot be read end the process.
    pub fn of_process() -> anyhow::Result<Self> {
        Ok(clap::Parser::parse_from(file::CONFIGURATION.arguments(std::env::args_os())?))
    }

    /// Checks the flags.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let node_ip = self.node_ip.map_or_else(own_address, Ok)?;
        let node = match self.hostname_override {
            Some(name) => name,
            None => nix::unistd::gethostname()?.to_string_lossy().to_lowercase(),
        };
        let labels = self.node_labels.iter().map(|label| {
            let (key, value) = label
                .split_once('=')
                .with_context(|| format!("--node-labels: {label:?} is not key=value"))?;
            Ok((key.to_owned(), value.to_owned()))
        });
        anyhow::ensure!(
            self.container_log_max_files > 1,
            "--container-log-max-files: {} is too few, it must be 2 or more",
            self.container_log_max_files
        );
        anyhow::ensure!(
            self.image_gc_low_threshold < self.image_gc_high_threshold,
            "--image-gc-low-threshold {} must be below --image-gc-high-threshold {}",
            self.image_gc_low_threshold,
            self.image_gc_high_threshold
        );
        let log_size: Quantity = self.container_log_max_size.parse().map_err(|_| {
            anyhow::anyhow!(
                "--container-log-max-size: {:?} is no size such as 10Mi",
                self.container_log_max_size
            )
        })?;
        let kernel =
            std::fs::read_to_string("/proc/sys/kernel/osrelease").context("which kernel is this?")?;
        anyhow::ensure!(
            !self.rotate_server_certificates || self.tls_cert_file.is_none(),
            "--rotate-server-certificates asks for what --tls-cert-file gives: only one can be used"
        );
        let cert_dir = self.cert_dir.unwrap_or_else(|| self.root_dir.join("pki"));
        let tls = match self.rotate_server_certificates {
            true => TlsSource::Awaited(certificates::current(&cert_dir, "server")),
            false => TlsSource::from_flags(
                self.tls_cert_file,
                self.tls_private_key_file,
                &[&node, &node_ip.to_string()],
            ),
        };
        let sysctls = Sysctls::new(&kernel, &self.allowed_unsafe_sysctls);
        Ok(Config {
            sysctls: sysctls.map_err(|why| anyhow::anyhow!("--allowed-unsafe-sysctls: {why}"))?,
            logs: log_rotation::Limits {
                size: u64::try_from(log_size.value()).ok(),
                files: self.container_log_max_files,
            },
            image_gc: Thresholds { high: self.image_gc_high_threshold, low: self.image_gc_low_threshold },
            kubeconfig: self.client.kubeconfig,
            labels: labels.collect::<anyhow::Result<_>>()?,
            taints: (self.register_with_taints.iter().filter(|text| !text.is_empty()))
                .map(|text| taint(text))
                .collect::<anyhow::Result<_>>()?,
            bootstrap_kubeconfig: self.bootstrap_kubeconfig,
            cert_dir,
            rotate_certificates: self.rotate_certificates,
            tls,
            node,
            node_ip,
            provider_id: self.provider_id,
            root_dir: self.root_dir,
            log_dir: self.pod_log_dir,
            runtime: self.container_runtime_endpoint,
            client_ca: self.client_ca_file,
            listen: SocketAddr::new(self.address, self.port),
            healthz: (self.healthz_port > 0)
                .then(|| SocketAddr::new(self.healthz_bind_address, self.healthz_port)),
            eviction: self.eviction_hard.unwrap_or_default(),
            cluster_dns: self.cluster_dns,
            cluster_domain: self.cluster_domain,
            load_balancers: self.load_balancer_ip_range,
            cluster_cidr: self.cluster_cidr,
            cgroup_root: self.cgroup_root,
            max_pods: self.max_pods,
            pod_processes: u64::try_from(self.pod_max_pids).ok().filter(|most| *most > 0),
            manifests: self.pod_manifest_path,
            cni_conf_dir: self.cni_conf_dir,
            resolver: self.resolv_conf,
        })
    }
}

/// The address with which this machine would talk to a network that it is not on; nothing is sent.
fn own_address() -> anyhow::Result<IpAddr> {
    let source = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address that is nobody's (RFC 5737).
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    source().context("this machine has no way to other networks: say its address with --node-ip")
}

/// Reads `key[=value]:effect`.
fn taint(text: &str) -> anyhow::Result<Taint> {
    let (what, effect) = text
        .split_once(':')
        .filter(|(_, effect)| matches!(*effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute"))
        .with_context(|| format!("--register-with-taints: {text:?} is not key=value:effect"))?;
    let (key, value) =
        what.split_once('=').map_or((what, None), |(key, value)| (key, Some(value.to_owned())));
    Ok(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

#[cfg(test)]
mod tests;
