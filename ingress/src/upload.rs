//! The body of a request on its way to an endpoint, and whether anything of it still moves.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::time::Instant;

/// A body. One that is empty may be made anew, to send the same request once more.
#[derive(Debug)]
pub struct Upload {
    body: Option<Incoming>,
    stalled: Stalled,
}

/// Tells when nothing has moved for too long: neither has the client sent something of its body, nor has the endpoint
/// begun to answer what it has. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Stalled {
    patience: Duration,
    moved: Arc<Mutex<Instant>>,
}

impl Stalled {
    /// Returns when it is so.
    pub async fn wait(self) {
        loop {
            let until = *self.moved.lock() + self.patience;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

impl Upload {
    /// What a client sends, or nothing; `patience` is how long nothing may move.
    pub fn new(body: Option<Incoming>, patience: Duration) -> Self {
        Self { body, stalled: Stalled { patience, moved: Arc::new(Mutex::new(Instant::now())) } }
    }

    /// What tells when nothing moves.
    pub fn stalled(&self) -> Stalled {
        self.stalled.clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        *self.stalled.moved.lock() = Instant::now();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
