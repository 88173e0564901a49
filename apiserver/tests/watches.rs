//! Watches as their clients see them: bookmarks, forms, and where a watch can begin.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{AsyncBufReadExt as _, TryStreamExt as _};
use harness::{Server, events};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "v"}})
}

/// All events of a watch that ends by itself.
async fn until_end(server: &Server, path: &str) -> Vec<Value> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let lines = server.client.request_stream(request).await.unwrap().lines();
    lines.map_ok(|line| serde_json::from_str(&line).unwrap()).try_collect().await.unwrap()
}

/// The revision of a list of what there is.
async fn now(server: &Server) -> String {
    server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["object"]["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_can_be_resumed_at_the_bookmark_before_its_end() {
    let server = Arc::new(Server::start().await);
    let start = now(&server).await;
    // Somebody writes all the time.
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move {
            let mut made = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let name = format!("m{}", made.len());
                assert_eq!(server.send("POST", MAPS, &map(&name)).await.code, 201);
                made.push(name);
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            made
        }
    });
    let path = format!("{MAPS}?watch=true&resourceVersion={start}&timeoutSeconds=4");
    let (with_bookmarks, with) = (format!("{path}&allowWatchBookmarks=true"), until_end(&server, &path));
    let (seen, without) = tokio::join!(until_end(&server, &with_bookmarks), with);
    stop.store(true, Ordering::Relaxed);
    let made = writer.await.unwrap();

    assert!(without.len() > 10, "{}", without.len());
    assert!(without.iter().all(|event| event["type"] == "ADDED"), "who does not ask gets none");
    let marks: Vec<_> = seen.iter().filter(|event| event["type"] == "BOOKMARK").collect();
    assert_eq!(marks.len(), 1, "one comes two seconds before the end");
    let at = seen.iter().position(|event| event["type"] == "BOOKMARK").unwrap();
    assert!(at > 0 && at + 1 < seen.len(), "changes go on around it");
    let version = marks[0]["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    let metadata = json!({"resourceVersion": version, "creationTimestamp": null});
    assert_eq!(marks[0]["object"], json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}));

    // Nothing is missing and nothing comes twice.
    let resumed = format!("{MAPS}?watch=true&resourceVersion={version}");
    let rest = events(&server, &resumed, made.len() - at).await;
    assert_eq!([names(&seen[..at]), names(&rest)].concat(), made);
    assert_eq!(names(&seen[at + 1..]), made[at..seen.len() - 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_tells_how_far_the_whole_cluster_is() {
    let server = Server::start().await;
    let start = now(&server).await;
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={start}&timeoutSeconds");
    let longer = format!("{path}=4");
    let quiet = until_end(&server, &longer);
    let elsewhere = async {
        let made = server
            .send("POST", "/api/v1/namespaces/default/secrets", &json!({"metadata": {"name": "s"}}))
            .await;
        made.body["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let (seen, written) = tokio::join!(quiet, elsewhere);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let version = seen[0]["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    assert!(version.parse::<u64>().unwrap() >= written, "{version} {written}");
    // There is no time for one in a shorter watch.
    assert_eq!(until_end(&server, &format!("{path}=1")).await, Vec::<Value>::new());
    server.stop().await;
}
