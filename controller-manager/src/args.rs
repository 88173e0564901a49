//! The flags of the controller manager, and the configuration they make: read
//! and checked completely before anything starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api::duration;
use clap::{ArgAction, Parser};
use ipnet::{IpNet, Ipv4Net};
use machinery::args::{ClientArgs, CommonArgs, ServingArgs};
use machinery::clock::Clock;
use machinery::serve::Serving;

/// Runs the loops that bring the cluster to the state its objects ask for.
#[derive(Debug, Clone, Parser)]
#[command(name = "controller-manager", version)]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,

    /// How to reach the API server.
    #[command(flatten)]
    pub client: ClientArgs,

    #[command(flatten)]
    serving: ServingArgs,

    /// Port for health and metrics.
    #[arg(long, default_value_t = 10257)]
    secure_port: u16,

    /// Whether to work only while holding the Lease `kube-controller-manager`.
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,

    /// Range of all pods' addresses; every node is given a part of it.
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Option<IpNet>,

    /// Length of the prefix of a node's range; 24 for IPv4 and 64 for IPv6 unless given.
    #[arg(long, value_name = "BITS")]
    node_cidr_mask_size: Option<u8>,

    /// Range of the addresses that services of type LoadBalancer are given; they get none without.
    #[arg(long, value_name = "CIDR")]
    load_balancer_ip_range: Option<Ipv4Net>,

    /// Certificate authority to publish in every namespace.
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,

    /// Certificate authority that signs CertificateSigningRequests of the signers `kubernetes.io/…`; nobody does without.
    #[arg(long, value_name = "FILE", requires = "cluster_signing_key_file")]
    cluster_signing_cert_file: Option<PathBuf>,

    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    cluster_signing_key_file: Option<PathBuf>,

    /// The longest life of a signed certificate; requests may ask for a shorter one.
    #[arg(long, value_name = "TIME", default_value = "8760h", value_parser = duration::parse_unsigned)]
    cluster_signing_duration: Duration,

    /// Image of the pods that remove the data of volumes; it has to have the program `/pause` of Skiff.
    #[arg(long, value_name = "IMAGE")]
    volume_helper_image: Option<String>,

    /// Upstream's pause between looks at the nodes; accepted, but nodes are looked at when they are due.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse_unsigned)]
    node_monitor_period: Duration,

    /// How long a node may be silent before it counts as lost.
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = duration::parse_unsigned)]
    node_monitor_grace_period: Duration,
}

/// What the controller manager is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where health and metrics are served.
    pub serving: Serving,
    /// Whether to work only as the leader.
    pub leader_elect: bool,
    /// All pods' addresses and the prefix length of a node's part; nodes get none without.
    pub node_ranges: Option<(IpNet, u8)>,
    /// The addresses of load balancers.
    pub load_balancers: Option<Ipv4Net>,
    /// The certificate authority to publish.
    pub root_ca: Option<Arc<str>>,
    /// The files, certificate and key, of the authority that signs requests.
    pub signing: Option<(PathBuf, PathBuf)>,
    /// The longest life of a signed certificate.
    pub signing_duration: Duration,
    /// The image of the pods that remove the data of volumes; nothing is removed without.
    pub volume_helper_image: Option<Arc<str>>,
    /// How long a node may be silent.
    pub node_grace: Duration,
    /// The time that controllers go by.
    pub clock: Clock,
}

impl Args {
    /// Checks the flags and reads the files they name.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let root_ca = match &self.root_ca_file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("--root-ca-file {}", file.display()))?;
                if !text.contains("-----BEGIN CERTIFICATE-----") {
                    bail!("--root-ca-file {}: there is no PEM certificate in it", file.display());
                }
                Some(Arc::from(text))
            }
            None => None,
        };
        if self.node_monitor_grace_period < self.node_monitor_period {
            bail!("--node-monitor-grace-period must not be shorter than --node-monitor-period");
        }
        Ok(Config {
            serving: self.serving.on(self.secure_port, &["controller-manager"]),
            leader_elect: self.leader_elect,
            node_ranges: self
                .cluster_cidr
                .map(|cidr| node_ranges(cidr, self.node_cidr_mask_size))
                .transpose()?,
            load_balancers: self.load_balancer_ip_range.map(|range| range.trunc()),
            root_ca,
            signing: self.cluster_signing_cert_file.zip(self.cluster_signing_key_file),
            signing_duration: self.cluster_signing_duration,
            volume_helper_image: self.volume_helper_image.map(Arc::from),
            node_grace: self.node_monitor_grace_period,
            clock: Clock::default(),
        })
    }
}

fn node_ranges(cluster: IpNet, prefix: Option<u8>) -> anyhow::Result<(IpNet, u8)> {
    let prefix = prefix.unwrap_or(if matches!(cluster, IpNet::V4(_)) { 24 } else { 64 });
    if prefix < cluster.prefix_len() || prefix > cluster.max_prefix_len() {
        bail!("--node-cidr-mask-size {prefix} does not fit into --cluster-cidr {cluster}");
    }
    Ok((cluster.trunc(), prefix))
}

#[cfg(test)]
mod tests;
