//! Connections: TLS, HTTP/1.1 and HTTP/2, graceful end.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use machinery::tasks::Tasks;
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::{Api, http::handle};

/// A handshake must be done within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head must be there within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
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
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let (api, acceptor) = (api.clone(), acceptor.clone());
                tasks.spawn_scoped("connection", connection(api, acceptor, stream, address));
            }
            Err(error) => {
                // Out of file descriptors, most likely: let some be closed.
                debug!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Who is at the other end of a connection.
pub struct Peer {
    /// Its certificate, verified.
    pub certificate: Option<CertificateDer<'static>>,
    /// Where it calls from.
    pub address: SocketAddr,
}

async fn connection(api: Arc<Api>, acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr) {
    // Answers are written whole: waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "cannot set TCP_NODELAY");
    }
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake took too long"),
    };
    let chain = stream.get_ref().1.peer_certificates();
    let certificate = chain.and_then(|chain| chain.first()).map(|c| c.clone().into_owned());
    let peer = Arc::new(Peer { certificate, address });
    let stop = api.stop.clone();
    let service = service_fn(move |request| {
        let (api, peer) = (api.clone(), peer.clone());
        async move { Ok::<_, Infallible>(Box::pin(handle(api, peer, request)).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
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
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
