//! `proxy` of pods, services and nodes, against a backend that tells what it was asked.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../harness/mod.rs"]
mod harness;
mod kubelet;
mod messages;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use apiserver::args::KubeletTls;
use bytes::Bytes;
use futures::StreamExt as _;
use harness::{Server, namespace, raw};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use kubelet::{node_status, with_kubelet};
use machinery::tls::{ClientCertificates, TlsSource, server_config};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

type Told = UnsyncBoxBody<Bytes, Infallible>;

fn full(bytes: impl Into<Bytes>) -> Told {
    Full::new(bytes.into()).boxed_unsync()
}

/// Tells what it was asked; redirects below `/old/`; refuses an upgrade or echoes after it; never ends at `/endless`.
/// An upgrade that it does not know it takes for none.
async fn backend(mut request: Request<Incoming>) -> Result<Response<Told>, Infallible> {
    let path = request.uri().to_string();
    if let Some(rest) = path.strip_prefix("/old/") {
        let response = Response::builder()
            .status(302)
            .header("location", format!("/new/{rest}"))
            .header("access-control-allow-origin", "*");
        return Ok(response.body(full("")).unwrap());
    }
    if path == "/endless" {
        let frames = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok(Frame::data(Bytes::from("more"))), ()))
        });
        return Ok(Response::new(StreamBody::new(frames).boxed_unsync()));
    }
    if path.starts_with("/page") {
        let page = format!(
            "<!-- <a href='/x'> --><a href='/x'>1</a><a href=x>2</a><a href='https://elsewhere/x'>3</a>\
             <img src=//{}/x><script>'<a href=\"/x\">'</script>",
            request.headers()["host"].to_str().unwrap()
        );
        let response = Response::builder().header("content-type", "text/html; charset=utf-8");
        if request.method() == "HEAD" {
            return Ok(response.header("content-length", page.len()).body(full("")).unwrap());
        }
        if path == "/page/gzip" {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, page.as_bytes()).unwrap();
            let packed = encoder.finish().unwrap();
            return Ok(response.header("content-encoding", "gzip").body(full(packed)).unwrap());
        }
        return Ok(response.body(full(page)).unwrap());
    }
    if path.starts_with("/containerLogs/") && path.ends_with("?tailLines=2") {
        return Ok(Response::new(full("one\ntwo\n")));
    }
    if request.headers().get("upgrade").is_some_and(|wanted| wanted == "refused") {
        return Ok(Response::builder().status(500).body(full("container not found (\"c\")")).unwrap());
    }
    if request.headers().get("upgrade").is_some_and(|wanted| wanted == "echo") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut buffer = [0; 64];
            loop {
                match stream.read(&mut buffer).await.unwrap() {
                    0 => break,
                    n => stream.write_all(&buffer[..n].to_ascii_uppercase()).await.unwrap(),
                }
            }
        });
        let response =
            Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        return Ok(response.body(full("")).unwrap());
    }
    let headers: serde_json::Map<String, Value> =
        request.headers().iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap().into())).collect();
    let method = request.method().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let told = json!({
        "method": method, "path": path, "headers": headers, "body": String::from_utf8_lossy(&body),
    });
    let response =
        Response::builder().status(203).header("x-backend", "yes").header("keep-alive", "timeout=5");
    Ok(response.body(full(told.to_string())).unwrap())
}

async fn listen(tls: bool) -> u16 {
    let source = TlsSource::SelfSigned(vec!["backend".into()]);
    listen_as(tls.then_some(&source)).await
}

