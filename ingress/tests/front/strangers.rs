//! Who means no good: requests that end somewhere else for others, clients that take their time, floods.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::all;
use crate::scene::{Echo, SOON, Scene, ingress, scene, service};

async fn serving(flags: &[&str]) -> (Scene, Echo) {
    let echo = Echo::start().await;
    let mut scene = Scene::new(flags).await;
    scene.serve(&all([vec![ingress("a.test", "web")], service("web", &[echo.address], None)]));
    (scene, echo)
}

#[test]
fn nobody_smuggles_a_request() {
    scene(async || {
        let (scene, echo) = serving(&[]).await;
        // What of these is a request at all reaches the endpoint as exactly that one, whose end nobody can doubt.
        let smuggled = "GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let chunked = format!("0\r\n\r\n{smuggled}");
        let length = chunked.len();
        for (headers, body, code) in [
            (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"), &*chunked, 200),
            (format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"), &chunked, 200),
            ("Content-Length: 0\r\nContent-Length: 44".into(), smuggled, 400),
            ("Content-Length: +0".into(), smuggled, 400),
            ("Transfer-Encoding: xchunked".into(), &chunked, 400),
            ("Transfer-Encoding : chunked".into(), &chunked, 400),
            ("Transfer-Encoding:\x0bchunked".into(), &chunked, 400),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".into(), &chunked, 400),
            ("X: y\r\n Transfer-Encoding: chunked".into(), &chunked, 400),
            ("X: y\rTransfer-Encoding: chunked".into(), &chunked, 400),
            ("Host: b.test".into(), "", 400),
        ] {
            let before = echo.requests.load(Ordering::Relaxed);
            let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{headers}\r\n\r\n{body}");
            let mut stream = TcpStream::connect(scene.ports.http).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{headers:?}: {answer}");
            let reached = echo.requests.load(Ordering::Relaxed) - before;
            assert!(
                !answer.contains("content-length: 44") && !answer.contains("\n\nGET"),
                "{headers:?}: {answer}"
            );
            // Behind the one that is served in spite of two lengths nothing is read any more.
            assert_eq!(reached, usize::from(code == 200), "{headers:?}: {answer}");
        }
        // What an endpoint is sent has one end at most.
        let both = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 3\r\n\
                    Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let answer = scene.raw(both).await.to_ascii_lowercase();
        assert!(
            answer.contains("transfer-encoding: chunked\n") && !answer.contains("content-length: 3"),
            "{answer}"
        );
        assert!(answer.contains("\n\nhello"), "{answer}");
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn requests_without_an_end_are_cut_off() {
    scene(async || {
        let (scene, echo) = serving(&["--idle-timeout", "1"]).await;
        let drip = async |first: &str, more: &str| {
            let begun = Instant::now();
            let stream = TcpStream::connect(scene.ports.http).await.unwrap();
            let (mut read, mut write) = stream.into_split();
            write.write_all(first.as_bytes()).await.unwrap();
            let dripping = async {
                while write.write_all(more.as_bytes()).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                std::future::pending::<()>().await;
            };
            let mut answer = Vec::new();
            tokio::select! {
                _ended = read.read_to_end(&mut answer) => {}
                () = dripping => {}
                () = tokio::time::sleep(SOON) => panic!("it goes on"),
            }
            (String::from_utf8_lossy(&answer).into_owned(), begun.elapsed())
        };
        let (_, took) = drip("GET / HTTP/1.1\r\nHost: a.test\r\n", "X: y\r\n").await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        let (_, took) = drip("", "").await;
        assert!(took < Duration::from_secs(5), "{took:?}");
        assert_eq!(echo.requests.load(Ordering::Relaxed), 0);
        // A body that stops, and an endpoint that does not answer.
        for (request, code) in [
            ("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhell", 504),
            ("GET /hang HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", 504),
        ] {
            let (answer, took) = drip(request, "").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
        // One that comes slowly and comes is waited for.
        let slowly = async {
            let mut stream = TcpStream::connect(scene.ports.http).await.unwrap();
            let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\nConnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..8 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.write_all(b"x").await.unwrap();
            }
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(slowly.await.ends_with("\n\nxxxxxxxx"));
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn floods_are_refused() {
    scene(async || {
        let (scene, echo) = serving(&[]).await;
        let head =
            |headers: &str| format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{headers}\r\n");
        for headers in
            ["X: y\r\n".repeat(150), format!("X: {}\r\n", "y".repeat(300_000)), "X".repeat(300_000)]
        {
            let answer = scene.raw(&head(&headers)).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
        }
        let target = format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "x".repeat(100_000));
        assert!(scene.raw(&target).await.starts_with("HTTP/1.1 414"));
        for request in [
            "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "rubbish\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(scene.ports.http).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 40"), "{request:?}: {answer}");
        }
        assert_eq!(echo.requests.load(Ordering::Relaxed), 0);
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn connections_beyond_the_limit_wait() {
    scene(async || {
        let (scene, echo) = serving(&["--max-connections", "2"]).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(scene.ports.http).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
            stream.read_u8().await.unwrap();
            held.push(stream);
        }
        let mut waiting = Box::pin(scene.get("a.test", "/"));
        tokio::select! {
            answered = &mut waiting => panic!("{answered:?}"),
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        assert_eq!(echo.requests.load(Ordering::Relaxed), 2);
        held.pop();
        assert_eq!(waiting.await.0, 200);
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}
