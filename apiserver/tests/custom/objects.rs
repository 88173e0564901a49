//! Objects of custom kinds are served like those of built-in ones.

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ApiResource, DynamicObject, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::{CRDS, Server, WIDGETS, becomes, define, merge, widget, widgets};

const TABLE: &[(&str, &str)] = &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];

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
    // Nulls are applied: a default takes their place, or they are what may not be null.
    let refused = apply("one", json!({"color": "red", "parts": null})).await;
    let why = refused.body["message"].as_str().unwrap();
    assert!(refused.code == 422 && why.contains("spec.parts in body must be of type array"), "{why}");
    let first = apply("one", json!({"color": "red", "parts": [{"name": "x", "size": 1}]})).await;
    assert_eq!(first.code, 201, "{}", first.body);
    let second = apply("two", json!({"color": "red", "parts": [{"name": "y", "size": 2}]})).await;
    assert_eq!(second.body["spec"]["parts"], json!([{"name": "x", "size": 1}, {"name": "y", "size": 2}]));
    let conflict = apply("two", json!({"color": "blue", "parts": [{"name": "y"}]})).await;
    assert_eq!(conflict.code, 409);
    assert!(conflict.body["message"].as_str().unwrap().contains(".spec.color"));
    let less = apply("one", json!({"color": "red"})).await;
    assert_eq!(less.body["spec"]["parts"], json!([{"name": "y", "size": 2}]));
    let defaulted = apply("one", json!({"color": "red", "replicas": null})).await;
    assert_eq!((defaulted.code, &defaulted.body["spec"]["replicas"]), (200, &json!(1)));
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

    // When the definition goes, so do its objects, and a watcher is told of them to the end.
    merge(&server, &format!("{WIDGETS}/a"), &json!({"metadata": {"finalizers": ["example.com/keep"]}})).await;
    let all = server.get(WIDGETS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut events = api.watch(&WatchParams::default(), &all).await.unwrap().boxed();
    server.send("DELETE", &format!("{CRDS}/widgets.example.com"), &Value::Null).await;
    match events.try_next().await.unwrap().unwrap() {
        WatchEvent::Modified(o) => assert!(o.metadata.deletion_timestamp.is_some()),
        other => panic!("{other:?}"),
    }
    merge(&server, &format!("{WIDGETS}/a"), &json!({"metadata": {"finalizers": null}})).await;
    assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))));
    assert!(events.try_next().await.unwrap().is_none(), "the watch ends without an error");
    becomes(&server, WIDGETS, 404).await;
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
    assert_eq!(held.warnings[0], deprecated[0]);
    assert!(held.warnings[1].contains("prefer a domain-qualified finalizer"), "{:?}", held.warnings);
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
        "Thong.example.org \"u\" is invalid: kind: Invalid value: \"Thong\": must be Thing"
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