async fn listen_as(certificate: Option<&TlsSource>) -> u16 {
    let listener = TcpListener::bind((namespace::ADDRESS, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = |source| server_config(source, ClientCertificates::Ignored, &["http/1.1"]).unwrap();
    let acceptor = certificate.map(|source| TlsAcceptor::from(config(source)));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let _ended = match acceptor {
                    Some(acceptor) => {
                        let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                        http1::Builder::new()
                            .serve_connection(stream, service_fn(backend))
                            .with_upgrades()
                            .await
                    }
                    None => {
                        let stream = TokioIo::new(stream);
                        http1::Builder::new()
                            .serve_connection(stream, service_fn(backend))
                            .with_upgrades()
                            .await
                    }
                };
            });
        }
    });
    port
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A cluster with a pod that listens on two ports, and a service in front of it.
async fn cluster(plain: u16, secure: u16) -> Arc<Server> {
    let server = Server::start().await;
    let ports = json!([{"containerPort": plain}, {"containerPort": secure}]);
    let pod = json!({
        "metadata": {"name": "p", "labels": {"app": "p"}},
        "spec": {"containers": [{"name": "c", "image": "x", "ports": ports}]},
    });
    assert_eq!(server.send("POST", PODS, &pod).await.code, 201);
    let ips = json!({"status": {"phase": "Running", "podIP": namespace::ADDRESS, "podIPs": [{"ip": namespace::ADDRESS}]}});
    assert_eq!(server.send("PATCH", &format!("{PODS}/p/status"), &ips).await.code, 200);
    let service = json!({
        "metadata": {"name": "s"},
        "spec": {"ports": [
            {"name": "web", "port": 80, "targetPort": plain},
            {"name": "tls", "port": 443, "targetPort": secure},
            {"name": "none", "port": 99},
        ]},
    });
    assert_eq!(server.send("POST", SERVICES, &service).await.code, 201);
    let slice = |name: &str, port: &str, number: u16, ready: bool, target: Value| {
        json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "endpoints": [{
                "addresses": [namespace::ADDRESS], "conditions": {"ready": ready}, "targetRef": target,
            }],
            "ports": [{"name": port, "port": number}],
        })
    };
    let pod = json!({"kind": "Pod", "name": "p", "namespace": "default"});
    for slice in [
        slice("web", "web", plain, true, pod.clone()),
        slice("tls", "tls", secure, true, pod.clone()),
        // None of these is a way to the service: not ready, and not a pod's.
        slice("unready", "none", plain, false, pod),
        slice(
            "strange",
            "none",
            plain,
            true,
            json!({"kind": "Pod", "name": "other", "namespace": "default"}),
        ),
    ] {
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        assert_eq!(server.send("POST", path, &slice).await.code, 201);
    }
    Arc::new(server)
}

#[test]
fn requests_are_passed_on_and_answers_back() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let (plain, secure) = (listen(false).await, listen(true).await);
        let server = cluster(plain, secure).await;
        let mut client = raw::http1(server.port).await;
        for (name, path, prefix) in [
            (
                "pod, first port",
                format!("{PODS}/p/proxy/a%2Fb/?watch=true&limit=x"),
                format!("{PODS}/p/proxy"),
            ),
            (
                "pod, port",
                format!("{PODS}/p:{plain}/proxy/a%2Fb/?watch=true&limit=x"),
                format!("{PODS}/p:{plain}/proxy"),
            ),
            (
                "pod, TLS",
                format!("{PODS}/https:p:{secure}/proxy/a%2Fb/?watch=true&limit=x"),
                format!("{PODS}/https:p:{secure}/proxy"),
            ),
            (
                "service, name",
                format!("{SERVICES}/s:web/proxy/a%2Fb/?watch=true&limit=x"),
                format!("{SERVICES}/s:web/proxy"),
            ),
            (
                "service, number",
                format!("{SERVICES}/s:80/proxy/a%2Fb/?watch=true&limit=x"),
                format!("{SERVICES}/s:80/proxy"),
            ),
            (
                "service, TLS",
                format!("{SERVICES}/https:s:tls/proxy/a%2Fb/?watch=true&limit=x"),
                format!("{SERVICES}/https:s:tls/proxy"),
            ),
        ] {
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let body = if matches!(method, "GET" | "OPTIONS") { "" } else { "hello" };
                let headers = [("cookie", "c=1"), ("te", "trailers"), ("impersonate-user", "root")];
                let request = raw::request(method, &path, &headers, body);
                let answer = client.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 203, "{name} {method}");
                assert_eq!(answer.headers()["x-backend"], "yes");
                assert!(answer.headers().get("keep-alive").is_none());
                let told: Value = serde_json::from_str(&raw::text(answer).await).unwrap();
                assert_eq!((&told["method"], &told["body"]), (&json!(method), &json!(body)), "{name}");
                assert_eq!(told["path"], "/a%2Fb/?watch=true&limit=x", "{name}");
                let got = &told["headers"];
                assert_eq!((&got["cookie"], &got["host"]), (&json!("c=1"), &json!("skiff:6443")));
                assert_eq!(got["x-forwarded-uri"], format!("{prefix}/a%2Fb/"));
                assert_eq!(got["x-forwarded-for"], "127.0.0.1");
                for secret in ["authorization", "te", "impersonate-user"] {
                    assert_eq!(got[secret], Value::Null, "{name}: {secret}");
                }
            }
        }
        let head =
            client.send_request(raw::request("HEAD", &format!("{PODS}/p/proxy/x"), &[], "")).await.unwrap();
        assert_eq!((head.status().as_u16(), raw::text(head).await), (203, String::new()));

        let bare =
            client.send_request(raw::request("GET", &format!("{PODS}/p/proxy?a=b"), &[], "")).await.unwrap();
        assert_eq!(bare.status(), 301);
        assert_eq!(bare.headers()["location"], format!("{PODS}/p/proxy/?a=b"));
        raw::text(bare).await;
        let moved = client
            .send_request(raw::request("GET", &format!("{PODS}/p/proxy/old/x?y=1"), &[], ""))
            .await
            .unwrap();
        assert_eq!(moved.status(), 302);
        assert_eq!(moved.headers()["location"], format!("{PODS}/p/proxy/new/x?y=1"));
        assert!(moved.headers().get("access-control-allow-origin").is_none());
    });
}

