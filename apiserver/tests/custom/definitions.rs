//! Definitions come, change and go, and take their objects along.

use serde_json::{Value, json};

use super::{Answer, CRDS, Server, WIDGETS, becomes, define, merge, wait_for, widget, widgets};

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
    // Defaults come in as objects are written, and those of the stored version as they are read.
    assert_eq!((&seen["apiVersion"], seen["spec"].get("extra")), (&json!("example.com/v2"), None));
    let dry = format!("{v2}?dryRun=All");
    let mut third = widget("c", json!({"color": "red"}));
    third["apiVersion"] = json!("example.com/v2");
    let shown = server.send("POST", &dry, &third).await;
    assert_eq!((shown.code, shown.body["spec"].get("extra")), (201, None));
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
    let shown = server.send("POST", &dry, &third).await;
    assert_eq!((shown.code, &shown.body["spec"]["extra"]), (201, &json!("x")));
    let made = server.send("POST", WIDGETS, &widget("b", json!({"color": "blue"}))).await;
    assert_eq!((made.code, &made.body["apiVersion"]), (201, &json!("example.com/v1")));
    let blind = server.send("PUT", &format!("{WIDGETS}/b"), &widget("b", json!({"color": "red"}))).await;
    let field = &blind.body["details"]["causes"][0]["field"];
    assert_eq!((blind.code, field.as_str()), (422, Some("metadata.resourceVersion")));
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
    assert_eq!(ending["metadata"]["generation"], 1);
    assert!(ending["metadata"].get("deletionGracePeriodSeconds").is_none());
    becomes(&server, &format!("{WIDGETS}/free"), 404).await;
    // The other waits for its finalizer, and nothing new may come.
    let held = becomes(&server, &format!("{WIDGETS}/held"), 200).await;
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let late = server.send("POST", WIDGETS, &widget("late", json!({"color": "red"}))).await;
    let why = "create not allowed while custom resource definition is terminating";
    assert_eq!((late.code, late.body["message"].as_str().unwrap()), (405, why));
    let late = widget("late", json!({"color": "red"})).to_string().into_bytes();
    let apply = [("content-type", "application/apply-patch+yaml")];
    let late = server.send_raw("PATCH", &format!("{WIDGETS}/late?fieldManager=me"), &apply, late).await;
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
    let decided = |answer: &Answer| answer.body["status"]["conditions"][0].is_object();
    let refused = &server.eventually(&path, decided).await.body["status"]["conditions"][0];
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
