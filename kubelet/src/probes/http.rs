//! A small HTTP client for probes and hooks: one GET on a connection of its own, over TCP or over TLS whose
//! certificate nobody looks at. Errors have the words of Go's client, since people know them from events.
//! Corresponds to upstream's `probe/http`.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use api::{Message, address::Dialable, message};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, InvalidMessage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::gauge::Outcome;

/// The most of an answer's body that is read.
const BODY: usize = 10 * 1024;
/// How often an answer may send us elsewhere.
const REDIRECTS: usize = 10;
/// What cannot stand in a path as it is.
const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// Where a pod may have the kubelet go.
#[derive(Debug, Clone, Copy)]
pub struct Reach<'a> {
    /// The pod's own address.
    pub pod_ip: &'a str,
    /// Whether the pod is in the node's network, so that it reaches there what the kubelet reaches.
    pub host_network: bool,
}

/// A host to go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or address.
    pub name: String,
    /// Whether it may be the node itself, or its network's own affairs.
    anywhere: bool,
}

impl Reach<'_> {
    /// The host that a spec names, or the pod where it names none.
    pub fn host(&self, named: Option<&str>) -> Host {
        match named.filter(|host| !host.is_empty()) {
            Some(host) => Host { name: host.to_owned(), anywhere: self.host_network },
            None => Host { name: self.pod_ip.to_owned(), anywhere: true },
        }
    }
}

/// What to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Over TLS.
    pub https: bool,
    /// Where.
    pub host: Host,
    /// Port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Headers of the spec.
    pub headers: Vec<(String, String)>,
    /// What we call ourselves.
    pub agent: &'static str,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body, or why it could not be read.
    pub body: Result<String, Message>,
    location: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failed {
    /// Go's words.
    pub text: String,
    /// The other side speaks HTTP without TLS.
    pub plain: bool,
}

impl Failed {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: false }
    }
}

/// The number of a port that may be given by name.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, Message> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            match named {
                Some(port) => port.container_port,
                None => {
                    name.parse().map_err(|_| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?
                }
            }
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| message!("invalid port number: {number}"))
}

/// A host and a port as one word.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Request {
    /// The request that a spec describes.
    pub fn of(
        action: &HTTPGetAction,
        container: &Container,
        reach: Reach<'_>,
        agent: &'static str,
    ) -> Result<Self, Message> {
        let path = action.path.as_deref().unwrap_or_default();
        let path = path.split('#').next().unwrap_or_default();
        let path = utf8_percent_encode(path, UNFIT).to_string();
        let headers = action.http_headers.iter().flatten();
        Ok(Self {
            https: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("HTTPS")),
            host: reach.host(action.host.as_deref()),
            port: port(&action.port, container)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: headers.map(|header| (header.name.clone(), header.value.clone())).collect(),
            agent,
        })
    }

    /// The whole address.
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", authority(&self.host.name, self.port), self.path)
    }

    /// Where an answer sends us; nothing when it leads to another host, which is not followed.
    fn redirected(&self, location: &str) -> Option<Self> {
        let mut next = self.clone();
        let location = location.split('#').next().unwrap_or_default();
        let absolute = match location.strip_prefix("//") {
            Some(rest) => Some((self.https, rest)),
            None => {
                location.split_once("://").map(|(scheme, rest)| (scheme.eq_ignore_ascii_case("https"), rest))
            }
        };
        if let Some((https, rest)) = absolute {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let authority: http::uri::Authority = authority.parse().ok()?;
            if authority.host().trim_matches(['[', ']']) != self.host.name {
                return None;
            }
            next.https = https;
            next.port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
            next.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        } else if location.starts_with('/') {
            location.clone_into(&mut next.path);
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            next.path = format!("{folder}/{location}");
        }
        next.path = utf8_percent_encode(&next.path, UNFIT).to_string();
        Some(next)
    }

    fn message(&self) -> Result<http::Request<Empty<Bytes>>, http::Error> {
        let mut message = http::Request::get(&self.path).header(CONNECTION, "close").body(Empty::new())?;
        let headers = message.headers_mut();
        for (name, value) in &self.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        let authority = authority(&self.host.name, self.port);
        let standard = match (self.https, self.port) {
            (false, 80) => authority.strip_suffix(":80"),
            (true, 443) => authority.strip_suffix(":443"),
            _ => None,
        };
        let defaults = [(HOST, standard.unwrap_or(&authority)), (ACCEPT, "*/*"), (USER_AGENT, self.agent)];
        for (name, default) in defaults {
            match headers.get(&name).map(HeaderValue::is_empty) {
                None => {
                    headers.insert(name, HeaderValue::from_str(default)?);
                }
                // An empty header in the spec means that none is sent.
                Some(true) if name != HOST => {
                    headers.remove(name);
                }
                Some(_) => {}
            }
        }
        Ok(message)
    }
}

