//! The health checking protocol of gRPC (`grpc.health.v1`).

use http::uri::PathAndQuery;
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

/// Which of a server's services is meant.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckRequest {
    /// The service's name, empty for the whole server.
    #[prost(string, tag = "1")]
    pub service: String,
}

/// How it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthCheckResponse {
    /// A [`ServingStatus`].
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub status: i32,
}

/// How a service can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    /// Nobody has said.
    Unknown = 0,
    /// It serves.
    Serving = 1,
    /// It does not.
    NotServing = 2,
    /// There is no such service.
    ServiceUnknown = 3,
}

/// Asks a server about one of its services.
///
/// # Errors
/// What the server refuses it with, and `Unavailable` when the connection is gone.
pub async fn check(channel: Channel, service: &str) -> Result<HealthCheckResponse, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    Ok(client.unary(request, path, ProstCodec::default()).await?.into_inner())
}
