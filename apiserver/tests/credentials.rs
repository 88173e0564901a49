//! How long credentials are good, for whom, and what is told about them.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{path::Path, sync::Arc, time::Duration};

use apiserver::args::Config;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use harness::{Server, client, send};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use machinery::{
    pki::{Authority, IssueRequest},
    tls::client_config,
};
use rustls::{HandshakeKind, client::Resumption};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const ACCOUNT: &str = "/api/v1/namespaces/default/serviceaccounts/default";
const TOKENS: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const TRUST: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
const TRACKING: &str =
    "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";

/// An authority in a folder, and the server's certificate by it.
fn authority(folder: &Path, config: &mut Config) -> Authority {
    let at = |name: &str| folder.join(name);
    let authority = Authority::new("ca").unwrap();
    authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
    let server = authority.issue(&IssueRequest::server("server", &["localhost"], &[])).unwrap();
    server.save(&at("server.crt"), &at("server.key")).unwrap();
    config.client_ca = Some(at("ca.crt"));
    config.serving = Some((at("server.crt"), at("server.key")));
    authority
}

async fn connect(config: Arc<rustls::ClientConfig>, port: u16) -> (SendRequest<Full<Bytes>>, HandshakeKind) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let stream = TlsConnector::from(config).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    (sender, kind)
}