/// Asks once, following redirects on the same host.
pub async fn get(request: &Request, limit: Duration) -> Result<Answer, Failed> {
    let deadline = tokio::time::Instant::now() + limit;
    let mut request = request.clone();
    for _ in 0..REDIRECTS {
        let outcome = tokio::time::timeout_at(deadline, fetch(&request, deadline)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(Failed::new("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"))
        });
        let answer = outcome
            .map_err(|error| Failed { text: format!("Get {:?}: {}", request.url(), error.text), ..error })?;
        let sent_on = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        match answer.location.as_deref().filter(|_| sent_on).and_then(|l| request.redirected(l)) {
            Some(next) => request = next,
            None => return Ok(answer),
        }
    }
    Err(Failed::new(format!("Get {:?}: stopped after {REDIRECTS} redirects", request.path)))
}

/// Asks once and judges the answer as a probe.
pub async fn probe(request: &Request, limit: Duration) -> Outcome {
    let answer = match get(request, limit).await {
        Ok(answer) => answer,
        Err(error) => return Outcome::Bad(error.text),
    };
    match (answer.status, answer.body) {
        (_, Err(error)) => Outcome::Unclear { state: "failure", error: error.into() },
        (200..300, Ok(_)) => Outcome::Good,
        (300..400, Ok(body)) => Outcome::Odd(format!("Probe terminated redirects, Response body: {body}")),
        (status, Ok(_)) => Outcome::Bad(format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// Opens a connection; errors are Go's. What is looked up is what is dialled.
pub async fn dial(host: &Host, port: u16) -> Result<TcpStream, Message> {
    let refused = |to: &str, error: &std::io::Error| message!("dial tcp {to}: connect: {}", words(error));
    let allowed = |to: SocketAddr| match Dialable::new(to.ip()) {
        Err(error) if !host.anywhere => Err(message!("dial tcp {to}: {error}")),
        _ => Ok(to),
    };
    let host_name = &host.name;
    if let Ok(ip) = host_name.parse::<IpAddr>() {
        let to = allowed(SocketAddr::new(ip, port))?;
        return TcpStream::connect(to).await.map_err(|error| refused(&to.to_string(), &error));
    }
    let found = tokio::net::lookup_host((host_name.as_str(), port)).await;
    let found: Vec<SocketAddr> =
        found.map_err(|_| format!("dial tcp: lookup {host_name}: no such host"))?.collect();
    let mut last = message!("dial tcp: lookup {host_name}: no such host");
    for to in found {
        let to = allowed(to)?;
        match TcpStream::connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = refused(&to.to_string(), &error),
        }
    }
    Err(last)
}

/// The system's words for an error, as Go writes them.
fn words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

async fn fetch(request: &Request, deadline: tokio::time::Instant) -> Result<Answer, Failed> {
    let stream = dial(&request.host, request.port).await.map_err(Failed::new)?;
    let ends = match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) => format!("{local}->{peer}"),
        _ => authority(&request.host.name, request.port),
    };
    if !request.https {
        return exchange(stream, request, &ends, deadline).await;
    }
    let name =
        ServerName::try_from(request.host.name.clone()).map_err(|error| Failed::new(error.to_string()))?;
    match TlsConnector::from(Arc::clone(&TRUSTING)).connect(name, stream).await {
        Ok(stream) => exchange(stream, request, &ends, deadline).await,
        Err(error) => {
            let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            Err(match of_tls {
                Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                    Failed { text: "http: server gave HTTP response to HTTPS client".to_owned(), plain: true }
                }
                Some(error) => Failed::new(format!("tls: {error}")),
                None => Failed::new(broken(&error, &ends)),
            })
        }
    }
}

fn broken(error: &std::io::Error, ends: &str) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => format!("read tcp {ends}: read: {}", words(error)),
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request,
    ends: &str,
    deadline: tokio::time::Instant,
) -> Result<Answer, Failed> {
    let failed = |error: hyper::Error| {
        let source = std::error::Error::source(&error).and_then(|s| s.downcast_ref::<std::io::Error>());
        Failed::new(match source {
            Some(source) => broken(source, ends),
            None if error.is_incomplete_message() => "EOF".to_owned(),
            None if error.is_parse() => {
                format!("net/http: HTTP/1.x transport connection broken: malformed HTTP response: {error}")
            }
            None => error.to_string(),
        })
    };
    let message = request.message().map_err(|error| Failed::new(error.to_string()))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let work = async move {
        let answer = sender.send_request(message).await.map_err(failed)?;
        let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let body = tokio::time::timeout_at(deadline, read(answer.into_body())).await;
        let body = body.unwrap_or_else(|_| {
            let text =
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
            Err(text.to_owned().into())
        });
        Ok(Answer { status, body, location })
    };
    let (mut work, mut connection) = (std::pin::pin!(work), std::pin::pin!(connection));
    tokio::select! {
        biased;
        answer = &mut work => answer,
        // When the connection ends first, the work hears of it and says what it means.
        _ended = &mut connection => work.await,
    }
}

/// The beginning of a body.
async fn read(mut body: hyper::body::Incoming) -> Result<String, Message> {
    let mut text = Vec::new();
    while text.len() < BODY {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    text.extend_from_slice(&data);
                }
            }
            Some(Err(error)) if error.is_incomplete_message() => return Err("unexpected EOF".into()),
            Some(Err(error)) => return Err(error.to_string().into()),
            None => break,
        }
    }
    text.truncate(BODY);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

static TRUSTING: LazyLock<Arc<ClientConfig>> = LazyLock::new(machinery::tls::trusting_client_config);
