//! Reads at a revision: one that is kept, one that is gone, one that is not there yet.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::{Server, etcd::Etcd, events};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn make(server: &Server, name: &str) -> u64 {
    let made = server.send("POST", MAPS, &json!({"metadata": {"name": name}})).await;
    assert_eq!(made.code, 201, "{}", made.body);
    made.body["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

async fn on(etcd: &Etcd) -> Server {
    Server::start_with(|c| c.store = format!("etcd:{}", etcd.endpoint()).parse().unwrap()).await
}

async fn compact(etcd: &Etcd, revision: u64) {
    let mut client = etcd_client::Client::connect([etcd.endpoint()], None).await.unwrap();
    client.compact(i64::try_from(revision).unwrap(), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_the_store_is_said_to_be_gone() {
    let Some(etcd) = Etcd::start().await else { return };
    let server = on(&etcd).await;
    let first = make(&server, "a").await;
    make(&server, "b").await;
    make(&server, "d").await;
    let page = server.get(&format!("{MAPS}?limit=1")).await.body;
    assert_eq!(names(&page), ["a"]);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let kept = make(&server, "c").await;
    make(&server, "e").await;
    let exactly = |revision: u64| format!("{MAPS}?resourceVersionMatch=Exact&resourceVersion={revision}");
    compact(&etcd, kept).await;
    // A server that has seen none of this knows what the store still does.
    let other = on(&etcd).await;
    let listed = other.get(&exactly(kept)).await;
    assert_eq!((listed.code, names(&listed.body)), (200, vec!["a", "b", "c", "d"]), "{}", listed.body);
    assert_eq!(listed.body["metadata"]["resourceVersion"], kept.to_string());

    for old in [exactly(first), format!("{MAPS}?limit=5&resourceVersion={first}")] {
        let gone = other.get(&old).await;
        assert_eq!((gone.code, gone.body["reason"].as_str()), (410, Some("Expired")), "{}", gone.body);
        assert_eq!(gone.body["message"], "The resourceVersion for the provided list is too old.");
    }
    // No older than that is no trouble.
    let newer = other.get(&format!("{MAPS}?resourceVersion={first}")).await;
    assert_eq!((newer.code, names(&newer.body)), (200, vec!["a", "b", "c", "d", "e"]));

    let gone = other.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((gone.code, gone.body["reason"].as_str()), (410, Some("Expired")), "{}", gone.body);
    let message = gone.body["message"].as_str().unwrap();
    assert!(message.starts_with("The provided continue parameter is too old"), "{message}");
    // Who accepts that the list is not of one revision goes on with a new token, as often as it takes.
    let fresh = gone.body["metadata"]["continue"].as_str().unwrap();
    let page = other.get(&format!("{MAPS}?limit=2&continue={fresh}")).await;
    assert_eq!((page.code, names(&page.body)), (200, vec!["b", "c"]), "{}", page.body);
    assert_eq!(page.body["metadata"]["remainingItemCount"], 2);
    // That it was given for no revision shows when everything has changed again.
    let newest = make(&server, "f").await;
    compact(&etcd, newest).await;
    let later = other.get(&format!("{MAPS}?limit=1&continue={fresh}&resourceVersion=0")).await;
    assert_eq!((later.code, names(&later.body)), (200, vec!["b"]), "{}", later.body);
    assert_eq!(later.body["metadata"]["remainingItemCount"], 4);
    let next = page.body["metadata"]["continue"].as_str().unwrap();
    let rest = other.get(&format!("{MAPS}?continue={next}")).await;
    assert_eq!((rest.code, names(&rest.body)), (200, vec!["d", "e"]), "{}", rest.body);
    // The server that gave the first token out still has its state.
    let consistent = server.get(&format!("{MAPS}?continue={token}")).await;
    assert_eq!((consistent.code, names(&consistent.body)), (200, vec!["b", "d"]), "{}", consistent.body);

    // A watch from there is told in its stream.
    let told = events(&other, &format!("{MAPS}?watch=true&resourceVersion={first}"), 1).await;
    let status = &told[0]["object"];
    assert_eq!((&told[0]["type"], &status["kind"]), (&json!("ERROR"), &json!("Status")));
    assert_eq!((&status["code"], &status["reason"]), (&json!(410), &json!("Expired")));
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("too old resource version: {first} (")), "{message}");
    server.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_waited_for_in_vain() {
    let server = Server::start().await;
    let last = make(&server, "a").await;
    let ahead = last + 1000;
    let path = |rest: &str| format!("{MAPS}{rest}resourceVersion={ahead}");
    let paths = [path("?"), path("/a?"), path("?resourceVersionMatch=Exact&"), path("?limit=1&")];
    let answers = futures::future::join_all(paths.iter().map(|path| server.get(path))).await;
    for (path, late) in paths.iter().zip(answers) {
        let status = &late.body;
        assert_eq!((late.code, status["reason"].as_str()), (504, Some("Timeout")), "{path}: {status}");
        let message = status["message"].as_str().unwrap();
        let expected = format!("Timeout: Too large resource version: {ahead}, current: ");
        let current = message.strip_prefix(&expected).and_then(|current| current.parse::<u64>().ok());
        assert!(current.is_some_and(|current| (last..ahead).contains(&current)), "{path}: {message}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        assert_eq!(status["details"], json!({"causes": [cause], "retryAfterSeconds": 1}), "{path}");
    }
    // Who waits for what comes gets it.
    let next = format!("{MAPS}/a?resourceVersion={}", last + 1);
    let (got, made) = tokio::join!(server.get(&next), make(&server, "b"));
    assert!(got.code == 200 && made > last, "{made}: {}", got.body);
    server.stop().await;
}
