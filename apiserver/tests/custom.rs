//! Custom kinds: a definition's life, and what is served meanwhile.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use harness::{Answer, Server};
use kube::api::{ApiResource, DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
const MERGE: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];
const TABLE: &[(&str, &str)] = &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];

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
    for _ in 0..500 {
        let found = server.get(&format!("{CRDS}/{name}")).await.body;
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if conditions.iter().any(|c| c["type"] == condition && c["status"] == "True") {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} does not become {condition}");
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
    for _ in 0..500 {
        let answer = server.get(path).await;
        if answer.code == code {
            return answer.body;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} does not become {code}");
}

#[tokio::test]
async fn a_kind_comes_and_is_served_like_a_built_in_one() {
    let server = Server::start().await;
    assert_eq!(server.get(WIDGETS).await.code, 404);
    let made = define(&server, &widgets()).await;
    assert_eq!(made["status"]["acceptedNames"]["singular"], "widget");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));

    // Discovery, plain and aggregated, and OpenAPI.
    let group = server.get("/apis/example.com/v1").await.body;
    let names: Vec<&str> =
        group["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    assert_eq!(group["resources"][0]["shortNames"], json!(["wd"]));
    let aggregated = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let all = server.send_raw("GET", "/apis", &aggregated, Vec::new()).await.body;
    assert!(all["items"].as_array().unwrap().iter().any(|g| g["metadata"]["name"] == "example.com"));
    let document = server.get("/openapi/v3/apis/example.com/v1").await.body;
    let published = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(published["properties"]["spec"]["properties"]["color"]["type"], "string");
    assert_eq!(published["x-kubernetes-group-version-kind"][0]["kind"], "Widget");
    assert_eq!(published["x-kubernetes-selectable-fields"], json!([{"fieldPath": "spec.color"}]));
    let swagger = server.get("/openapi/v2").await.body;
    assert!(swagger["definitions"]["com.example.v1.Widget"].is_object());

    // Objects: defaulted, pruned with a warning or refused, checked by schema and rules.
    let body = widget("a", json!({"color": "red", "nope": 1}));
    let made = server.send("POST", WIDGETS, &body).await;
    assert_eq!(
        (made.code, &made.body["spec"]),
        (201, &json!({"color": "red", "replicas": 1})),
        "{}",
        made.body
    );
    assert_eq!(made.body["metadata"]["generation"], 1);
    assert!(made.warnings[0].contains("unknown field \\\"spec.nope\\\""), "{:?}", made.warnings);
    let strict = server.send("POST", &format!("{WIDGETS}?fieldValidation=Strict"), &body).await;
    assert_eq!(strict.code, 400);
    assert!(
        strict.body["message"]
            .as_str()
            .unwrap()
            .ends_with("strict decoding error: unknown field \"spec.nope\"")
    );
    for (spec, message) in [
        (
            json!({"color": "green"}),
            "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\", \"invisible\"",
        ),
        (json!({}), "spec.color: Required value"),
        (
            json!({"color": "red", "replicas": "x"}),
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ),
        (json!({"color": "invisible"}), "spec: Invalid value: must be seen"),
        (
            json!({"color": "red", "parts": [{"name": "x"}, {"name": "x"}]}),
            "spec.parts[1]: Duplicate value: {\"name\":\"x\"}",
        ),
    ] {
        let refused = server.send("POST", WIDGETS, &widget("b", spec)).await;
        assert_eq!(refused.code, 422, "{}", refused.body);
        let cause =
            |c: &Value| format!("{}: {}", c["field"].as_str().unwrap(), c["message"].as_str().unwrap());
        assert_eq!(cause(&refused.body["details"]["causes"][0]), message);
    }

    // Patches: merge and JSON, but not strategic; generation counts the spec.
    let path = format!("{WIDGETS}/a");
    let patched = merge(&server, &path, &json!({"spec": {"color": "blue"}})).await;
    assert_eq!((patched.code, &patched.body["metadata"]["generation"]), (200, &json!(2)));
    assert_eq!(server.send("PATCH", &path, &json!({"spec": {"color": "red"}})).await.code, 415);

    // Status is apart, in both directions.
    let told = merge(
        &server,
        &format!("{path}/status"),
        &json!({"spec": {"color": "red"}, "status": {"replicas": 5, "selector": "a=b"}}),
    )
    .await;
    assert_eq!((&told.body["spec"]["color"], &told.body["status"]["replicas"]), (&json!("blue"), &json!(5)));
    assert_eq!(told.body["metadata"]["generation"], 2);
    let ignored = merge(&server, &path, &json!({"status": {"replicas": 6}})).await;
    assert_eq!(ignored.body["status"]["replicas"], 5);

    // Scale.
    let scale = server.get(&format!("{path}/scale")).await.body;
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]),
        (&json!(1), &json!({"replicas": 5, "selector": "a=b"}))
    );
    let scaled = merge(&server, &format!("{path}/scale"), &json!({"spec": {"replicas": 7}})).await;
    assert_eq!((scaled.code, &scaled.body["spec"]["replicas"]), (200, &json!(7)));
    assert_eq!(server.get(&path).await.body["spec"]["replicas"], 7);

    // Columns and field selectors.
    let table = server.send_raw("GET", WIDGETS, TABLE, Vec::new()).await.body;
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Color", "Age"]);
    assert_eq!(table["rows"][0]["cells"][1], "blue");
    server.send("POST", WIDGETS, &widget("b", json!({"color": "red"}))).await;
    let red = server.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.body;
    assert_eq!(red["items"].as_array().unwrap().len(), 1);
    assert_eq!(red["items"][0]["metadata"]["name"], "b");
    assert_eq!(server.get(&format!("{WIDGETS}?fieldSelector=spec.replicas%3D1")).await.code, 400);
    assert_eq!((&red["kind"], &red["apiVersion"]), (&json!("WidgetList"), &json!("example.com/v1")));
    server.stop().await;
}

