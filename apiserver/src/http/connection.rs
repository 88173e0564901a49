//! Connections: TLS, HTTP/1.1 and HTTP/2, their limits and their end.
//!
//! A connection ends when nothing happens on it for some time, when its other end takes nothing any more, or when
//! the server stops: then what is under way is answered first, and HTTP/2 clients are told with GOAWAY.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use machinery::tasks::Tasks;
use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::{
    Api,
    auth::{self, User},
    http::handle,
    response::Body,
};

/// A handshake must be done within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without requests is closed after this time; also one whose next request's head takes as long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Whoever takes nothing of what was sent for this long is gone, or as good as gone.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// The most bytes of headers that are read.
const MAX_HEADERS: u32 = 64 * 1024;

/// Accepts connections until the server stops.
///
/// # Errors
/// Never by itself: a connection that cannot be accepted is retried.
pub async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let stop = api.stop.clone();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let connection = connection(api.clone(), acceptor.clone(), stream, address);
                tasks.spawn_scoped("connection", api.connections.track_future(connection));
            }
            Err(error) => {
                // Out of file descriptors, most likely: let some be closed.
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // No new connections from here on, while those that there are come to their end.
    drop(listener);
    tasks.token().cancelled().await;
    Ok(())
}

/// Who is at the other end of a connection.
pub struct Peer {
    /// Whom its client certificate names, if it has shown one.
    pub user: Option<User>,
    /// Where it calls from.
    pub address: SocketAddr,
}

fn tune(stream: &TcpStream) {
    // Answers are written whole: waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let stall = u32::try_from(STALL_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(stream, sockopt::TcpUserTimeout, &stall) {
        debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
}

async fn connection(api: Arc<Api>, acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) {
    tune(&stream);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake took too long"),
    };
    let chain = stream.get_ref().1.peer_certificates();
    let user = chain.and_then(|chain| chain.first()).and_then(auth::from_certificate);
    let peer = Arc::new(Peer { user, address });
    let stop = api.stop.clone();
    let activity = Activity::new();
    let watched = activity.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, peer, busy) = (api.clone(), peer.clone(), activity.begin());
        async move {
            let response = Box::pin(handle(api, peer, request)).await;
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _busy: busy }))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(MAX_HEADERS as usize * 2);
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
        () = async { tokio::select! { () = stop.cancelled() => {}, () = watched.idle(IDLE_TIMEOUT) => {} } } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
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
        loop {
            let (busy, since) = {
                let state = self.0.lock();
                (state.requests > 0, state.since)
            };
            let quiet = if busy { Duration::ZERO } else { since.elapsed() };
            let Some(left) = limit.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
            tokio::time::sleep(left).await;
        }
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

/// An answer's body; the request is over when it has been sent.
struct Tracked {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_connection_without_requests_is_idle() {
        const LIMIT: Duration = Duration::from_millis(50);
        let activity = Activity::new();
        let (first, second) = (activity.begin(), activity.begin());
        let watched = activity.clone();
        let end = tokio::spawn(async move {
            watched.idle(LIMIT).await;
            Instant::now()
        });
        tokio::time::sleep(3 * LIMIT).await;
        drop(first);
        tokio::time::sleep(3 * LIMIT).await;
        assert!(!end.is_finished(), "one request is still under way");
        let over = Instant::now();
        drop(second);
        assert!(end.await.unwrap() - over >= LIMIT);
    }
}
