//! The health checking protocol of gRPC (`grpc.health.v1.Health/Check`), without TLS.
//! Corresponds to upstream's `probe/grpc`.

use std::time::Duration;

use api::duration;
use http::uri::PathAndQuery;

use tonic::Code;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::gauge::Outcome;
use super::http::authority;
use crate::cri::CriError;

/// Pause between two tries to connect.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckAnswer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `ServingStatus.SERVING`.
const SERVING: i32 = 1;

fn word(status: i32) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        SERVING => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
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
    if status == SERVING {
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

async fn check(channel: Channel, service: &str) -> Result<CheckAnswer, tonic::Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let request = tonic::Request::new(CheckRequest { service: service.to_owned() });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec: ProstCodec<CheckRequest, CheckAnswer> = ProstCodec::default();
    Ok(client.unary(request, path, codec).await?.into_inner())
}
