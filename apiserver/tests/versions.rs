//! Resources served in several versions: one object, seen and written in each.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::Server;
use serde_json::{Value, json};

const OLD_EVENTS: &str = "/api/v1/namespaces/default/events";
const NEW_EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

fn old_event(name: &str) -> Value {
    json!({"metadata": {"name": name}, "reason": "Old", "message": "m", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}})
}

fn new_event(name: &str) -> Value {
    json!({"metadata": {"name": name}, "reason": "New", "note": "n", "type": "Normal", "action": "A",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "x.io/y", "reportingInstance": "i",
        "regarding": {"kind": "Node", "name": "n"}})
}

fn autoscaler(name: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
}

/// Makes, changes, replaces and patches an object; each answer is what a read shows.
async fn is_answered_as_it_is_read(server: &Server, path: &str, object: &Value) {
    let one = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
    let merge = [("content-type", "application/merge-patch+json")];
    let labelled = |value: &str| json!({"metadata": {"labels": {"a": value}}}).to_string().into_bytes();
    let made = server.send("POST", path, object).await;
    assert_eq!((made.code, &made.body), (201, &server.get(&one).await.body), "{path}");
    let patched = server.send_raw("PATCH", &one, &merge, labelled("b")).await;
    assert_eq!((patched.code, &patched.body), (200, &server.get(&one).await.body), "{path}");
    assert_ne!(patched.body["metadata"]["resourceVersion"], made.body["metadata"]["resourceVersion"]);
    let replaced = server.send("PUT", &one, &made.body).await;
    assert_eq!(replaced.code, 409, "{path}");
    let replaced = server.send("PUT", &one, &patched.body).await;
    assert_eq!((replaced.code, &replaced.body), (200, &patched.body), "nothing changed: {path}");
    let tried = server.send_raw("PATCH", &format!("{one}?dryRun=All"), &merge, labelled("c")).await;
    assert_eq!((tried.code, &tried.body["metadata"]["labels"]["a"]), (200, &json!("c")), "{path}");
    let table = server.send_raw("PATCH", &one, &[merge[0], ("accept", TABLE)], labelled("d")).await;
    assert_eq!((table.code, &table.body["kind"]), (200, &json!("Table")), "{path}");
    let yaml =
        server.send_raw("PATCH", &one, &[merge[0], ("accept", "application/yaml")], labelled("e")).await;
    let text = yaml.body.as_str().unwrap();
    assert!(text.contains("apiVersion: "), "{path}: {text}");
}

#[tokio::test]
async fn a_write_is_answered_as_it_is_read() {
    let server = Server::start().await;
    is_answered_as_it_is_read(&server, V2, &autoscaler("new")).await;
    is_answered_as_it_is_read(&server, V1, &autoscaler("old")).await;
    is_answered_as_it_is_read(&server, OLD_EVENTS, &old_event("old")).await;
    is_answered_as_it_is_read(&server, NEW_EVENTS, &new_event("new")).await;
}

async fn apply(server: &Server, path: &str, manager: &str, config: &Value) -> harness::Answer {
    let media = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{path}?fieldManager={manager}");
    server.send_raw("PATCH", &path, &media, serde_json::to_vec(config).unwrap()).await
}

/// Manager, version and fields of each entry.
fn managers(object: &Value) -> Vec<(&str, &str, &Value)> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    entries
        .iter()
        .map(|e| (e["manager"].as_str().unwrap(), e["apiVersion"].as_str().unwrap(), &e["fieldsV1"]))
        .collect()
}

