//! Answers that are made while they are sent: their requests are still being served.
//!
//! Invariant: the request keeps its seat, its time and its guard against panics until the answer's last piece is made.
//! Upstream's handlers write their answers themselves, so that its filters hold until then.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use machinery::tasks::Tasks;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{deadline, priority::Admitted};
use crate::response::{self, Body, Broken, HasEnd};

/// Lets an answer that is yet to be made keep the request's seat, until it has been sent or `end`, and break off at
/// `end`. Others stay as they are: they are made, or, as watches are, only begun by the request.
pub fn keep(tasks: &Tasks, answer: Response<Body>, admitted: Admitted, end: Instant) -> Response<Body> {
    if answer.extensions().get::<HasEnd>().is_none() {
        return answer;
    }
    let over = CancellationToken::new();
    let sent = over.clone().drop_guard();
    // Nobody asks a body for more whose client takes nothing: its seat is given back all the same.
    tasks.spawn_scoped("seat of an answer that is sent", async move {
        tokio::select! { () = over.cancelled() => {}, () = tokio::time::sleep_until(end) => {} }
        drop(admitted);
    });
    answer.map(|body| Kept { body, end, _sent: sent }.boxed_unsync())
}

struct Kept {
    body: Body,
    end: Instant,
    _sent: DropGuard,
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if Instant::now() >= self.end {
            return Poll::Ready(Some(Err(deadline::exceeded().into())));
        }
        let body = &mut self.body;
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context)));
        // What panicked has said so in the log.
        polled.unwrap_or_else(|_panicked| Poll::Ready(Some(Err(response::stumbled().into()))))
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
