//! What single kinds do beyond being stored.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::time::Duration;

use harness::Server;
use serde_json::{Value, json};

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

/// Asks until the answer is as wanted.
async fn eventually(server: &Server, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1000 {
        let body = server.get(path).await.body;
        if wanted(&body) {
            return body;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} stays {}", server.get(path).await.body);
}

#[tokio::test]
async fn a_cluster_begins_with_its_levels_classes_and_range() {
    let server = Server::start().await;
    for (path, count) in [(SCHEMAS, 11), (LEVELS, 8), ("/apis/scheduling.k8s.io/v1/priorityclasses", 2)] {
        assert_eq!(server.get(path).await.body["items"].as_array().unwrap().len(), count, "{path}");
    }
    let range = server.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await.body;
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(range["status"]["conditions"][0]["status"], "True");
    server.stop().await;
}

#[tokio::test]
async fn a_flow_schema_says_whether_its_level_is_there() {
    let server = Server::start().await;
    let schema = json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": [
        {"subjects": [{"kind": "User", "user": {"name": "bob"}}],
         "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}]}});
    assert_eq!(server.send("POST", SCHEMAS, &schema).await.code, 201);
    let dangling = |wanted: &'static str| move |s: &Value| s["status"]["conditions"][0]["status"] == wanted;
    let path = format!("{SCHEMAS}/s");
    let told = eventually(&server, &path, dangling("True")).await;
    assert_eq!(told["status"]["conditions"][0]["reason"], "NotFound");
    let level = json!({"metadata": {"name": "l"},
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
    assert_eq!(server.send("POST", LEVELS, &level).await.code, 201);
    eventually(&server, &path, dangling("False")).await;
    server.send("DELETE", &format!("{LEVELS}/l"), &Value::Null).await;
    eventually(&server, &path, dangling("True")).await;
    server.stop().await;
}
