//! The flags of the controller manager, and the configuration they make: read
//! and checked completely before anything starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use api::duration;
use clap::{ArgAction, Parser};
use ipnet::{IpNet, Ipv4Net};
use machinery::args::{ClientArgs, CommonArgs, ServingArgs};
use machinery::clock::Clock;
use machinery::serve::Serving;
use machinery::token_keys::SigningKey;

use crate::certificates::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN};
use crate::selection::Selection;

/// Runs the loops that bring the cluster to the state its objects ask for.
#[derive(Debug, Clone, Parser)]
#[command(name = "controller-manager", version = api::VERSION, args_override_self = true)]
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

    /// Which controllers run: `*` is all, and `-NAME` not that one; what names a controller first counts.
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_value = "*"
    )]
    controllers: Vec<String>,

    /// Whether nodes get parts of `--cluster-cidr`.
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true")]
    allocate_node_cidrs: bool,

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

    /// Key that signs the tokens in Secrets of the type kubernetes.io/service-account-token; they stay empty without.
    #[arg(long, value_name = "FILE")]
    service_account_private_key_file: Option<PathBuf>,

    #[command(flatten)]
    signing: SigningArgs,

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

/// Who signs CertificateSigningRequests: one authority, or one for each signer; nobody does without.
#[derive(Debug, Clone, clap::Args)]
struct SigningArgs {
    /// Certificate authority that signs CertificateSigningRequests of all signers `kubernetes.io/…`.
    #[arg(long, value_name = "FILE", requires = "cluster_signing_key_file")]
    cluster_signing_cert_file: Option<PathBuf>,

    /// Its key.
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    cluster_signing_key_file: Option<PathBuf>,

    /// Certificate authority of the signer `kubernetes.io/kubelet-serving` alone.
    #[arg(long = "cluster-signing-kubelet-serving-cert-file", value_name = "FILE")]
    kubelet_serving_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long = "cluster-signing-kubelet-serving-key-file", value_name = "FILE")]
    kubelet_serving_key: Option<PathBuf>,

    /// Certificate authority of the signer `kubernetes.io/kube-apiserver-client-kubelet` alone.
    #[arg(long = "cluster-signing-kubelet-client-cert-file", value_name = "FILE")]
    kubelet_client_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long = "cluster-signing-kubelet-client-key-file", value_name = "FILE")]
    kubelet_client_key: Option<PathBuf>,

    /// Certificate authority of the signer `kubernetes.io/kube-apiserver-client` alone.
    #[arg(long = "cluster-signing-kube-apiserver-client-cert-file", value_name = "FILE")]
    client_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long = "cluster-signing-kube-apiserver-client-key-file", value_name = "FILE")]
    client_key: Option<PathBuf>,

    /// Certificate authority of the signer `kubernetes.io/legacy-unknown` alone.
    #[arg(long = "cluster-signing-legacy-unknown-cert-file", value_name = "FILE")]
    legacy_unknown_cert: Option<PathBuf>,

    /// Its key.
    #[arg(long = "cluster-signing-legacy-unknown-key-file", value_name = "FILE")]
    legacy_unknown_key: Option<PathBuf>,
}

/// The files, certificate and key, of the authority that signs for each of the signers that there are.
pub type Signers = BTreeMap<&'static str, (PathBuf, PathBuf)>;

impl SigningArgs {
    fn signers(self) -> anyhow::Result<Signers> {
        let all = self.cluster_signing_cert_file.zip(self.cluster_signing_key_file);
        // Refusals call the second and third by upstream's words, not by their flags.
        let each = [
            (KUBELET_SERVING, "kubelet-serving", self.kubelet_serving_cert, self.kubelet_serving_key),
            (KUBELET_CLIENT, "kube-apiserver-client", self.kubelet_client_cert, self.kubelet_client_key),
            (CLIENT, "kube-apiserver", self.client_cert, self.client_key),
            (LEGACY_UNKNOWN, "legacy-unknown", self.legacy_unknown_cert, self.legacy_unknown_key),
        ];
        let mut signers = Signers::new();
        for (signer, called, cert, key) in each {
            let half = |what| anyhow!("\"cluster-signing-{called}\": cannot specify {what}");
            let files = match (cert, key) {
                (Some(_), Some(_)) if all.is_some() => bail!(
                    "cannot specify --cluster-signing-{{cert,key}}-file and other --cluster-signing-*-file flags at \
                     the same time"
                ),
                (Some(cert), Some(key)) => Some((cert, key)),
                (None, Some(_)) => return Err(half("key without cert")),
                (Some(_), None) => return Err(half("cert without key")),
                (None, None) => all.clone(),
            };
            signers.extend(files.map(|files| (signer, files)));
        }
        Ok(signers)
    }
}

/// What the controller manager is to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where health and metrics are served.
    pub serving: Serving,
    /// Whether to work only as the leader.
    pub leader_elect: bool,
    /// Which controllers run.
    pub controllers: Selection,
    /// All pods' addresses and the prefix length of a node's part; nodes get none without.
    pub node_ranges: Option<(IpNet, u8)>,
    /// The addresses of load balancers.
    pub load_balancers: Option<Ipv4Net>,
    /// The certificate authority to publish.
    pub root_ca: Option<Arc<str>>,
    /// The key of the tokens that Secrets hold.
    pub token_key: Option<Arc<SigningKey>>,
    /// Who signs requests.
    pub signers: Signers,
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
        let token_key = self.service_account_private_key_file.as_deref().map(SigningKey::load);
        let token_key = token_key.transpose().context("--service-account-private-key-file")?.map(Arc::new);
        if self.node_monitor_grace_period < self.node_monitor_period {
            bail!("--node-monitor-grace-period must not be shorter than --node-monitor-period");
        }
        Ok(Config {
            serving: self.serving.on(self.secure_port, &["controller-manager"]),
            leader_elect: self.leader_elect,
            controllers: Selection::new(&self.controllers).map_err(|why| anyhow!("--controllers: {why}"))?,
            node_ranges: self
                .cluster_cidr
                .filter(|_| self.allocate_node_cidrs)
                .map(|cidr| node_ranges(cidr, self.node_cidr_mask_size))
                .transpose()?,
            load_balancers: self.load_balancer_ip_range.map(|range| range.trunc()),
            root_ca,
            token_key,
            signers: self.signing.signers()?,
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
