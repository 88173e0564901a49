//! What the options of a deletion do, from its body and from its query.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::Server;
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CONTROLLERS: &str = "/api/v1/namespaces/default/replicationcontrollers";
const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";
const PRESERVED: &str = "299 - \"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning\"";

fn template(restart: &str) -> Value {
    let pod = json!({"restartPolicy": restart, "containers": [{"name": "c", "image": "x"}]});
    json!({"metadata": {"labels": {"a": "b"}}, "spec": pod})
}

/// An object that fits the collection.
fn object(collection: &str, name: &str) -> Value {
    let metadata = json!({"name": name});
    match collection {
        JOBS => json!({"metadata": metadata, "spec": {"template": template("Never")}}),
        CONTROLLERS => json!({"metadata": metadata, "spec": {"template": template("Always")}}),
        _ => json!({"metadata": metadata}),
    }
}

/// The finalizers of what a deletion left; none at all when it left nothing.
async fn left(server: &Server, path: &str) -> Option<Value> {
    let answer = server.get(path).await;
    if answer.code == 404 {
        return None;
    }
    assert!(answer.body["metadata"]["deletionTimestamp"].is_string(), "{}", answer.body);
    Some(answer.body["metadata"]["finalizers"].clone())
}

#[tokio::test]
async fn dependents_are_treated_as_asked_for_else_as_the_kind_has_it() {
    let server = Server::start().await;
    let (orphan, foreground) = (Some(json!(["orphan"])), Some(json!(["foregroundDeletion"])));
    for (i, (option, expected)) in [
        (json!({"propagationPolicy": "Orphan"}), &orphan),
        (json!({"propagationPolicy": "Foreground"}), &foreground),
        (json!({"propagationPolicy": "Background"}), &None),
        (json!({"orphanDependents": true}), &orphan),
        (json!({"orphanDependents": false}), &None),
    ]
    .iter()
    .enumerate()
    {
        let (key, value) = option.as_object().unwrap().iter().next().unwrap();
        let query = format!("?{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        for collection in [MAPS, CONTROLLERS, JOBS] {
            for (name, query, body) in
                [(format!("q{i}"), query.as_str(), &Value::Null), (format!("b{i}"), "", option)]
            {
                let made = server.send("POST", collection, &object(collection, &name)).await;
                assert_eq!(made.code, 201, "{}", made.body);
                let path = format!("{collection}/{name}");
                let answer = server.send("DELETE", &format!("{path}{query}"), body).await;
                assert_eq!((answer.code, &answer.warnings), (200, &Vec::new()), "{path} {option}");
                assert_eq!(left(&server, &path).await, **expected, "{path} {option}");
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn replication_controllers_and_jobs_leave_their_pods_unless_told_otherwise() {
    let server = Server::start().await;
    for (collection, warned) in [(MAPS, false), (CONTROLLERS, false), (JOBS, true)] {
        let warnings = if warned { vec![PRESERVED.to_owned()] } else { Vec::new() };
        let expected = (collection != MAPS).then(|| json!(["orphan"]));
        for (name, body) in [("none", Value::Null), ("empty", json!({"gracePeriodSeconds": 0}))] {
            server.send("POST", collection, &object(collection, name)).await;
            let path = format!("{collection}/{name}");
            let answer = server.send("DELETE", &path, &body).await;
            assert_eq!((answer.code, &answer.warnings), (200, &warnings), "{path}");
            assert_eq!(left(&server, &path).await, expected, "{path}");
        }
        // What is not there cannot leave anything, but the caller ought to know all the same.
        let missing = server.send("DELETE", &format!("{collection}/missing"), &Value::Null).await;
        assert_eq!((missing.code, &missing.warnings), (404, &warnings), "{collection}");
        // Who deletes all of them is told once.
        server.send("POST", collection, &object(collection, "one-of-all")).await;
        let all = server.send("DELETE", collection, &Value::Null).await;
        assert_eq!((all.code, &all.warnings), (200, &warnings), "{collection}");
        assert_eq!(left(&server, &format!("{collection}/one-of-all")).await, expected, "{collection}");
        let background = format!("{collection}?propagationPolicy=Background");
        let all = server.send("DELETE", &background, &Value::Null).await;
        assert_eq!((all.code, all.warnings), (200, Vec::new()), "{collection}");
        assert_eq!(server.get(collection).await.body["items"], json!([]), "{collection}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_deletion_under_way_can_be_told_to_treat_dependents_otherwise() {
    let server = Server::start().await;
    let path = &format!("{MAPS}/a");
    let mut held = object(MAPS, "a");
    held["metadata"]["finalizers"] = json!(["example.com/own"]);
    server.send("POST", MAPS, &held).await;
    for (policy, finalizers) in [
        ("propagationPolicy=Foreground", json!(["example.com/own", "foregroundDeletion"])),
        // Who says nothing changes nothing.
        ("", json!(["example.com/own", "foregroundDeletion"])),
        ("propagationPolicy=Orphan", json!(["example.com/own", "orphan"])),
        ("orphanDependents=false", json!(["example.com/own"])),
    ] {
        let answer = server.send("DELETE", &format!("{path}?{policy}"), &Value::Null).await;
        assert_eq!(answer.code, if policy == "orphanDependents=false" { 202 } else { 200 }, "{policy}");
        assert_eq!(left(&server, path).await, Some(finalizers), "{policy}");
    }
    // Once nothing holds it any more, it goes.
    server.send("POST", MAPS, &object(MAPS, "b")).await;
    let path = &format!("{MAPS}/b");
    server.send("DELETE", &format!("{path}?propagationPolicy=Foreground"), &Value::Null).await;
    assert_eq!(left(&server, path).await, Some(json!(["foregroundDeletion"])));
    server.send("DELETE", &format!("{path}?propagationPolicy=Background"), &Value::Null).await;
    assert_eq!(left(&server, path).await, None);

    // What an object says of itself counts, too, before what its kind has by default.
    let mut foreground = object(JOBS, "says");
    foreground["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    server.send("POST", JOBS, &foreground).await;
    server.send("DELETE", &format!("{JOBS}/says"), &Value::Null).await;
    assert_eq!(left(&server, &format!("{JOBS}/says")).await, Some(json!(["foregroundDeletion"])));

    // On an event nothing depends.
    let events = "/api/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e", "namespace": "default"}, "involvedObject": {"namespace": "default"}});
    assert_eq!(server.send("POST", events, &event).await.code, 201);
    server.send("DELETE", &format!("{events}/e?propagationPolicy=Foreground"), &Value::Null).await;
    assert_eq!(left(&server, &format!("{events}/e")).await, None);
    server.stop().await;
}
