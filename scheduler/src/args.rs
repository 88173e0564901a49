//! The scheduler's flags and the configuration they become.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use machinery::args::{ClientArgs, CommonArgs};
use machinery::tls::TlsSource;

/// Places pods on nodes.
#[derive(Debug, clap::Parser)]
#[command(name = "scheduler", version)]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    client: ClientArgs,

    /// Address on which health and metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind_address: IpAddr,

    /// Port on which health and metrics are served.
    #[arg(long, value_name = "PORT", default_value_t = 10259)]
    secure_port: u16,

    /// Certificate for that port; a self-signed one is made if none is given.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,

    /// Key of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,

    /// Whether to work only while holding the lease `kube-system/kube-scheduler`.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
}

/// What the scheduler needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The API server and the scheduler's credentials.
    pub kubeconfig: PathBuf,
    /// Where health and metrics are served.
    pub address: SocketAddr,
    /// The certificate presented there.
    pub tls: TlsSource,
    /// Whether to work only while leading.
    pub leader_elect: bool,
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        Self {
            kubeconfig: args.client.kubeconfig,
            address: SocketAddr::new(args.bind_address, args.secure_port),
            tls: TlsSource::from_flags(
                args.tls_cert_file,
                args.tls_private_key_file,
                &["localhost", "127.0.0.1"],
            ),
            leader_elect: args.leader_elect,
        }
    }
}

#[cfg(test)]
mod tests;
