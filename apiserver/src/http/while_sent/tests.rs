use std::{convert::Infallible, time::Duration};

use futures::stream;
use http_body_util::StreamBody;

use super::*;
use crate::{
    args::InFlight,
    auth::User,
    http::priority::{Priority, RequestDigest},
};

const LONG: Duration = Duration::from_secs(600);

/// A request that has its seat, and an answer of two pieces to it.
async fn served(priority: &Priority, has_end: bool) -> (Admitted, Response<Body>) {
    let user = User { name: "jane".into(), groups: vec!["system:authenticated".into()], ..User::default() };
    let digest = RequestDigest { user: &user, verb: "list", path: "/", resource: None };
    let admitted = priority.enter(&digest, false, 1).await.expect("there are seats");
    let pieces = stream::iter(["a", "b"].map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))));
    let body = StreamBody::new(pieces).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    if has_end {
        answer.extensions_mut().insert(HasEnd);
    }
    (admitted, answer)
}

fn taken(priority: &Priority) -> u32 {
    priority.usage().iter().map(|(_, taken, _)| taken).sum()
}

/// Waits until all seats are free.
async fn is_free(priority: &Priority) {
    let free = async {
        while taken(priority) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG / 10, free).await.expect("the seat is given back");
}

#[tokio::test]
async fn a_seat_is_kept_until_the_answer_is_sent() {
    let (tasks, priority) = (Tasks::new(), Priority::new(InFlight::default()));
    let (admitted, answer) = served(&priority, true).await;
    let mut answer = keep(&tasks, answer, admitted, Instant::now() + LONG);
    assert!(answer.body_mut().frame().await.is_some());
    tokio::task::yield_now().await;
    assert_eq!(taken(&priority), 1);
    assert_eq!(answer.into_body().collect().await.expect("is whole").to_bytes(), "b");
    is_free(&priority).await;
}

#[tokio::test]
async fn what_has_no_end_gives_its_seat_back() {
    let (tasks, priority) = (Tasks::new(), Priority::new(InFlight::default()));
    let (admitted, answer) = served(&priority, false).await;
    let answer = keep(&tasks, answer, admitted, Instant::now());
    assert_eq!(taken(&priority), 0);
    assert_eq!(answer.into_body().collect().await.expect("is whole").to_bytes(), "ab");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_breaks_off_and_gives_its_seat_back() {
    let (tasks, priority) = (Tasks::new(), Priority::new(InFlight::default()));
    let (admitted, answer) = served(&priority, true).await;
    let answer = keep(&tasks, answer, admitted, Instant::now());
    // Though nobody takes anything of it.
    is_free(&priority).await;
    let broken = answer.into_body().collect().await.expect_err("is too late");
    assert!(broken.to_string().contains("deadline exceeded"), "{broken}");
}

#[tokio::test]
async fn a_panic_breaks_the_answer_off() {
    let (tasks, priority) = (Tasks::new(), Priority::new(InFlight::default()));
    let (admitted, mut answer) = served(&priority, true).await;
    *answer.body_mut() =
        response::full("x").map_frame(|_| -> Frame<Bytes> { panic!("a test") }).boxed_unsync();
    let answer = keep(&tasks, answer, admitted, Instant::now() + LONG);
    let broken = answer.into_body().collect().await.expect_err("it panicked");
    assert!(broken.to_string().contains("stumbled"), "{broken}");
    is_free(&priority).await;
}