#[test]
fn upgraded_connections_are_joined() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let (plain, secure) = (listen(false).await, listen(true).await);
        let server = cluster(plain, secure).await;
        // How many requests to proxies the server counts as running.
        let running = async || -> usize {
            let text = server.get("/metrics").await.body;
            let lines = text.as_str().unwrap().lines();
            let proxied = lines.filter(|l| {
                l.starts_with("apiserver_longrunning_requests{") && l.contains("subresource=\"proxy\"")
            });
            proxied.map(|l| l.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
        };
        for path in [format!("{PODS}/p/proxy/x"), format!("{SERVICES}/https:s:tls/proxy/x")] {
            let stream = echoes(&server, "GET", &path).await;
            assert_eq!(running().await, 1, "{path}");
            drop(stream);
            let over = async {
                while running().await > 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), over).await.expect("it is over");
        }
    });
}

#[test]
fn what_cannot_be_reached_is_said() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let plain = listen(false).await;
        let closed = TcpListener::bind((namespace::ADDRESS, 0)).await.unwrap().local_addr().unwrap().port();
        let server = cluster(plain, closed).await;
        let lonely =
            json!({"metadata": {"name": "lonely"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
        server.send("POST", PODS, &lonely).await;
        let address = namespace::ADDRESS;
        for (path, code, message) in [
            (format!("{PODS}/none/proxy/"), 404, "pods \"none\" not found".to_owned()),
            (format!("{PODS}/lonely/proxy/"), 400, "address not allowed".to_owned()),
            (format!("{PODS}/ftp:p:21/proxy/"), 400, "invalid pod request \"ftp:p:21\"".to_owned()),
            (
                format!("{PODS}/p:{closed}/proxy/"),
                503,
                format!(
                    "error trying to reach service: dial tcp {address}:{closed}: connect: connection refused"
                ),
            ),
            (format!("{SERVICES}/none:80/proxy/"), 404, "services \"none\" not found".to_owned()),
            (format!("{SERVICES}/s:81/proxy/"), 503, "no service port 81 found for service \"s\"".to_owned()),
            (format!("{SERVICES}/s:none/proxy/"), 503, "no endpoints available for service \"s\"".to_owned()),
            (format!("{SERVICES}/s/proxy/"), 503, "no endpoints available for service \"s\"".to_owned()),
            ("/api/v1/nodes/none/proxy/".to_owned(), 404, "nodes \"none\" not found".to_owned()),
        ] {
            let answer = server.get(&path).await;
            assert_eq!(
                (answer.code, answer.body["message"].as_str()),
                (code, Some(message.as_str())),
                "{path}"
            );
            assert_eq!(answer.body["kind"], "Status", "{path}");
        }
    });
}

#[test]
fn an_answer_without_end_does_not_hold_the_server_up() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let plain = listen(false).await;
        let server = cluster(plain, plain).await;
        let mut client = raw::http1(server.port).await;
        let request = raw::request("GET", &format!("{PODS}/p/proxy/endless"), &[], "");
        let mut body = client.send_request(request).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().is_ok());
        let started = Instant::now();
        let reading = tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
        server.stopping().await;
        reading.await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    });
}

