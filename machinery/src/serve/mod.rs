//! Servers of daemons: health, readiness and metrics, who may read them, and the connections below them.
//!
//! Upstream counterpart: apiserver's `healthz` and component-base's metrics handler.

pub mod access;
mod connections;
mod hang_up;
mod health;
pub mod pages;
mod strangers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use api::status::Status;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReviewSpec};
use serde_json::json;
use tokio::net::TcpListener;

pub use connections::{Content, Handler, Holding, Peer, Server, Welcome, keep_alive};
pub use hang_up::{HangUp, Upgrade};
pub use health::{Asked, Gate, Health};
pub use strangers::{Stranger, Strangers};

use access::{Access, Terms, Verdict};

use crate::metrics::{self, Registry};
use crate::tasks::Tasks;
use crate::tls::{self, ClientAuthorities, ClientCertificates, TlsSource};

const PLAIN: &str = "text/plain; charset=utf-8";

/// Where and how a daemon serves its health and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Address and port.
    pub address: SocketAddr,
    /// The certificate it presents.
    pub tls: TlsSource,
    /// The file of the authorities of clients; their certificates are not looked at without.
    pub client_ca: Option<PathBuf>,
    /// What everybody may read; a path that ends with `*` stands for all that begin so.
    pub open_paths: Vec<String>,
}

/// Whether everybody may read a path.
fn is_open(path: &str, open: &[String]) -> bool {
    open.iter().any(|open| match open.strip_suffix('*') {
        Some(begin) => path.starts_with(begin),
        None => path == open,
    })
}

/// Starts the server of health and metrics of a daemon, which asks with its own client who may read more than its health.
/// Returns the address it listens on.
///
/// # Errors
/// When files cannot be used, or the port is taken.
pub async fn spawn(
    tasks: &Tasks,
    serving: &Serving,
    client: kube::Client,
    registry: Registry,
    health: Health,
) -> anyhow::Result<SocketAddr> {
    let clients = serving.client_ca.as_deref().map(ClientAuthorities::load).transpose()?.map(Arc::new);
    let tls = tls::server_config(&serving.tls, ClientCertificates::Asked, &["h2", "http/1.1"])?;
    let access = Access::new(client, Terms::DAEMON);
    let (listener, address) = bind(serving.address).await?;
    let endpoints = Arc::new((registry, health, access, serving.open_paths.clone()));
    let welcome: Welcome<_> = Arc::new(move |peer| {
        let (endpoints, peer) = (Arc::clone(&endpoints), Arc::new(peer));
        Box::new(move |request| {
            let (endpoints, peer) = (Arc::clone(&endpoints), Arc::clone(&peer));
            Box::pin(async move {
                let (registry, health, access, open) = &*endpoints;
                let admitted = match is_open(request.uri().path(), open) {
                    true => Ok(()),
                    false => admit(access, &peer, &request).await,
                };
                admitted.err().unwrap_or_else(|| respond(registry, health, &request))
            })
        })
    });
    let server = Server { clients, ..Server::new(listener, Some(tls), tasks.token()) };
    tasks.spawn("health server", server.run(tasks.clone(), welcome));
    Ok(address)
}

/// Starts a server of health and metrics without TLS, which everybody may read.
///
/// # Errors
/// When the port is taken.
pub async fn spawn_plain(
    tasks: &Tasks,
    address: SocketAddr,
    registry: Registry,
    health: Health,
) -> anyhow::Result<SocketAddr> {
    let (listener, address) = bind(address).await?;
    let endpoints = Arc::new((registry, health));
    let welcome: Welcome<_> = Arc::new(move |_peer| {
        let endpoints = endpoints.clone();
        Box::new(move |request| Box::pin(std::future::ready(respond(&endpoints.0, &endpoints.1, &request))))
    });
    let server = Server::new(listener, None, tasks.token());
    tasks.spawn("health server", server.run(tasks.clone(), welcome));
    Ok(address)
}

async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr().context("listening address")?;
    Ok((listener, bound))
}

/// Lets a request pass, or says why not, as an API server does.
async fn admit<B>(access: &Access, peer: &Peer, request: &Request<B>) -> Result<(), Response<Full<Bytes>>> {
    let path = request.uri().path();
    let user = access.identify(peer, request.headers()).await.map_err(|why| {
        tracing::warn!(%why, address = %peer.address, "Unable to authenticate the request");
        refusal(&Status::unauthorized())
    })?;
    let user = user.unwrap_or_else(access::anonymous);
    let verb = request.method().as_str().to_lowercase();
    let name = user.username.as_deref().unwrap_or_default();
    let refused = format!("User {name:?} cannot {verb} path {path:?}");
    let asked = NonResourceAttributes { path: Some(path.to_owned()), verb: Some(verb) };
    let asked = SubjectAccessReviewSpec { non_resource_attributes: Some(asked), ..Default::default() };
    match access.judge(&user, asked).await {
        Ok(Verdict { allowed: true, .. }) => Ok(()),
        Ok(Verdict { reason, .. }) => {
            let because = if reason.is_empty() { reason } else { format!(": {reason}") };
            Err(refusal(&Status::forbidden("", "", "", refused + &because)))
        }
        Err(why) => {
            let words = format!("Internal Server Error: {path:?}: {why}\n");
            Err(text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, words))
        }
    }
}

fn refusal(status: &Status) -> Response<Full<Bytes>> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(code, "application/json", json!(status).to_string())
}

/// Answers a request for health or metrics.
pub fn respond<B>(registry: &Registry, health: &Health, request: &Request<B>) -> Response<Full<Bytes>> {
    let uri = request.uri();
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "Method Not Allowed\n".to_owned());
    }
    if uri.path() == "/metrics" {
        return text(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(registry));
    }
    match health.answer(uri.path(), uri.query()) {
        Some((status, body)) => text(status, PLAIN, body),
        None => text(StatusCode::NOT_FOUND, PLAIN, "404 page not found\n".to_owned()),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
