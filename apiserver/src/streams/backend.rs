//! A connection to whoever really answers: HTTP/1.1 over TCP or TLS, one connection for each request.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use api::{Message, address::Dialable};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use machinery::{
    join::{ClientEnd, join},
    serve::{Upgrade, keep_alive},
    tasks::Tasks,
};
use rustls::{CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
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

/// Where a request is passed on to. Its address was checked, and is what is dialled.
pub struct Backend {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// What its certificate must be for, where that is not its address.
    name: Option<ServerName<'static>>,
    /// When an answer that is passed on must have come to its end.
    end: Option<Instant>,
    tasks: Tasks,
    stop: CancellationToken,
    /// What counts the request that is passed on.
    running: Option<Running>,
}

impl Backend {
    /// A backend behind TCP, or TLS with this configuration.
    pub fn new(api: &Api, host: Dialable, port: u16, tls: Option<Arc<ClientConfig>>) -> Self {
        Self::at(api, SocketAddr::new(host.ip(), port), tls)
    }

    /// A daemon of this machine, at a port of its loopback address that nobody but us chose.
    pub fn beside(api: &Api, port: u16, tls: Option<Arc<ClientConfig>>) -> Self {
        Self::at(api, (Ipv4Addr::LOCALHOST, port).into(), tls)
    }

    fn at(api: &Api, address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        let (tasks, stop) = (api.tasks.clone(), api.stop.clone());
        Self { address, tls, name: None, end: None, tasks, stop, running: None }
    }

    /// The same, with a certificate for this name.
    pub fn named(self, name: ServerName<'static>) -> Self {
        Self { name: Some(name), ..self }
    }

    /// The same; an answer that takes longer is broken off.
    pub fn until(self, end: Option<Instant>) -> Self {
        Self { end, ..self }
    }

    /// The same; what is passed on counts as running until it is over.
    pub fn counted(self, running: Running) -> Self {
        Self { running: Some(running), ..self }
    }

    /// Host and port as a URL has them.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// Why there is none, in Go's words.
    pub async fn send(&self, request: Request<Outgoing>) -> Result<Response<Incoming>, Message> {
        let mut sender = self.connect().await?;
        sender.send_request(request).await.map_err(Message::of)
    }

    async fn connect(&self) -> Result<http1::SendRequest<Outgoing>, Message> {
        let failed = |what: &str| format!("dial tcp {}: {what}", self.authority());
        let network = |error: std::io::Error| failed(&in_gos_words(&error));
        let dial = async {
            let stream = TcpStream::connect(self.address).await.map_err(network)?;
            stream.set_nodelay(true).map_err(network)?;
            keep_alive(&stream).map_err(|error| failed(&error.to_string()))?;
            let Some(tls) = &self.tls else { return self.handshake(stream).await };
            let name = self.name.clone().unwrap_or_else(|| self.address.ip().into());
            let dialled = TlsConnector::from(tls.clone()).connect(name.clone(), stream).await;
            let stream = dialled.map_err(|error| without_tls(&error, &name.to_str()))?;
            self.handshake(stream).await
        };
        let late = |_| Err(failed("i/o timeout").into());
        tokio::time::timeout(CONNECT_TIMEOUT, dial).await.unwrap_or_else(late)
    }

    async fn handshake<S>(&self, stream: S) -> Result<http1::SendRequest<Outgoing>, Message>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|error| format!("dial tcp {}: {error}", self.authority()))?;
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
        let (stop, running, end) = (self.stop.clone(), self.running.clone(), self.end);
        let over = async move {
            let _still = running;
            stop.cancelled_owned().await;
            tokio::time::sleep(LAST_MOMENTS).await;
        };
        let frames = BodyStream::new(body.map_err(Broken::from)).take_until(Box::pin(over));
        let Some(end) = end else { return StreamBody::new(frames).boxed_unsync() };
        let in_time = futures::stream::unfold(frames, move |mut frames| async move {
            let next = timeout_at(end, frames.next()).await;
            Some((next.unwrap_or_else(|late| Some(Err(late.into())))?, frames))
        });
        StreamBody::new(in_time).boxed_unsync()
    }

    /// The answer that tells the client of an upgrade; from then on both are joined, each direction until its end.
    pub fn join(&self, client: Upgrade, mut answer: Response<Incoming>, end: ClientEnd) -> Response<Body> {
        let mut response = Response::new(response::full(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = answer.headers().clone();
        let (backend, stop) = (hyper::upgrade::on(&mut answer), self.stop.clone());
        let running = self.running.clone();
        self.tasks.spawn_scoped("stream", async move {
            let _still = running;
            let (Ok((client, hung_up)), Ok(backend)) = tokio::join!(client.done(), backend) else { return };
            let joined = join(TokioIo::new(client), TokioIo::new(backend), end, hung_up, pending());
            stop.run_until_cancelled(joined).await;
        });
        response
    }
}

/// An error of the network as Go says it.
pub fn in_gos_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        std::io::ErrorKind::TimedOut => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

/// Why there is no TLS with the server of this name, as Go says it.
pub fn without_tls(error: &std::io::Error, host: &str) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = cause else { return in_gos_words(error) };
    let why = match why {
        // What calls itself as one that is trusted, and is another.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // Each is shown as `DnsName("a.b")` or `IpAddress(1.2.3.4)`.
            let is_ip = host.parse::<IpAddr>().is_ok();
            let names = presented.iter().filter_map(|name| {
                let (kind, inner) = name.split_once('(')?;
                ((kind == "IpAddress") == is_ip).then(|| inner.trim_matches(['"', ')']))
            });
            match names.collect::<Vec<_>>()[..] {
                [] if is_ip => {
                    format!("cannot validate certificate for {host} because it doesn't contain any IP SANs")
                }
                [] => format!("certificate is not valid for any names, but wanted to match {host}"),
                ref names => format!("certificate is valid for {}, not {host}", names.join(", ")),
            }
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "certificate has expired or is not yet valid".into(),
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}
