//! The metrics server's flags, as far as they are upstream's of the same names.

use std::path::PathBuf;
use std::time::Duration;

use api::duration;
use clap::Parser;
use machinery::args::CommonArgs;

/// Flags of the metrics server.
#[derive(Debug, Clone, Parser)]
#[command(name = "metrics-server", version, about = "Tells what nodes and pods use.")]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 10250)]
    pub secure_port: u16,
    /// How often kubelets are asked.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration::parse_unsigned)]
    pub metric_resolution: Duration,
    /// Authority of the kubelets' certificates; that of the API server's if absent.
    #[arg(long, value_name = "FILE")]
    pub kubelet_certificate_authority: Option<PathBuf>,
    /// Take any certificate from kubelets.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    pub kubelet_insecure_tls: bool,
    /// File with the API server's address and credentials, when not run in a pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}
