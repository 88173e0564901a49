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
    for (items, length) in [(0, 1), (1, 1), (2, 7), (100, 5_000), (3, 200_000), (1, PIECE), (2, PIECE - 6)] {
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

async fn next(list: &mut (impl http_body::Body<Data = Bytes, Error = Broken> + Unpin)) -> Bytes {
    list.frame().await.expect("is sent").expect("is whole").into_data().expect("is data")
}

#[tokio::test]
async fn what_is_large_is_sent_as_it_is() {
    let (small, large) = (Bytes::from("small"), Bytes::from("x".repeat(PIECE)));
    let items = [large.clone(), small, large.clone()].into_iter().map(Ok);
    let mut list = Joined::new("[".into(), items, "", "]".into());
    assert_eq!(next(&mut list).await, "[");
    assert_eq!(next(&mut list).await.as_ptr(), large.as_ptr());
    assert_eq!(next(&mut list).await, "small");
    assert_eq!(next(&mut list).await.as_ptr(), large.as_ptr());
    assert_eq!(next(&mut list).await, "]");
    assert!(list.frame().await.is_none());
}

fn with_a_wrong_item() -> Joined<impl Iterator<Item = Result<Bytes, Status>>> {
    let items = [Ok(Bytes::from("x".repeat(2 * PIECE))), Err(Status::internal("a test")), Ok("y".into())];
    Joined::new("[".into(), items.into_iter(), ",", "]".into())
}

#[tokio::test]
async fn a_list_with_a_wrong_item_has_no_end() {
    assert_eq!(with_a_wrong_item().whole().expect_err("has a wrong item").code, 500);
    let mut sent = with_a_wrong_item();
    for piece in ["[".to_owned(), "x".repeat(2 * PIECE)] {
        assert_eq!(next(&mut sent).await, piece);
    }
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
    let request = || {
        Request::get("http://skiff/")
            .header("host", "skiff")
            .body(Empty::<Bytes>::new())
            .expect("is a request")
    };

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
