//! A webhook's server, and how the API server comes to ask it.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use machinery::tls::{ClientCertificates, TlsSource, server_config};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Barrier};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Answer, Server};

pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";

/// A webhook's server. What it answers depends on the path.
pub struct Hook {
    pub port: u16,
    /// The authority that signed its certificate.
    pub bundle: String,
    seen: Mutex<Vec<(String, Value)>>,
    /// What it says to reviews at a path: the response, which gets the uid; `patch` may be a list of operations.
    says: Mutex<HashMap<&'static str, Value>>,
    pub connections: AtomicUsize,
    /// What two reviews at `/together` wait for.
    together: Barrier,
}

impl Hook {
    /// Starts one whose certificate is for these names.
    pub async fn start(address: &str, names: &[&str]) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (source, bundle) = certificate(folder.path(), names);
        let config = server_config(&source, ClientCertificates::Ignored, &["h2", "http/1.1"]).unwrap();
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let hook = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            bundle,
            seen: Mutex::default(),
            says: Mutex::default(),
            connections: AtomicUsize::new(0),
            together: Barrier::new(2),
        });
        let (serving, acceptor) = (hook.clone(), TlsAcceptor::from(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (hook, acceptor) = (serving.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    hook.connections.fetch_add(1, Ordering::Relaxed);
                    let service = service_fn(|request| hook.clone().answer(request));
                    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        hook
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        assert_eq!(request.uri().query(), Some(if path == "/hang" { "timeout=1s" } else { "timeout=10s" }));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let review: Value = serde_json::from_slice(&body).unwrap();
        let uid = review["request"]["uid"].clone();
        // The server's own loops write, too.
        if review["request"]["userInfo"]["username"] == "tester" {
            self.seen.lock().push((path.clone(), review.clone()));
        }
        let text = |code: u16, text: &str| {
            let response = Response::builder().status(code).body(Full::from(text.to_owned()));
            Ok(response.unwrap())
        };
        match path.as_str() {
            "/hang" => std::future::pending().await,
            "/together" => {
                self.together.wait().await;
            }
            "/garbage" => return text(200, "garbage"),
            "/broken" => return text(500, "oh no"),
            "/none" => return text(404, "page not found"),
            "/endless" => return text(200, &" ".repeat(4 << 20)),
            _ => {}
        }
        let mut response = self.says.lock().get(path.as_str()).cloned().unwrap_or(json!({"allowed": true}));
        if response["patch"].is_array() {
            response["patch"] = STANDARD.encode(response["patch"].to_string()).into();
            response["patchType"] = "JSONPatch".into();
        }
        if response["uid"].is_null() {
            response["uid"] = uid;
        }
        let answer =
            json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
        text(200, &answer.to_string())
    }

    pub fn says(&self, path: &'static str, response: Value) {
        self.says.lock().insert(path, response);
    }

    pub fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.seen.lock())
    }

    /// The paths at which it was asked.
    pub fn paths(&self) -> Vec<String> {
        self.take().into_iter().map(|(path, _)| path).collect()
    }

    /// A webhook that is about one resource of all groups.
    pub fn about(&self, path: &str, resource: &str) -> Value {
        let name = path.trim_start_matches('/');
        json!({
            "name": format!("{name}.hooks.test"),
            "clientConfig": {
                "url": format!("https://127.0.0.1:{}{path}", self.port),
                "caBundle": STANDARD.encode(&self.bundle),
            },
            "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": [resource]}],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        })
    }
}

fn certificate(folder: &std::path::Path, names: &[&str]) -> (TlsSource, String) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let bundle = ca.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let params = CertificateParams::new(names).unwrap();
    std::fs::write(folder.join("tls.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
    (TlsSource::Files { cert: folder.join("tls.pem"), key: folder.join("tls.key") }, bundle)
}

/// A server and a webhook's.
pub async fn both() -> (Server, Arc<Hook>) {
    (Server::start().await, Hook::start("127.0.0.1", &["127.0.0.1"]).await)
}

/// Has webhooks asked: `kind` is `mutating` or `validating`.
pub async fn configure(server: &Server, kind: &str, name: &str, hooks: &[Value]) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
    let configuration = json!({"metadata": {"name": name}, "webhooks": hooks});
    let answer = server.send("POST", &path, &configuration).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    // What is read is fresh.
    server.get(&format!("{path}/{name}")).await;
}

pub async fn remove(server: &Server, kind: &str, name: &str) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
    assert_eq!(server.send("DELETE", &format!("{path}/{name}"), &Value::Null).await.code, 200);
    server.get(&path).await;
}

pub fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "data": {"key": "value"}})
}

pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

pub fn message(answer: &Answer) -> (u16, &str) {
    (answer.code, answer.body["message"].as_str().unwrap_or(""))
}
