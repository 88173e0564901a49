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

#[tokio::test]
async fn an_object_goes_only_if_it_is_the_one_that_is_meant() {
    let server = Server::start().await;
    let made = server.send("POST", MAPS, &object(MAPS, "a")).await.body;
    let (uid, version) = (made["metadata"]["uid"].as_str().unwrap(), &made["metadata"]["resourceVersion"]);
    let path = &format!("{MAPS}/a");
    let other_uid = format!(
        "the UID in the precondition (other) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
    );
    let other_version = format!(
        "the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({}). The object might have been modified",
        version.as_str().unwrap()
    );
    for (query, body, why) in [
        ("?uid=other", Value::Null, &other_uid),
        ("?resourceVersion=1", Value::Null, &other_version),
        ("", json!({"preconditions": {"uid": uid, "resourceVersion": "1"}}), &other_version),
    ] {
        let refused = server.send("DELETE", &format!("{path}{query}"), &body).await;
        assert_eq!((refused.code, refused.body["reason"].as_str()), (409, Some("Conflict")), "{query}");
        let message = format!("Operation cannot be fulfilled on ConfigMap \"a\": {why}");
        assert_eq!(refused.body["message"], message, "{query}");
    }
    // A body is all that is looked at, where there is one.
    let both =
        server.send("DELETE", &format!("{path}?uid=other"), &json!({"preconditions": {"uid": uid}})).await;
    assert_eq!(both.code, 200, "{}", both.body);

    let made = server.send("POST", MAPS, &object(MAPS, "a")).await.body;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    let right = format!("{path}?uid={}&resourceVersion={version}", made["metadata"]["uid"].as_str().unwrap());
    assert_eq!(server.send("DELETE", &right, &Value::Null).await.code, 200);
    assert_eq!(left(&server, path).await, None);
    server.stop().await;
}

#[tokio::test]
async fn options_count_in_the_query_too() {
    let server = Server::start().await;
    // A pod that a node has to end is given time.
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}});
    for (name, query, body) in
        [("q", "?gracePeriodSeconds=7", Value::Null), ("b", "", json!({"gracePeriodSeconds": 7}))]
    {
        assert_eq!(server.send("POST", pods, &pod(name)).await.code, 201);
        let leaving = server.send("DELETE", &format!("{pods}/{name}{query}"), &body).await;
        assert_eq!(leaving.body["metadata"]["deletionGracePeriodSeconds"], 7, "{name}: {}", leaving.body);
    }
    assert_eq!(server.send("DELETE", &format!("{pods}?gracePeriodSeconds=0"), &Value::Null).await.code, 200);
    assert_eq!(server.get(pods).await.body["items"], json!([]));

    // What cannot be, in either place.
    let path = &format!("{MAPS}/a");
    server.send("POST", MAPS, &object(MAPS, "a")).await;
    for (query, body, field) in [
        ("?propagationPolicy=Sideways", json!({"propagationPolicy": "Sideways"}), "propagationPolicy"),
        (
            "?propagationPolicy=Orphan&orphanDependents=true",
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            "propagationPolicy",
        ),
        ("?dryRun=Some", json!({"dryRun": ["Some"]}), "dryRun"),
    ] {
        for refused in [
            server.send("DELETE", &format!("{path}{query}"), &Value::Null).await,
            server.send("DELETE", path, &body).await,
        ] {
            assert_eq!((refused.code, refused.body["reason"].as_str()), (422, Some("Invalid")), "{query}");
            assert_eq!(refused.body["details"]["causes"][0]["field"], field, "{query}");
        }
    }
    assert_eq!(server.send("DELETE", &format!("{path}?gracePeriodSeconds=x"), &Value::Null).await.code, 400);

    // Nobody breaks the cluster by deleting what cannot be read.
    let unread = "ignoreStoreReadErrorWithClusterBreakingPotential";
    let delete = async |said: bool, in_query: bool| {
        let (query, body) = if in_query {
            (format!("?{unread}={said}"), Value::Null)
        } else {
            (String::new(), json!({unread: said}))
        };
        server.send("DELETE", &format!("{path}{query}"), &body).await
    };
    for in_query in [true, false] {
        server.send("POST", MAPS, &object(MAPS, "a")).await;
        let refused = delete(true, in_query).await;
        assert_eq!((refused.code, refused.body["reason"].as_str()), (422, Some("Invalid")));
        assert_eq!(refused.body["details"]["causes"][0]["field"], unread);
        assert_eq!(delete(false, in_query).await.code, 200);
        assert_eq!(left(&server, path).await, None);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let server = Server::start().await;
    let path = &format!("{MAPS}/a");
    let mut made = server.send("POST", MAPS, &object(MAPS, "a")).await.body;
    let before = server.get(MAPS).await.body["items"].clone();
    let dry = json!({"dryRun": ["All"]});

    made["data"] = json!({"k": "v"});
    let put = server.send("PUT", &format!("{path}?dryRun=All"), &made).await;
    assert_eq!((put.code, &put.body["data"]), (200, &made["data"]), "it shows what would be");
    let patched = server.send("PATCH", &format!("{path}?dryRun=All"), &json!({"data": {"k": "v"}})).await;
    assert_eq!((patched.code, &patched.body["data"]), (200, &made["data"]));
    for (query, body) in
        [("?dryRun=All", &Value::Null), ("", &dry), ("?dryRun=All", &json!({"gracePeriodSeconds": 0}))]
    {
        for place in [path.as_str(), MAPS] {
            let answer = server.send("DELETE", &format!("{place}{query}"), body).await;
            assert_eq!(answer.code, 200, "{place} {query} {body}: {}", answer.body);
        }
    }
    assert_eq!(server.get(MAPS).await.body["items"], before);
    // What would be refused is refused.
    let late = json!({"metadata": {"name": "a", "resourceVersion": "1"}});
    assert_eq!(server.send("PUT", &format!("{path}?dryRun=All"), &late).await.code, 409);
    assert_eq!(server.send("DELETE", &format!("{MAPS}/none?dryRun=All"), &Value::Null).await.code, 404);
    let other = json!({"dryRun": ["All"], "preconditions": {"uid": "other"}});
    assert_eq!(server.send("DELETE", path, &other).await.code, 409);
    // A deletion that would take time shows its beginning.
    server.send("PATCH", path, &json!({"metadata": {"finalizers": ["example.com/own"]}})).await;
    let begun = server.send("DELETE", path, &dry).await;
    assert!(begun.body["metadata"]["deletionTimestamp"].is_string(), "{}", begun.body);
    assert!(server.get(path).await.body["metadata"].get("deletionTimestamp").is_none());
    server.stop().await;
}
