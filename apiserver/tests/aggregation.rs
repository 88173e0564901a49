//! Group versions that another server has, against a server of the test's own that tells what it was asked.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{
    convert::Infallible,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apiserver::args::FrontProxy;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::StreamExt as _;
use harness::{Server, namespace, raw};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use machinery::{
    pki::{Authority, IssueRequest},
    tls::{ClientAuthorities, ClientCertificates, Shown, TlsSource, server_config},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

type Told = UnsyncBoxBody<Bytes, Infallible>;

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const OWN: &str = "/apis/wardle.example.com/v1alpha1";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

fn full(bytes: impl Into<Bytes>) -> Told {
    Full::new(bytes.into()).boxed_unsync()
}

/// How the server behaves.
#[derive(Default)]
struct Wardle {
    /// `hang`, `garbage`, `endless`, or as it should.
    mood: Mutex<&'static str>,
    discovered: AtomicUsize,
    documents: AtomicUsize,
}

impl Wardle {
    async fn answer(
        self: Arc<Self>,
        trusted: bool,
        mut request: Request<Incoming>,
    ) -> Result<Response<Told>, Infallible> {
        let path = request.uri().path().to_owned();
        let mood = *self.mood.lock();
        if path == OWN {
            self.discovered.fetch_add(1, Ordering::Relaxed);
        }
        match mood {
            "hang" => std::future::pending().await,
            "garbage" => return Ok(Response::new(full("garbage"))),
            "endless" => {
                let frames =
                    futures::stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[b' '; 1 << 16]))));
                return Ok(Response::new(StreamBody::new(frames).boxed_unsync()));
            }
            _ => {}
        }
        if request.headers().contains_key("upgrade") {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut buffer = [0; 4];
                stream.read_exact(&mut buffer).await.unwrap();
                stream.write_all(&buffer.to_ascii_uppercase()).await.unwrap();
            });
            let response =
                Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
            return Ok(response.body(full("")).unwrap());
        }
        let v3 = format!("/openapi/v3{OWN}");
        let told = match path.as_str() {
            OWN => {
                json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1",
                "resources": [{"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
                    "verbs": ["create", "get", "list", "watch"]}]})
            }
            "/openapi/v3" => json!({"paths": {&v3[12..]: {"serverRelativeURL": format!("{v3}?hash=1")}}}),
            "/openapi/v2" => {
                self.documents.fetch_add(1, Ordering::Relaxed);
                json!({"swagger": "2.0", "paths": {format!("{OWN}/flunders"): {"get": {"responses": {"200":
                    {"schema": {"$ref": "#/definitions/Flunder"}}}}}}, "definitions": {"Flunder": {"type": "object"}}})
            }
            _ if path.ends_with("/elsewhere") => {
                return Ok(Response::builder().status(302).header("location", "/x").body(full("")).unwrap());
            }
            _ if request.uri().query().is_some_and(|query| query.contains("watch=true")) => {
                let first =
                    futures::stream::once(async { Ok(Frame::data(Bytes::from("{\"type\":\"ADDED\"}\n"))) });
                let frames = first.chain(futures::stream::pending());
                return Ok(Response::new(StreamBody::new(frames).boxed_unsync()));
            }
            _ => {
                let headers: Vec<_> = request
                    .headers()
                    .iter()
                    .filter(|(name, _)| name.as_str().starts_with("x-remote-") || *name == "authorization")
                    .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                    .collect();
                let (method, uri) = (request.method().to_string(), request.uri().to_string());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let told = json!({"trusted": trusted, "headers": headers, "method": method, "uri": uri,
                    "body": String::from_utf8_lossy(&body)});
                let response = Response::builder().status(201).header("content-type", "application/json");
                return Ok(response.body(full(told.to_string())).unwrap());
            }
        };
        Ok(Response::new(full(told.to_string())))
    }

    /// Starts one that knows front proxies by an authority, and is known by another one.
    async fn start(folder: &Path, front: &Path, name: &str) -> (Arc<Self>, u16, String) {
        let (cert, key) = (folder.join("wardle.crt"), folder.join("wardle.key"));
        let authority = Authority::new("wardle").unwrap();
        authority.issue(&IssueRequest::server(name, &[name], &[])).unwrap().save(&cert, &key).unwrap();
        let config =
            server_config(&TlsSource::Files { cert, key }, ClientCertificates::Asked, &["http/1.1"]).unwrap();
        let listener = TcpListener::bind((namespace::ADDRESS, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wardle = Arc::new(Self::default());
        let clients = Arc::new(ClientAuthorities::load(front).unwrap());
        let (serving, acceptor) = (wardle.clone(), TlsAcceptor::from(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (wardle, acceptor, clients) = (serving.clone(), acceptor.clone(), clients.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let trusted = Shown::new(clients, chain).is_some_and(|shown| shown.certificate().is_ok());
                    let service = service_fn(move |request| wardle.clone().answer(trusted, request));
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ended = connection.with_upgrades().await;
                });
            }
        });
        (wardle, port, STANDARD.encode(authority.cert_pem()))
    }
}

