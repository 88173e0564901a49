//! The body of a list, joined while it is sent: however long the list, little more than one piece of it is copied or made
//! at a time.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use api::status::Status;
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::SizeHint;
use hyper::body::Frame;

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
    /// Bytes not sent yet, where that is known.
    left: Option<usize>,
}

impl<I: Iterator<Item = Result<Bytes, Status>>> Joined<I> {
    /// A list of items between a head and a tail.
    pub fn new(head: String, items: I, separator: &'static str, tail: String) -> Self {
        Self { head: Some(head), items, separator, begun: false, tail: Some(tail), left: None }
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
        if self.tail.is_none() {
            return Ok(None);
        }
        let mut piece = BytesMut::with_capacity(self.left.unwrap_or(PIECE).min(PIECE + PIECE / 4));
        if let Some(head) = self.head.take() {
            piece.put_slice(head.as_bytes());
        }
        while piece.len() < PIECE {
            let Some(item) = self.items.next() else {
                piece.put_slice(self.tail.take().unwrap_or_default().as_bytes());
                break;
            };
            let item = item?;
            if std::mem::replace(&mut self.begun, true) {
                piece.put_slice(self.separator.as_bytes());
            }
            piece.put_slice(&item);
        }
        self.left = self.left.map(|left| left.saturating_sub(piece.len()));
        Ok(Some(piece.freeze()))
    }
}

impl<I: Iterator<Item = Result<Bytes, Status>> + Unpin> http_body::Body for Joined<I> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let piece = self.piece().unwrap_or_else(|error| {
            // Without its end nobody takes it for a list.
            tracing::error!(%error, "a list broke off");
            self.tail = None;
            None
        });
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, |left| SizeHint::with_exact(left as u64))
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_list_is_as_long_as_it_says() {
        for (items, length) in
            [(0, 1), (1, 1), (2, 7), (100, 5_000), (3, 200_000), (1, PIECE), (2, PIECE - 6)]
        {
            for head in ["{[".to_owned(), format!("{{{}[", "h".repeat(PIECE))] {
                let items = vec!["x".repeat(length); items];
                let whole = format!("{head}{}]}}", items.join(","));
                let list = || {
                    let items = items.clone().into_iter().map(|item| Ok(Bytes::from(item)));
                    Joined::new(head.clone(), items, ",", "]}".into())
                };
                let body = list().sized(whole.len());
                assert_eq!(body.size_hint().exact(), Some(whole.len() as u64));
                assert_eq!(body.collect().await.expect("cannot fail").to_bytes(), whole);
                assert_eq!(list().size_hint().exact(), None);
                assert_eq!(list().collect().await.expect("cannot fail").to_bytes(), whole);
                assert_eq!(list().whole().expect("has no wrong item"), whole.as_bytes());
            }
        }
    }

    #[tokio::test]
    async fn a_list_with_a_wrong_item_has_no_end() {
        let items = || {
            let wrong = Err(Status::internal("a test"));
            [Ok(Bytes::from("x".repeat(2 * PIECE))), wrong, Ok(Bytes::from("y"))].into_iter()
        };
        let list = || Joined::new("[".into(), items(), ",", "]".into());
        assert_eq!(list().whole().expect_err("has a wrong item").code, 500);
        let sent = list().collect().await.expect("ends").to_bytes();
        assert_eq!(sent, format!("[{}", "x".repeat(2 * PIECE)));
    }
}
