//! The scheduler's flags and the configuration they become.

use std::path::PathBuf;

use machinery::args::{ClientArgs, CommonArgs, ServingArgs};
use machinery::serve::Serving;

/// Places pods on nodes.
#[derive(Debug, clap::Parser)]
#[command(name = "scheduler", version = api::VERSION, args_override_self = true)]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    #[command(flatten)]
    client: ClientArgs,

    #[command(flatten)]
    serving: ServingArgs,

    /// Port on which health and metrics are served.
    #[arg(long, value_name = "PORT", default_value_t = 10259)]
    secure_port: u16,

    /// Whether to work only while holding the lease `kube-system/kube-scheduler`.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
}

/// What the scheduler needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The API server and the scheduler's credentials.
    pub kubeconfig: PathBuf,
    /// Where health and metrics are served.
    pub serving: Serving,
    /// Whether to work only while leading.
    pub leader_elect: bool,
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        Self {
            kubeconfig: args.client.kubeconfig,
            serving: args.serving.on(args.secure_port, &[]),
            leader_elect: args.leader_elect,
        }
    }
}

#[cfg(test)]
mod tests;
