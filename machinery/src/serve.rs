//! HTTPS servers of daemons: health, readiness and metrics, and the accept loop below them.
//!
//! A connection is one scoped task; it ends with the process. Upstream counterpart:
//! apiserver's `healthz` and component-base's metrics handler.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Registry};
use crate::query::Query;
use crate::tasks::Tasks;
use crate::tls::{self, ClientCertificates, TlsSource};

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system refused a connection, such as when no more files may be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The verified certificates it presented, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// Accepts connections and answers their requests with `handler` until the process stops.
/// HTTP/1.1 and HTTP/2 by what the client asks for; upgrades are possible.
pub async fn accept<H, Answer, B>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    tasks: Tasks,
    handler: H,
) -> anyhow::Result<()>
where
    H: Fn(Arc<Peer>, Request<Incoming>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let acceptor = TlsAcceptor::from(tls);
    let stop = tasks.token();
    connections(listener, &tasks, &stop, move |stream, address| {
        let (acceptor, handler) = (acceptor.clone(), handler.clone());
        async move { connection(stream, address, acceptor, handler).await }
    })
    .await;
    Ok(())
}

/// The accept loop: each connection is served by a task of its own, which ends with `stop`.
pub async fn connections<Served>(
    listener: TcpListener,
    tasks: &Tasks,
    stop: &CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr) -> Served,
) where
    Served: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (served, stop) = (serve(stream, address), stop.clone());
        tasks.spawn_scoped("connection", async move {
            if let Some(Err(error)) = stop.run_until_cancelled(served).await {
                tracing::debug!(%address, error = format!("{error:#}"), "Connection failed");
            }
        });
    }
}

async fn connection<H, Answer, B>(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    handler: H,
) -> anyhow::Result<()>
where
    H: Fn(Arc<Peer>, Request<Incoming>) -> Answer + Clone + Send + Sync + 'static,
    Answer: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    stream.set_nodelay(true).context("socket")?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .context("TLS handshake")?
        .context("TLS handshake")?;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let certificates = certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let peer = Arc::new(Peer { address, certificates });
    let service = service_fn(move |request| {
        let answer = handler(Arc::clone(&peer), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    server.http2().timer(TokioTimer::new());
    server
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
        .map_err(|error| anyhow::anyhow!(error))
}

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks behind `/healthz`, `/livez` and `/readyz`. Each answers at once.
#[derive(Default)]
pub struct Health {
    checks: Vec<(String, bool, Check)>,
}

impl Health {
    /// Only `ping`, which succeeds.
    pub fn new() -> Self {
        Self::default().live("ping", || Ok(()))
    }

    /// Adds a check without which the daemon is ill and should be started anew.
    #[must_use]
    pub fn live(
        mut self,
        name: &str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name.to_owned(), true, Box::new(check)));
        self
    }

    /// Adds a check without which the daemon is well but not ready to serve.
    #[must_use]
    pub fn ready(
        mut self,
        name: &str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name.to_owned(), false, Box::new(check)));
        self
    }

    /// Answers a request for a health path such as `/readyz?verbose` or `/livez/ping`;
    /// none if it is no health path.
    pub fn answer(&self, path: &str, query: Option<&str>) -> Option<(StatusCode, String)> {
        let mut parts = path.trim_matches('/').splitn(2, '/');
        let (endpoint, one) = (parts.next()?, parts.next());
        if !["healthz", "livez", "readyz"].contains(&endpoint) {
            return None;
        }
        let query = Query::parse(query);
        let excluded = query.all("exclude");
        let excluded = |name: &str| excluded.iter().any(|one| one == name);
        let verbose = query.has("verbose");
        let mut checks = self
            .checks
            .iter()
            .filter(|(name, live, _)| {
                one.map_or((*live || endpoint == "readyz") && !excluded(name), |one| one == name)
            })
            .peekable();
        if checks.peek().is_none() && one.is_some() {
            return None;
        }
        let mut lines = String::new();
        let mut failed = false;
        for (name, _, check) in checks {
            let line = match check() {
                Ok(()) => writeln!(lines, "[+]{name} ok"),
                Err(why) => {
                    failed = true;
                    tracing::warn!(endpoint, check = name, why, "Health check failed");
                    writeln!(lines, "[-]{name} failed: {why}")
                }
            };
            line.expect("writing to a String cannot fail");
        }
        Some(match (failed, verbose) {
            (true, _) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{endpoint} check failed\n")),
            (false, true) => (StatusCode::OK, format!("{lines}{endpoint} check passed\n")),
            (false, false) => (StatusCode::OK, "ok".to_owned()),
        })
    }
}

