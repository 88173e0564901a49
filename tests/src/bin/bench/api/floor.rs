//! The floor: what hyper and rustls take to answer with bytes that are there already.

use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use machinery::tls::{self, ClientCertificates, TlsSource};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::loads;

type Body = Either<Full<Bytes>, StreamBody<std::pin::Pin<Box<dyn Stream<Item = Events> + Send>>>>;
type Events = Result<Frame<Bytes>, Infallible>;

/// The ready-made answers.
struct Answers {
    object: Bytes,
    list: Bytes,
    event: Bytes,
    changes: watch::Sender<u64>,
}

/// Answers on a port of the loopback until the process is ended.
pub fn serve(port: u16, cert: PathBuf, key: PathBuf) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let source = TlsSource::Files { cert, key };
    let config =
        tls::server_config(&source, ClientCertificates::Asked, &["http/1.1"]).expect("a TLS configuration");
    let object = loads::config_map("floor", 0);
    let event = Bytes::from([br#"{"type":"MODIFIED","object":"#, &object[..], b"}\n"].concat());
    let list = Bytes::from(vec![b'x'; loads::LIST_BYTES]);
    let answers = Arc::new(Answers { object, list, event, changes: watch::Sender::new(0) });
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let acceptor = TlsAcceptor::from(config);
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
            tokio::spawn(async move {
                stream.set_nodelay(true).expect("a socket option");
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| answer(Arc::clone(&answers), request));
                let http = hyper::server::conn::http1::Builder::new();
                // A client that goes away is no matter here.
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
}

async fn answer(answers: Arc<Answers>, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    if request.method() != Method::GET {
        request.into_body().collect().await?;
        answers.changes.send_modify(|count| *count += 1);
        return Ok(Response::new(Either::Left(Full::new(answers.object.clone()))));
    }
    if path.contains("watch=true") {
        return Ok(Response::new(Either::Right(StreamBody::new(Box::pin(events(answers))))));
    }
    let list = path.contains("/pods");
    let body = if list { answers.list.clone() } else { answers.object.clone() };
    Ok(Response::new(Either::Left(Full::new(body))))
}

/// One event for each change.
fn events(answers: Arc<Answers>) -> impl Stream<Item = Events> {
    let changes = answers.changes.subscribe();
    let seen = *answers.changes.borrow();
    futures::stream::unfold((answers, changes, seen), |(answers, mut changes, seen)| async move {
        let newer = async { changes.wait_for(|count| *count > seen).await.is_ok() };
        if !pin!(newer).await {
            return None;
        }
        Some((Ok(Frame::data(answers.event.clone())), (answers, changes, seen + 1)))
    })
}
