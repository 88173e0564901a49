//! A connection to whoever really answers: HTTP/1.1 over TCP or TLS, one connection for each request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use machinery::tasks::Tasks;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::{
    Api,
    http::metrics::Running,
    response::{self, Body, Broken},
};

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer that is passed on may still take when the server stops.
const LAST_MOMENTS: Duration = Duration::from_secs(3);

/// The body of a request that is passed on.
pub type Outgoing = UnsyncBoxBody<Bytes, hyper::Error>;

/// Where a request is passed on to.
pub struct Backend {
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
    tasks: Tasks,
    stop: CancellationToken,
    /// What counts the request that is passed on.
    running: Option<Running>,
}

impl Backend {
    /// A backend behind TCP, or TLS with this configuration.
    pub fn new(api: &Api, host: String, port: u16, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { host, port, tls, tasks: api.tasks.clone(), stop: api.stop.clone(), running: None }
    }

    /// The same; what is passed on counts as running until it is over.
    pub fn counted(self, running: Running) -> Self {
        Self { running: Some(running), ..self }
    }

    /// Host and port as a URL has them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// Why there is none, in Go's words.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, String> {
        let mut sender = self.connect().await?;
        sender.send_request(request).await.map_err(|e| e.to_string())
    }

    async fn connect(&self) -> Result<http1::SendRequest<Outgoing>, String> {
        let failed = |what: &str| format!("dial tcp {}: {what}", self.authority());
        let dial = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let Some(tls) = &self.tls else { return Ok(self.handshake(stream).await) };
            let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
            let stream = TlsConnector::from(tls.clone()).connect(name, stream).await?;
            Ok(self.handshake(stream).await)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, dial).await {
            Err(_) => Err(failed("i/o timeout")),
            Ok(Err(error)) => Err(failed(&in_gos_words(&error))),
            Ok(Ok(sender)) => sender.map_err(|e| failed(&e.to_string())),
        }
    }

    async fn handshake<S>(&self, stream: S) -> hyper::Result<http1::SendRequest<Outgoing>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection: when either side hangs up, or the answer's body is dropped.
        self.tasks.spawn_scoped("backend connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a backend ended");
            }
        });
        Ok(sender)
    }

    /// A backend's body, streamed through. When the backend breaks off so does the answer; when the server stops it
    /// has some moments to come to its end, which a log that is followed never does.
    pub fn through(&self, body: Incoming) -> Body {
        let (stop, running) = (self.stop.clone(), self.running.clone());
        let over = async move {
            let _still = running;
            stop.cancelled_owned().await;
            tokio::time::sleep(LAST_MOMENTS).await;
        };
        let body = body.map_err(Broken::from);
        StreamBody::new(BodyStream::new(body).take_until(Box::pin(over))).boxed_unsync()
    }

    /// The answer that tells the client of an upgrade; from then on both ends are joined until one hangs up.
    pub fn join(&self, client: OnUpgrade, mut answer: Response<Incoming>) -> Response<Body> {
        let mut response = Response::new(response::full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = answer.headers().clone();
        let (backend, stop) = (hyper::upgrade::on(&mut answer), self.stop.clone());
        let running = self.running.clone();
        self.tasks.spawn_scoped("stream", async move {
            let _still = running;
            let (Ok(client), Ok(backend)) = tokio::join!(client, backend) else { return };
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            tokio::select! {
                joined = tokio::io::copy_bidirectional(&mut client, &mut backend) => {
                    if let Err(error) = joined {
                        tracing::debug!(%error, "stream ended");
                    }
                }
                () = stop.cancelled() => {}
            }
        });
        response
    }
}

fn in_gos_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        std::io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}
