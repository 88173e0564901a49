//! The health checking protocol of gRPC (`grpc.health.v1.Health/Check`), without TLS.
//! Corresponds to upstream's `probe/grpc`.

use std::time::Duration;

use api::duration;
use proto::health::{ServingStatus, check};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::gauge::Outcome;
use super::http::authority;
use crate::cri::CriError;

/// Pause between two tries to connect.
const PAUSE: Duration = Duration::from_millis(200);

fn word(status: i32) -> String {
    match ServingStatus::try_from(status) {
        Ok(ServingStatus::Unknown) => "UNKNOWN".to_owned(),
        Ok(ServingStatus::Serving) => "SERVING".to_owned(),
        Ok(ServingStatus::NotServing) => "NOT_SERVING".to_owned(),
        Ok(ServingStatus::ServiceUnknown) => "SERVICE_UNKNOWN".to_owned(),
        Err(_) => status.to_string(),
    }
}

/// Asks a server about one of its services; the empty name means the whole server.
pub async fn probe(host: &str, port: u16, service: &str, limit: Duration, agent: &'static str) -> Outcome {
    let to = authority(host, port);
    let within = duration::show(limit);
    let deadline = tokio::time::Instant::now() + limit;
    let endpoint = Endpoint::try_from(format!("http://{to}")).and_then(|e| e.user_agent(agent));
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => return Outcome::Bad(format!("error: failed to connect service at {to:?}: {error}")),
    };
    let Ok(channel) = tokio::time::timeout_at(deadline, connect(&endpoint)).await else {
        return Outcome::Bad(format!(
            "timeout: failed to connect service {to:?} within {within}: context deadline exceeded"
        ));
    };
    let status = match tokio::time::timeout_at(deadline, check(channel, service)).await {
        Ok(Ok(answer)) => answer.status,
        Ok(Err(error)) if error.code() == Code::Unimplemented => {
            let protocol = "the grpc health protocol (grpc.health.v1.Health)";
            let message = error.message();
            return Outcome::Bad(format!("error: this server does not implement {protocol}: {message}"));
        }
        Ok(Err(error)) if error.code() != Code::DeadlineExceeded => {
            return Outcome::Bad(format!("error: health rpc probe failed: {}", CriError::from(error).rpc()));
        }
        _ => return Outcome::Bad(format!("timeout: health rpc did not complete within {within}")),
    };
    if status == ServingStatus::Serving as i32 {
        return Outcome::Good;
    }
    Outcome::Bad(format!("service unhealthy (responded with {:?})", word(status)))
}

/// Connects, again and again while it is refused, as gRPC does.
async fn connect(endpoint: &Endpoint) -> Channel {
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => tracing::trace!(%error, "A gRPC probe cannot connect yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
