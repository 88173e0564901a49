//! Patches and server-side apply, as a client sees them over HTTPS.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::{Answer, Server};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn patch(server: &Server, media: &str, path: &str, body: impl ToString) -> Answer {
    server.send_raw("PATCH", path, &[("content-type", media)], body.to_string().into_bytes()).await
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// `manager/operation[/subresource]` of every entry of `managedFields`.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let text = |e: &Value, name: &str| e[name].as_str().unwrap_or("").to_owned();
    entries
        .iter()
        .map(|e| {
            let parts = [text(e, "manager"), text(e, "operation"), text(e, "subresource")];
            parts.join("/").trim_end_matches('/').to_owned()
        })
        .collect()
}

#[tokio::test]
async fn the_three_forms_change_an_object() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    assert_eq!(server.send("POST", DEPLOYMENTS, &deployment("x:1")).await.code, 201);

    let add = json!({"spec": {"template": {"spec": {"containers": [{"name": "d", "image": "y"}]}}}});
    let answer = patch(&server, STRATEGIC, &path, &add).await;
    assert_eq!(answer.body["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(answer.body["metadata"]["generation"], 2);

    let answer = patch(&server, MERGE, &path, &add).await;
    assert_eq!(answer.body["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);

    let operations = json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]);
    let answer = patch(&server, JSON, &path, operations).await;
    assert_eq!((answer.code, &answer.body["spec"]["replicas"]), (200, &json!(4)));

    // What changes nothing writes nothing.
    let again = patch(&server, MERGE, &path, json!({"spec": {"replicas": 4}})).await;
    assert_eq!(again.body["metadata"], answer.body["metadata"]);

    let cases = [
        (JSON, "[{\"op\":\"remove\",\"path\":\"/nope\"}]", 422, "Invalid"),
        (JSON, "{}", 400, "BadRequest"),
        (MERGE, "{\"spec\":{\"replicas\":\"x\"}}", 422, "Invalid"),
        (MERGE, "{\"spec\":{\"replicas\":-1}}", 422, "Invalid"),
        (STRATEGIC, "{", 400, "BadRequest"),
        (STRATEGIC, "{\"metadata\":{\"name\":\"other\"}}", 400, "BadRequest"),
        ("application/json", "{}", 415, "UnsupportedMediaType"),
    ];
    for (media, body, code, reason) in cases {
        let answer = patch(&server, media, &path, body).await;
        assert_eq!((answer.code, answer.body["reason"].as_str()), (code, Some(reason)), "{media} {body}");
    }
    let unknown = json!({"spec": {"foo": 1}});
    let answer = patch(&server, MERGE, &path, &unknown).await;
    assert_eq!(
        (answer.code, answer.warnings.as_slice()),
        (200, &["299 - \"unknown field \\\"spec.foo\\\"\"".to_owned()][..])
    );
    let strict = format!("{path}?fieldValidation=Strict");
    let refused = patch(&server, MERGE, &strict, &unknown).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (422, Some("Invalid")));
    let why = refused.body["message"].as_str().unwrap();
    assert!(why.ends_with("strict decoding error: unknown field \"spec.foo\""), "{why}");
    let odd = r#"[{"op":"test","path":"/spec/replicas","op":"test","value":4,"no":1}]"#;
    let answer = patch(&server, JSON, &path, odd).await;
    let warnings = ["duplicate field \\\"[0].op\\\"", "unknown field \\\"[0].no\\\""];
    assert_eq!(answer.warnings, warnings.map(|why| format!("299 - \"json patch {why}\"")));
    assert_eq!(patch(&server, JSON, &strict, odd).await.code, 422);
    // What the kind is said to be in such a patch is not looked at.
    assert_eq!(patch(&server, STRATEGIC, &path, r#"{"kind": "Pod", "apiVersion": "v9"}"#).await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn appliers_own_what_they_apply() {
    let server = Server::start().await;
    let path = |manager: &str| format!("{MAPS}/m?fieldManager={manager}");
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data});

    // The first apply creates; YAML is welcome.
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: '1', b: '1'}\n";
    let created = patch(&server, APPLY, &path("one"), yaml).await;
    assert_eq!((created.code, managers(&created.body)), (201, vec!["one/Apply".to_owned()]));

    let same = patch(&server, APPLY, &path("one"), yaml).await;
    assert_eq!((same.code, &same.body), (200, &created.body));

    let refused = patch(&server, APPLY, &path("two"), map(json!({"a": "2", "c": "1"}))).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (409, Some("Conflict")));
    assert_eq!(refused.body["message"], "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    assert_eq!(
        refused.body["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"}])
    );

    let forced = format!("{}&force=true", path("two"));
    let dry = patch(&server, APPLY, &format!("{forced}&dryRun=All"), map(json!({"a": "2", "c": "1"}))).await;
    assert_eq!(dry.body["data"], json!({"a": "2", "b": "1", "c": "1"}));
    assert_eq!(server.get(&format!("{MAPS}/m")).await.body, created.body);
    let taken = patch(&server, APPLY, &forced, map(json!({"a": "2", "c": "1"}))).await;
    assert_eq!(managers(&taken.body), ["one/Apply", "two/Apply"]);

    // What nobody applies any more goes; what somebody updated stays.
    let updated = patch(&server, MERGE, &path("editor"), json!({"data": {"d": "1"}})).await;
    assert_eq!(managers(&updated.body), ["one/Apply", "two/Apply", "editor/Update"]);
    let dropped = patch(&server, APPLY, &path("two"), map(json!({"a": "2"}))).await;
    assert_eq!(dropped.body["data"], json!({"a": "2", "b": "1", "d": "1"}));

    let nobody = patch(&server, APPLY, &format!("{MAPS}/m"), map(json!({}))).await;
    assert_eq!(nobody.code, 422);
    let managed =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "managedFields": []}});
    let sent = patch(&server, APPLY, &path("one"), managed).await;
    assert_eq!((sent.code, sent.body["message"].as_str()), (400, Some("metadata.managedFields must be nil")));
    server.stop().await;
}

