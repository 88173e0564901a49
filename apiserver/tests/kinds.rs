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

const AUTHN: &str = "/apis/authentication.k8s.io/v1";
const AUTHZ: &str = "/apis/authorization.k8s.io/v1";

#[tokio::test]
async fn callers_learn_who_they_are_and_what_they_may_do() {
    let server = Server::start().await;
    let me = server.send("POST", &format!("{AUTHN}/selfsubjectreviews"), &json!({})).await;
    let info = &me.body["status"]["userInfo"];
    assert_eq!((me.code, &info["username"]), (201, &json!("tester")));
    assert_eq!(info["groups"], json!(["system:masters", "system:authenticated"]));

    let pods = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let may = |spec: Value| json!({"spec": spec});
    for (path, spec, allowed) in [
        (format!("{AUTHZ}/selfsubjectaccessreviews"), json!({"resourceAttributes": pods}), true),
        (format!("{AUTHZ}/subjectaccessreviews"), json!({"user": "bob", "resourceAttributes": pods}), true),
        (
            format!("{AUTHZ}/subjectaccessreviews"),
            json!({"user": "system:anonymous", "groups": ["system:unauthenticated"], "resourceAttributes": pods}),
            false,
        ),
        (
            format!("{AUTHZ}/subjectaccessreviews"),
            json!({"user": "system:anonymous", "nonResourceAttributes": {"verb": "get", "path": "/livez"}}),
            true,
        ),
        (
            format!("{AUTHZ}/namespaces/default/localsubjectaccessreviews"),
            json!({"user": "bob", "resourceAttributes": pods}),
            true,
        ),
    ] {
        let answer = server.send("POST", &path, &may(spec.clone())).await;
        assert_eq!((answer.code, &answer.body["status"]["allowed"]), (201, &json!(allowed)), "{path} {spec}");
        assert_eq!(answer.body["spec"], spec);
    }
    let elsewhere =
        json!({"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "x"}});
    let refused = server
        .send("POST", &format!("{AUTHZ}/namespaces/default/localsubjectaccessreviews"), &may(elsewhere))
        .await;
    assert_eq!(refused.code, 422);

    let rules = format!("{AUTHZ}/selfsubjectrulesreviews");
    let answer = server.send("POST", &rules, &may(json!({"namespace": "default"}))).await;
    assert_eq!(answer.body["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    assert_eq!(server.send("POST", &rules, &may(json!({}))).await.code, 400);
    // Nothing is kept.
    assert_eq!(server.get(&rules).await.code, 405);
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_reviewed_for_those_they_are_meant_for() {
    let server = Server::start().await;
    let request = json!({"spec": {"expirationSeconds": 600, "audiences": ["vault"]}});
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let issued = server.send("POST", &format!("{account}/token"), &request).await;
    let token = issued.body["status"]["token"].clone();
    let review = |spec: Value| {
        let (server, path) = (&server, format!("{AUTHN}/tokenreviews"));
        async move { server.send("POST", &path, &json!({"spec": spec})).await }
    };
    let answer = review(json!({"token": token, "audiences": ["vault", "other"]})).await;
    let status = &answer.body["status"];
    assert_eq!((answer.code, &status["authenticated"]), (201, &json!(true)));
    assert_eq!(status["audiences"], json!(["vault"]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    assert!(status["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].is_string());
    for spec in [json!({"token": token}), json!({"token": "guess"})] {
        let answer = review(spec).await;
        assert_eq!(answer.body["status"], json!({"user": {}, "error": "invalid bearer token"}));
    }
    assert_eq!(review(json!({"token": "secret"})).await.body["status"]["user"]["username"], "tester");
    assert_eq!(review(json!({})).await.code, 400);
    server.stop().await;
}

#[tokio::test]
async fn bindings_may_be_posted_to_their_namespace() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    server.send("POST", "/api/v1/namespaces/default/pods", &pod).await;
    let binding = |node: &str| json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    let bindings = "/api/v1/namespaces/default/bindings";
    let refused = server.send("POST", bindings, &binding("")).await;
    assert_eq!((refused.code, refused.body["message"].as_str()), (500, Some("target.name: Required value")));
    assert_eq!(server.send("POST", bindings, &binding("n")).await.code, 201);
    assert_eq!(server.get("/api/v1/namespaces/default/pods/p").await.body["spec"]["nodeName"], "n");
    assert_eq!(server.send("POST", bindings, &binding("n")).await.code, 409);
    server.stop().await;
}

#[tokio::test]
async fn components_are_asked_when_somebody_asks() {
    let server = Server::start().await;
    let list = server.get("/api/v1/componentstatuses").await;
    let names: Vec<_> =
        list.body["items"].as_array().unwrap().iter().map(|c| &c["metadata"]["name"]).collect();
    assert_eq!(names, ["controller-manager", "scheduler", "etcd-0"]);
    assert_eq!(list.warnings, ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let store = server.get("/api/v1/componentstatuses/etcd-0").await.body;
    assert_eq!(store["conditions"][0], json!({"type": "Healthy", "status": "True", "message": "ok"}));
    assert_eq!(server.get("/api/v1/componentstatuses/nope").await.code, 404);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.send_raw("GET", "/api/v1/componentstatuses", &table, Vec::new()).await.body;
    assert_eq!(table["rows"][2]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    server.stop().await;
}

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

#[tokio::test]
async fn certificates_are_asked_for_and_approved() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let server = Server::start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = |name: &str, pem: &str| {
        json!({"metadata": {"name": name}, "spec": {"request": STANDARD.encode(pem), "usages": ["client auth"],
            "signerName": "example.com/s", "username": "somebody-else"}})
    };
    let made = server.send("POST", REQUESTS, &request("a", &pem)).await;
    assert_eq!((made.code, &made.body["spec"]["username"]), (201, &json!("tester")));
    let refused = server.send("POST", REQUESTS, &request("b", "hello")).await;
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!((refused.code, &cause["field"]), (422, &json!("spec.request")));
    assert!(cause["message"].as_str().unwrap().ends_with("PEM block type must be CERTIFICATE REQUEST"));

    let approval = format!("{REQUESTS}/a/approval");
    let mut approved = server.get(&approval).await.body;
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "ByHand"}]);
    approved["spec"]["signerName"] = json!("example.com/other");
    let answer = server.send("PUT", &approval, &approved).await;
    assert_eq!((answer.code, &answer.body["spec"]["signerName"]), (200, &json!("example.com/s")));
    assert!(answer.body["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let again = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
    assert_eq!(server.send("PATCH", &format!("{REQUESTS}/a/status"), &again).await.code, 422);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.send_raw("GET", REQUESTS, &table, Vec::new()).await.body;
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[2..],
        [json!("example.com/s"), json!("tester"), json!("<none>"), json!("Approved")]
    );
    let selected = server.get(&format!("{REQUESTS}?fieldSelector=spec.signerName%3Dexample.com/s")).await;
    assert_eq!(selected.body["items"].as_array().map(Vec::len), Some(1));
    server.stop().await;
}

#[tokio::test]
async fn what_is_served_here_has_an_available_api_service() {
    const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
    let server = Server::start().await;
    let found = |s: &Value| s["status"]["conditions"][0]["reason"] == "Local";
    let apps = eventually(&server, &format!("{SERVICES}/v1.apps"), found).await;
    assert_eq!(
        apps["spec"],
        json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15})
    );
    server.send("DELETE", &format!("{SERVICES}/v1.apps"), &Value::Null).await;
    let other =
        |s: &Value| s["metadata"]["uid"].is_string() && s["metadata"]["uid"] != apps["metadata"]["uid"];
    eventually(&server, &format!("{SERVICES}/v1.apps"), other).await;
    server.stop().await;
}
