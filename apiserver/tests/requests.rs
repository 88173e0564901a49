//! Strange requests, and what upstream's server says to them.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::{Server, raw};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Sends each request and compares code and message.
async fn refused(server: &Server, cases: &[(&str, &str, &str, &str, u16, &str)]) {
    for (method, path, media, body, code, message) in cases {
        let path = if path.starts_with('/') { (*path).to_owned() } else { format!("{MAPS}{}", &path[1..]) };
        let answer = server.send_raw(method, &path, &[("content-type", media)], (*body).into()).await;
        let told = (answer.code, answer.body["message"].as_str().unwrap_or_default());
        assert_eq!(told, (*code, *message), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn an_object_has_the_address_of_its_request() {
    let server = Server::start().await;
    server.send("POST", MAPS, &json!({"metadata": {"name": "a"}})).await;
    let undeterminable = "the name of the object (a based on URL) was undeterminable: name must be provided";
    let elsewhere = "the namespace of the provided object does not match the namespace sent on the request";
    let method = "the server does not allow this method on the requested resource";
    refused(
        &server,
        &[
            ("PUT", "./a", JSON, r#"{"metadata": {}}"#, 400, undeterminable),
            ("PATCH", "./a", MERGE, r#"{"metadata": null}"#, 400, undeterminable),
            ("PUT", "./a", JSON, r#"{"metadata": {"name": "a", "namespace": "b"}}"#, 400, elsewhere),
            ("PATCH", "./a", MERGE, r#"{"metadata": {"namespace": "b"}}"#, 400, elsewhere),
            (
                "PATCH",
                "./a",
                MERGE,
                r#"{"metadata": {"uid": "b"}}"#,
                422,
                "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"b\": field is immutable",
            ),
            (
                "PATCH",
                "./a",
                MERGE,
                r#"{"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}}"#,
                422,
                "ConfigMap \"a\" is invalid: metadata.deletionTimestamp: Invalid value: \"2030-01-01T00:00:00Z\": field is immutable",
            ),
            // Every namespace at once can be looked at and no more.
            ("POST", "/api/v1/configmaps", JSON, r#"{"metadata": {"name": "b", "namespace": "default"}}"#, 405, method),
            ("DELETE", "/api/v1/configmaps", JSON, "", 405, method),
            ("POST", "/api/v1", JSON, "{}", 405, method),
            ("DELETE", "/apis", JSON, "", 405, method),
        ],
    )
    .await;
    assert_eq!(server.get(&format!("{MAPS}/a")).await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_configuration_is_of_the_kind_it_is_applied_to() {
    let server = Server::start().await;
    let failed = "failed to create typed patch object (/a; /v1, Kind=ConfigMap)";
    refused(
        &server,
        &[
            ("PATCH", "./a?fieldManager=m", APPLY, r#"{"metadata": {"name": "a"}}"#, 400, "invalid object type: /, Kind="),
            (
                "PATCH",
                "./a?fieldManager=m",
                APPLY,
                "apiVersion: apps/v1\nkind: ConfigMap",
                400,
                "invalid object type: apps/v1, Kind=ConfigMap",
            ),
            (
                "PATCH",
                "./a?fieldManager=m",
                APPLY,
                r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}"#,
                500,
                "failed to create typed patch object (/; /v1, Kind=ConfigMap): .metadata: expected map, got &{[]}",
            ),
            (
                "PATCH",
                "./a?fieldManager=m&fieldValidation=Strict",
                APPLY,
                r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dada": {}}"#,
                500,
                &format!("{failed}: .dada: field not declared in schema"),
            ),
            (
                "PATCH",
                "./a?fieldManager=m&fieldValidation=Strict",
                APPLY,
                r#"{"apiVersion": "v1", "kind": "ConfigMap", "kind": "ConfigMap"}"#,
                400,
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 1: key \"kind\" already set in map",
            ),
            (
                "PATCH",
                "./a?fieldManager=m",
                APPLY,
                r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#,
                400,
                "the name of the object (a based on URL) was undeterminable: name must be provided",
            ),
            ("PATCH", "./a?fieldManager=m", APPLY, "{", 400, "error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected node content"),
        ],
    )
    .await;
    server.stop().await;
}

#[tokio::test]
async fn options_are_checked_before_anything_happens() {
    let server = Server::start().await;
    let invalid = |what: &str, text: &str| format!("{what}.meta.k8s.io \"\" is invalid: {text}");
    let unsupported = "resourceVersionMatch: Unsupported value: \"odd\": supported values: \"Exact\", \"NotOlderThan\", \"\"";
    let no_version = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
    let big = "99999999999999999999999";
    let out_of_range = format!(
        "invalid resource version: resourceVersion: Invalid value: \"{big}\": strconv.ParseUint: parsing \"{big}\": value out of range"
    );
    let too_big = format!("./?resourceVersion={big}");
    refused(
        &server,
        &[
            ("GET", "./?resourceVersionMatch=odd&resourceVersion=1", JSON, "", 422, &invalid("ListOptions", unsupported)),
            (
                "GET",
                "./?resourceVersionMatch=odd",
                JSON,
                "",
                422,
                &invalid("ListOptions", &format!("[{no_version}, {unsupported}]")),
            ),
            (
                "DELETE",
                "./?resourceVersionMatch=Exact",
                JSON,
                "",
                422,
                &invalid("ListOptions", no_version),
            ),
            (
                "GET",
                "./?watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
                JSON,
                "",
                422,
                &invalid(
                    "ListOptions",
                    "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
                ),
            ),
            ("GET", &too_big, JSON, "", 400, &out_of_range),
            ("GET", "./?continue=!!!", JSON, "", 400, "invalid continue token: continue key is not valid: illegal base64 data at input byte 0"),
            (
                "POST",
                "./?fieldManager=%01",
                JSON,
                r#"{"metadata": {"name": "a"}}"#,
                422,
                &invalid("CreateOptions", "fieldManager: Invalid value: \"\\u0001\": invalid character U+0001 (at position 0)"),
            ),
            (
                "DELETE",
                "./a",
                JSON,
                r#"{"kind": "ConfigMap", "apiVersion": "v1"}"#,
                400,
                "decoded object cannot be converted to DeleteOptions",
            ),
            (
                "DELETE",
                "./a",
                JSON,
                r#"{"kind": "DeleteOptions", "apiVersion": "v9"}"#,
                400,
                "no kind \"DeleteOptions\" is registered for version \"v9\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            ),
        ],
    )
    .await;
    for name in ["a", "b"] {
        server.send("POST", MAPS, &json!({"metadata": {"name": name}})).await;
    }
    let page = server.get(&format!("{MAPS}?limit=1")).await.body;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let both = server.get(&format!("{MAPS}?limit=1&resourceVersion=1&continue={token}")).await;
    let why = "specifying resource version is not allowed when using continue";
    assert_eq!((both.code, both.body["message"].as_str()), (400, Some(why)));
    assert_eq!(server.get(&format!("{MAPS}?resourceVersion=0&continue={token}")).await.code, 200);
    // Options may be of any group that has such.
    let options: Value = json!({"kind": "DeleteOptions", "apiVersion": "apps/v1"});
    assert_eq!(server.send("DELETE", &format!("{MAPS}/a"), &options).await.code, 200);
    server.stop().await;
}

#[tokio::test]
async fn some_kinds_are_created_by_an_update() {
    let server = Server::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}});
    let made = server.send("PUT", &format!("{leases}/a"), &lease).await;
    assert_eq!((made.code, &made.body["spec"]["holderIdentity"]), (201, &json!("me")));
    // Of one that is there the caller has to know the state.
    let blind = server.send("PUT", &format!("{leases}/a"), &lease).await;
    let words = "leases.coordination.k8s.io \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be \
                 specified for an update";
    assert_eq!((blind.code, blind.body["message"].as_str()), (422, Some(words)));
    assert_eq!(blind.body["details"]["kind"], "leases");
    assert_eq!(server.send("PUT", &format!("{leases}/a"), &made.body).await.code, 200);
    // Whoever means a certain lease does not mean a new one, and most kinds are made by POST only.
    let certain = json!({"metadata": {"name": "b", "uid": "u"}});
    assert_eq!(server.send("PUT", &format!("{leases}/b"), &certain).await.code, 404);
    let map = json!({"metadata": {"name": "a"}});
    assert_eq!(server.send("PUT", &format!("{MAPS}/a"), &map).await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_subresource_takes_its_own_kind_only() {
    let server = Server::start().await;
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let labels = json!({"a": "b"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "s"},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": template},
    });
    assert_eq!(server.send("POST", sets, &set).await.code, 201);
    let refused = server.send("PUT", &format!("{sets}/s/scale"), &set).await;
    let why = "ReplicaSet in version \"apps/v1\" cannot be handled as a Scale: converting (apps/v1.ReplicaSet) to (autoscaling/v1.Scale): unknown conversion";
    assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(why)));
    server.stop().await;
}

#[tokio::test]
async fn what_ends_gives_back_what_it_had_and_nothing_else() {
    let server = Server::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, port: i64, extra: Value| {
        let mut metadata = json!({"name": name});
        metadata.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({
            "metadata": metadata,
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]},
        })
    };
    let held = json!({"finalizers": ["a.example/b"]});
    assert_eq!(server.send("POST", services, &service("a", 30_001, held)).await.code, 201);
    assert_eq!(server.send("POST", services, &service("b", 30_002, json!({}))).await.code, 201);
    server.send("DELETE", &format!("{services}/a"), &json!({})).await;
    let going = server.get(&format!("{services}/a")).await.body;
    let mut last = going.clone();
    last["metadata"].as_object_mut().unwrap().remove("finalizers");
    last["spec"]["ports"][0]["nodePort"] = json!(30_002);
    server.send("PUT", &format!("{services}/a"), &last).await;
    let free = server.send("POST", services, &service("c", 30_001, json!({}))).await.code;
    let taken = server.send("POST", services, &service("d", 30_002, json!({}))).await.code;
    let there = server.get(&format!("{services}/a")).await.code;
    // Either the change was refused, and all is as it was, or the service is gone with its own port.
    assert!(matches!((there, free, taken), (404, 201, 422) | (200, 422, 422)), "{there} {free} {taken}");
    server.stop().await;
}

#[tokio::test]
async fn a_watch_of_zero_seconds_goes_on() {
    let server = Server::start().await;
    let (path, map) = (format!("{MAPS}?watch=true&timeoutSeconds=0"), json!({"metadata": {"name": "a"}}));
    let (events, _written) =
        tokio::join!(harness::events(&server, &path, 1), server.send("POST", MAPS, &map));
    assert_eq!(events[0]["object"]["metadata"]["name"], "a");
    server.stop().await;
}

#[tokio::test]
async fn a_revision_that_is_none_is_no_precondition_to_leave_out() {
    let server = Server::start().await;
    server.send("POST", MAPS, &json!({"metadata": {"name": "a"}})).await;
    let patch = json!({"metadata": {"resourceVersion": "abc"}, "data": {"a": "b"}});
    let refused = server.send("PATCH", &format!("{MAPS}/a"), &patch).await;
    assert!((400..500).contains(&refused.code), "{}", refused.code);
    assert!(server.get(&format!("{MAPS}/a")).await.body.get("data").is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_page_at_a_revision_is_of_that_revision() {
    let server = Server::start().await;
    server.send("POST", MAPS, &json!({"metadata": {"name": "a"}})).await;
    let then = server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    server.send("POST", MAPS, &json!({"metadata": {"name": "b"}})).await;
    let count = async |query: String| {
        let list = server.get(&format!("{MAPS}?resourceVersion={then}{query}")).await.body;
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count("&limit=500".into()).await, 1);
    assert_eq!(count("&limit=500&resourceVersionMatch=NotOlderThan".into()).await, 2);
    assert_eq!(count(String::new()).await, 2);
    server.stop().await;
}

#[tokio::test]
async fn every_answer_has_a_name_and_is_not_for_others() {
    let server = Server::start().await;
    let mut client = raw::http1(server.port).await;
    let mut names = std::collections::BTreeSet::new();
    for path in [MAPS, "/apis", "/healthz", "/nowhere", "/api/v1/namespaces/default/configmaps/none"] {
        let answer = client.send_request(raw::request("GET", path, &[], "")).await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-cache, private", "{path}");
        let name = answer.headers()["audit-id"].to_str().unwrap().to_owned();
        assert_eq!(name.len(), 36, "{name}");
        assert!(names.insert(name), "{path}");
        raw::text(answer).await;
    }
    let answer = client.send_request(raw::request("GET", MAPS, &[("audit-id", "mine")], "")).await.unwrap();
    assert_eq!(answer.headers()["audit-id"], "mine");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn curl_gets_lines_it_can_read() {
    let server = Server::start().await;
    server.send("POST", MAPS, &json!({"metadata": {"name": "a"}})).await;
    let mut client = raw::http1(server.port).await;
    for (path, agent, is_indented) in [
        (format!("{MAPS}/a"), "curl/8.5.0", true),
        (format!("{MAPS}/none"), "curl/8.5.0", true),
        (MAPS.to_owned(), "curl/8.5.0", true),
        ("/apis/apps/v1".to_owned(), "Mozilla/5.0", true),
        (format!("{MAPS}/a?pretty=false"), "curl/8.5.0", false),
        (format!("{MAPS}/a"), "kubectl/v1.36.0", false),
        ("/version".to_owned(), "kubectl/v1.36.0", true),
        (format!("{MAPS}/a?pretty=true"), "kubectl/v1.36.0", true),
    ] {
        let request = raw::request("GET", &path, &[("user-agent", agent)], "");
        let text = raw::text(client.send_request(request).await.unwrap()).await;
        assert_eq!(text.starts_with("{\n  \""), is_indented, "{path} {agent}: {text}");
        serde_json::from_str::<Value>(&text).unwrap();
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn built_in_kinds_are_not_asked_for_their_heads() {
    let server = Server::start().await;
    let mut client = raw::http1(server.port).await;
    for (path, code) in [
        (MAPS, 405),
        ("/api", 405),
        ("/api/v1", 405),
        ("/apis/apps/v1", 405),
        ("/version", 405),
        ("/apis", 200),
        ("/apis/apps", 200),
        ("/healthz", 200),
    ] {
        let answer = client.send_request(raw::request("HEAD", path, &[], "")).await.unwrap();
        assert_eq!(answer.status(), code, "{path}");
        raw::text(answer).await;
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn below_watch_nothing_is_written() {
    let server = Server::start().await;
    let mut client = raw::http1(server.port).await;
    let namespace = r#"{"metadata": {"name": "made"}}"#;
    for (method, path) in [
        ("POST", "/api/v1/watch/namespaces"),
        ("PUT", "/api/v1/watch/namespaces/default"),
        ("PATCH", "/api/v1/watch/namespaces/default"),
        ("DELETE", "/api/v1/watch/namespaces/default"),
        ("DELETE", "/api/v1/watch/namespaces/default/configmaps"),
    ] {
        let answer = client.send_request(raw::request(method, path, &[], namespace)).await.unwrap();
        assert_eq!(answer.status(), 405, "{method} {path}");
        raw::text(answer).await;
    }
    let path = "/api/v1/watch/namespaces/default/pods/web/log";
    let answer = client.send_request(raw::request("GET", path, &[], "")).await.unwrap();
    assert_eq!(answer.status(), 404, "what is below an object is not watched");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_finalizer_of_a_core_kind_says_whose_it_is() {
    let server = Server::start().await;
    let map = json!({"metadata": {"name": "a", "finalizers": ["hold"]}});
    let refused = server.send("POST", MAPS, &map).await;
    let why = "ConfigMap \"a\" is invalid: metadata.finalizers[0]: Invalid value: \"hold\": name is neither a standard finalizer name nor is it fully qualified";
    assert_eq!((refused.code, refused.body["message"].as_str().unwrap()), (422, why));
    let map = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    assert_eq!(server.send("POST", MAPS, &map).await.code, 201);
    let hold = br#"{"metadata": {"finalizers": ["hold"]}}"#;
    let refused =
        server.send_raw("PATCH", &format!("{MAPS}/a"), &[("content-type", MERGE)], hold.to_vec()).await;
    assert_eq!((refused.code, refused.body["message"].as_str().unwrap()), (422, why));
    let held = json!({"name": "a", "namespace": "default", "finalizers": ["hold"]});
    let involved = json!({"kind": "Pod", "name": "p", "namespace": "default"});
    for (path, object, code) in [
        ("/apis/coordination.k8s.io/v1/namespaces/default/leases", json!({"metadata": held}), 201),
        (
            "/apis/node.k8s.io/v1/runtimeclasses",
            json!({"metadata": {"name": "a", "finalizers": ["hold"]}, "handler": "a"}),
            201,
        ),
        ("/api/v1/namespaces/default/events", json!({"metadata": held, "involvedObject": involved}), 201),
        (
            "/apis/events.k8s.io/v1/namespaces/default/events",
            json!({"metadata": {"name": "b", "finalizers": ["hold"]},
            "regarding": involved, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "R", "action": "A",
            "reportingController": "example.com/c", "reportingInstance": "i"}),
            422,
        ),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            json!({"metadata": held, "addressType": "IPv4", "endpoints": []}),
            422,
        ),
    ] {
        let answer = server.send("POST", path, &object).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.body);
        assert!(
            code == 201 || answer.body.to_string().contains("neither a standard finalizer"),
            "{}",
            answer.body
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_scale_is_shown_as_a_table() {
    let server = Server::start().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(server.send("POST", deployments, &deployment).await.code, 201);
    for version in ["v1", "v1beta1"] {
        let accept = format!("*/*;q=0.5, application/json;as=Table;v={version};g=meta.k8s.io");
        let path = format!("{deployments}/web/scale");
        let table = server.send_raw("GET", &path, &[("accept", &accept)], Vec::new()).await.body;
        assert_eq!(table["apiVersion"], format!("meta.k8s.io/{version}"));
        let columns: Vec<_> = table["columnDefinitions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["name"].as_str().unwrap())
            .collect();
        assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
        let cells = table["rows"][0]["cells"].as_array().unwrap();
        assert_eq!(cells[..3], [json!("web"), json!(3), json!(0)]);
        assert_eq!(table["rows"][0]["object"]["apiVersion"], format!("meta.k8s.io/{version}"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_name_selects_one_object() {
    let server = Server::start().await;
    server.send("POST", "/api/v1/namespaces", &json!({"metadata": {"name": "other"}})).await;
    for namespace in ["default", "other"] {
        for name in ["a", "b"] {
            let path = format!("/api/v1/namespaces/{namespace}/configmaps");
            assert_eq!(server.send("POST", &path, &json!({"metadata": {"name": name}})).await.code, 201);
        }
    }
    let found = async |path: &str, selector: &str| {
        let list = server.get(&format!("{path}?fieldSelector={selector}")).await.body;
        let name = |object: &Value| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("namespace"), text("name"))
        };
        list["items"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(found(MAPS, "metadata.name%3Da").await, ["default/a"]);
    assert_eq!(found(MAPS, "metadata.name%3Dnone").await, [""; 0]);
    assert_eq!(found(MAPS, "metadata.name%3Da,metadata.namespace%3Dother").await, [""; 0]);
    assert_eq!(found("/api/v1/configmaps", "metadata.name%3Da").await, ["default/a", "other/a"]);
    assert_eq!(found("/api/v1/namespaces", "metadata.name%3Dother").await, ["/other"]);
    let then = server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    server.send("POST", MAPS, &json!({"metadata": {"name": "c"}})).await;
    server.send("PATCH", &format!("{MAPS}/a"), &json!({"data": {"x": "y"}})).await;
    let watch = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Da&resourceVersion={then}");
    let events = harness::events(&server, &watch, 1).await;
    assert_eq!(events[0]["object"]["data"]["x"], "y", "{events:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_caller_can_be_taken_for_somebody_else() {
    const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let server = Server::start().await;
    let json_type = ("content-type", "application/json");
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        server.send_raw("POST", path, &[&[json_type], headers].concat(), b"{}".to_vec()).await
    };
    let jane =
        [("impersonate-user", "jane"), ("impersonate-group", "dev"), ("impersonate-extra-Scopes", "view")];
    let answer = ask(REVIEWS, &jane).await;
    let expected =
        json!({"username": "jane", "groups": ["dev", "system:authenticated"], "extra": {"scopes": ["view"]}});
    assert_eq!((answer.code, &answer.body["status"]["userInfo"]), (201, &expected), "{}", answer.body);
    // What nobody may do is not done in nobody's name.
    let nobody = [("impersonate-user", "system:anonymous")];
    let answer = server.send_raw("GET", MAPS, &nobody, Vec::new()).await;
    let why = "configmaps is forbidden: User \"system:anonymous\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"";
    assert_eq!((answer.code, answer.body["message"].as_str().unwrap()), (403, why));
    for path in ["/apis", "/metrics"] {
        let answer = server.send_raw("GET", path, &nobody, Vec::new()).await;
        let why = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
        assert_eq!((answer.code, answer.body["message"].as_str().unwrap()), (403, why.as_str()));
    }
    let answer = ask(REVIEWS, &[("impersonate-group", "system:masters")]).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (400, Some("BadRequest")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_whole_in_every_form() {
    const COUNT: usize = 600;
    let server = Server::start().await;
    let names: Vec<String> = (0..COUNT).map(|i| format!("m{i:03}")).collect();
    for name in &names {
        let made = server.send("POST", MAPS, &json!({"metadata": {"name": name}})).await;
        assert_eq!(made.code, 201);
    }
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    for (accept, list, kind, name) in [
        (table, "rows", "Table", "/object/metadata/name"),
        (metadata, "items", "PartialObjectMetadataList", "/metadata/name"),
        ("application/json", "items", "ConfigMapList", "/metadata/name"),
    ] {
        for agent in ["kubectl/v1.36.0", "curl/8.5.0"] {
            for (limit, count) in [("", COUNT), ("?limit=10", 10)] {
                let headers = [("accept", accept), ("user-agent", agent)];
                let whole =
                    server.send_raw("GET", &format!("{MAPS}{limit}"), &headers, Vec::new()).await.body;
                assert_eq!(whole["kind"], kind, "{accept}");
                assert!(whole["metadata"]["resourceVersion"].is_string(), "{accept}");
                let listed = whole[list]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item.pointer(name).unwrap().as_str().unwrap());
                assert_eq!(listed.collect::<Vec<_>>(), names[..count], "{accept} {agent} {limit}");
                // The list alone says of which kind its objects are.
                assert_eq!(whole[list][0].get("kind").is_none(), kind != "PartialObjectMetadataList");
            }
        }
    }
    let yaml = server.send_raw("GET", MAPS, &[("accept", "application/yaml")], Vec::new()).await.body;
    let lines: Vec<&str> = yaml.as_str().unwrap().lines().collect();
    assert_eq!(lines[..3], ["apiVersion: v1", "items:", "- metadata:"]);
    assert_eq!(lines.iter().filter(|line| line.starts_with("    name: m")).count(), COUNT);
    assert_eq!(lines[lines.len() - 3..lines.len() - 1], ["kind: ConfigMapList", "metadata:"]);
    // Of a kind that has a field before `apiVersion`, too.
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": []});
    assert_eq!(server.send("POST", slices, &slice).await.code, 201);
    let item = server.get(slices).await.body["items"][0].clone();
    assert_eq!(
        (&item["addressType"], item.get("kind"), item.get("apiVersion")),
        (&json!("IPv4"), None, None)
    );
    let mut client = raw::http1(server.port).await;
    let request = raw::request("GET", MAPS, &[("accept", table), ("user-agent", "curl/8.5.0")], "");
    let text = raw::text(client.send_request(request).await.unwrap()).await;
    assert!(text.starts_with("{\n  \"apiVersion\""), "{}", &text[..100]);
    let refused =
        server.send_raw("GET", &format!("{MAPS}?includeObject=All"), &[("accept", table)], Vec::new()).await;
    let why = "Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty";
    assert_eq!((refused.code, refused.body["message"].as_str().unwrap()), (400, why));
    let watch = format!("{MAPS}?watch=true");
    let refused = server.send_raw("GET", &watch, &[("accept", "application/yaml")], Vec::new()).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (406, Some("NotAcceptable")));
    drop(client);
    server.stop().await;
}
