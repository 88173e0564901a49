//! A small HTTP server: health for load balancers and people, metrics for scrapers.
//!
//! Plain HTTP as upstream; a handler maps a path to an answer and must be quick.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::net::TcpListener;

use crate::CancellationToken;
use crate::serve;
use crate::tasks::Tasks;

/// An answer.
pub type Answer = Response<Full<Bytes>>;
/// What answers a path.
pub type Handler = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// An answer of the given status, type and text.
pub fn answer(status: StatusCode, content_type: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// The answer to a path that does not exist.
pub fn not_found() -> Answer {
    answer(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n".to_owned())
}

/// Binds and serves until stopped. The error is that of binding.
pub fn listen(
    tasks: &Tasks,
    address: SocketAddr,
    stop: CancellationToken,
    handler: Handler,
) -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let bound = listener.local_addr()?;
    let welcome: serve::Welcome<_> = Arc::new(move |_peer| {
        let handler = Arc::clone(&handler);
        Box::new(move |request| Box::pin(std::future::ready(handler(request.uri().path()))))
    });
    let serving = serve::Server::new(listener, None, stop).run(tasks.clone(), welcome);
    tasks.spawn_finite("http", async move { drop(serving.await) });
    Ok(bound)
}