/// Upgrades a request and says something, which comes back louder.
async fn echoes(server: &Server, method: &str, path: &str) -> TokioIo<Upgraded> {
    let mut client = raw::http1(server.port).await;
    let headers = [("connection", "Upgrade"), ("upgrade", "echo")];
    let mut answer = client.send_request(raw::request(method, path, &headers, "")).await.unwrap();
    assert_eq!(answer.status(), 101, "{method} {path}");
    assert_eq!(answer.headers()["upgrade"], "echo");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    for word in ["hello", "again"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, word.to_uppercase().as_bytes(), "{method} {path}");
    }
    stream
}

/// What the kubelet says when it is asked for an upgrade that it refuses.
async fn refused(server: &Server, method: &str, path: &str) -> (u16, String) {
    let mut client = raw::http1(server.port).await;
    let headers = [("connection", "Upgrade"), ("upgrade", "told")];
    let answer = client.send_request(raw::request(method, path, &headers, "")).await.unwrap();
    let code = answer.status().as_u16();
    let text = raw::text(answer).await;
    let status: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    (code, status["message"].as_str().unwrap().to_owned())
}

#[test]
fn the_links_of_pages_lead_through_the_proxy() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let (plain, secure) = (listen(false).await, listen(true).await);
        let server = cluster(plain, secure).await;
        let node = json!({"metadata": {"name": "n"}});
        assert_eq!(server.send("POST", "/api/v1/nodes", &node).await.code, 201);
        assert_eq!(server.send("PATCH", "/api/v1/nodes/n/status", &node_status(1)).await.code, 200);
        let mut client = raw::http1(server.port).await;
        for prefix in [
            format!("{PODS}/p/proxy"),
            format!("{PODS}/https:p:{secure}/proxy"),
            format!("{SERVICES}/s:web/proxy"),
            format!("/api/v1/nodes/n:{plain}/proxy"),
        ] {
            let expected = format!(
                "<!-- <a href='/x'> --><a href='{prefix}/x'>1</a><a href=x>2</a><a href='https://elsewhere/x'>3</a>\
                 <img src={prefix}/x><script>'<a href=\"/x\">'</script>"
            );
            let get = |path: &str| raw::request("GET", &format!("{prefix}{path}"), &[], "");
            let answer = client.send_request(get("/page")).await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
            assert_eq!(raw::text(answer).await, expected);
            let answer = client.send_request(get("/page/gzip")).await.unwrap();
            assert_eq!(answer.headers()["content-encoding"], "gzip");
            let packed = answer.into_body().collect().await.unwrap().to_bytes();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text).unwrap();
            assert_eq!(text, expected);
            let head = raw::request("HEAD", &format!("{prefix}/page"), &[], "");
            let head = client.send_request(head).await.unwrap();
            assert!(head.headers().contains_key("content-length"));
        }
    });
}

#[test]
fn no_object_leads_to_this_machine() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let server = with_kubelet(folder.path()).await;
        let port = TcpListener::bind("[::]:0").await.unwrap().local_addr().unwrap().port();
        for address in
            ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "localhost"]
        {
            // What makes an object wrong may change; this is how it is when it stands.
            let ips = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
            let stored = server.send("PATCH", &format!("{PODS}/p/status"), &ips).await.code == 200;
            if stored {
                let answer = server.get(&format!("{PODS}/p:{port}/proxy/")).await;
                assert_eq!(
                    (answer.code, &answer.body["message"]),
                    (400, &json!("address not allowed")),
                    "{address}"
                );
            }
            let mut status = node_status(port);
            status["status"]["addresses"][0]["address"] = json!(address);
            assert_eq!(server.send("PATCH", "/api/v1/nodes/n/status", &status).await.code, 200);
            for path in [
                "/api/v1/nodes/n/proxy/".to_owned(),
                format!("/api/v1/nodes/n:{port}/proxy/"),
                "/api/v1/nodes/n:1/proxy/".to_owned(),
                format!("{PODS}/p/log"),
            ] {
                let answer = server.get(&path).await;
                assert_eq!(
                    (answer.code, &answer.body["message"]),
                    (400, &json!("address not allowed")),
                    "{address} {path}"
                );
            }
            for part in ["exec?command=x&stdout=true", "attach?stdout=true", "portforward"] {
                let refused = refused(&server, "GET", &format!("{PODS}/p/{part}")).await;
                assert_eq!(refused, (400, "address not allowed".to_owned()), "{address} {part}");
            }
        }
    });
}
