//! Flags that all daemons have; each daemon's `args.rs` flattens them into its own.
//!
//! Upstream counterpart: component-base's global flag sets.

use std::path::PathBuf;

/// Flags of every daemon.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct CommonArgs {
    /// Name of the cluster the daemon belongs to; only so that `ps` shows it.
    #[arg(long, value_name = "NAME", default_value = "skiff")]
    pub cluster: String,

    /// How much to log: 0 to 2 what matters, 3 and 4 details, 5 and more everything.
    #[arg(short = 'v', long = "v", value_name = "N", default_value_t = 1)]
    pub verbosity: u8,
}

/// Flags of every daemon that talks to the API server.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct ClientArgs {
    /// File with the API server's address and this daemon's credentials.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: PathBuf,
}
