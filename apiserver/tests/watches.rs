//! Watches as their clients see them: bookmarks, forms, and where a watch can begin.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
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
    until_end_as(server, "application/json", path).await
}

async fn until_end_as(server: &Server, accept: &str, path: &str) -> Vec<Value> {
    let request = http::Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
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

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

/// A map that has been made, changed and deleted: the revision before, and its three states.
async fn life(server: &Server) -> (String, [Value; 3]) {
    let start = now(server).await;
    let path = format!("{MAPS}/a");
    let made = server.send("POST", MAPS, &map("a")).await.body;
    let changed = server.send("PATCH", &path, &json!({"data": {"l": "w"}})).await.body;
    server.send("DELETE", &path, &Value::Null).await;
    let seen = events(server, &format!("{MAPS}?watch=true&resourceVersion={start}"), 3).await;
    let deleted = seen[2]["object"].clone();
    assert_eq!((&seen[0]["object"], &seen[1]["object"]), (&made, &changed));
    (start, [made, changed, deleted])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_comes_as_tables() {
    let server = Server::start().await;
    let (start, states) = life(&server).await;
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={start}&timeoutSeconds=3");
    let includes = [None, Some("None"), Some("Metadata"), Some("Object")];
    let watches = includes.map(|include| {
        let asked = include.map_or_else(|| path.clone(), |include| format!("{path}&includeObject={include}"));
        let server = &server;
        async move { until_end_as(server, TABLE, &asked).await }
    });
    for (include, seen) in includes.into_iter().zip(futures::future::join_all(watches).await) {
        assert_eq!(seen.len(), 4, "{seen:?}");
        for (i, (event, state)) in seen.iter().zip(&states).enumerate() {
            assert_eq!(event["type"], ["ADDED", "MODIFIED", "DELETED"][i]);
            let table = &event["object"];
            assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
            assert_eq!(table["metadata"], json!({"resourceVersion": state["metadata"]["resourceVersion"]}));
            // The columns are told once.
            let columns = table["columnDefinitions"].as_array().map(Vec::len);
            assert_eq!(columns, (i == 0).then_some(3), "{include:?} {i}");
            assert!(table.get("columnDefinitions").is_some());
            assert_eq!(table["rows"].as_array().unwrap().len(), 1);
            let row = &table["rows"][0];
            let entries = state["data"].as_object().unwrap().len();
            assert_eq!((&row["cells"][0], &row["cells"][1]), (&json!("a"), &json!(entries)));
            let object = match include {
                Some("None") => Value::Null,
                Some("Object") => state.clone(),
                _ => json!({
                    "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": state["metadata"],
                }),
            };
            assert_eq!(row["object"], object, "{include:?} {i}");
        }
        // kubectl goes on from a bookmark's revision.
        assert_eq!((&seen[3]["type"], &seen[3]["object"]["kind"]), (&json!("BOOKMARK"), &json!("Table")));
        let version = seen[3]["object"]["metadata"]["resourceVersion"].as_str().unwrap();
        assert!(version.parse::<u64>().unwrap() > start.parse().unwrap(), "{version}");
    }
    let accept = [("accept", TABLE)];
    let odd = server.send_raw("GET", &format!("{path}&includeObject=Some"), &accept, Vec::new()).await;
    assert_eq!(odd.code, 400, "{}", odd.body);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_lists_and_watches_come_as_metadata_alone() {
    let server = Server::start().await;
    let (start, states) = life(&server).await;
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={start}&timeoutSeconds=3");
    let partial = |metadata: &Value| json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    let seen = until_end_as(&server, METADATA, &path).await;
    assert_eq!(seen.len(), 4, "{seen:?}");
    for ((event, state), verb) in seen.iter().zip(&states).zip(["ADDED", "MODIFIED", "DELETED"]) {
        assert_eq!(*event, json!({"type": verb, "object": partial(&state["metadata"])}));
    }
    assert_eq!(seen[3]["type"], "BOOKMARK");
    assert_eq!(seen[3]["object"]["kind"], "PartialObjectMetadata");
    assert!(seen[3]["object"]["metadata"]["resourceVersion"].is_string(), "{}", seen[3]);

    let made = server.send("POST", MAPS, &map("b")).await.body;
    let accept = [("accept", METADATA)];
    let got = server.send_raw("GET", &format!("{MAPS}/b"), &accept, Vec::new()).await;
    assert_eq!((got.code, got.body), (200, partial(&made["metadata"])));
    let missing = server.send_raw("GET", &format!("{MAPS}/none"), &accept, Vec::new()).await;
    assert_eq!((missing.code, &missing.body["kind"]), (404, &json!("Status")));
    let lists = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let listed = server.send_raw("GET", MAPS, &lists, Vec::new()).await.body;
    assert_eq!(listed["kind"], "PartialObjectMetadataList");
    assert_eq!(listed["items"], json!([partial(&made["metadata"])]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_without_initial_events_begins_where_it_is_told() {
    let server = Server::start().await;
    let made = server.send("POST", MAPS, &map("old")).await.body;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    server.send("POST", MAPS, &map("middle")).await;
    // Who reads the newest waits for the cache, which version 0 does not; with what came before in it, all begin alike.
    server.get(MAPS).await;
    let path = format!(
        "{MAPS}?watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=3"
    );
    // From now on without a version and with version 0, else from the version on.
    let (newest, any, at) =
        (path.clone(), format!("{path}&resourceVersion=0"), format!("{path}&resourceVersion={version}"));
    let (newest, any, at) =
        tokio::join!(until_end(&server, &newest), until_end(&server, &any), until_end(&server, &at));
    for (seen, expected) in [(&newest, vec![]), (&any, vec![]), (&at, vec!["middle"])] {
        let (last, others) = seen.split_last().unwrap();
        assert_eq!(names(others), expected);
        // The bookmark before the end; none says that the initial events have ended.
        assert_eq!(last["type"], "BOOKMARK");
        assert!(last["object"]["metadata"].get("annotations").is_none(), "{last}");
    }
    let unsaid = server.get(&format!("{MAPS}?watch=true&sendInitialEvents=false")).await;
    assert_eq!(
        (unsaid.code, unsaid.body["details"]["causes"][0]["field"].as_str()),
        (422, Some("resourceVersionMatch"))
    );
    server.stop().await;
}