#[tokio::test]
async fn lists_merge_by_their_keys_when_applied() {
    let server = Server::start().await;
    define(&server, &widgets()).await;
    let apply = async |manager: &str, spec: Value| {
        let media = [("content-type", "application/apply-patch+yaml")];
        let body = serde_json::to_vec(&widget("a", spec)).unwrap();
        server.send_raw("PATCH", &format!("{WIDGETS}/a?fieldManager={manager}"), &media, body).await
    };
    let first = apply("one", json!({"color": "red", "parts": [{"name": "x", "size": 1}]})).await;
    assert_eq!(first.code, 201, "{}", first.body);
    let second = apply("two", json!({"color": "red", "parts": [{"name": "y", "size": 2}]})).await;
    assert_eq!(second.body["spec"]["parts"], json!([{"name": "x", "size": 1}, {"name": "y", "size": 2}]));
    let conflict = apply("two", json!({"color": "blue", "parts": [{"name": "y"}]})).await;
    assert_eq!(conflict.code, 409);
    assert!(conflict.body["message"].as_str().unwrap().contains(".spec.color"));
    let less = apply("one", json!({"color": "red"})).await;
    assert_eq!(less.body["spec"]["parts"], json!([{"name": "y", "size": 2}]));
    server.stop().await;
}

#[tokio::test]
async fn watchers_see_custom_objects() {
    let server = Server::start().await;
    define(&server, &widgets()).await;
    let resource = ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    let api = kube::Api::<DynamicObject>::all_with(server.client.clone(), &resource);
    let mut events = api.watch(&WatchParams::default().fields("spec.color=red"), "0").await.unwrap().boxed();
    server.send("POST", WIDGETS, &widget("a", json!({"color": "red"}))).await;
    server.send("POST", WIDGETS, &widget("b", json!({"color": "blue"}))).await;
    merge(&server, &format!("{WIDGETS}/b"), &json!({"spec": {"color": "red"}})).await;
    merge(&server, &format!("{WIDGETS}/a"), &json!({"spec": {"color": "blue"}})).await;
    server.send("DELETE", &format!("{WIDGETS}/b"), &Value::Null).await;
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(o) => format!("+{}", o.metadata.name.unwrap()),
            WatchEvent::Deleted(o) => format!("-{}", o.metadata.name.unwrap()),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(told, ["+a", "+b", "-a", "-b"]);
    server.stop().await;
}

