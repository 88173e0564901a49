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
            // Nothing follows what cannot be made, nor the end of the list.
            let item = item.inspect_err(|_| self.tail = None)?;
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
mod tests {
    use std::{sync::Arc, time::Duration};

    use futures::{FutureExt as _, TryFutureExt as _};
    use http::{Request, Response};
    use http_body::Body as _;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::client::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use machinery::{
        serve::{Server, Welcome},
        tasks::Tasks,
    };
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::response::Body;

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

    fn with_a_wrong_item() -> Joined<impl Iterator<Item = Result<Bytes, Status>>> {
        let items = [Ok(Bytes::from("x".repeat(2 * PIECE))), Err(Status::internal("a test")), Ok("y".into())];
        Joined::new("[".into(), items.into_iter(), ",", "]".into())
    }

    #[tokio::test]
    async fn a_list_with_a_wrong_item_has_no_end() {
        assert_eq!(with_a_wrong_item().whole().expect_err("has a wrong item").code, 500);
        let mut sent = with_a_wrong_item();
        let piece = sent.frame().await.expect("is sent").expect("is whole").into_data().expect("is data");
        assert_eq!(piece, format!("[{}", "x".repeat(2 * PIECE)));
        let broken = sent.frame().await.expect("tells of the end").expect_err("is broken");
        assert!(broken.to_string().contains("a test"), "{broken}");
        assert!(sent.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_client_is_told_of_a_list_that_broke_off() {
        let tasks = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
        let address = listener.local_addr().expect("it listens");
        let welcome: Welcome<Body> = Arc::new(|_| {
            Box::new(|_| {
                let answer = Response::new(with_a_wrong_item().boxed_unsync());
                Box::pin(std::future::ready(answer))
            })
        });
        tasks.spawn("server", Server::new(listener, None, tasks.token()).run(tasks.clone(), welcome));
        let connect = async || TokioIo::new(TcpStream::connect(address).await.expect("it listens"));
        let request = || Request::get("http://skiff/").body(Empty::<Bytes>::new()).expect("is a request");

        let (mut client, connection) = http1::handshake(connect().await).await.expect("speaks HTTP/1.1");
        tasks.spawn_scoped("client", connection.map(drop));
        let answer = client.send_request(request()).await.expect("begins");
        assert!(answer.into_body().collect().await.is_err(), "HTTP/1.1 told of a whole list");

        let (mut client, connection) =
            http2::handshake(TokioExecutor::new(), connect().await).await.expect("speaks HTTP/2");
        tasks.spawn_scoped("client", connection.map(drop));
        // The stream may be reset before its head was seen.
        let answer = client.send_request(request()).and_then(|answer| answer.into_body().collect()).await;
        assert!(answer.is_err(), "HTTP/2 told of a whole list");
        drop(client);
        tasks.stop_and_join(Duration::from_secs(5)).await.expect("nothing failed");
    }
}
