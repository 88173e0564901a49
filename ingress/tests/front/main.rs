//! The front over real sockets: what it passes on, to whom, and what it refuses.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(missing_docs, clippy::unwrap_used)]

mod protocols;
mod scene;
mod strangers;

use std::sync::atomic::Ordering;
use std::time::Duration;

use scene::{Echo, SOON, Scene, ingress, nobody, raw, scene, service};
use serde_json::Value;

/// Objects of several calls.
pub fn all(of: impl IntoIterator<Item = Vec<Value>>) -> Vec<Value> {
    of.into_iter().flatten().collect()
}

#[test]
fn requests_go_to_the_service_of_their_host() {
    scene(async || {
        let (one, two) = (Echo::start().await, Echo::start().await);
        let mut scene = Scene::new(&[]).await;
        let problems = scene.serve(&all([
            vec![ingress("one.test", "one"), ingress("*.two.test", "two"), ingress("three.test", "three")],
            vec![ingress("five.test", "five")],
            service("one", &[one.address], None),
            service("two", &[two.address], None),
            service("three", &[], None),
        ]));
        assert_eq!(problems, ["BadBackend: the backend five:80 is not served: the service is not there"]);
        let (code, told) = scene.get("One.test:8080", "/x?y=z").await;
        assert_eq!(code, 200);
        assert!(told.starts_with(&format!("GET /x?y=z HTTP/1.1 at {}\n", one.address)), "{told}");
        assert!(told.contains("\nhost: One.test:8080\n"), "{told}");
        let (code, told) = scene.get("shop.two.test.", "/").await;
        assert!(code == 200 && told.contains(&two.address.to_string()), "{told}");
        for host in ["three.test", "five.test"] {
            assert_eq!(scene.get(host, "/").await, (503, "no endpoint is available\n".into()));
        }
        assert_eq!(scene.get("four.test", "/").await, (404, "404 page not found\n".into()));
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn endpoints_hear_about_the_client_from_the_front_alone() {
    scene(async || {
        let echo = Echo::start().await;
        let mut scene = Scene::new(&[]).await;
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &[echo.address], None)]));
        let answer = scene
            .raw(
                "POST /x HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
                 X-Real-IP: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\nConnection: close, X-Private\r\n\
                 X-Private: 1\r\nTE: trailers\r\nProxy-Authorization: Basic x\r\nCookie: kept=1\r\n\
                 Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
            )
            .await;
        let told = answer.to_ascii_lowercase();
        for line in [
            "x-forwarded-for: 127.0.0.1\n",
            "x-real-ip: 127.0.0.1\n",
            "x-forwarded-proto: http\n",
            "x-forwarded-host: a.test\n",
            "x-forwarded-port: 80\n",
            "cookie: kept=1\n",
            "content-length: 5\n",
            "\n\nhello",
        ] {
            assert!(told.contains(line), "{line:?} in {told}");
        }
        for word in [
            "203.0.113.7",
            "x-private",
            "\nte: ",
            "proxy-authorization",
            "forwarded: for",
            "keep-alive",
            "expect",
        ] {
            assert!(!told.contains(word), "{word} in {told}");
        }
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn endpoints_take_turns_and_connections_are_kept() {
    scene(async || {
        let echos = [Echo::start().await, Echo::start().await];
        let mut scene = Scene::new(&[]).await;
        let addresses = [echos[0].address, echos[1].address];
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &addresses, None)]));
        for _ in 0..10 {
            assert_eq!(scene.get("a.test", "/").await.0, 200);
            // Tables that are made anew keep the connections.
            scene.serve(&all([vec![ingress("a.test", "web")], service("web", &addresses, None)]));
        }
        for _ in 0..10 {
            assert_eq!(scene.get("a.test", "/").await.0, 200);
        }
        let counts =
            |echo: &Echo| (echo.requests.load(Ordering::Relaxed), echo.connections.load(Ordering::Relaxed));
        let [one, two] = [counts(&echos[0]), counts(&echos[1])];
        assert_eq!((one.0 + two.0, one.1, two.1), (20, 1, 1), "{one:?} {two:?}");
        assert!(one.0 >= 5 && two.0 >= 5, "{one:?} {two:?}");
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn what_was_never_sent_is_sent_elsewhere() {
    scene(async || {
        let echo = Echo::start().await;
        let mut scene = Scene::new(&[]).await;
        let (closed, gone) = (Echo::start().await, nobody().await);
        let addresses = [gone, closed.address, echo.address];
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &addresses, None)]));
        let post = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        // Both have connections that are kept; then one goes away with its own.
        for _ in 0..6 {
            assert_eq!(scene.get("a.test", "/").await.0, 200);
        }
        closed.stop();
        for _ in 0..9 {
            let answer = scene.raw(post).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\n\nhello"), "{answer}");
        }
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &[gone], None)]));
        assert_eq!(scene.get("a.test", "/").await, (502, "no answer\n".into()));
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn what_is_under_way_ends_when_its_endpoint_is_no_more_and_when_the_front_closes() {
    scene(async || {
        let echo = Echo::start().await;
        let mut scene = Scene::new(&[]).await;
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &[echo.address], None)]));
        let http = scene.ports.http;
        let slow = tokio::spawn(raw(http, "GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned()));
        while echo.requests.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &[], None)]));
        assert_eq!(scene.get("a.test", "/").await.0, 503);
        scene.ports.close().await;
        assert!(slow.await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(tokio::net::TcpStream::connect(http).await.is_err(), "nobody is taken in any more");
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}
