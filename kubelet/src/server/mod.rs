//! The kubelet's server on port 10250: logs, exec, attach, port-forward, and what the kubelet
//! knows of its pods and itself.
//!
//! Callers must present a certificate that the cluster's authority signed, or a token, and the API server must let them
//! ([`access`]); only health is open to all. Sessions are prepared by the runtime, which gives an address that only this
//! node can reach; the server joins it with the client's connection. Upstream counterpart:
//! the kubelet's `server` package.

mod access;
pub mod backend;
mod channels;
pub mod configz;
mod logs;
mod protocol;
mod routes;
mod session;
pub mod spdy;

use api::Message;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::Below;
use machinery::metrics::Registry;
use machinery::query::Query;
use machinery::serve::access::Access;
use machinery::serve::{self, Health};
use machinery::tasks::Tasks;
use machinery::tls::{self, ClientAuthorities, ClientCertificates, TlsSource};
use proto::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::stats::Summary;

/// What the server asks the rest of the kubelet. Errors are the runtime's words.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The pods of this node, with their latest status.
    fn pods(&self) -> Vec<Arc<Pod>>;
    /// One of them.
    fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>>;
    /// The running container of a pod by its name in the spec: its id.
    async fn running(&self, pod: &Pod, container: &str) -> Result<Option<String>, Message>;
    /// The ready sandbox of a pod: its id.
    async fn sandbox(&self, pod: &Pod) -> Result<Option<String>, Message>;
    /// A container by its id, whether it runs or not.
    async fn container(&self, id: &str) -> Result<Found, Message>;
    /// What the node and its pods use; disks only when they are asked for.
    async fn stats(&self, disks: bool) -> Result<Summary, Message>;
    /// Prepares an exec session; the answer is the runtime's streaming address.
    async fn exec(&self, request: ExecRequest) -> Result<String, Message>;
    /// Prepares an attach session.
    async fn attach(&self, request: AttachRequest) -> Result<String, Message>;
    /// Prepares a port-forward session.
    async fn port_forward(&self, request: PortForwardRequest) -> Result<String, Message>;
}

/// A container as the runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where its output is written.
    pub log: Below,
    /// Whether its program runs.
    pub running: bool,
}

/// Where and how the server listens.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// Address and port.
    pub address: SocketAddr,
    /// The certificate it presents.
    pub tls: TlsSource,
    /// The authority that signs callers' certificates.
    pub client_ca: PathBuf,
    /// The node whose subresources callers need rights to.
    pub node: String,
    /// What `/configz` shows.
    pub configz: Value,
}

/// Starts the server. Returns the address it listens on.
pub async fn spawn(
    tasks: &Tasks,
    config: ServerConfig,
    access: Access,
    backend: Arc<dyn Backend>,
    registry: Registry,
    health: Health,
) -> anyhow::Result<SocketAddr> {
    let clients = Arc::new(ClientAuthorities::load(&config.client_ca)?);
    // Sessions are upgrades, which HTTP/2 does not have.
    let tls = tls::server_config(&config.tls, ClientCertificates::Asked, &["http/1.1"])?;
    let listener = TcpListener::bind(config.address)
        .await
        .with_context(|| format!("cannot listen on {}", config.address))?;
    let address = listener.local_addr().context("listening address")?;
    let (tasks_of_requests, ServerConfig { node, configz, .. }) = (tasks.clone(), config);
    let server =
        routes::Server { access, node, configz, backend, registry, health, tasks: tasks_of_requests };
    let server = Arc::new(server);
    let welcome: serve::Welcome<_> = Arc::new(move |peer| {
        let (server, peer) = (Arc::clone(&server), Arc::new(peer));
        Box::new(move |request| {
            let (server, peer) = (Arc::clone(&server), Arc::clone(&peer));
            Box::pin(async move { server.answer(&peer, request).await })
        })
    });
    let connections = serve::Server {
        clients: Some(clients),
        // A log that somebody pauses stands still here, too.
        stall: Duration::ZERO,
        ..serve::Server::new(listener, Some(tls), tasks.token())
    };
    tasks.spawn("kubelet server", connections.run(tasks.clone(), welcome));
    Ok(address)
}

/// Why a request is not done: an HTTP status and words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    words: String,
}

impl Refusal {
    fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    fn internal(words: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }
}

#[cfg(test)]
mod tests;