#[tokio::test]
async fn objects_that_lose_what_they_need_are_refused() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/services/s?fieldManager=one";
    let service =
        |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let keyless = service(json!({"ports": [{"name": "web"}]}));
    assert_eq!(patch(&server, APPLY, path, keyless).await.code, 422);
    let whole = service(json!({"ports": [{"port": 80}], "selector": {"a": "b"}}));
    assert_eq!(patch(&server, APPLY, path, whole).await.code, 201);
    let refused = patch(&server, APPLY, path, service(json!({"selector": {"a": "b"}}))).await;
    assert_eq!(
        (refused.code, refused.body["details"]["causes"][0]["field"].as_str()),
        (422, Some("spec.ports"))
    );

    // Nothing is taken for a name that is none.
    let nameless = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": null}});
    assert_eq!(patch(&server, APPLY, path, nameless).await.code, 400);
    let other = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"uid": "x"}});
    let refused = patch(&server, APPLY, path, other).await;
    assert_eq!(
        (refused.code, refused.body["details"]["causes"][0]["field"].as_str()),
        (422, Some("metadata.uid"))
    );
    let nobody =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "managedFields": null}});
    assert_eq!(patch(&server, APPLY, &format!("{path}b"), nobody).await.code, 200);

    // A scale that is applied without a number has none.
    let deployments = "/apis/apps/v1/namespaces/default/deployments/d";
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(patch(&server, APPLY, &format!("{deployments}?fieldManager=one"), deployment).await.code, 201);
    let scale = |spec: Value| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": spec});
    let scales = format!("{deployments}/scale?fieldManager=two&force=true");
    assert_eq!(
        patch(&server, APPLY, &scales, scale(json!({"replicas": 3}))).await.body["spec"]["replicas"],
        3
    );
    let dropped = patch(&server, APPLY, &scales, scale(json!({}))).await;
    assert_eq!((dropped.code, dropped.body["spec"].get("replicas")), (200, None));
    server.stop().await;
}

