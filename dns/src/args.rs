//! The DNS server's flags.

use std::path::PathBuf;

use clap::Parser;
use machinery::args::CommonArgs;

/// Flags of the DNS server.
#[derive(Debug, Clone, Parser)]
#[command(name = "dns", version, about = "Answers for the names of services and pods, and asks others on.")]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The Corefile.
    #[arg(long, value_name = "FILE", default_value = "/etc/coredns/Corefile")]
    pub conf: PathBuf,
    /// File with the API server's address and credentials, when not run in a pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}
