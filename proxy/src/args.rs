//! The proxy's flags and configuration file, and the checked configuration made from them.
//!
//! Upstream counterpart: kube-proxy's flags of the same names, and its `KubeProxyConfiguration`.

mod file;

use std::net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use api::duration;
use clap::Parser;
use ipnet::Ipv4Net;
use machinery::args::CommonArgs;

use crate::render::Rules;

/// Flags of the proxy.
#[derive(Debug, Clone, Parser)]
#[command(name = "proxy", version = api::VERSION, args_override_self = true, about = "Turns services and endpoints into iptables rules.")]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    /// File of a KubeProxyConfiguration (`kubeproxy.config.k8s.io/v1alpha1`), whose fields stand for flags that are not given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the API server's address and the proxy's credentials.
    #[arg(long, value_name = "FILE", required_unless_present = "cleanup")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the node, where it is not the host's name.
    #[arg(long, value_name = "NODE")]
    pub hostname_override: Option<String>,
    /// The node's address.
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
    /// Range of pod addresses; callers from elsewhere are masqueraded.
    #[arg(long, value_name = "RANGE")]
    pub cluster_cidr: Option<Ipv4Net>,
    /// Masquerade all traffic to services.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    pub masquerade_all: bool,
    /// Where health is asked for.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:10256", value_parser = |text: &str| address(text, 10256))]
    pub healthz_bind_address: SocketAddr,
    /// Where metrics are read.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:10249", value_parser = |text: &str| address(text, 10249))]
    pub metrics_bind_address: SocketAddr,
    /// Shortest time between two changes of the rules.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration::parse_unsigned)]
    pub iptables_min_sync_period: Duration,
    /// How often to look whether someone has flushed the rules.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse_unsigned)]
    pub iptables_sync_period: Duration,
    /// Remove all rules of the proxy and end.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    pub cleanup: bool,
}

/// What the proxy runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Credentials for the API server.
    pub kubeconfig: PathBuf,
    /// What goes into the rules.
    pub rules: Rules,
    /// Where health is asked for.
    pub healthz: SocketAddr,
    /// Where metrics are read.
    pub metrics: SocketAddr,
    /// Shortest time between two changes of the rules.
    pub min_sync_period: Duration,
    /// How often to look whether someone has flushed the rules.
    pub sync_period: Duration,
}

/// Reads an address, with its port or without.
fn address(text: &str, port: u16) -> Result<SocketAddr, AddrParseError> {
    text.parse().or_else(|_| Ok(SocketAddr::new(text.parse()?, port)))
}

impl Args {
    /// The flags of this process, and what its configuration file stands for.
    ///
    /// # Errors
    /// When that file cannot be used. Flags that cannot be read end the process.
    pub fn of_process() -> anyhow::Result<Self> {
        Ok(Self::parse_from(file::CONFIGURATION.arguments(std::env::args_os())?))
    }

    /// Checks the flags.
    pub fn config(self) -> anyhow::Result<Config> {
        let node = match self.hostname_override {
            Some(node) => node,
            None => nix::unistd::gethostname()?
                .into_string()
                .map_err(|name| anyhow::anyhow!("the host's name {name:?} cannot be a node's"))?,
        };
        anyhow::ensure!(!node.trim().is_empty(), "--hostname-override is empty");
        anyhow::ensure!(!self.iptables_sync_period.is_zero(), "--iptables-sync-period must not be 0");
        let node_ip: Option<Ipv4Addr> = match self.node_ip {
            None => None,
            Some(IpAddr::V4(ip)) => Some(ip),
            Some(IpAddr::V6(ip)) => anyhow::bail!("--node-ip {ip}: only IPv4 is supported"),
        };
        Ok(Config {
            kubeconfig: self.kubeconfig.ok_or_else(|| anyhow::anyhow!("--kubeconfig is missing"))?,
            rules: Rules {
                node: node.trim().to_lowercase(),
                node_ip,
                cluster_cidr: self.cluster_cidr.map(|range| range.trunc()),
                masquerade_all: self.masquerade_all,
                counters: false,
                liberal_tcp: false,
            },
            healthz: self.healthz_bind_address,
            metrics: self.metrics_bind_address,
            min_sync_period: self.iptables_min_sync_period,
            sync_period: self.iptables_sync_period,
        })
    }
}

#[cfg(test)]
mod tests;
