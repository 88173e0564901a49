//! Who callers are, what they may do, and how they ask for certificates.

use serde_json::{Value, json};

use crate::harness::Server;

const AUTHN: &str = "/apis/authentication.k8s.io/v1";
const AUTHZ: &str = "/apis/authorization.k8s.io/v1";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

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
    let elsewhere = "[invalid bearer token, token audiences [\"vault\"] is invalid for the target audiences \
                     [\"https://kubernetes.default.svc.cluster.local\"]]";
    for (spec, error) in [
        (json!({"token": token}), elsewhere),
        (json!({"token": "guess"}), "invalid bearer token"),
        (json!({"token": "secret", "audiences": ["vault"]}), "invalid bearer token"),
    ] {
        let answer = review(spec).await;
        assert_eq!(answer.body["status"], json!({"user": {}, "error": error}));
    }
    let answer = review(json!({"token": "secret"})).await;
    assert_eq!(answer.body["status"]["user"]["username"], "tester");
    assert_eq!(answer.body["status"]["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    // Others can check it without asking.
    let said = server.get("/.well-known/openid-configuration").await;
    assert_eq!(said.body["issuer"], "https://kubernetes.default.svc.cluster.local");
    assert!(said.body["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"), "{}", said.body);
    assert_eq!(said.cache_control.as_deref(), Some("public, max-age=3600"));
    assert_eq!(server.get("/openid/v1/jwks").await.body["keys"][0]["crv"], "P-256");
    // A token dies with the secret or node that it is bound to.
    let secrets = "/api/v1/namespaces/default/secrets";
    for (kind, path) in [("Secret", secrets), ("Node", "/api/v1/nodes")] {
        let made = server.send("POST", path, &json!({"metadata": {"name": "bound"}})).await;
        let reference =
            json!({"apiVersion": "v1", "kind": kind, "name": "bound", "uid": made.body["metadata"]["uid"]});
        let request = json!({"spec": {"expirationSeconds": 600, "boundObjectRef": reference}});
        let token =
            server.send("POST", &format!("{account}/token"), &request).await.body["status"]["token"].take();
        assert_eq!(review(json!({"token": token})).await.body["status"]["authenticated"], true, "{kind}");
        server.send("DELETE", &format!("{path}/bound"), &Value::Null).await;
        server.get(path).await;
        assert_eq!(review(json!({"token": token})).await.body["status"].get("authenticated"), None, "{kind}");
        let mut other = request.clone();
        other["spec"]["boundObjectRef"]["kind"] = "ConfigMap".into();
        let refused = server.send("POST", &format!("{account}/token"), &other).await;
        let why = "cannot bind token to object of type /v1, Kind=ConfigMap";
        assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(why)));
    }
    // No other account's pod lends a token its life and name.
    let pods = "/api/v1/namespaces/default/pods";
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    assert_eq!(server.send("POST", pods, &pod).await.code, 201);
    assert_eq!(server.send("POST", accounts, &json!({"metadata": {"name": "robot"}})).await.code, 201);
    let request = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    assert_eq!(server.send("POST", &format!("{account}/token"), &request).await.code, 201);
    let refused = server.send("POST", &format!("{accounts}/robot/token"), &request).await;
    let why =
        "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name.";
    assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(why)));
    assert_eq!(review(json!({})).await.code, 400);
    server.stop().await;
}

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