/// Status and body of who one is, asked with a token or without.
async fn who(sender: &mut SendRequest<Full<Bytes>>, token: Option<&str>) -> (u16, Value) {
    let mut request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("host", "localhost")
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    sender.ready().await.unwrap();
    let answer = sender.send_request(request.body(Full::new(Bytes::from("{}"))).unwrap()).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_lets_nobody_in_over_what_it_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut signer = None;
    let server = Server::start_with(|config| signer = Some(authority(folder.path(), config))).await;
    let life = Some(Duration::from_secs(3));
    let short = IssueRequest { life, ..IssueRequest::client("jane", &["dev"]) };
    signer.unwrap().issue(&short).unwrap().save(&at("jane.crt"), &at("jane.key")).unwrap();
    let mut config = client_config(&at("ca.crt"), Some((&at("jane.crt"), &at("jane.key")))).unwrap();
    Arc::make_mut(&mut config).resumption = Resumption::default();
    let (mut open, kind) = connect(config.clone(), server.port).await;
    assert_eq!(kind, HandshakeKind::Full);
    let (code, told) = who(&mut open, None).await;
    assert_eq!((code, &told["status"]["userInfo"]["username"]), (201, &json!("jane")));
    assert_eq!(told["status"]["userInfo"]["groups"], json!(["dev", "system:authenticated"]));
    let mut code = code;
    for _ in 0..100 {
        if code == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        code = who(&mut open, None).await.0;
    }
    assert_eq!(code, 401, "the certificate has ended, its connection has not");
    // A session that is taken up again brings the certificate along.
    let (mut resumed, kind) = connect(config, server.port).await;
    assert_eq!(kind, HandshakeKind::Resumed);
    assert_eq!(who(&mut resumed, None).await.0, 401);
    // Another credential is one.
    assert_eq!(who(&mut resumed, Some("joe")).await.1["status"]["userInfo"]["username"], "joe");
    assert_eq!(who(&mut resumed, Some("guess")).await.0, 401);
    let metrics = server.get("/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    let count = |what: &str| {
        let name = format!("apiserver_client_certificate_expiration_seconds_{what} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        line.parse::<u64>().unwrap()
    };
    let over = count("bucket{le=\"0.0\"}");
    assert!(over >= 4 && count("bucket{le=\"1800.0\"}") > over, "{metrics}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_say_nothing_here_are_told_so_by_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut signer = None;
    let server = Server::start_with(|config| signer = Some(authority(folder.path(), config))).await;
    let signer = signer.unwrap();
    let stranger = Authority::new("other").unwrap();
    for (what, signer, request, code) in [
        ("of another authority", &stranger, IssueRequest::client("jane", &[]), 401),
        ("for servers", &signer, IssueRequest::server("jane", &["localhost"], &[]), 401),
        ("without a name", &signer, IssueRequest::client("", &["system:masters"]), 403),
        ("of nobody", &signer, IssueRequest::client("system:anonymous", &[]), 403),
        ("good", &signer, IssueRequest::client("jane", &[]), 201),
    ] {
        signer.issue(&request).unwrap().save(&at("it.crt"), &at("it.key")).unwrap();
        let config = client_config(&at("ca.crt"), Some((&at("it.crt"), &at("it.key")))).unwrap();
        let (mut sender, _) = connect(config, server.port).await;
        assert_eq!(who(&mut sender, None).await.0, code, "{what}");
    }
    // Another authority takes over, also over connections that are open.
    let issued = stranger.issue(&IssueRequest::client("eve", &[])).unwrap();
    issued.save(&at("it.crt"), &at("it.key")).unwrap();
    let config = client_config(&at("ca.crt"), Some((&at("it.crt"), &at("it.key")))).unwrap();
    let (mut sender, _) = connect(config, server.port).await;
    assert_eq!(who(&mut sender, None).await.0, 401);
    let both = format!("{}{}", signer.cert_pem(), stranger.cert_pem());
    std::fs::write(at("ca.crt"), both).unwrap();
    let mut code = 401;
    for _ in 0..100 {
        if code == 201 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        code = who(&mut sender, None).await.0;
    }
    assert_eq!(code, 201);
    server.stop().await;
}

fn claims(token: &Value) -> Value {
    let body = token.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

#[tokio::test]
async fn tokens_are_asked_for_as_upstream_has_it() {
    let server = Server::start_with(|config| config.tokens.longest = Some(7200)).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let pod = server.send("POST", pods, &pod).await;
    assert_eq!(pod.code, 201, "{}", pod.body);
    let uid = server.get(ACCOUNT).await.body["metadata"]["uid"].clone();
    let bound = |reference: Value| json!({"spec": {"boundObjectRef": reference}});
    for (request, code, said) in [
        (bound(json!({"kind": "Pod", "name": "p"})), 201, ""),
        (bound(json!({"kind": "Pod", "name": "p", "apiVersion": "a/b/c"})), 201, ""),
        (bound(json!({"kind": "Pod", "name": "p", "uid": pod.body["metadata"]["uid"]})), 201, ""),
        (bound(json!({"kind": "Pod", "name": "no"})), 404, "pods \"no\" not found"),
        (bound(json!({"kind": "Node", "name": "no"})), 404, "nodes \"no\" not found"),
        (bound(json!({"kind": "Secret", "name": "no", "apiVersion": "v1"})), 404, "secrets \"no\" not found"),
        (bound(json!({"kind": "Pod"})), 400, "Name parameter required."),
        (
            bound(json!({"kind": "Pod", "name": "../p"})),
            400,
            "Name parameter invalid: \"../p\": may not contain '/'",
        ),
        (
            bound(json!({"kind": "Pod", "name": "p", "apiVersion": "apps/v1"})),
            400,
            "cannot bind token to object of type apps/v1, Kind=Pod",
        ),
        (bound(json!({"name": "p"})), 400, "cannot bind token to object of type /, Kind="),
        (
            bound(json!({"kind": "Pod", "name": "p", "uid": "x"})),
            409,
            "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated",
        ),
        (json!({"metadata": {"name": "default", "namespace": "default", "uid": uid}}), 201, ""),
        (
            json!({"metadata": {"name": "other"}}),
            422,
            "TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.name: Invalid value: \"other\": must match the service account name if specified",
        ),
        (
            json!({"metadata": {"namespace": "other"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            json!({"metadata": {"uid": "x"}}),
            409,
            &*format!(
                "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"default\": the UID in the token request (x) does not match the UID of the service account ({})",
                uid.as_str().unwrap()
            ),
        ),
        (
            json!({"spec": {"expirationSeconds": 599}}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
        ),
        (
            json!({"spec": {"expirationSeconds": 4_294_967_297_u64}}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
    ] {
        let answer = server.send("POST", TOKENS, &request).await;
        assert_eq!(answer.code, code, "{request}: {}", answer.body);
        if code == 201 {
            let told = &answer.body["metadata"];
            assert_eq!((&told["name"], &told["namespace"]), (&json!("default"), &json!("default")));
            assert_eq!((&told["uid"], &answer.body["spec"]["expirationSeconds"]), (&uid, &json!(3600)));
            assert!(answer.body["spec"].get("boundObjectRef").is_some());
        } else {
            assert_eq!(answer.body["message"], said, "{request}");
        }
    }
    let long = server.send("POST", TOKENS, &json!({"spec": {"expirationSeconds": 10_000}})).await;
    assert_eq!((long.code, &long.body["spec"]["expirationSeconds"]), (201, &json!(7200)));
    assert_eq!(long.warnings, ["299 - \"requested expiration of 10000 seconds shortened to 7200 seconds\""]);
    let lives = |answer: &harness::Answer| {
        let claims = claims(&answer.body["status"]["token"]);
        let warned = claims["kubernetes.io"].get("warnafter").map(|at| at.as_i64().unwrap());
        let issued = claims["iat"].as_i64().unwrap();
        (claims["exp"].as_i64().unwrap() - issued, warned.map(|at| at - issued))
    };
    assert_eq!(lives(&long), (7200, None));
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p"});
    for (audiences, expected) in
        [(json!([]), (365 * 24 * 3600, Some(3607))), (json!(["vault"]), (3607, None))]
    {
        let spec = json!({"expirationSeconds": 3607, "boundObjectRef": reference, "audiences": audiences});
        let answer = server.send("POST", TOKENS, &json!({"spec": spec})).await;
        assert_eq!(lives(&answer), expected, "{audiences}");
    }
    server.stop().await;
}

#[tokio::test]
async fn keys_of_other_installations_sign_and_check_tokens_and_give_way_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file:{}", folder.path().join("store").display());
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../machinery/tests/keys").join(name);
    let with_keys = |signing: &'static str, trusted: &'static str| {
        let store = store.parse().unwrap();
        Server::start_with(move |config| {
            config.store = store;
            config.service_account_keys = Some((file(signing), vec![file(trusted)]));
        })
    };
    let mut tokens = Vec::new();
    for (signing, trusted, algorithm) in [
        ("rsa.pkcs1.pem", "rsa.pub.pem", "RS256"),
        ("p256.params.pem", "rsa.crt.pem", "ES256"),
        ("p384.sec1.pem", "p256.sec1.pem", "ES384"),
    ] {
        let server = with_keys(signing, trusted).await;
        let token = server.send("POST", TOKENS, &json!({})).await.body["status"]["token"].clone();
        tokens.push(token.as_str().unwrap().to_owned());
        // With the key before the last one went what it had signed.
        for (age, token) in tokens.iter().rev().enumerate() {
            let bearer = client(server.port, Some(token));
            let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
            let json = [("content-type", "application/json")];
            let told = send(&bearer, "POST", reviews, &json, b"{}".to_vec()).await;
            assert_eq!(told.code, if age < 2 { 201 } else { 401 }, "{signing}: {}", told.body);
            let user = &told.body["status"]["userInfo"]["username"];
            assert!(age == 2 || user == "system:serviceaccount:default:default", "{user}");
        }
        let said = server.get("/.well-known/openid-configuration").await.body;
        let algorithms = said["id_token_signing_alg_values_supported"].as_array().unwrap();
        assert!(algorithms.contains(&json!(algorithm)), "{algorithms:?}");
        let keys = server.get("/openid/v1/jwks").await.body["keys"].as_array().unwrap().len();
        assert_eq!((keys, algorithms.len()), if algorithm == "RS256" { (1, 1) } else { (2, 2) });
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_read_of_authentication_is_there_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(|config| drop(authority(folder.path(), config))).await;
    let ca = std::fs::read_to_string(folder.path().join("ca.crt")).unwrap().replace("\r\n", "\n");
    let is_whole = |answer: &harness::Answer| answer.body["data"]["client-ca-file"] == ca;
    let is_day = |answer: &harness::Answer| {
        let since = answer.body["data"]["since"].as_str().unwrap_or_default();
        since.len() == 10 && since.starts_with("20")
    };
    for _ in 0..2 {
        server.eventually(TRUST, is_whole).await;
        server.eventually(TRACKING, is_day).await;
        for path in [TRUST, TRACKING] {
            assert_eq!(server.send("DELETE", path, &Value::Null).await.code, 200);
        }
    }
    server.eventually(TRUST, is_whole).await;
    server.eventually(TRACKING, is_day).await;
    // Or is mended.
    assert_eq!(server.send("PATCH", TRUST, &json!({"data": {"client-ca-file": "nonsense"}})).await.code, 200);
    server.eventually(TRUST, is_whole).await;
    assert_eq!(server.send("PATCH", TRACKING, &json!({"data": {"since": "long ago"}})).await.code, 200);
    server.eventually(TRACKING, is_day).await;
    // What another server trusts stays.
    let other = Authority::new("other").unwrap();
    let both = format!("{}{ca}", other.cert_pem().replace("\r\n", "\n"));
    let told = json!({"data": {"client-ca-file": other.cert_pem()}});
    assert_eq!(server.send("PATCH", TRUST, &told).await.code, 200);
    server.eventually(TRUST, |answer| answer.body["data"]["client-ca-file"] == both).await;
    server.stop().await;
}