#[tokio::test]
async fn an_event_is_one_object_in_two_groups() {
    let server = Server::start().await;
    assert_eq!(server.send("POST", OLD_EVENTS, &old_event("old")).await.code, 201);
    let made = server.send("POST", NEW_EVENTS, &new_event("new")).await;
    assert_eq!(
        (made.code, &made.body["apiVersion"], &made.body["regarding"]["name"]),
        (201, &json!("events.k8s.io/v1"), &json!("n"))
    );
    assert_eq!(made.body["deprecatedSource"], json!({}));

    // Each is seen in both.
    let seen = server.get(&format!("{OLD_EVENTS}/new")).await.body;
    assert_eq!((&seen["apiVersion"], &seen["message"]), (&json!("v1"), &json!("n")));
    assert_eq!(seen["involvedObject"]["kind"], "Node");
    assert_eq!(seen["metadata"], made.body["metadata"]);
    let seen = server.get(&format!("{NEW_EVENTS}/old")).await.body;
    assert_eq!((&seen["apiVersion"], &seen["note"]), (&json!("events.k8s.io/v1"), &json!("m")));
    assert_eq!(seen.get("reportingController"), None);
    let list = server.get(NEW_EVENTS).await.body;
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("events.k8s.io/v1"), &json!("EventList")));
    let notes: Vec<_> = list["items"].as_array().unwrap().iter().map(|e| &e["note"]).collect();
    assert_eq!(notes, ["n", "m"]);

    // Either group has its own names for what may be selected.
    for (path, selector, found) in [
        (NEW_EVENTS, "regarding.kind=Node", 1),
        (NEW_EVENTS, "regarding.kind!=Node,reason=Old", 1),
        (OLD_EVENTS, "involvedObject.kind=Node", 1),
        (NEW_EVENTS, "reportingController=x.io/y,metadata.name=new", 1),
        (OLD_EVENTS, "reportingComponent=other", 0),
    ] {
        let answer = server.get(&format!("{path}?fieldSelector={selector}")).await;
        assert_eq!(answer.body["items"].as_array().map(Vec::len), Some(found), "{path} {selector}");
    }
    for (path, selector) in [(NEW_EVENTS, "involvedObject.kind=Node"), (OLD_EVENTS, "regarding.kind=Node")] {
        let answer = server.get(&format!("{path}?fieldSelector={selector}")).await;
        let field = selector.split('=').next().unwrap();
        assert_eq!(
            (answer.code, answer.body["message"].as_str()),
            (400, Some(format!("field label not supported: {field}").as_str()))
        );
    }
    let headers = [("accept", TABLE)];
    for path in [OLD_EVENTS, NEW_EVENTS] {
        let table = server.send_raw("GET", path, &headers, Vec::new()).await.body;
        let cells: Vec<_> = table["rows"].as_array().unwrap().iter().map(|r| &r["cells"][3]).collect();
        assert_eq!(cells, ["node/n", "pod/p"], "{path}");
    }

    // What one group is told the other's watchers see, as theirs.
    let start = list["metadata"]["resourceVersion"].as_str().unwrap();
    server.send("PATCH", &format!("{NEW_EVENTS}/new"), &json!({"metadata": {"labels": {"a": "b"}}})).await;
    server.send("PATCH", &format!("{OLD_EVENTS}/old"), &json!({"message": "again", "count": 2})).await;
    server.send("DELETE", &format!("{OLD_EVENTS}/new"), &Value::Null).await;
    let watch = format!("{NEW_EVENTS}?watch=true&resourceVersion={start}");
    let told: Vec<Value> = harness::events(&server, &watch, 3).await;
    let words: Vec<_> =
        told.iter().map(|e| (e["type"].as_str().unwrap(), e["object"]["note"].as_str().unwrap())).collect();
    assert_eq!(words, [("MODIFIED", "n"), ("MODIFIED", "again"), ("DELETED", "n")]);
    assert!(told.iter().all(|e| e["object"]["apiVersion"] == "events.k8s.io/v1"));
    assert_eq!(told[1]["object"]["deprecatedCount"], 2);
    assert_eq!(server.get(&format!("{NEW_EVENTS}/new")).await.code, 404);

    // The newer group is stricter.
    let mut loose = new_event("loose");
    loose["eventTime"] = Value::Null;
    loose["type"] = json!("Odd");
    loose["deprecatedCount"] = json!(3);
    let refused = server.send("POST", NEW_EVENTS, &loose).await;
    let causes = refused.body["details"]["causes"].as_array().unwrap();
    let fields: Vec<_> = causes.iter().map(|c| c["field"].as_str().unwrap()).collect();
    assert_eq!((refused.code, fields), (422, vec!["eventTime", "type", "count"]));
    let refused = server.send("PATCH", &format!("{NEW_EVENTS}/old"), &json!({"note": "other"})).await;
    assert_eq!((refused.code, &refused.body["details"]["causes"][0]["field"]), (422, &json!("message")));
    server.stop().await;
}