#[tokio::test]
async fn objects_are_seen_in_every_version() {
    let server = Server::start().await;
    define(&server, &widgets()).await;
    server.send("POST", WIDGETS, &widget("a", json!({"color": "red"}))).await;
    // A second version, and then it is the stored one.
    let mut second = widgets()["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["extra"] =
        json!({"type": "string", "default": "x"});
    let path = format!("{CRDS}/widgets.example.com");
    let mut versions = json!([widgets()["spec"]["versions"][0], second]);
    assert_eq!(merge(&server, &path, &json!({"spec": {"versions": versions}})).await.code, 200);
    let v2 = WIDGETS.replace("/v1/", "/v2/");
    let seen = server.get(&format!("{v2}/a")).await.body;
    assert_eq!((&seen["apiVersion"], &seen["spec"]["extra"]), (&json!("example.com/v2"), &json!("x")));
    assert_eq!(server.get(&format!("{WIDGETS}/a")).await.body["spec"].get("extra"), None);
    let listed = server.get(&v2).await.body;
    assert_eq!(
        (&listed["apiVersion"], &listed["items"][0]["apiVersion"]),
        (&json!("example.com/v2"), &json!("example.com/v2"))
    );

    versions[0]["storage"] = json!(false);
    versions[1]["storage"] = json!(true);
    let changed = merge(&server, &path, &json!({"spec": {"versions": versions}})).await;
    assert_eq!(changed.body["status"]["storedVersions"], json!(["v1", "v2"]));
    let made = server.send("POST", WIDGETS, &widget("b", json!({"color": "blue"}))).await;
    assert_eq!((made.code, &made.body["apiVersion"]), (201, &json!("example.com/v1")));
    let groups = server.get("/apis/example.com").await.body;
    assert_eq!(groups["preferredVersion"]["version"], "v2");
    for name in ["a", "b"] {
        assert_eq!(server.get(&format!("{v2}/{name}")).await.body["apiVersion"], "example.com/v2");
        assert_eq!(server.get(&format!("{WIDGETS}/{name}")).await.body["apiVersion"], "example.com/v1");
    }
    // A version that is no longer served is gone, its objects are not.
    versions[0]["served"] = json!(false);
    merge(&server, &path, &json!({"spec": {"versions": versions}})).await;
    assert_eq!(server.get(WIDGETS).await.code, 404);
    assert_eq!(server.get(&v2).await.body["items"].as_array().unwrap().len(), 2);
    let dropped = merge(&server, &path, &json!({"spec": {"versions": [versions[1]]}})).await;
    assert_eq!(dropped.code, 422);
    assert!(
        dropped.body["message"]
            .as_str()
            .unwrap()
            .contains("missing from spec.versions; v1 was previously a storage version")
    );
    server.stop().await;
}

#[tokio::test]
async fn a_changed_schema_changes_what_is_seen() {
    let server = Server::start().await;
    define(&server, &widgets()).await;
    server.send("POST", WIDGETS, &widget("a", json!({"color": "red"}))).await;
    let path = format!("{CRDS}/widgets.example.com");
    let mut versions = json!([widgets()["spec"]["versions"][0]]);
    let properties = &mut versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    properties["shape"] = json!({"type": "string", "default": "round"});
    properties["color"] = json!({"type": "string", "maxLength": 1});
    let changed = merge(&server, &path, &json!({"spec": {"versions": versions}})).await;
    assert_eq!((changed.code, &changed.body["metadata"]["generation"]), (200, &json!(2)));
    // A default that came later is seen in what was stored before.
    let seen = server.get(&format!("{WIDGETS}/a")).await.body;
    assert_eq!(seen["spec"], json!({"color": "red", "replicas": 1, "shape": "round"}));
    // What the new schema refuses may stay as it was, but not come anew.
    let kept = merge(&server, &format!("{WIDGETS}/a"), &json!({"spec": {"replicas": 2}})).await;
    assert_eq!(kept.code, 200, "{}", kept.body);
    let refused = merge(&server, &format!("{WIDGETS}/a"), &json!({"spec": {"color": "blue"}})).await;
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!(
        (&cause["field"], &cause["message"]),
        (&json!("spec.color"), &json!("Too long: may not be more than 1 bytes"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_kind_goes_with_its_objects() {
    let server = Server::start().await;
    define(&server, &widgets()).await;
    let mut held = widget("held", json!({"color": "red"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.send("POST", WIDGETS, &held).await;
    server.send("POST", WIDGETS, &widget("free", json!({"color": "red"}))).await;
    let path = format!("{CRDS}/widgets.example.com");
    assert_eq!(server.send("DELETE", &path, &Value::Null).await.code, 200);
    let ending = wait_for(&server, "widgets.example.com", "Terminating").await;
    assert_eq!(ending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    becomes(&server, &format!("{WIDGETS}/free"), 404).await;
    // The other waits for its finalizer, and nothing new may come.
    let held = becomes(&server, &format!("{WIDGETS}/held"), 200).await;
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let late = server.send("POST", WIDGETS, &widget("late", json!({"color": "red"}))).await;
    let why = "create not allowed while custom resource definition is terminating";
    assert_eq!((late.code, late.body["message"].as_str().unwrap()), (405, why));
    merge(&server, &format!("{WIDGETS}/held"), &json!({"metadata": {"finalizers": null}})).await;
    becomes(&server, &path, 404).await;
    assert_eq!(server.get(WIDGETS).await.code, 404);
    assert_eq!(server.get("/apis/example.com").await.code, 404);
    // It may come again, and is empty.
    define(&server, &widgets()).await;
    assert_eq!(server.get(WIDGETS).await.body["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn names_belong_to_who_came_first() {
    let server = Server::start().await;
    define(&server, &widgets()).await;
    let mut other = widgets();
    other["metadata"]["name"] = json!("gadgets.example.com");
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]});
    assert_eq!(server.send("POST", CRDS, &other).await.code, 201);
    let path = format!("{CRDS}/gadgets.example.com");
    let refused = loop {
        let found = server.get(&path).await.body;
        if let Some(condition) = found["status"]["conditions"].get(0) {
            break condition.clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(
        (&refused["reason"], &refused["message"]),
        (&json!("ShortNamesConflict"), &json!("\"wd\" is already in use"))
    );
    assert_eq!(server.get("/apis/example.com/v1/gadgets").await.code, 404);
    // When the first goes, its names are free.
    server.send("DELETE", &format!("{CRDS}/widgets.example.com"), &Value::Null).await;
    wait_for(&server, "gadgets.example.com", "Established").await;
    assert_eq!(server.get("/apis/example.com/v1/gadgets").await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn definitions_that_cannot_be_served_are_refused() {
    let server = Server::start().await;
    let refuse = async |change: &dyn Fn(&mut Value)| {
        let mut definition = widgets();
        change(&mut definition);
        let answer = server.send("POST", CRDS, &definition).await;
        assert_eq!(answer.code, 422, "{}", answer.body);
        answer.body["message"].as_str().unwrap().to_owned()
    };
    let rules = |d: &mut Value, rule: &str| {
        d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["x-kubernetes-validations"] =
            json!([{"rule": rule}]);
    };
    assert!(refuse(&|d| rules(d, "self.z == 100")).await.contains("undefined field 'z'"));
    assert!(refuse(&|d| rules(d, "self.color = 'red'")).await.contains("Syntax error"));
    let costly = refuse(&|d| {
        d["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"] = json!({
            "type": "array", "items": {"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}});
    });
    assert!(costly.await.contains("exceeds budget"));
    let webhook = {
        let mut definition = widgets();
        definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/convert"}}});
        server.send("POST", CRDS, &definition).await
    };
    assert!(
        webhook.warnings[0].contains("conversion webhooks are not supported yet"),
        "{:?}",
        webhook.warnings
    );
    let told = wait_for(&server, "widgets.example.com", "Established").await;
    let conditions = told["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|c| c["reason"] == "WebhookNotSupported"), "{conditions:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_definition_does_not_take_a_built_in_kind() {
    let server = Server::start().await;
    let leases = json!({
        "metadata": {"name": "leases.coordination.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {"group": "coordination.k8s.io", "scope": "Namespaced", "names": {"plural": "leases", "kind": "Lease"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}});
    assert_eq!(server.send("POST", path, &lease).await.code, 201);
    define(&server, &leases).await;
    assert_eq!(server.get(&format!("{path}/l")).await.body["spec"]["holderIdentity"], "me");
    server.send("DELETE", &format!("{CRDS}/leases.coordination.k8s.io"), &Value::Null).await;
    becomes(&server, &format!("{CRDS}/leases.coordination.k8s.io"), 404).await;
    assert_eq!(server.get(&format!("{path}/l")).await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn cluster_wide_kinds_and_free_ones_are_served() {
    let server = Server::start().await;
    let free = json!({
        "metadata": {"name": "things.example.org"},
        "spec": {"group": "example.org", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "deprecated": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    define(&server, &free).await;
    let path = "/apis/example.org/v1alpha1/things";
    let thing = json!({"kind": "Thing", "apiVersion": "example.org/v1alpha1", "metadata": {"name": "t"}, "any": {"thing": [1, null]}, "status": {"x": 1}});
    let made = server.send("POST", path, &thing).await;
    assert_eq!((made.code, &made.body["any"]), (201, &thing["any"]), "{}", made.body);
    let deprecated = ["299 - \"example.org/v1alpha1 Thing is deprecated\""];
    assert_eq!(made.warnings, deprecated);
    for path in [path.to_owned(), format!("{path}/t"), format!("{path}/none")] {
        assert_eq!(server.get(&path).await.warnings, deprecated, "{path}");
    }
    let unknown = server.get(&format!("{path}?fieldSelector=spec.color%3Dred")).await;
    let told = (unknown.code, unknown.body["message"].as_str().unwrap());
    assert_eq!(told, (400, "field label not supported: spec.color"));
    // A finalizer that could be anybody's is taken, and spoken of when it is new.
    let held = merge(&server, &format!("{path}/t"), &json!({"metadata": {"finalizers": ["hold"]}})).await;
    assert_eq!((held.code, held.warnings.len()), (200, 2));
    assert!(
        held.warnings.iter().any(|w| w.contains("prefer a domain-qualified finalizer")),
        "{:?}",
        held.warnings
    );
    let let_go = merge(&server, &format!("{path}/t"), &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!((let_go.code, let_go.warnings.len()), (200, 1));
    // Without a subresource of its own, status is as the rest and counts.
    let changed = merge(&server, &format!("{path}/t"), &json!({"status": {"x": 2}})).await;
    assert_eq!(
        (&changed.body["status"]["x"], &changed.body["metadata"]["generation"]),
        (&json!(2), &json!(2))
    );
    let wrong = server
        .send(
            "POST",
            path,
            &json!({"kind": "Thing", "apiVersion": "example.org/v2", "metadata": {"name": "u"}}),
        )
        .await;
    assert_eq!(
        (wrong.code, wrong.body["message"].as_str().unwrap()),
        (
            400,
            "the API version in the data (example.org/v2) does not match the expected API version (example.org/v1alpha1)"
        )
    );
    let wrong = server
        .send(
            "POST",
            path,
            &json!({"kind": "Thong", "apiVersion": "example.org/v1alpha1", "metadata": {"name": "u"}}),
        )
        .await;
    assert_eq!(
        wrong.body["message"],
        "Thing.example.org \"u\" is invalid: kind: Invalid value: \"Thong\": must be Thing"
    );

    // What no version serves goes with the definition, too.
    let definition = format!("{CRDS}/things.example.org");
    let mut versions = free["spec"]["versions"].clone();
    versions[0]["served"] = json!(false);
    assert_eq!(merge(&server, &definition, &json!({"spec": {"versions": versions}})).await.code, 200);
    assert_eq!(server.get(path).await.code, 404);
    server.send("DELETE", &definition, &Value::Null).await;
    becomes(&server, &definition, 404).await;
    define(&server, &free).await;
    assert_eq!(server.get(path).await.body["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn metadata_has_the_fields_of_all_metadata_and_yaml_no_key_twice() {
    let server = Server::start().await;
    let mut free = widgets();
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let name = free["spec"]["versions"][0]["name"].clone();
    free["spec"]["versions"] = json!([{"name": name, "served": true, "storage": true, "schema": schema}]);
    define(&server, &free).await;
    let path = format!("{WIDGETS}?fieldValidation=Warn");
    let mut odd = widget("odd", json!({}));
    odd["metadata"]["unknown"] = json!(1);
    odd["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y", "colour": "red"}]);
    let made = server.send("POST", &path, &odd).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert!(
        made.warnings.iter().any(|w| w.contains("unknown field \\\"metadata.unknown\\\"")),
        "{:?}",
        made.warnings
    );
    assert_eq!(made.body["metadata"].get("unknown"), None);
    assert_eq!(made.body["metadata"]["ownerReferences"][0].get("colour"), None);
    let twice = format!(
        "apiVersion: {}\nkind: {}\nmetadata:\n  name: twice\nspec:\n  k: 1\n  k: 2\n",
        odd["apiVersion"].as_str().unwrap(),
        odd["kind"].as_str().unwrap()
    );
    let headers = [("content-type", "application/apply-patch+yaml")];
    let path = format!("{WIDGETS}/twice?fieldManager=m&fieldValidation=Strict");
    let refused = server.send_raw("PATCH", &path, &headers, twice.clone().into_bytes()).await;
    let why = "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 7: key \"k\" already set in map";
    assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(why)));
    let headers = [("content-type", "application/yaml")];
    let path = format!("{WIDGETS}?fieldValidation=Strict");
    let refused = server.send_raw("POST", &path, &headers, twice.into_bytes()).await;
    assert!(
        refused.body["message"]
            .as_str()
            .unwrap()
            .contains("strict decoding error: yaml: unmarshal errors:\n  line 7: key \"k\""),
        "{}",
        refused.body
    );
    server.stop().await;
}
