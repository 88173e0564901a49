//! The body of a list, joined while it is sent: however long the list, little more than one piece of it is copied or made
//! at a time. What is large is not copied at all.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use api::status::Status;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::SizeHint;
use hyper::body::Frame;

use crate::response::Broken;

/// Bytes of a list that are copied together.
const PIECE: usize = 64 * 1024;

/// The body of a list.
pub struct Joined<I> {
    head: Option<String>,
    items: I,
    /// What stands between two items.
    separator: &'static str,
    /// Whether an item has been sent, so that the separator stands before the next.
    begun: bool,
    tail: Option<String>,
    /// The next piece, an item as it is.
    large: Option<Bytes>,
    /// Bytes not sent yet, where that is known.
    left: Option<usize>,
}

impl<I: Iterator<Item = Result<Bytes, Status>>> Joined<I> {
    /// A list of items between a head and a tail.
    pub fn new(head: String, items: I, separator: &'static str, tail: String) -> Self {
        Self { head: Some(head), items, separator, begun: false, tail: Some(tail), large: None, left: None }
    }

    /// The same, of which it is known how long it is.
    #[must_use]
    pub fn sized(mut self, size: usize) -> Self {
        self.left = Some(size);
        self
    }

    /// The whole list.
    ///
    /// # Errors
    /// Those of the items.
    pub fn whole(mut self) -> Result<Vec<u8>, Status> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece()? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }

    fn piece(&mut self) -> Result<Option<Bytes>, Status> {
        if let Some(item) = self.large.take() {
            self.left = self.left.map(|left| left.saturating_sub(item.len()));
            return Ok(Some(item));
        }
        if self.tail.is_none() {
            return Ok(None);
        }
        let mut piece = BytesMut::new();
        if let Some(head) = self.head.take() {
            piece.put_slice(head.as_bytes());
        }
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.put_slice(self.tail.take().unwrap_or_default().as_bytes());
                break;
            };
            // Nothing follows what cannot be made, nor the end of the list.
            let item = item.inspect_err(|_| self.tail = None)?;
            if std::mem::replace(&mut self.begun, true) {
                piece.put_slice(self.separator.as_bytes());
            }
            if item.len() >= PIECE {
                self.large = Some(item);
                if piece.is_empty() {
                    return self.piece();
                }
                break;
            }
            if piece.capacity() < PIECE {
                piece.reserve(self.left.unwrap_or(PIECE).min(PIECE + PIECE / 4));
            }
            piece.put_slice(&item);
        }
        self.left = self.left.map(|left| left.saturating_sub(piece.len()));
        Ok(Some(piece.freeze()))
    }
}

impl<I: Iterator<Item = Result<Bytes, Status>> + Unpin> http_body::Body for Joined<I> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = self.piece().map_err(|error| {
            tracing::error!(%error, "a list broke off");
            Broken::from(error)
        });
        Poll::Ready(piece.transpose().map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, |left| SizeHint::with_exact(left as u64))
    }
}

#[cfg(test)]
mod tests;
