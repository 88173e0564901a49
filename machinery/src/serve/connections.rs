//! Connections: TLS, HTTP/1.1 and HTTP/2, their limits and their end.
//!
//! A connection is one scoped task. It ends when nothing happens on it for some time, when its other end takes
//! nothing any more, or when the server stops: then what is under way is answered first, and HTTP/2 clients are
//! told with GOAWAY; when the process stops it is cut off.

use std::{
    convert::Infallible,
    net::SocketAddr,
    os::fd::{AsRawFd as _, BorrowedFd, RawFd},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{HangUp, Stranger, Strangers};
use crate::{
    tasks::Tasks,
    tls::{ClientAuthorities, Shown},
};

/// A handshake must be done within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle where nobody says otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Whoever takes nothing of what was sent for this long is gone, or as good as gone, where nobody says otherwise.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A connection on which nothing moves is asked after this time whether its other end is still there, and then so often.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The most bytes of headers that are read.
const MAX_HEADERS: u32 = 64 * 1024;
/// Pause after the system refused a connection, such as when no more files may be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who is at the other end of a connection.
pub struct Peer {
    /// Where it calls from.
    pub address: SocketAddr,
    /// The certificate it has shown, if it was asked for one and has one.
    pub certificate: Option<Shown>,
    /// To be told when a request has shown who it is.
    pub stranger: Stranger,
}

/// What answers carry.
pub trait Content:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static
{
}

impl<B> Content for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static
{
}

/// Answers the requests of a connection.
pub type Handler<B> = Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<B>> + Send + Sync>;
/// What answers a peer's requests, asked once a connection.
pub type Welcome<B> = Arc<dyn Fn(Peer) -> Handler<B> + Send + Sync>;

/// A server that has its port.
pub struct Server {
    /// Where connections come in.
    pub listener: TcpListener,
    /// What is spoken on them; plain HTTP without.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who vouches for clients; their certificates are not looked at without.
    pub clients: Option<Arc<ClientAuthorities>>,
    /// Those of whom it is not known who they are; not counted where nobody is asked.
    pub strangers: Arc<Strangers>,
    /// Fires when no more connections are taken, and those that there are come to their end.
    pub stop: CancellationToken,
    /// The connections that are open.
    pub open: TaskTracker,
    /// A connection without requests is closed after this time; also one whose next request's head takes as long.
    pub idle: Duration,
    /// Whoever takes nothing of what was sent for this long is gone; zero where people may pause what they read.
    pub stall: Duration,
    /// Room for connections; while there is none, those who call wait.
    pub room: Arc<Semaphore>,
}

impl Server {
    /// A server that takes connections until `stop`.
    pub fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>, stop: CancellationToken) -> Self {
        Self {
            listener,
            tls,
            clients: None,
            strangers: Strangers::of_process(),
            stop,
            open: TaskTracker::new(),
            idle: IDLE_TIMEOUT,
            stall: STALL_TIMEOUT,
            room: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    /// Accepts connections until the server stops. Those that there are then go on to their end.
    ///
    /// # Errors
    /// Never: a connection that cannot be accepted is tried again.
    pub async fn run<B: Content>(self, tasks: Tasks, welcome: Welcome<B>) -> anyhow::Result<()> {
        let tls = self.tls.clone().map(TlsAcceptor::from);
        let accept = || async {
            let accepted = self.listener.accept().await;
            (accepted, Arc::clone(&self.room).acquire_owned().await)
        };
        while let Some((accepted, room)) = self.stop.run_until_cancelled(accept()).await {
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "Cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let stranger =
                self.clients.as_ref().map(|_| self.strangers.arrive(address.ip())).unwrap_or_default();
            let sent_away = stranger.sent_away.clone();
            let (stop, end) = (self.stop.clone(), tasks.token());
            // Boxed: what wraps a future holds it twice, and there are many connections.
            let limits = Limits { stop, idle: self.idle, stall: self.stall };
            let tls = tls.clone().map(|tls| (tls, self.clients.clone()));
            let peer = Peer { address, certificate: None, stranger };
            let connection = Box::pin(connection(stream, peer, tls, limits, welcome.clone()));
            tasks.spawn_scoped(
                "connection",
                self.open.track_future(async move {
                    let _room = room;
                    let ended = sent_away.run_until_cancelled(end.run_until_cancelled(connection)).await;
                    if let Some(Some(Err(error))) = ended {
                        tracing::debug!(%address, error = format!("{error:#}"), "Connection ended");
                    }
                }),
            );
        }
        Ok(())
    }
}

/// When a connection comes to its end.
struct Limits {
    /// As [`Server::stop`].
    stop: CancellationToken,
    /// As [`Server::idle`].
    idle: Duration,
    /// As [`Server::stall`].
    stall: Duration,
}

fn tune(stream: &TcpStream, stall: Duration) -> anyhow::Result<()> {
    // Answers are written whole: waiting for more to send only delays them.
    stream.set_nodelay(true).context("TCP_NODELAY")?;
    let stall = u32::try_from(stall.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &stall).context("TCP_USER_TIMEOUT")?;
    keep_alive(stream)
}

/// Has the system ask an idle connection's other end whether it is still there.
///
/// # Errors
/// When the system refuses.
pub fn keep_alive(stream: &TcpStream) -> anyhow::Result<()> {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true).context("SO_KEEPALIVE")?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds(KEEPALIVE_IDLE)).context("TCP_KEEPIDLE")?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds(KEEPALIVE_INTERVAL)).context("TCP_KEEPINTVL")
}

