//! The connection to the API server: a `kube::Client` from a kubeconfig file.
//!
//! No rate limit. A connection whose peer is gone is noticed by TCP itself, so that watches
//! need no read timeout; a request whose answer does not begin within a minute fails. A null in an answer is
//! an absent value, as it is in Go.
//! Upstream counterpart: client-go's `rest` and `clientcmd`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::config::Kubeconfig;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneService;
use tower::{BoxError, ServiceExt as _};

use crate::backoff::Backoff;
use crate::files::Current;
use crate::nulls::{WithoutNulls, without_nulls};

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

/// What requests of this process are counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: String,
    host: String,
    method: String,
}

/// The requests that this process has made to API servers.
static REQUESTS: LazyLock<Family<Answered, Counter>> = LazyLock::new(Family::default);

/// Adds the count of requests to a registry.
pub(crate) fn register(registry: &mut Registry) {
    let help = "Number of HTTP requests, partitioned by status code, method, and host";
    registry.register("rest_client_requests", help, REQUESTS.clone());
}

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

/// Makes a client from a kubeconfig file. Does not connect yet: see [`wait_ready`]. When the file changes, or another that
/// it names, requests go by the new one; what is under way stays on its connection.
///
/// # Errors
/// When the file cannot be read, is none, or its credentials are unusable.
pub fn connect(kubeconfig: &Path, user_agent: &str) -> Result<kube::Client, ClientError> {
    connect_as(kubeconfig, None, user_agent)
}

/// The same, showing the certificate of a file that also has its key, rather than the kubeconfig's, once it is there.
///
/// # Errors
/// Those of [`connect`].
pub fn connect_as(
    kubeconfig: &Path,
    identity: Option<&Path>,
    user_agent: &str,
) -> Result<kube::Client, ClientError> {
    let agent =
        HeaderValue::from_str(user_agent).map_err(|_| ClientError::UserAgent(user_agent.to_owned()))?;
    let (path, identity) = (kubeconfig.to_owned(), identity.map(Path::to_owned));
    let (file, config) = load(&path, identity.as_deref())?;
    let users = file.auth_infos.iter().filter_map(|user| user.auth_info.as_ref());
    let shown = users.flat_map(|user| [&user.client_certificate, &user.client_key]);
    let clusters = file.clusters.iter().filter_map(|cluster| cluster.cluster.as_ref());
    let named = shown.chain(clusters.map(|cluster| &cluster.certificate_authority));
    let files = named.flatten().map(PathBuf::from).chain(identity.clone()).chain([path.clone()]).collect();
    let current = Current::read(files, move |_| {
        let (_, mut config) = load(&path, identity.as_deref())?;
        config.headers.push((header::USER_AGENT, agent.clone()));
        way(&config)
            .map_err(|source| ClientError::Credentials { path: path.clone(), source: Box::new(source) })
    })?;
    let service = tower::service_fn(move |request| current.get().oneshot(request));
    Ok(kube::Client::new(service, config.default_namespace))
}

/// Reads a kubeconfig file.
fn load(path: &Path, identity: Option<&Path>) -> Result<(Kubeconfig, kube::Config), ClientError> {
    let unusable = |source| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let mut file = Kubeconfig::read_from(path).map_err(unusable)?;
    if let Some(identity) = identity.filter(|identity| identity.exists()) {
        for user in file.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
            (user.client_certificate_data, user.client_key_data) = (None, None);
            user.client_certificate = Some(identity.display().to_string());
            user.client_key.clone_from(&user.client_certificate);
        }
    }
    let config = kube::Config::try_from(file.clone()).map_err(unusable)?;
    Ok((file, config))
}

/// The certificate (PEM) that a kubeconfig's user shows, if it is one that can be used.
pub fn certificate(kubeconfig: &Path) -> Option<Vec<u8>> {
    crate::tls::use_ring();
    let (_, config) = load(kubeconfig, None).ok()?;
    config.rustls_client_config().ok()?;
    let user = config.auth_info;
    match user.client_certificate_data {
        Some(data) => base64::engine::general_purpose::STANDARD.decode(data).ok(),
        None => std::fs::read(user.client_certificate?).ok(),
    }
}

/// Makes a client for what usually runs in a pod: of its service account, or of a kubeconfig file if one is named.
///
/// # Errors
/// Those of [`connect`]; outside of pods, without a file.
pub fn in_pod(kubeconfig: Option<&Path>, user_agent: &str) -> anyhow::Result<kube::Client> {
    match kubeconfig {
        Some(file) => Ok(connect(file, user_agent)?),
        None => {
            let config = kube::Config::incluster().context("not in a pod, and no --kubeconfig")?;
            Ok(from_config(&config)?)
        }
    }
}

/// Makes a client from an already loaded configuration.
pub fn from_config(config: &kube::Config) -> Result<kube::Client, kube::Error> {
    Ok(kube::Client::new(way(config)?, config.default_namespace.clone()))
}

/// Where requests go, with connections of its own.
type Way = BoxCloneService<Request<Body>, Response<WithoutNulls<Incoming>>, BoxError>;

fn way(config: &kube::Config) -> Result<Way, kube::Error> {
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
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let method = request.method().to_string();
        let answer = client.request(request);
        async move {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await.map_err(BoxError::from);
            let answer = answer.and_then(|answer| answer.map(without_nulls).map_err(BoxError::from));
            let code =
                answer.as_ref().map_or("<error>".to_owned(), |answer| answer.status().as_u16().to_string());
            REQUESTS.get_or_create(&Answered { code, host, method }).inc();
            answer
        }
    });
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .service(answered_in_time);
    Ok(BoxCloneService::new(service))
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
