//! Bodies that nobody read: their requests were refused before.
//!
//! Who still writes when a stream or a connection is closed may not get to read why. So what is left of such a body is
//! taken, within limits, before the answer goes out. Go's server leaves that to its clients' luck.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;

/// How much of a body is taken, and for how long.
const MOST: usize = 4 * super::MAX_BODY;
const TIME: Duration = Duration::from_secs(2);

/// A request's body.
pub struct Upload {
    body: Option<Incoming>,
    unread: Unread,
}

/// Where what is left of a body goes.
#[derive(Clone, Default)]
pub struct Unread(Option<Arc<Mutex<Option<Incoming>>>>);

/// Watches over the body of a request: what is left of it when the request is dropped is found in the second part.
pub fn watched(request: Request<Incoming>) -> (Request<Upload>, Unread) {
    // Who waits for our consent writes nothing before.
    let nothing_comes = request.body().is_end_stream() || request.headers().contains_key(header::EXPECT);
    let unread = Unread((!nothing_comes).then(Arc::default));
    let upload = |body| Upload { body: Some(body), unread: unread.clone() };
    (request.map(upload), unread)
}

impl Unread {
    /// Takes what is left, if the body was dropped.
    pub async fn discard(self) {
        let left = self.0.and_then(|left| left.lock().take());
        if let Some(body) = left {
            // Whether it comes to its end does not matter.
            let _in_time = tokio::time::timeout(TIME, discard(body)).await;
        }
    }
}

async fn discard(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut left = MOST;
    while left > 0
        && let Some(Ok(frame)) = body.frame().await
    {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(body), Some(unread)) = (self.body.take(), &self.unread.0)
            && !body.is_end_stream()
        {
            *unread.lock() = Some(body);
        }
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
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests;
