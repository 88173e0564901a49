//! One endpoint and the connections to it: HTTP/1.1, of which some are kept for the next requests, or one of HTTP/2.
//!
//! A request that was certainly never sent comes back to be sent elsewhere. Connections end when the endpoint is in no
//! table any more and nobody waits for an answer of it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use machinery::serve::{Holding, keep_alive};
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::upload::Upload;

/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an endpoint that could not be connected to is asked last.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// How long a connection that nobody uses is kept; shorter than servers commonly keep theirs.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many are kept.
const MOST_IDLE: usize = 128;
/// A connection of HTTP/2 is asked so often whether its other end is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    h2: bool,
    idle: Mutex<Vec<(Instant, http1::SendRequest<Upload>)>>,
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Upload>>>,
    failed: Mutex<Option<Instant>>,
}

/// A request that was not answered.
#[derive(Debug)]
pub struct Failed {
    /// The request, if it was never sent.
    pub unsent: Option<Request<Upload>>,
    /// Why.
    pub why: Why,
}

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// There is no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke off, or what came over it was no HTTP.
    #[error("no answer")]
    Http(#[source] hyper::Error),
    /// Nothing happened for too long.
    #[error("no answer in time")]
    Timeout,
}

impl Endpoint {
    /// An endpoint that is connected to when it is needed.
    pub fn new(address: SocketAddr, h2: bool) -> Self {
        let (idle, shared, failed) = Default::default();
        Self { address, h2, idle, shared, failed }
    }

    /// Whether requests are to be in the form of HTTP/2.
    pub fn speaks_h2(&self) -> bool {
        self.h2
    }

    /// Whether it could not be connected to a moment ago.
    pub fn failed_lately(&self) -> bool {
        self.failed.lock().is_some_and(|at| at.elapsed() < FAILED_PAUSE)
    }

    /// Closes connections that nobody has used for long.
    pub fn let_idle_go(&self) {
        self.idle.lock().retain(|(since, sender)| since.elapsed() < IDLE_TIMEOUT && !sender.is_closed());
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// When there is none; with the request, if it was never sent.
    pub async fn send(
        self: &Arc<Self>,
        mut request: Request<Upload>,
        tasks: &Tasks,
    ) -> Result<Response<Answer>, Failed> {
        let stalled = request.body().stalled();
        // What was kept may have been closed by the other end meanwhile; then there is a next one, or a new one.
        loop {
            let (mut sender, kept) = match self.sender(tasks).await {
                Ok(sender) => sender,
                Err(error) => return Err(Failed { unsent: Some(request), why: Why::Connect(error) }),
            };
            let answered = tokio::select! {
                answered = sender.try_send(request) => answered,
                () = stalled.clone().wait() => return Err(Failed { unsent: None, why: Why::Timeout }),
            };
            match answered {
                Ok(answer) => {
                    let lent = match sender {
                        Sender::Own(sender) => {
                            let (endpoint, sender) = (Arc::clone(self), Some(sender));
                            Some(Lent { endpoint, sender, tasks: tasks.clone() })
                        }
                        Sender::Shared(_) => None,
                    };
                    return Ok(answer.map(|body| Answer::new(body, lent)));
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if kept => {
                        self.shared.lock().await.take();
                        request = unsent;
                    }
                    unsent => return Err(Failed { unsent, why: Why::Http(error.into_error()) }),
                },
            }
        }
    }

    /// A way to send a request, and whether it was there before.
    async fn sender(&self, tasks: &Tasks) -> io::Result<(Sender, bool)> {
        if !self.h2 {
            if let Some(kept) = self.take_idle() {
                return Ok((Sender::Own(kept), true));
            }
            let io = TokioIo::new(self.connect().await?);
            let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
            drive(connection.with_upgrades(), tasks);
            return Ok((Sender::Own(sender), false));
        }
        let mut shared = self.shared.lock().await;
        if let Some(known) = shared.as_ref().filter(|known| !known.is_closed()) {
            return Ok((Sender::Shared(known.clone()), true));
        }
        let io = TokioIo::new(self.connect().await?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING_INTERVAL);
        let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        drive(connection, tasks);
        *shared = Some(sender.clone());
        Ok((Sender::Shared(sender), false))
    }

    fn take_idle(&self) -> Option<http1::SendRequest<Upload>> {
        let mut idle = self.idle.lock();
        while let Some((since, sender)) = idle.pop() {
            if since.elapsed() < IDLE_TIMEOUT && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, sender: http1::SendRequest<Upload>) {
        let mut idle = self.idle.lock();
        if idle.len() < MOST_IDLE {
            idle.push((Instant::now(), sender));
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        *self.failed.lock() = connected.is_err().then(Instant::now);
        let stream = connected?;
        stream.set_nodelay(true)?;
        keep_alive(&stream).map_err(io::Error::other)?;
        Ok(stream)
    }
}

fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static, tasks: &Tasks) {
    let stop = tasks.token();
    tasks.spawn_scoped("connection to an endpoint", async move {
        if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
            tracing::debug!(%error, "A connection to an endpoint ended");
        }
    });
}

enum Sender {
    Own(http1::SendRequest<Upload>),
    Shared(http2::SendRequest<Upload>),
}

impl Sender {
    async fn try_send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        match self {
            Self::Own(sender) => sender.try_send_request(request).await,
            Self::Shared(sender) => sender.try_send_request(request).await,
        }
    }
}

/// The body of an answer.
pub type Answer = Holding<Incoming, Option<Lent>>;

/// The connection of an answer; when that is over it is kept for others.
pub struct Lent {
    endpoint: Arc<Endpoint>,
    sender: Option<http1::SendRequest<Upload>>,
    tasks: Tasks,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(mut sender) = self.sender.take() else { return };
        if sender.is_ready() {
            return self.endpoint.keep(sender);
        }
        let endpoint = Arc::clone(&self.endpoint);
        self.tasks.spawn_scoped("keeping a connection", async move {
            if sender.ready().await.is_ok() {
                endpoint.keep(sender);
            }
        });
    }
}
