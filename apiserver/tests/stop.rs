//! The server stops while it is busy.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use apiserver::store::{EmbeddedStore, Store as _};
use harness::{Server, raw};
use http_body_util::BodyExt as _;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What became of a client's creations.
#[derive(Default)]
struct Told {
    created: BTreeSet<String>,
    unanswered: BTreeSet<String>,
}

/// Creates objects until the server takes no more. An answer must be a success: the server was ready for it.
async fn client(port: u16, id: usize) -> Told {
    let mut told = Told::default();
    let mut one = if id.is_multiple_of(2) { Some(raw::http1(port).await) } else { None };
    let mut two = if !id.is_multiple_of(2) { Some(raw::http2(port).await) } else { None };
    for i in 0.. {
        let name = format!("c{id}-{i}");
        let body = json!({"metadata": {"name": name}}).to_string();
        let path = if !id.is_multiple_of(2) { format!("https://skiff:6443{MAPS}") } else { MAPS.to_owned() };
        let request = raw::request("POST", &path, &[("content-type", "application/json")], body);
        let answered = match (&mut one, &mut two) {
            (Some(sender), _) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(_) => return told,
            },
            (_, Some(sender)) => match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(_) => return told,
            },
            _ => unreachable!(),
        };
        match answered {
            Ok(answer) => {
                assert_eq!(answer.status(), 201, "{name}: what is accepted does not fail");
                answer.into_body().collect().await.expect("an answer is whole");
                told.created.insert(name);
            }
            // The connection was closed before the request was taken.
            Err(_) => {
                told.unanswered.insert(name);
                return told;
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_finished_and_readiness_goes_first() {
    const DELAY: Duration = Duration::from_secs(5);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let server = Server::start_with(|c| {
        c.store = format!("file:{}", path.display()).parse().unwrap();
        c.shutdown_delay = DELAY;
    })
    .await;
    let port = server.port;
    let clients: Vec<_> = (0..8).map(|id| tokio::spawn(client(port, id))).collect();
    let mut watcher = raw::http1(port).await;
    let watch =
        watcher.send_request(raw::request("GET", &format!("{MAPS}?watch=true"), &[], "")).await.unwrap();
    let watched = tokio::spawn(async move {
        let text = watch.into_body().collect().await.expect("a watch ends cleanly").to_bytes();
        assert!(text.ends_with(b"\n"), "no event is cut in two");
        text
    });
    let mut before = raw::http1(port).await;
    server
        .eventually(MAPS, |maps| {
            let names: Vec<_> = maps.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| m["metadata"]["name"].as_str())
                .collect();
            let has_begun = |id| names.iter().flatten().any(|name| name.starts_with(&format!("c{id}-")));
            (0..8).all(has_begun)
        })
        .await;

    let started = Instant::now();
    let stopped = tokio::spawn(server.stopping());
    let gone = Arc::new(AtomicBool::new(false));
    // Unready at once, but it goes on serving, also on new connections.
    loop {
        before.ready().await.unwrap();
        let answer = before.send_request(raw::request("GET", "/readyz", &[], "")).await.unwrap();
        let code = answer.status().as_u16();
        let text = raw::text(answer).await;
        if code == 500 {
            assert!(text.contains("[-]shutdown failed"), "{text}");
            gone.store(true, Ordering::SeqCst);
            break;
        }
        assert!(started.elapsed() < DELAY, "it is told before requests are refused");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut late = raw::http1(port).await;
    assert_eq!(late.send_request(raw::request("GET", "/livez", &[], "")).await.unwrap().status(), 200);
    late.ready().await.unwrap();
    assert_eq!(late.send_request(raw::request("GET", MAPS, &[], "")).await.unwrap().status(), 200);

    let mut created = BTreeSet::new();
    let mut unanswered = BTreeSet::new();
    for client in clients {
        let told = client.await.unwrap();
        assert!(!told.created.is_empty());
        created.extend(told.created);
        unanswered.extend(told.unanswered);
    }
    watched.await.unwrap();
    stopped.await.unwrap();
    assert!(started.elapsed() >= DELAY, "{:?}", started.elapsed());
    drop(server);
    // Exactly what was answered is in the store.
    let store = EmbeddedStore::open(&path).unwrap();
    let stored = store.load("/registry/configmaps/default/c", None).await.unwrap();
    let stored: BTreeSet<String> =
        stored.items.iter().map(|kv| kv.key.rsplit('/').next().unwrap().to_owned()).collect();
    assert!(created.is_subset(&stored));
    let undone: Vec<_> = unanswered.intersection(&stored).collect();
    assert!(undone.is_empty(), "carried out but not answered: {undone:?}");
}
