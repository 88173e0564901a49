use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::serve::Stranger;
use crate::testing::fake_api;

fn shows(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn peer() -> Peer {
    let address = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 1));
    Peer { address, certificate: None, stranger: Stranger::default() }
}

/// An API server that knows everybody and allows all to `good`, and counts what it is asked.
fn asked(terms: Terms) -> (Access, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&count);
    let client = fake_api::client(move |path, body| {
        let nth = counting.fetch_add(1, Ordering::SeqCst);
        let spec = &body["spec"];
        if path.ends_with("/tokenreviews") {
            let recovers = spec["token"] != "flaky" || nth > 0;
            return recovers
                .then(|| json!({"status": {"authenticated": true, "user": {"username": spec["token"]}}}));
        }
        Some(json!({"spec": {}, "status": {"allowed": spec["user"] == "good"}}))
    });
    (Access::new(client, terms), count)
}

async fn is_allowed(access: &Access, token: &str) -> bool {
    let user = access.identify(&peer(), &shows(token)).await.unwrap().unwrap();
    access.judge(&user, SubjectAccessReviewSpec::default()).await.unwrap().allowed
}

#[tokio::test]
async fn answers_live_as_long_as_the_terms_say() {
    let (access, count) = asked(Terms::KUBELET);
    // Seconds since the last step, the token, the answer, and how many questions there were until then.
    for (pause, token, allowed, questions) in [
        (0, "good", true, 2),
        (119, "good", true, 2),
        (2, "good", true, 3),
        (150, "good", true, 4),
        (30, "good", true, 5),
        (0, "bad", false, 7),
        (29, "bad", false, 7),
        (2, "bad", false, 8),
    ] {
        access.clock.advance(Duration::from_secs(pause));
        assert_eq!(is_allowed(&access, token).await, allowed);
        assert_eq!(count.load(Ordering::SeqCst), questions, "{token} after {pause} s");
    }
}

#[tokio::test]
async fn a_question_is_asked_once_at_a_time_and_again_after_a_failure() {
    let (access, count) = asked(Terms::DAEMON);
    let headers = shows("flaky");
    let peer = peer();
    let many = || futures::future::join_all((0..20).map(|_| access.identify(&peer, &headers)));
    assert!(many().await.iter().all(|told| matches!(told, Err(AccessError::Unanswered(_)))));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert!(many().await.iter().all(|told| matches!(told, Ok(Some(_)))));
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let answers = Answers::<usize>::default();
    for question in 0..=MOST {
        let told = async move { Ok((question, Duration::from_secs(60))) };
        assert_eq!(answers.get(&Clock::default(), &question.to_le_bytes(), || told).await.unwrap(), question);
    }
    assert_eq!(answers.0.lock().len(), 1);
}

#[test]
fn a_token_is_the_word_behind_bearer() {
    for (header, token) in [
        ("Bearer a", Some("a")),
        (" bearer a b", Some("a")),
        ("BEARER  a", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic a", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::AUTHORIZATION, header.parse().unwrap());
        assert_eq!(bearer(&headers), token, "{header}");
    }
}
