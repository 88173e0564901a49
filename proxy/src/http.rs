//! A small HTTP server: health for load balancers and people, metrics for scrapers.
//!
//! Plain HTTP as upstream; a handler maps a path to an answer and must be quick.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use machinery::CancellationToken;
use machinery::serve;
use machinery::tasks::Tasks;
use tokio::net::{TcpListener, TcpStream};

/// How long a request's head may take: whoever connects and says nothing is cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

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
    let owner = tasks.clone();
    tasks.spawn_scoped("http", async move {
        serve::connections(listener, &owner, &stop, |stream, _| answer_all(stream, Arc::clone(&handler)))
            .await;
    });
    Ok(bound)
}

async fn answer_all(stream: TcpStream, handler: Handler) -> anyhow::Result<()> {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let answer = handler(request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    Ok(connection.await?)
}