#[tokio::test]
async fn writing_what_is_there_in_another_version_changes_nothing() {
    let server = Server::start().await;
    server.send("POST", V2, &autoscaler("a")).await;
    let before = server.get(&format!("{V2}/a")).await.body;
    let old = server.get(&format!("{V1}/a")).await.body;
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 80);
    let put = server.send("PUT", &format!("{V1}/a"), &old).await;
    assert_eq!(put.body, old);
    assert_eq!(server.get(&format!("{V2}/a")).await.body, before);

    let changed = server
        .send("PATCH", &format!("{V1}/a"), &json!({"spec": {"targetCPUUtilizationPercentage": 50}}))
        .await;
    assert_eq!((changed.code, &changed.body["apiVersion"]), (200, &json!("autoscaling/v1")));
    let seen = server.get(&format!("{V2}/a")).await.body;
    assert_eq!(seen["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);

    let status = json!({"status": {"desiredReplicas": 2, "currentCPUUtilizationPercentage": 7}});
    assert_eq!(server.send("PATCH", &format!("{V1}/a/status"), &status).await.code, 200);
    let seen = server.get(&format!("{V2}/a/status")).await.body;
    assert_eq!(seen["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"], 7);
    let refused = server
        .send("PATCH", &format!("{V1}/a"), &json!({"spec": {"targetCPUUtilizationPercentage": 0}}))
        .await;
    let field = &refused.body["details"]["causes"][0]["field"];
    assert_eq!((refused.code, field), (422, &json!("spec.metrics[0].resource.target.averageUtilization")));
    server.stop().await;
}

#[tokio::test]
async fn managers_own_fields_in_the_version_they_wrote() {
    let server = Server::start().await;
    let mut new = autoscaler("a");
    new["apiVersion"] = json!("autoscaling/v2");
    new["kind"] = json!("HorizontalPodAutoscaler");
    new["spec"]["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 60}}}]);
    let made = apply(&server, &format!("{V2}/a"), "new", &new).await;
    assert_eq!(made.code, 201);

    // Another manager, in the other version, meets the owner of the field that his one becomes.
    let mut old = autoscaler("a");
    old["apiVersion"] = json!("autoscaling/v1");
    old["kind"] = json!("HorizontalPodAutoscaler");
    old["spec"]["targetCPUUtilizationPercentage"] = json!(50);
    let refused = apply(&server, &format!("{V1}/a"), "old", &old).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str().unwrap()),
        (409, "Apply failed with 1 conflict: conflict with \"new\": .spec.metrics")
    );
    let taken = apply(&server, &format!("{V1}/a"), "old&force=true", &old).await;
    assert_eq!((taken.code, &taken.body["spec"]["targetCPUUtilizationPercentage"]), (200, &json!(50)));
    let found = managers(&taken.body);
    assert_eq!(
        found.iter().map(|(m, v, _)| (*m, *v)).collect::<Vec<_>>(),
        [("new", "autoscaling/v2"), ("old", "autoscaling/v1")]
    );
    assert_eq!(found[0].2["f:spec"].get("f:metrics"), None);
    assert_eq!(found[1].2["f:spec"]["f:targetCPUUtilizationPercentage"], json!({}));

    // A manager goes over to the newer version: what he applied in the older one goes where he leaves it out.
    let mut moved = new.clone();
    moved["spec"]["metrics"] = json!([{"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "Utilization", "averageUtilization": 40}}}]);
    let answer = apply(&server, &format!("{V2}/a"), "old", &moved).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    assert_eq!(answer.body["spec"]["metrics"].as_array().map(Vec::len), Some(1));
    assert!(managers(&answer.body).iter().all(|(_, version, _)| *version == "autoscaling/v2"));

    // An ordinary update in the older version takes over what it changes in the newer one.
    let changed = server
        .send(
            "PATCH",
            &format!("{V1}/a?fieldManager=hand"),
            &json!({"spec": {"targetCPUUtilizationPercentage": 30}}),
        )
        .await;
    let found = managers(&changed.body);
    let of = |name: &str| found.iter().find(|(m, ..)| *m == name).unwrap();
    assert_eq!(of("hand").1, "autoscaling/v1");
    assert_eq!(of("old").2["f:spec"].get("f:metrics"), None);
    server.stop().await;
}

#[tokio::test]
async fn a_collection_is_deleted_in_any_version() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        assert_eq!(server.send("POST", V1, &autoscaler(name)).await.code, 201);
    }
    let gone = server.send("DELETE", V1, &Value::Null).await;
    assert_eq!((gone.code, &gone.body["apiVersion"]), (200, &json!("autoscaling/v1")));
    assert!(gone.body["items"][1]["spec"]["targetCPUUtilizationPercentage"].is_number(), "{}", gone.body);
    assert_eq!(server.get(V2).await.body["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn discovery_prefers_the_newest_version() {
    let server = Server::start().await;
    let group = server.get("/apis/autoscaling").await.body;
    assert_eq!(group["preferredVersion"]["version"], "v2");
    let versions: Vec<_> = group["versions"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!(versions, ["v2", "v1"]);
    for path in ["/apis/events.k8s.io/v1", "/apis/autoscaling/v1"] {
        assert_eq!(server.get(path).await.code, 200, "{path}");
        assert_eq!(server.get(&format!("/openapi/v3{path}")).await.code, 200, "{path}");
    }
    server.stop().await;
}