/// What a daemon still waits for, as a readiness check. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<Option<String>>>);

impl Gate {
    /// Closed, because of what `why` says.
    pub fn closed(why: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(Some(why.into()))))
    }

    /// Closes it.
    pub fn close(&self, why: impl Into<String>) {
        *self.0.lock() = Some(why.into());
    }

    /// Opens it: nothing is waited for.
    pub fn open(&self) {
        *self.0.lock() = None;
    }

    /// The check: fails while the gate is closed, and says why.
    pub fn check(&self) -> Result<(), String> {
        self.0.lock().clone().map_or(Ok(()), Err)
    }
}

/// Starts the server of health and metrics. Returns the address it listens on.
pub async fn spawn(
    tasks: &Tasks,
    address: SocketAddr,
    source: &TlsSource,
    registry: Registry,
    health: Health,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr().context("listening address")?;
    let tls = tls::server_config(source, &ClientCertificates::Ignored, &["h2", "http/1.1"])?;
    let endpoints = Arc::new((registry, health));
    let serving = accept(listener, tls, tasks.clone(), move |_peer, request| {
        let endpoints = Arc::clone(&endpoints);
        async move { respond(&endpoints.0, &endpoints.1, &request) }
    });
    tasks.spawn("health server", serving);
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::pki::{Authority, IssueRequest};

    #[test]
    fn health_answers() {
        let health = Health::new()
            .live("leaderElection", || Err("lost".into()))
            .ready("caches", || Err("not filled".into()));
        let answer = |path: &str, query: &str| {
            health.answer(path, Some(query)).map(|(status, body)| (status.as_u16(), body))
        };
        let cases = [
            ("/healthz", "exclude=leaderElection", Some((200, "ok"))),
            ("/livez", "verbose&exclude=leaderElection", Some((200, "[+]ping ok\nlivez check passed\n"))),
            (
                "/readyz",
                "exclude=leaderElection",
                Some((500, "[+]ping ok\n[-]caches failed: not filled\nreadyz check failed\n")),
            ),
            ("/livez", "", Some((500, "[+]ping ok\n[-]leaderElection failed: lost\nlivez check failed\n"))),
            ("/livez/ping", "", Some((200, "ok"))),
            ("/livez/none", "", None),
            ("/other", "", None),
        ];
        for (path, query, expected) in cases {
            let expected = expected.map(|(status, body)| (status, body.to_owned()));
            assert_eq!(answer(path, query), expected, "{path}?{query}");
        }
    }

    #[test]
    fn a_gate_says_what_is_waited_for() {
        let gate = Gate::closed("the API server does not answer yet");
        let shared = gate.clone();
        let health = Health::new().ready("informer-sync", move || shared.check());
        let ready = || health.answer("/readyz", None).map(|(status, _)| status.as_u16());
        assert_eq!(ready(), Some(500));
        assert_eq!(health.answer("/livez", None).map(|(status, _)| status.as_u16()), Some(200));
        gate.open();
        assert_eq!(ready(), Some(200));
        gate.close("caches are being filled");
        assert!(
            health.answer("/readyz", None).is_some_and(|(_, text)| text.contains("caches are being filled"))
        );
    }

    #[tokio::test]
    async fn a_daemon_answers_over_https() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let authority = Authority::new("ca").unwrap();
        authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
        let server = authority.issue(&IssueRequest::server("daemon", &["localhost"], &[])).unwrap();
        server.save(&at("tls.crt"), &at("tls.key")).unwrap();
        let source = TlsSource::Files { cert: at("tls.crt"), key: at("tls.key") };
        let tasks = Tasks::new();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = spawn(&tasks, any_port, &source, metrics::registry(), Health::new()).await.unwrap();

        let connector = tokio_rustls::TlsConnector::from(tls::client_config(&at("ca.crt"), None).unwrap());
        for (path, status, words) in [
            ("/readyz", "200 OK", "ok"),
            ("/metrics", "200 OK", "process_cpu_seconds_total"),
            ("/nowhere", "404 Not Found", "404 page not found"),
        ] {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{answer}");
        }
        tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
    }
}