async fn connection<B: Content>(
    stream: TcpStream,
    mut peer: Peer,
    tls: Option<(TlsAcceptor, Option<Arc<ClientAuthorities>>)>,
    limits: Limits,
    welcome: Welcome<B>,
) -> anyhow::Result<()> {
    tune(&stream, limits.stall)?;
    let socket = stream.as_raw_fd();
    let Some((tls, clients)) = tls else {
        return answer(stream, socket, welcome(peer), limits).await;
    };
    let handshake = async {
        let mut begin = [0];
        // What begins with a letter is the name of a method.
        if stream.peek(&mut begin).await? > 0 && begin[0].is_ascii_uppercase() {
            refuse_plain(stream).await?;
            return Ok(None);
        }
        tls.accept(stream).await.map(Some)
    };
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.context("TLS handshake")?;
    let Some(stream) = handshake.context("TLS handshake")? else { return Ok(()) };
    let chain = stream.get_ref().1.peer_certificates();
    peer.certificate = clients.zip(chain).and_then(|(clients, chain)| Shown::new(clients, chain));
    answer(stream, socket, welcome(peer), limits).await
}

/// Answers plain HTTP where TLS is spoken, in Go's words.
async fn refuse_plain(mut stream: TcpStream) -> std::io::Result<()> {
    // What was not read when a connection is closed takes the answer with it.
    let mut request = [0; 4096];
    let _length = stream.read(&mut request).await?;
    let answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Answers the requests of a connection, whose socket is that of `stream`.
async fn answer<B: Content>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    socket: RawFd,
    handler: Handler<B>,
    Limits { stop, idle, .. }: Limits,
) -> anyhow::Result<()> {
    let activity = Activity::new();
    let watched = activity.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        if request.headers().contains_key(header::UPGRADE) {
            // SAFETY: requests come from the connection, which has the stream and with it the socket as long as it is.
            let socket = unsafe { BorrowedFd::borrow_raw(socket) };
            match HangUp::of(socket) {
                Ok(watched) => drop(request.extensions_mut().insert(watched)),
                Err(error) => tracing::debug!(%error, "Cannot look at a connection"),
            }
        }
        let answer = fault(&request).map_or_else(|| Ok(handler(request)), Err);
        let busy = activity.begin();
        async move {
            let answer = match answer {
                Ok(answer) => answer.await.map(Either::Left),
                Err(fault) => refuse(fault).map(Either::Right),
            };
            // The request is over when its answer has been sent.
            Ok::<_, Infallible>(answer.map(|body| Holding::new(body, busy)))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(MAX_HEADERS as usize * 2);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_streams(250)
        .keep_alive_interval(Duration::from_secs(30));
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = watched.idle(idle) => {} } } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    ended.map_err(|error| anyhow::anyhow!(error))
}

/// Whether a path has a `%` that escapes nothing.
fn is_miswritten(path: &str) -> bool {
    let escaped =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    !path.split('%').skip(1).all(escaped)
}

/// What is wrong with the path or the host that a request names, in the words of Go's server: of two hosts, those who pass
/// requests on and those who answer them may each believe another one.
fn fault<B>(request: &Request<B>) -> Option<&'static str> {
    if is_miswritten(request.uri().path()) {
        return Some("400 Bad Request");
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte);
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Some("400 Bad Request"),
        (Some(host), None) if !host.as_bytes().iter().all(allowed) => {
            Some("400 Bad Request: malformed Host header")
        }
        (None, _) if request.version() == Version::HTTP_11 => {
            Some("400 Bad Request: missing required Host header")
        }
        _ => None,
    }
}

fn refuse(fault: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(fault));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(super::PLAIN));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// What happens on a connection: how many requests are under way, and since when there is none.
#[derive(Clone)]
struct Activity(Arc<Mutex<State>>);

struct State {
    requests: usize,
    since: Instant,
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { requests: 0, since: Instant::now() })))
    }

    fn begin(&self) -> Busy {
        self.0.lock().requests += 1;
        Busy(self.0.clone())
    }

    /// Ends when nothing has been under way for `limit`.
    async fn idle(&self, limit: Duration) {
        while let Some(left) = self.left(limit, Instant::now()) {
            tokio::time::sleep(left).await;
        }
    }

    /// How long after `now` to look again whether nothing has been under way for `limit`; `None` when that is so.
    fn left(&self, limit: Duration, now: Instant) -> Option<Duration> {
        let state = self.0.lock();
        if state.requests > 0 {
            return Some(limit);
        }
        limit.checked_sub(now.saturating_duration_since(state.since)).filter(|left| !left.is_zero())
    }
}

/// A request under way; its connection is not idle until this is dropped.
struct Busy(Arc<Mutex<State>>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.requests -= 1;
        state.since = Instant::now();
    }
}

/// A body that has hold of something until it is over.
pub struct Holding<B, T> {
    body: B,
    _held: T,
}

impl<B, T> Holding<B, T> {
    /// `held` is dropped after the body.
    pub fn new(body: B, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<B: Body + Unpin, T: Unpin> Body for Holding<B, T> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
