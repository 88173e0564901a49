//! Asks a container once, in the way its probe describes. Corresponds to upstream's `prober.runProbe`.

use api::Message;
use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};

use super::gauge::{Outcome, Timing};
use super::{grpc, http};
use crate::cri::{CriResult, Runtime};
use crate::runtime_config::expansion;

/// What servers are told about who asks.
const AGENT: &str = "kube-probe/1.36";
/// The most of a command's output that is told.
const OUTPUT: usize = 10 * 1024;

/// Where a container is found.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// The runtime's id.
    pub id: &'a str,
    /// Where its pod may have us go.
    pub reach: http::Reach<'a>,
    /// Its spec.
    pub container: &'a Container,
}

/// Asks once.
pub async fn ask(runtime: &Runtime, place: &Place<'_>, probe: &Probe) -> Outcome {
    let limit = Timing::of(probe).timeout;
    let unclear = |error: String| Outcome::Unclear { state: "unknown", error };
    if let Some(exec) = &probe.exec {
        let command = match command(place.container, exec.command.as_deref().unwrap_or_default()) {
            Ok(command) => command,
            Err(error) => return unclear(error.into()),
        };
        return ran(&command, runtime.exec_sync(place.id, &command, limit).await);
    }
    if let Some(action) = &probe.http_get {
        return match http::Request::of(action, place.container, place.reach, AGENT) {
            Ok(request) => http::probe(&request, limit).await,
            Err(error) => unclear(error.into()),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let port = match http::port(&socket.port, place.container) {
            Ok(port) => port,
            Err(error) => return unclear(error.into()),
        };
        return connect(&place.reach.host(socket.host.as_deref()), port, limit).await;
    }
    if let Some(action) = &probe.grpc {
        let service = action.service.as_deref().unwrap_or_default();
        return match u16::try_from(action.port) {
            Ok(port) => grpc::probe(place.reach.pod_ip, port, service, limit, AGENT).await,
            Err(_) => unclear(format!("invalid port number: {}", action.port)),
        };
    }
    unclear(format!("missing probe handler for container {}", place.container.name))
}

async fn connect(host: &http::Host, port: u16, limit: Duration) -> Outcome {
    match tokio::time::timeout(limit, http::dial(host, port)).await {
        Ok(Ok(_)) => Outcome::Good,
        Ok(Err(error)) => Outcome::Bad(error.into()),
        Err(_) => Outcome::Bad(format!("dial tcp {}: i/o timeout", http::authority(&host.name, port))),
    }
}

/// A command with the literal variables of the container's spec put in.
fn command(container: &Container, words: &[String]) -> Result<Vec<String>, Message> {
    let literal = container.env.iter().flatten().filter(|var| var.value_from.is_none());
    let values: HashMap<&str, &str> =
        literal.map(|var| (var.name.as_str(), var.value.as_deref().unwrap_or_default())).collect();
    expansion::expand_all(words, |name| values.get(name).copied())
}

/// What the end of a command means.
fn ran(command: &[String], answer: CriResult<proto::cri::ExecSyncResponse>) -> Outcome {
    match answer {
        Ok(answer) if answer.exit_code == 0 => Outcome::Good,
        Ok(answer) => {
            let mut output = answer.stdout;
            output.extend_from_slice(&answer.stderr);
            output.truncate(OUTPUT);
            Outcome::Bad(String::from_utf8_lossy(&output).into_owned())
        }
        Err(error) if error.code == tonic::Code::DeadlineExceeded => {
            Outcome::Bad(format!("command {:?} timed out", command.join(" ")))
        }
        Err(error) => Outcome::Unclear { state: "unknown", error: error.rpc() },
    }
}
