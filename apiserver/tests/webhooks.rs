//! Admission webhooks, against servers of the test's own behind TLS.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use harness::{Answer, Server, namespace};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use machinery::tls::{ClientCertificates, TlsSource, server_config};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A webhook's server. What it answers depends on the path.
struct Hook {
    port: u16,
    /// The authority that signed its certificate.
    bundle: String,
    seen: Mutex<Vec<(String, Value)>>,
    /// What it says to reviews at a path: the response, which gets the uid; `patch` may be a list of operations.
    says: Mutex<HashMap<&'static str, Value>>,
    connections: AtomicUsize,
}

impl Hook {
    /// Starts one whose certificate is for these names.
    async fn start(address: &str, names: &[&str]) -> Arc<Self> {
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

    fn says(&self, path: &'static str, response: Value) {
        self.says.lock().insert(path, response);
    }

    fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.seen.lock())
    }

    /// The paths at which it was asked.
    fn paths(&self) -> Vec<String> {
        self.take().into_iter().map(|(path, _)| path).collect()
    }

    /// A webhook that is about one resource of all groups.
    fn about(&self, path: &str, resource: &str) -> Value {
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
async fn both() -> (Server, Arc<Hook>) {
    (Server::start().await, Hook::start("127.0.0.1", &["127.0.0.1"]).await)
}

/// Has webhooks asked: `kind` is `mutating` or `validating`.
async fn configure(server: &Server, kind: &str, name: &str, hooks: &[Value]) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
    let configuration = json!({"metadata": {"name": name}, "webhooks": hooks});
    let answer = server.send("POST", &path, &configuration).await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    // What is read is fresh.
    server.get(&format!("{path}/{name}")).await;
}

async fn remove(server: &Server, kind: &str, name: &str) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
    assert_eq!(server.send("DELETE", &format!("{path}/{name}"), &Value::Null).await.code, 200);
    server.get(&path).await;
}

fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "a"}}, "data": {"key": "value"}})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn message(answer: &Answer) -> (u16, &str) {
    (answer.code, answer.body["message"].as_str().unwrap_or(""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_shows_the_whole_operation() {
    let (server, hook) = both().await;
    let mut about = hook.about("/all", "*/*");
    about["rules"][0]["scope"] = "Namespaced".into();
    configure(&server, "validating", "all", &[about]).await;
    let path = format!("{CONFIG_MAPS}?fieldManager=me&dryRun=All&fieldValidation=Strict");
    assert_eq!(server.send("POST", &path, &config_map("c")).await.code, 201);
    let (_, review) = hook.take().pop().unwrap();
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    let mut request = review["request"].clone();
    assert_eq!(request["uid"].as_str().unwrap().len(), 36);
    let object = request["object"].take();
    assert_eq!((&object["kind"], &object["data"]), (&json!("ConfigMap"), &json!({"key": "value"})));
    assert!(object["metadata"]["uid"].is_string(), "{object}");
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    let expected = json!({
        "uid": request["uid"],
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "c", "namespace": "default", "operation": "CREATE",
        "userInfo": {"username": "tester", "uid": "1", "groups": ["system:masters", "system:authenticated"]},
        "object": null, "oldObject": null, "dryRun": true,
        "options": {
            "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"],
            "fieldManager": "me", "fieldValidation": "Strict",
        },
    });
    assert_eq!(request, expected);

    assert_eq!(server.send("POST", CONFIG_MAPS, &config_map("c")).await.code, 201);
    server.send("PATCH", &format!("{CONFIG_MAPS}/c"), &json!({"data": {"key": "new"}})).await;
    let (_, review) = hook.take().pop().unwrap();
    let request = &review["request"];
    let keys = (&request["oldObject"]["data"]["key"], &request["object"]["data"]["key"]);
    assert_eq!((&request["operation"], keys), (&json!("UPDATE"), (&json!("value"), &json!("new"))));

    server
        .send(
            "DELETE",
            CONFIG_MAPS,
            &json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 7}),
        )
        .await;
    let (_, review) = hook.take().pop().unwrap();
    let request = &review["request"];
    assert_eq!((&request["operation"], &request["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(request["oldObject"]["data"]["key"], "new");
    assert_eq!(
        (&request["options"]["kind"], &request["options"]["gracePeriodSeconds"]),
        (&json!("DeleteOptions"), &json!(7))
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subresources_connections_and_custom_objects_are_reviewed() {
    let (server, hook) = both().await;
    let definition = json!({
        "metadata": {"name": "cats.hooks.test"},
        "spec": {
            "group": "hooks.test", "scope": "Namespaced", "names": {"kind": "Cat", "plural": "cats"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(server.send("POST", definitions, &definition).await.code, 201);
    let cats = "/apis/hooks.test/v1/namespaces/default/cats";
    server.eventually(cats, |answer| answer.code == 200).await;
    let mut about = hook.about("/all", "*/*");
    about["rules"][0]["scope"] = "Namespaced".into();
    configure(&server, "mutating", "all", &[about]).await;
    let (apps, template) = ("/apis/apps/v1/namespaces/default/deployments", pod("p")["spec"].clone());
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": template});
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    });
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 2}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let cat = json!({"apiVersion": "hooks.test/v1", "kind": "Cat", "metadata": {"name": "tom"}});
    for (method, path, body, expected) in [
        ("POST", PODS.to_owned(), pod("p"), "CREATE pods Pod p"),
        (
            "PATCH",
            format!("{PODS}/p/status"),
            json!({"status": {"phase": "Pending"}}),
            "UPDATE pods/status Pod p",
        ),
        ("GET", format!("{PODS}/p/exec?command=a"), Value::Null, "CONNECT pods/exec PodExecOptions p"),
        ("GET", format!("{PODS}/p/attach"), Value::Null, "CONNECT pods/attach PodAttachOptions p"),
        ("POST", format!("{PODS}/p/eviction"), eviction, "CREATE pods/eviction Eviction p"),
        ("POST", apps.to_owned(), deployment, "CREATE deployments Deployment d"),
        ("PUT", format!("{apps}/d/scale"), scale, "UPDATE deployments/scale Scale d"),
        ("POST", cats.to_owned(), cat, "CREATE cats Cat tom"),
        ("DELETE", cats.to_owned(), Value::Null, "DELETE cats Cat -"),
        (
            "POST",
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers".into(),
            scaler,
            "CREATE horizontalpodautoscalers HorizontalPodAutoscaler h",
        ),
    ] {
        hook.take();
        let answer = server.send(method, &path, &body).await;
        let seen: Vec<String> = hook
            .take()
            .iter()
            .map(|(_, review)| {
                let request = &review["request"];
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let sub = text(&request["subResource"]).map(|sub| format!("/{sub}")).unwrap_or_default();
                format!(
                    "{} {}{sub} {} {}",
                    request["operation"].as_str().unwrap(),
                    request["resource"]["resource"].as_str().unwrap(),
                    request["kind"]["kind"].as_str().unwrap(),
                    text(&request["name"]).unwrap_or_else(|| "-".into()),
                )
            })
            .collect();
        assert_eq!(seen, [expected], "{method} {path}: {}", answer.body);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shown_in_the_version_that_rules_name() {
    let (server, hook) = both().await;
    hook.says("/old", json!({"allowed": true, "patch": [{"op": "add", "path": "/spec/targetCPUUtilizationPercentage", "value": 7}]}));
    let mut old = hook.about("/old", "horizontalpodautoscalers");
    old["rules"][0]["apiVersions"] = json!(["v1"]);
    let mut exact = hook.about("/exact", "horizontalpodautoscalers");
    exact["rules"][0]["apiVersions"] = json!(["v1"]);
    exact["matchPolicy"] = "Exact".into();
    configure(&server, "mutating", "old", &[old, exact]).await;
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    });
    let made = server.send("POST", path, &scaler).await;
    let seen = hook.take();
    assert_eq!(seen.len(), 1, "{}", made.body);
    let request = &seen[0].1["request"];
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(made.body["apiVersion"], "autoscaling/v2");
    assert_eq!(
        made.body["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 7,
        "{}",
        made.body
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_are_applied_in_order_and_held_to_the_rules() {
    let (server, hook) = both().await;
    let label = |name: &str| json!({"allowed": true, "patch": [{"op": "add", "path": format!("/metadata/labels/{name}"), "value": name}]});
    for (path, says) in [("/one", label("one")), ("/two", label("two")), ("/three", label("three"))] {
        hook.says(path, says);
    }
    let mut again = hook.about("/one", "configmaps");
    again["reinvocationPolicy"] = "IfNeeded".into();
    // The names of configurations decide.
    configure(&server, "mutating", "b", &[hook.about("/three", "configmaps")]).await;
    configure(&server, "mutating", "a", &[again, hook.about("/two", "configmaps")]).await;
    let made = server.send("POST", &format!("{CONFIG_MAPS}?fieldManager=me"), &config_map("c")).await;
    assert_eq!(
        made.body["metadata"]["labels"],
        json!({"app": "a", "one": "one", "two": "two", "three": "three"})
    );
    // It is asked again, since others have changed the object after it.
    assert_eq!(hook.paths(), ["/one", "/two", "/three", "/one"]);
    let managed = &made.body["metadata"]["managedFields"];
    assert_eq!((managed.as_array().unwrap().len(), &managed[0]["manager"]), (1, &json!("me")), "{managed}");
    remove(&server, "mutating", "a").await;
    remove(&server, "mutating", "b").await;

    // Defaults come in, and the rules have their say.
    let container = |extra: Value| json!({"allowed": true, "patch": [{"op": "add", "path": "/spec/containers/-", "value": extra}]});
    hook.says("/pods", container(json!({"name": "side", "image": "i"})));
    configure(&server, "mutating", "pods", &[hook.about("/pods", "pods")]).await;
    let made = server.send("POST", PODS, &pod("p")).await;
    assert_eq!(made.body["spec"]["containers"][1]["imagePullPolicy"], "Always", "{}", made.body);
    hook.says("/pods", container(json!({"name": "No Name", "image": "i"})));
    let refused = server.send("POST", PODS, &pod("q")).await;
    assert_eq!((refused.code, &refused.body["reason"]), (422, &json!("Invalid")), "{}", refused.body);
    for (patch, why) in [
        (json!([{"op": "replace", "path": "/spec/containers", "value": 7}]), "Internal error occurred: "),
        (json!([{"op": "remove", "path": "/spec/none"}]), "Internal error occurred: "),
        (json!([{"op": "replace", "path": "/kind", "value": "Node"}]), "Internal error occurred: "),
    ] {
        hook.says("/pods", json!({"allowed": true, "patch": patch}));
        let refused = server.send("POST", PODS, &pod("q")).await;
        assert!(refused.code >= 400 && message(&refused).1.starts_with(why), "{patch}: {}", refused.body);
    }
    let moved = json!([{"op": "replace", "path": "/metadata/namespace", "value": "other"}]);
    hook.says("/maps", json!({"allowed": true, "patch": moved}));
    configure(&server, "mutating", "maps", &[hook.about("/maps", "configmaps")]).await;
    let refused = server.send("POST", CONFIG_MAPS, &config_map("d")).await;
    let why = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(message(&refused), (400, why));
    hook.says("/pods", json!({"allowed": true, "patch": [{"op": "add", "path": "/x", "value": 1}]}));
    let deleted = server.send("DELETE", &format!("{PODS}/p"), &Value::Null).await;
    let why = "Internal error occurred: admission webhook \"pods.hooks.test\" attempted to modify the object, which is not supported for this operation";
    assert_eq!(message(&deleted), (500, why));
    hook.says("/pods", json!({"allowed": true, "patch": [{"op": "replace", "path": "/metadata/managedFields", "value": [{"fieldsType": "x"}]}]}));
    let made = server.send("POST", PODS, &pod("r")).await;
    assert_eq!((made.code, made.warnings.len()), (201, 1), "{:?}", made.warnings);
    assert_eq!(made.body["metadata"]["managedFields"][0]["fieldsType"], "FieldsV1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_failures_are_told_in_upstreams_words() {
    let (server, hook) = both().await;
    hook.says("/no", json!({"allowed": false, "status": {"message": "I said no", "code": 403, "reason": "Forbidden"}, "warnings": ["careful"]}));
    hook.says("/silent", json!({"allowed": false}));
    hook.says("/lies", json!({"allowed": true, "uid": "another"}));
    hook.says("/patches", json!({"allowed": true, "patch": []}));
    let at = |path: &str| format!("\"https://127.0.0.1:{}{path}?timeout=10s\"", hook.port);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let calling = |name: &str, why: &str| {
        format!("Internal error occurred: failed calling webhook \"{name}.hooks.test\": {why}")
    };
    let call = |name: &str, why: &str| calling(name, &format!("failed to call webhook: {why}"));
    let cases: Vec<(&str, u16, String)> = vec![
        ("/no", 403, "admission webhook \"no.hooks.test\" denied the request: I said no".into()),
        (
            "/silent",
            400,
            "admission webhook \"silent.hooks.test\" denied the request without explanation".into(),
        ),
        (
            "/broken",
            500,
            call("broken", "an error on the server (\"oh no\") has prevented the request from succeeding"),
        ),
        ("/none", 500, call("none", "the server could not find the requested resource")),
        ("/garbage", 500, call("garbage", "couldn't get version/kind; json parse error")),
        ("/endless", 500, call("endless", &format!("Post {}: length limit exceeded", at("/endless")))),
        ("/lies", 500, calling("lies", "received invalid webhook response: expected response.uid=")),
        (
            "/patches",
            500,
            calling(
                "patches",
                "received invalid webhook response: validating webhook may not return response.patch",
            ),
        ),
        (
            "/closed",
            500,
            call(
                "closed",
                &format!(
                    "Post \"https://127.0.0.1:{closed}/closed?timeout=10s\": dial tcp 127.0.0.1:{closed}: connect: connection refused"
                ),
            ),
        ),
        ("/self", 500, call("self", "")),
        (
            "/stranger",
            500,
            call(
                "stranger",
                &format!(
                    "Post {}: tls: failed to verify certificate: x509: certificate signed by unknown authority",
                    at("/stranger")
                ),
            ),
        ),
        (
            "/name",
            500,
            call(
                "name",
                &format!(
                    "Post \"https://localhost:{}/name?timeout=10s\": tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match localhost",
                    hook.port
                ),
            ),
        ),
        (
            "/hang",
            500,
            call(
                "hang",
                &format!(
                    "Post \"https://127.0.0.1:{}/hang?timeout=1s\": context deadline exceeded",
                    hook.port
                ),
            ),
        ),
    ];
    let other = Hook::start("127.0.0.1", &["127.0.0.1"]).await;
    for (path, code, expected) in cases {
        let mut about = hook.about(path, "configmaps");
        let config = &mut about["clientConfig"];
        match path {
            "/closed" => config["url"] = format!("https://127.0.0.1:{closed}{path}").into(),
            // The API server itself.
            "/self" => config["url"] = format!("https://127.0.0.1:{}{CONFIG_MAPS}", server.port).into(),
            "/stranger" => config["caBundle"] = STANDARD.encode(&other.bundle).into(),
            "/name" => config["url"] = format!("https://localhost:{}{path}", hook.port).into(),
            "/hang" => about["timeoutSeconds"] = 1.into(),
            _ => {}
        }
        configure(&server, "validating", "one", std::slice::from_ref(&about)).await;
        let begun = Instant::now();
        let refused = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
        let (told, text) = message(&refused);
        assert!(told == code && text.starts_with(&expected), "{path}: {told} {text}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{path}");
        assert_eq!(refused.warnings.len(), usize::from(path == "/no"), "{path}");
        // Where it may fail, only a refusal counts.
        about["failurePolicy"] = "Ignore".into();
        remove(&server, "validating", "one").await;
        configure(&server, "validating", "one", &[about]).await;
        let answer = server.send("POST", &format!("{CONFIG_MAPS}?dryRun=All"), &config_map("c")).await;
        let refuses = matches!(path, "/no" | "/silent");
        assert_eq!(answer.code, if refuses { code } else { 201 }, "{path}: {}", answer.body);
        remove(&server, "validating", "one").await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_and_conditions_decide_who_is_asked() {
    let (server, hook) = both().await;
    let mut elsewhere = hook.about("/elsewhere", "configmaps");
    elsewhere["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
    let mut here = hook.about("/here", "configmaps");
    here["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
    let mut labelled = hook.about("/labelled", "configmaps");
    labelled["objectSelector"] = json!({"matchLabels": {"app": "b"}});
    let mut updates = hook.about("/updates", "configmaps");
    updates["rules"][0]["operations"] = json!(["UPDATE"]);
    let condition = |expression: &str| json!([{"name": "c", "expression": expression}]);
    let mut holds = hook.about("/holds", "configmaps");
    holds["matchConditions"] =
        condition("request.userInfo.username == 'tester' && object.data.key == 'value'");
    let mut fails = hook.about("/fails", "configmaps");
    fails["matchConditions"] = condition("request.operation == 'DELETE'");
    let mut open = hook.about("/open", "configmaps");
    open["matchConditions"] = condition("object.data.none == 'x'");
    open["failurePolicy"] = "Ignore".into();
    let hooks = [elsewhere, here, labelled, updates, holds, fails, open];
    configure(&server, "mutating", "all", &hooks).await;
    let made = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(hook.paths(), ["/here", "/holds"]);
    // The object is selected as it was, or as it becomes.
    server.send("PATCH", &format!("{CONFIG_MAPS}/c"), &json!({"metadata": {"labels": {"app": "b"}}})).await;
    assert_eq!(hook.paths(), ["/here", "/labelled", "/updates", "/holds"]);
    server.send("PATCH", &format!("{CONFIG_MAPS}/c"), &json!({"metadata": {"labels": {"app": "a"}}})).await;
    assert!(hook.paths().contains(&"/labelled".to_owned()));
    // What a namespace is to be called and labelled counts before it is.
    let mut namespaces = hook.about("/namespaces", "namespaces");
    namespaces["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
    configure(&server, "mutating", "namespaces", &[namespaces]).await;
    for (name, expected) in [("other", 1), ("third", 0)] {
        let namespace = json!({"metadata": {"name": name}});
        assert_eq!(server.send("POST", "/api/v1/namespaces", &namespace).await.code, 201);
        assert_eq!(hook.paths().len(), expected, "{name}");
    }
    remove(&server, "mutating", "all").await;

    let mut closed = hook.about("/closed", "configmaps");
    closed["matchConditions"] = condition("object.data.none == 'x'");
    configure(&server, "validating", "closed", &[closed]).await;
    let refused = server.send("POST", CONFIG_MAPS, &config_map("d")).await;
    assert_eq!(
        message(&refused),
        (
            403,
            "configmaps \"d\" is forbidden: expression 'object.data.none == 'x'' resulted in error: no such key: none"
        )
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_locked_out_of_what_decides() {
    let (server, hook) = both().await;
    hook.says("/all", json!({"allowed": false}));
    let all = hook.about("/all", "*/*");
    configure(&server, "validating", "all", std::slice::from_ref(&all)).await;
    configure(&server, "mutating", "all", &[all]).await;
    assert_eq!(server.send("POST", CONFIG_MAPS, &config_map("c")).await.code, 400);
    hook.take();
    remove(&server, "mutating", "all").await;
    remove(&server, "validating", "all").await;
    assert_eq!(hook.paths(), [""; 0]);
    assert_eq!(server.send("POST", CONFIG_MAPS, &config_map("c")).await.code, 201);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_reviews_are_sent_to_whoever_understands_no_other() {
    let (server, hook) = both().await;
    hook.says(
        "/old",
        json!({"allowed": true, "uid": "", "patch": [{"op": "add", "path": "/data/new", "value": "x"}]}),
    );
    let mut old = hook.about("/old", "configmaps");
    old["admissionReviewVersions"] = json!(["v2", "v1beta1", "v1"]);
    configure(&server, "mutating", "old", &[old]).await;
    let made = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
    assert_eq!(made.body["data"]["new"], "x", "{}", made.body);
    assert_eq!(hook.take()[0].1["apiVersion"], "admission.k8s.io/v1beta1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validating_webhooks_are_asked_together_on_connections_that_are_kept() {
    let (server, hook) = both().await;
    configure(&server, "validating", "v", &[hook.about("/a", "configmaps"), hook.about("/b", "configmaps")])
        .await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(server.send("POST", CONFIG_MAPS, &config_map(name)).await.code, 201);
    }
    assert_eq!((hook.paths().len(), hook.connections.load(Ordering::Relaxed)), (8, 2));
    // Two that hang take no longer than one.
    let mut slow = [hook.about("/hang", "secrets"), hook.about("/hang", "secrets")];
    for (name, hook) in ["one", "two"].iter().zip(&mut slow) {
        hook["name"] = format!("{name}.hooks.test").into();
        hook["timeoutSeconds"] = 1.into();
    }
    configure(&server, "validating", "slow", &slow).await;
    let begun = Instant::now();
    let secret = json!({"metadata": {"name": "s"}});
    assert_eq!(server.send("POST", "/api/v1/namespaces/default/secrets", &secret).await.code, 500);
    assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
    server.stop().await;
}

#[test]
fn a_service_is_reached_through_its_pods_under_its_own_name() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let server = Server::start().await;
        let hook = Hook::start(namespace::ADDRESS, &["hook.default.svc"]).await;
        let mut server_pod = pod("hook");
        server_pod["metadata"]["labels"] = json!({"app": "hook"});
        assert_eq!(server.send("POST", PODS, &server_pod).await.code, 201);
        let ip = namespace::ADDRESS;
        let ips = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        assert_eq!(server.send("PATCH", &format!("{PODS}/hook/status"), &ips).await.code, 200);
        let service =
            json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "tls", "port": 8443}]}});
        assert_eq!(server.send("POST", "/api/v1/namespaces/default/services", &service).await.code, 201);
        let mut about = hook.about("/way", "configmaps");
        let config = |name: &str, port: u16| {
            json!({
                "service": {"namespace": "default", "name": name, "port": port, "path": "/way"},
                "caBundle": STANDARD.encode(&hook.bundle),
            })
        };
        let calling =
            "Internal error occurred: failed calling webhook \"way.hooks.test\": failed to call webhook: ";
        let post = |name: &str, port: u16, why: &str| {
            format!("{calling}Post \"https://{name}.default.svc:{port}/way?timeout=10s\": {why}")
        };
        for (name, port, expected) in [
            ("none", 8443, "service \"none\" not found"),
            ("hook", 1, "no service port 1 found for service \"hook\""),
            ("hook", 8443, "no endpoints available for service \"hook\""),
        ] {
            about["clientConfig"] = config(name, port);
            configure(&server, "validating", "s", std::slice::from_ref(&about)).await;
            let refused = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
            assert_eq!(message(&refused), (500, &*post(name, port, expected)));
            remove(&server, "validating", "s").await;
        }
        let slice = json!({
            "metadata": {"name": "hook", "labels": {"kubernetes.io/service-name": "hook"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "targetRef": {"kind": "Pod", "name": "hook", "namespace": "default"}}],
            "ports": [{"name": "tls", "port": hook.port}],
        });
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        assert_eq!(server.send("POST", slices, &slice).await.code, 201);
        about["clientConfig"] = config("hook", 8443);
        configure(&server, "validating", "s", &[about]).await;
        let made = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
        assert_eq!(made.code, 201, "{}", made.body);
        assert_eq!(hook.paths(), ["/way"]);
        server.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_asks_only_those_who_leave_no_trace() {
    let (server, hook) = both().await;
    let mut traces = hook.about("/traces", "configmaps");
    traces["sideEffects"] = "NoneOnDryRun".into();
    configure(&server, "mutating", "traces", &[traces]).await;
    let dry = format!("{CONFIG_MAPS}?dryRun=All");
    assert_eq!(server.send("POST", &dry, &config_map("c")).await.code, 201);
    assert_eq!(hook.paths(), ["/traces"]);
    server.stop().await;
}