#[tokio::test]
async fn parts_of_an_object_have_managers_of_their_own() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    server.send("POST", &format!("{DEPLOYMENTS}?fieldManager=me"), &deployment("x:1")).await;
    let status = json!({"status": {"observedGeneration": 1, "replicas": 1}});
    patch(&server, MERGE, &format!("{path}/status?fieldManager=controller"), status).await;
    let scale = json!({"spec": {"replicas": 3}});
    assert_eq!(patch(&server, MERGE, &format!("{path}/scale?fieldManager=scaler"), scale).await.code, 200);
    let object = server.get(&path).await.body;
    let mut found = managers(&object);
    found.sort();
    assert_eq!(found, ["controller/Update/status", "me/Update", "scaler/Update/scale"]);
    // A scale can be applied, and is argued about like everything else.
    let scale = |n: i32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": n}});
    let scaled =
        async |query: &str, n| patch(&server, APPLY, &format!("{path}/scale{query}"), scale(n)).await;
    assert_eq!(scaled("", 4).await.code, 422);
    let refused = scaled("?fieldManager=hpa", 4).await;
    assert_eq!(refused.code, 409);
    assert_eq!(refused.body["details"]["causes"][0]["field"], ".spec.replicas");
    let forced = scaled("?fieldManager=hpa&force=true", 4).await;
    assert_eq!(
        (forced.code, &forced.body["kind"], &forced.body["spec"]["replicas"]),
        (200, &json!("Scale"), &json!(4))
    );
    assert!(managers(&server.get(&path).await.body).contains(&"hpa/Apply/scale".to_owned()));
    server.stop().await;
}

#[tokio::test]
async fn two_appliers_share_finalizers() {
    let server = Server::start().await;
    let apply = async |who: &str, finalizers: Value| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "finalizers": finalizers}});
        let answer = patch(&server, APPLY, &format!("{MAPS}/m?fieldManager={who}"), config).await;
        assert!(matches!(answer.code, 200 | 201), "{}", answer.body);
        answer.body["metadata"]["finalizers"].clone()
    };
    assert_eq!(apply("one", json!(["x.io/a", "x.io/b"])).await, json!(["x.io/a", "x.io/b"]));
    assert_eq!(apply("two", json!(["x.io/b", "x.io/c"])).await, json!(["x.io/a", "x.io/b", "x.io/c"]));
    // One of them wants it still.
    assert_eq!(apply("one", json!(["x.io/a"])).await, json!(["x.io/a", "x.io/b", "x.io/c"]));
    assert_eq!(apply("two", json!(["x.io/c"])).await, json!(["x.io/a", "x.io/c"]));
    // What holds a deletion lets go with the last who applied it.
    let deleted = server.send("DELETE", &format!("{MAPS}/m"), &Value::Null).await;
    assert!(deleted.body["metadata"]["deletionTimestamp"].is_string(), "{}", deleted.body);
    assert_eq!(apply("one", json!([])).await, json!(["x.io/c"]));
    apply("two", json!([])).await;
    assert_eq!(server.get(&format!("{MAPS}/m")).await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn only_who_applies_may_force() {
    let server = Server::start().await;
    server.send("POST", MAPS, &json!({"metadata": {"name": "m"}})).await;
    let before = server.get(&format!("{MAPS}/m")).await.body;
    for force in ["true", "false"] {
        let path = format!("{MAPS}/m?fieldManager=me&force={force}");
        for (media, body) in [
            (JSON, json!([{"op": "add", "path": "/data", "value": {"a": "1"}}])),
            (MERGE, json!({"data": {"a": "1"}})),
            (STRATEGIC, json!({"data": {"a": "1"}})),
        ] {
            let refused = patch(&server, media, &path, body).await;
            assert_eq!(
                (refused.code, refused.body["reason"].as_str()),
                (422, Some("Invalid")),
                "{media} {force}"
            );
            assert_eq!(
                refused.body["message"],
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
            );
            assert_eq!(refused.body["details"]["causes"][0]["field"], "force");
        }
    }
    assert_eq!(server.get(&format!("{MAPS}/m")).await.body, before);
    server.stop().await;
}

#[tokio::test]
async fn who_applies_to_one_object_makes_no_other() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web?fieldManager=me");
    let mut config = deployment("v1");
    config["metadata"]["uid"] = "1-2".into();
    let refused = patch(&server, APPLY, &path, &config).await;
    let why = "Operation cannot be fulfilled on deployments.apps \"web\": uid mismatch: the provided object specified uid 1-2, and no existing object was found";
    assert_eq!((refused.code, refused.body["message"].as_str()), (409, Some(why)));
    assert_eq!(patch(&server, APPLY, &path, deployment("v1")).await.code, 201);
    assert_eq!(patch(&server, APPLY, &path, &config).await.code, 422, "it is another one");
}

