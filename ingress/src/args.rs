//! The ingress controller's flags.

use api::Message;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use machinery::args::CommonArgs;

/// Flags of the ingress controller.
#[derive(Debug, Clone, Parser)]
#[command(name = "ingress", version, about = "Passes HTTP from outside on to services, by host and path.")]
pub struct Args {
    /// Flags of every daemon.
    #[command(flatten)]
    pub common: CommonArgs,
    /// File with the API server's address and credentials, when not run in a pod.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Where HTTP comes in.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub http: SocketAddr,
    /// Where HTTPS comes in.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    pub https: SocketAddr,
    /// Where health and metrics are asked for.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:10254")]
    pub health: SocketAddr,
    /// The service under whose addresses this controller answers.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "kube-system/ingress", value_parser = namespaced)]
    pub publish_service: (String, String),
    /// How many connections there may be at once.
    #[arg(long, value_name = "N", default_value_t = 16_384)]
    pub max_connections: usize,
    /// How long a connection may be idle, and the head of a request take.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub idle_timeout: Duration,
    /// How long to go on serving after being told to stop, until nobody calls any more.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub lameduck: Duration,
}

fn namespaced(text: &str) -> Result<(String, String), Message> {
    let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/NAME")?;
    Ok((namespace.to_owned(), name.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}