async fn made(server: &Server, path: &str, object: Value) {
    let answer = server.send("POST", path, &object).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
}

/// A server that has a front proxy's certificate, and another one behind a service in its cluster.
async fn both(folder: &Path) -> (Server, Arc<Wardle>, String) {
    let file = |name: &str| folder.join(name);
    let front = Authority::load_or_new("front", &file("front.crt"), &file("front.key")).unwrap();
    let client = IssueRequest::client("front-proxy-client", &[]);
    front.issue(&client).unwrap().save(&file("client.crt"), &file("client.key")).unwrap();
    let server = Server::start_with(|config| {
        config.request_timeout = Duration::from_secs(2);
        config.front_proxy = Some(FrontProxy {
            authority: file("front.crt"),
            allowed_names: vec!["front-proxy-client".into()],
            identity: Some((file("client.crt"), file("client.key"))),
        });
    })
    .await;
    let (wardle, port, bundle) = Wardle::start(folder, &file("front.crt"), "api.default.svc").await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    made(&server, "/api/v1/namespaces/default/pods", pod).await;
    let ip = namespace::ADDRESS;
    let ips = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    assert_eq!(server.send("PATCH", "/api/v1/namespaces/default/pods/p/status", &ips).await.code, 200);
    made(&server, API_SERVICES, api_service(&bundle)).await;
    let reason = async |reason: &str| {
        let path = format!("{API_SERVICES}/v1alpha1.wardle.example.com");
        let told = server.eventually(&path, |a| a.body["status"]["conditions"][0]["reason"] == reason).await;
        told.body["status"]["conditions"][0].clone()
    };
    let missing = reason("ServiceNotFound").await;
    assert_eq!(missing["message"], "service/api in \"default\" is not present");
    let service = json!({"metadata": {"name": "api"},
        "spec": {"selector": {"app": "p"}, "ports": [{"name": "https", "port": 443}]}});
    made(&server, SERVICES, service).await;
    assert_eq!(reason("EndpointsNotFound").await["status"], "False");
    assert_eq!(server.get(OWN).await.body, "service unavailable\n");
    let slice = |ready: bool| {
        json!({
            "metadata": {"name": "api", "labels": {"kubernetes.io/service-name": "api"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": "p"}}],
            "ports": [{"name": "https", "port": port}],
        })
    };
    made(&server, SLICES, slice(false)).await;
    let missing = reason("MissingEndpoints").await;
    let why = "endpointslices for service/api in \"default\" have no addresses with port name \"https\"";
    assert_eq!(missing["message"], why);
    assert_eq!(server.send("PUT", &format!("{SLICES}/api"), &slice(true)).await.code, 200);
    assert_eq!(reason("Passed").await["message"], "all checks passed");
    (server, wardle, bundle)
}

fn api_service(bundle: &str) -> Value {
    json!({"metadata": {"name": "v1alpha1.wardle.example.com"}, "spec": {
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
        "service": {"namespace": "default", "name": "api"}, "caBundle": bundle}})
}

#[test]
fn requests_are_passed_on_in_the_name_of_their_callers() {
    namespace::run(async || {
        let folder = tempfile::tempdir().unwrap();
        let (server, wardle, _) = both(folder.path()).await;
        // What a client claims to be, or has taken out with its connection's own headers, changes nothing.
        let headers = [
            ("x-remote-user", "admin"),
            ("x-remote-extra-a", "b"),
            ("connection", "x-remote-group"),
            ("content-type", "application/json"),
        ];
        let path = format!("{OWN}/namespaces/default/flunders?dryRun=All");
        let told = server.send_raw("POST", &path, &headers, b"{\"kind\":\"Flunder\"}".to_vec()).await;
        assert_eq!(told.code, 201);
        let expected = json!({"trusted": true, "method": "POST", "uri": path, "body": "{\"kind\":\"Flunder\"}",
            "headers": ["x-remote-user: tester", "x-remote-uid: 1", "x-remote-group: system:masters",
                "x-remote-group: system:authenticated"]});
        assert_eq!(told.body, expected);
        let nobody = harness::client(server.port, None);
        let refused = harness::send(&nobody, "GET", &path, &[], Vec::new()).await;
        assert_eq!(refused.code, 403);
        assert_eq!(server.get(&format!("{OWN}/elsewhere")).await.code, 502);
        // A watch goes on though other answers would have had to end.
        let events = harness::events(&server, &format!("{OWN}/flunders?watch=true"), 1).await;
        assert_eq!(events, [json!({"type": "ADDED"})]);
        let mut client = raw::http1(server.port).await;
        let upgrade = [("connection", "upgrade"), ("upgrade", "echo")];
        let answer = client
            .send_request(raw::request("GET", &format!("{OWN}/flunders/a/x"), &upgrade, ""))
            .await
            .unwrap();
        assert_eq!(answer.status(), 101);
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        stream.write_all(b"ping").await.unwrap();
        let mut echoed = [0; 4];
        stream.read_exact(&mut echoed).await.unwrap();
        assert_eq!(&echoed, b"PING");

        *wardle.mood.lock() = "hang";
        assert_eq!(server.get(&format!("{OWN}/flunders")).await.code, 504);
        *wardle.mood.lock() = "endless";
        let endless = raw::http1(server.port).await.send_request(raw::request(
            "GET",
            &format!("{OWN}/flunders"),
            &[],
            "",
        ));
        let body = endless.await.unwrap().into_body();
        assert!(body.collect().await.is_err(), "it is broken off");
        server.stop().await;
    });
}

#[test]
fn what_another_server_tells_of_itself_is_told_on() {
    namespace::run(async || {
        let folder = tempfile::tempdir().unwrap();
        let (server, wardle, _) = both(folder.path()).await;
        let groups = server.get("/apis").await.body;
        let names: Vec<_> =
            groups["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
        assert_eq!(names.last(), Some(&"wardle.example.com"));
        let group = server.get("/apis/wardle.example.com").await.body;
        assert_eq!(group["preferredVersion"]["groupVersion"], "wardle.example.com/v1alpha1");
        assert_eq!(server.get(OWN).await.body["resources"][0]["name"], "flunders");
        let aggregated = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
        let version = async || {
            let all = server.send_raw("GET", "/apis", &aggregated, Vec::new()).await.body;
            let found = all["items"].as_array().unwrap().last().unwrap().clone();
            assert_eq!(found["metadata"]["name"], "wardle.example.com");
            found["versions"][0].clone()
        };
        let expected = json!({"version": "v1alpha1", "freshness": "Current", "resources": [{
            "resource": "flunders", "singularResource": "flunder", "scope": "Namespaced",
            "responseKind": {"group": "", "version": "", "kind": "Flunder"},
            "verbs": ["create", "get", "list", "watch"]}]});
        assert_eq!(version().await, expected);
        let name = &OWN[1..];
        let index = server.get("/openapi/v3").await.body;
        assert_eq!(index["paths"][name]["serverRelativeURL"], format!("/openapi/v3/{name}?hash=1"));
        let document = server.get(&format!("/openapi/v3/{name}?hash=1")).await;
        assert_eq!(document.body["uri"], format!("/openapi/v3/{name}?hash=1"));
        let v2 = server.get("/openapi/v2").await.body;
        assert!(
            v2["paths"][format!("{OWN}/flunders")].is_object() && v2["definitions"]["Flunder"].is_object()
        );
        let root = server.get("/").await.body;
        assert!(root["paths"].as_array().unwrap().contains(&json!(OWN)));
        assert_eq!(wardle.documents.load(Ordering::Relaxed), 1);

        // What changes is asked for again, and who lies is not believed.
        *wardle.mood.lock() = "garbage";
        let touch = json!({"spec": {"versionPriority": 201}});
        let merge = [("content-type", "application/merge-patch+json")];
        let path = format!("{API_SERVICES}/v1alpha1.wardle.example.com");
        let touched = server.send_raw("PATCH", &path, &merge, touch.to_string().into_bytes()).await;
        assert_eq!(touched.code, 200);
        while version().await["freshness"] != "Stale" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *wardle.mood.lock() = "endless";
        let touch = json!({"spec": {"versionPriority": 202}});
        server.send_raw("PATCH", &path, &merge, touch.to_string().into_bytes()).await;
        let failed = |reason: &'static str| {
            move |a: &harness::Answer| a.body["status"]["conditions"][0]["reason"] == reason
        };
        let told = server.eventually(&path, failed("FailedDiscoveryCheck")).await.body;
        let why = told["status"]["conditions"][0]["message"].as_str().unwrap();
        assert!(why.starts_with("failing or missing response from https://192.0.2.10:"), "{why}");
        assert_eq!((server.get(OWN).await.code, version().await["freshness"].clone()), (503, json!("Stale")));
        // Once it is well again, that is found out without anything having changed.
        *wardle.mood.lock() = "";
        server.eventually(&path, failed("Passed")).await;

        server.send("DELETE", &path, &Value::Null).await;
        assert_eq!(server.get(OWN).await.code, 404);
        server.stop().await;
    });
}

#[test]
fn a_server_must_be_who_its_service_says() {
    namespace::run(async || {
        let folder = tempfile::tempdir().unwrap();
        let (server, _, bundle) = both(folder.path()).await;
        let path = format!("{API_SERVICES}/v1alpha1.wardle.example.com");
        let message = async |tls: Value, reason: &str| {
            let merge = [("content-type", "application/merge-patch+json")];
            let patch = json!({"spec": tls}).to_string().into_bytes();
            assert_eq!(server.send_raw("PATCH", &path, &merge, patch).await.code, 200);
            let told =
                server.eventually(&path, |a| a.body["status"]["conditions"][0]["reason"] == reason).await;
            told.body["status"]["conditions"][0]["message"].as_str().unwrap().to_owned()
        };
        let other = STANDARD.encode(Authority::new("other").unwrap().cert_pem());
        let why = message(json!({"caBundle": other}), "FailedDiscoveryCheck").await;
        assert!(
            why.ends_with("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
            "{why}"
        );
        message(json!({"caBundle": null, "insecureSkipTLSVerify": true}), "Passed").await;
        message(json!({"caBundle": bundle, "insecureSkipTLSVerify": null}), "Passed").await;
        server.stop().await;
    });
}
