//! The connection to the API server: a `kube::Client` from a kubeconfig file.
//!
//! No rate limit. A connection whose peer is gone is noticed by TCP itself, so that watches
//! need no read timeout; a request whose answer does not begin within a minute fails. A null in an answer is
//! an absent value, as it is in Go.
//! Upstream counterpart: client-go's `rest` and `clientcmd`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderValue, Request, header};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::backoff::Backoff;
use crate::nulls::without_nulls;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of an answer may take; its body may take for ever (watch, logs).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence after which TCP asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Idle connections kept for the next burst of requests.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be read or is not one.
    #[error("cannot use kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The user agent is no header value.
    #[error("{0:?} cannot be a user agent")]
    UserAgent(String),
    /// Certificates, keys or tokens of the kubeconfig are unusable.
    #[error("cannot use the credentials in kubeconfig {}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Makes a client from a kubeconfig file. Does not connect yet: see [`wait_ready`].
pub async fn connect(kubeconfig: &Path, user_agent: &str) -> Result<kube::Client, ClientError> {
    let unusable = |source| ClientError::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
    let file = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(unusable)?;
    let agent =
        HeaderValue::from_str(user_agent).map_err(|_| ClientError::UserAgent(user_agent.to_owned()))?;
    config.headers.push((header::USER_AGENT, agent));
    from_config(&config)
        .map_err(|source| ClientError::Credentials { path: kubeconfig.to_owned(), source: Box::new(source) })
}

/// Makes a client for what usually runs in a pod: of its service account, or of a kubeconfig file if one is named.
///
/// # Errors
/// Those of [`connect`]; outside of pods, without a file.
pub async fn in_pod(kubeconfig: Option<&Path>, user_agent: &str) -> anyhow::Result<kube::Client> {
    match kubeconfig {
        Some(file) => Ok(connect(file, user_agent).await?),
        None => {
            let config = kube::Config::incluster().context("not in a pod, and no --kubeconfig")?;
            Ok(from_config(&config)?)
        }
    }
}

/// Makes a client from an already loaded configuration.
pub fn from_config(config: &kube::Config) -> Result<kube::Client, kube::Error> {
    crate::tls::use_ring();
    let mut tcp = legacy::connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE_IDLE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector);
    let answered_in_time = tower::service_fn(move |request: Request<Body>| {
        let answer = client.request(request);
        async move {
            match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                Ok(answer) => answer.map(without_nulls).map_err(BoxError::from),
                Err(elapsed) => Err(BoxError::from(elapsed)),
            }
        }
    });
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .service(answered_in_time);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// Waits until the API server says it is ready, asking again with growing pauses. Returns
/// false when told to stop before that.
pub async fn wait_ready(client: &kube::Client, stop: &CancellationToken) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(200));
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return false,
            asked = is_ready(client) => asked,
        };
        match asked {
            Ok(()) => return true,
            Err(error) if backoff.is_fresh() => {
                tracing::info!(error = obstacle(&error), "Waiting for the API server");
            }
            Err(error) => {
                tracing::debug!(error = crate::logging::chain(&error), "Waiting for the API server");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    }
}

/// Why the API server is not ready, in few words: of its answer only the checks that failed.
fn obstacle(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else { return crate::logging::chain(error) };
    let failed: Vec<&str> =
        status.message.lines().filter_map(|line| line.strip_prefix("[-]")?.split(' ').next()).collect();
    match failed.is_empty() {
        true => format!("it answers {}", status.code),
        false => format!("it is not done with {}", failed.join(", ")),
    }
}

async fn is_ready(client: &kube::Client) -> Result<(), kube::Error> {
    let request = Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

#[cfg(test)]
mod tests;