#[tokio::test]
async fn who_applies_a_status_owns_the_status() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    server.send("POST", &format!("{DEPLOYMENTS}?fieldManager=me"), &deployment("x:1")).await;
    let config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"l": "1"}},
        "spec": {"replicas": 7}, "status": {"observedGeneration": 1, "replicas": 2},
    });
    let applied = patch(&server, APPLY, &format!("{path}/status?fieldManager=doctor"), &config).await;
    assert_eq!(applied.code, 200, "{}", applied.body);
    assert_eq!(
        (&applied.body["spec"]["replicas"], &applied.body["status"]["replicas"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(applied.body["metadata"]["labels"], Value::Null);
    let entries = applied.body["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == "doctor").unwrap();
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("status")));
    assert_eq!(own["fieldsV1"], json!({"f:status": {"f:observedGeneration": {}, "f:replicas": {}}}));
    // Who says nothing of a field any more gives it back; the spec's owner is not asked.
    let less = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"replicas": 2}});
    let applied = patch(&server, APPLY, &format!("{path}/status?fieldManager=doctor"), &less).await;
    assert_eq!(applied.body["status"], json!({"replicas": 2}));
    // The status of what is not there is not made.
    let missing = format!("{DEPLOYMENTS}/none/status?fieldManager=doctor");
    assert_eq!(patch(&server, APPLY, &missing, &less.to_string().replace("web", "none")).await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn bodies_are_read_by_type() {
    let server = Server::start().await;
    let cases = [
        (
            r#"{"data": {"a": 1}}"#,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            r#"{"data": {"a": "1"}, "data": {"b": "1"}, "dada": {}}"#,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: duplicate field \"data\", unknown field \"dada\"",
        ),
    ];
    for (body, message) in cases {
        let headers = [("content-type", "application/json")];
        let path = format!("{MAPS}?fieldValidation=Strict");
        let answer = server.send_raw("POST", &path, &headers, body.as_bytes().to_vec()).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (400, Some(message)));
    }
    // Go forgives nulls, and numbers for quantities.
    let pod = json!({"metadata": {"name": "p", "labels": null}, "spec": {"nodeName": null, "containers": [
        {"name": "c", "image": "x", "args": [null], "resources": {"limits": {"cpu": 0.5, "memory": 1024}}},
    ]}});
    let created = server.send("POST", "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(created.code, 201, "{}", created.body);
    let container = &created.body["spec"]["containers"][0];
    assert_eq!(container["args"], json!([""]));
    assert_eq!(container["resources"]["limits"], json!({"cpu": "500m", "memory": "1024"}));
    server.stop().await;
}

#[tokio::test]
async fn open_api_documents_are_fetched_once() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.body;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = server.get(url).await;
    let schema =
        &document.body["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(schema["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(schema["x-kubernetes-list-map-keys"], json!(["name"]));
    let stale = url.split('=').next().unwrap();
    let moved = server.get(&format!("{stale}=old")).await;
    assert_eq!((moved.code, moved.location.as_deref()), (301, Some(url)));
    assert_eq!(document.cache_control.as_deref(), Some("public, immutable"));
    server.stop().await;
}
