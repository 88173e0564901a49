//! Flags that all daemons have; each daemon's `args.rs` flattens them into its own.
//!
//! Upstream counterpart: component-base's global flag sets.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::serve::{Serving, access::OPEN_PATHS};
use crate::tls::TlsSource;

/// Flags of every daemon.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CommonArgs {
    /// Name of the cluster the daemon belongs to; only so that `ps` shows it.
    #[arg(long, value_name = "NAME", default_value = "skiff")]
    pub cluster: String,

    /// How much to log: 0 to 2 what matters, 3 and 4 details, 5 and more everything.
    #[arg(short = 'v', long = "v", value_name = "N", default_value_t = 1)]
    pub verbosity: u8,

    /// Only check the flags, and the files that they name: end well, or say what is wrong, before anything is begun.
    #[arg(long, hide = true, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    pub check_flags: bool,
}

/// Flags of every daemon that talks to the API server.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct ClientArgs {
    /// File with the API server's address and this daemon's credentials.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,

    /// Upstream's bound on requests a second; accepted, but the API server alone says how many are served.
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    kube_api_qps: f32,

    /// Upstream's bound on requests at once; likewise.
    #[arg(long, value_name = "N", default_value_t = 0)]
    kube_api_burst: i32,
}

/// Flags of daemons that serve health and metrics over TLS, on a port of their own.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ServingArgs {
    /// Address on which health and metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    bind_address: IpAddr,

    /// Certificate for that port; a self-signed one is made if none is given.
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,

    /// Key of that certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,

    /// Authorities of clients; certificates identify nobody there without.
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,

    /// Paths that everybody may read there; one that ends with `*` stands for all that begin so.
    #[arg(long, value_name = "PATH,…", value_delimiter = ',', default_values = OPEN_PATHS)]
    authorization_always_allow_paths: Vec<String>,
}

impl ServingArgs {
    /// How a port is served, under further names than `localhost` if it has no certificate.
    pub fn on(self, port: u16, names: &[&str]) -> Serving {
        let names = [&["localhost", "127.0.0.1"], names].concat();
        Serving {
            address: SocketAddr::new(self.bind_address, port),
            tls: TlsSource::from_flags(self.tls_cert_file, self.tls_private_key_file, &names),
            client_ca: self.client_ca_file,
            open_paths: self.authorization_always_allow_paths,
        }
    }
}
