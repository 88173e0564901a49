//! Servers of daemons: health, readiness and metrics, and the connections below them.
//!
//! Upstream counterpart: apiserver's `healthz` and component-base's metrics handler.

mod connections;
mod hang_up;
mod health;
pub mod pages;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio::net::TcpListener;

pub use connections::{Content, Handler, Holding, Peer, Server, Welcome, keep_alive};
pub use hang_up::{HangUp, Upgrade};
pub use health::{Asked, Gate, Health};

use crate::metrics::{self, Registry};
use crate::tasks::Tasks;
use crate::tls::{self, ClientCertificates, TlsSource};

/// Starts the server of health and metrics; without TLS if there is no source. Returns the address it listens on.
pub async fn spawn(
    tasks: &Tasks,
    address: SocketAddr,
    source: Option<&TlsSource>,
    registry: Registry,
    health: Health,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr().context("listening address")?;
    let of = |source| tls::server_config(source, ClientCertificates::Ignored, &["h2", "http/1.1"]);
    let tls = source.map(of).transpose()?;
    let endpoints = Arc::new((registry, health));
    let welcome: Welcome<_> = Arc::new(move |_peer| {
        let endpoints = endpoints.clone();
        Box::new(move |request| Box::pin(std::future::ready(respond(&endpoints.0, &endpoints.1, &request))))
    });
    let server = Server::new(listener, tls, tasks.token());
    tasks.spawn("health server", server.run(tasks.clone(), welcome));
    Ok(bound)
}

/// Answers a request for health or metrics.
pub fn respond<B>(registry: &Registry, health: &Health, request: &Request<B>) -> Response<Full<Bytes>> {
    const PLAIN: &str = "text/plain; charset=utf-8";
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
