//! Custom kinds: their definitions' life, and what is served meanwhile.

#![allow(clippy::unwrap_used, missing_docs)]

mod definitions;
#[path = "../harness/mod.rs"]
mod harness;
mod objects;

use harness::{Answer, Server};
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const MERGE: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];

fn spec_schema() -> Value {
    json!({
        "type": "object",
        "required": ["color"],
        "x-kubernetes-validations": [{"rule": "self.color != 'invisible'", "message": "must be seen"}],
        "properties": {
            "color": {"type": "string", "enum": ["red", "blue", "invisible"]},
            "replicas": {"type": "integer", "default": 1, "minimum": 0},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}},
        },
    })
}

fn schema() -> Value {
    json!({"openAPIV3Schema": {"type": "object", "description": "A widget.", "properties": {
        "spec": spec_schema(),
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}},
    }}})
}

/// Widgets with everything a version can have.
fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": schema(),
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
                "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
                "selectableFields": [{"jsonPath": ".spec.color"}],
            }],
        },
    })
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

/// Waits until a definition has a condition.
async fn wait_for(server: &Server, name: &str, condition: &str) -> Value {
    let holds = |answer: &Answer| {
        let conditions = answer.body["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|c| c["type"] == condition && c["status"] == "True")
    };
    server.eventually(&format!("{CRDS}/{name}"), holds).await.body
}

async fn define(server: &Server, definition: &Value) -> Value {
    let made = server.send("POST", CRDS, definition).await;
    assert_eq!(made.code, 201, "{}", made.body);
    wait_for(server, definition["metadata"]["name"].as_str().unwrap(), "Established").await
}

async fn merge(server: &Server, path: &str, patch: &Value) -> Answer {
    server.send_raw("PATCH", path, MERGE, serde_json::to_vec(patch).unwrap()).await
}

/// Waits until a path answers with a code.
async fn becomes(server: &Server, path: &str, code: u16) -> Value {
    server.eventually(path, |answer| answer.code == code).await.body
}
