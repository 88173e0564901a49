//! More to do than the server should carry: limits on requests, and on each of them.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{sync::Arc, time::Duration};

use apiserver::args::InFlight;
use harness::{Server, etcd::Etcd, raw};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// A head of HTTP/1 that has not ended by then is too long.
const LONGEST_HEAD: usize = 128 * 1024;

fn map(name: &str) -> String {
    json!({"metadata": {"name": name}}).to_string()
}

/// A number of the server's metrics.
async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").await.body;
    let line = text.as_str().unwrap().lines().find(|l| l.starts_with(name)).map(str::to_owned);
    line.and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

async fn until(what: &str, server: &Server, name: &str, reached: u64) {
    for _ in 0..1000 {
        if metric(server, name).await >= reached {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {name} is {}", metric(server, name).await);
}

async fn ask(port: u16, token: &str, path: &str) -> (u16, Option<String>, Value) {
    let mut client = raw::http1(port).await;
    let answer = client.send_request(raw::request_as(token, "GET", path, &[], "")).await.unwrap();
    let code = answer.status().as_u16();
    let retry = answer.headers().get("retry-after").map(|v| v.to_str().unwrap().to_owned());
    let text = raw::text(answer).await;
    (code, retry, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fairness_what_is_too_much_is_refused() {
    let in_flight = InFlight { reading: 10, mutating: 1, fair: false };
    let server = Server::start_with(|c| c.in_flight = in_flight).await;
    let first = raw::slow(server.port, "jane", MAPS, &map("a")).await;
    // It is inside once another one is not let in.
    let refused = loop {
        let answer = raw::slow(server.port, "joe", MAPS, &map("b")).await.finish().await;
        if answer.starts_with("HTTP/1.1 429") {
            break answer;
        }
        assert!(answer.starts_with("HTTP/1.1 201") || answer.starts_with("HTTP/1.1 409"), "{answer}");
    };
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    let status: Value = serde_json::from_str(refused.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!((&status["kind"], &status["reason"]), (&json!("Status"), &json!("TooManyRequests")));
    assert_eq!(status["message"], "Too many requests, please try again later.");
    // So does who asks for what is not there: that takes a look at the store.
    let nothing = raw::slow(server.port, "joe", "/apis/none/v1/things", "{}").await.finish().await;
    assert!(nothing.starts_with("HTTP/1.1 429"), "{nothing}");
    assert_eq!(ask(server.port, "joe", "/apis/none/v1/things").await.0, 404);
    // Reading has a limit of its own, and administrators have none.
    assert_eq!(ask(server.port, "jane", MAPS).await.0, 200);
    assert_eq!(server.send("POST", MAPS, &json!({"metadata": {"name": "c"}})).await.code, 201);
    assert!(first.finish().await.starts_with("HTTP/1.1 201"));
    assert!(raw::slow(server.port, "joe", MAPS, &map("d")).await.finish().await.starts_with("HTTP/1.1 201"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_client_starves_nobody() {
    let in_flight = InFlight { reading: 20, mutating: 10, fair: true };
    let server = Arc::new(Server::start_with(|c| c.in_flight = in_flight).await);
    // Jane sends more than all levels together serve, and never gets to the point.
    let waits = "apiserver_flowcontrol_current_inqueue_requests{priority_level=\"global-default\"}";
    let mut flood = Vec::new();
    for i in 0..60 {
        flood.push(raw::slow(server.port, "jane", MAPS, &map(&format!("jane-{i}"))).await);
    }
    until("the flood", &server, waits, 20).await;
    let waiting = metric(&server, waits).await;
    // The daemons do not notice.
    for path in ["/api/v1/pods", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"] {
        let asked = tokio::time::timeout(Duration::from_secs(5), ask(server.port, "scheduler", path));
        assert_eq!(asked.await.expect("the scheduler is served").0, 200, "{path}");
    }
    assert_eq!(ask(server.port, "secret", MAPS).await.0, 200);
    assert_eq!(server.get("/healthz").await.code, 200);
    // Joe shares Jane's level: he waits, and is the first to be served when one of hers is done.
    let port = server.port;
    let joe = tokio::spawn(async move { ask(port, "joe", "/api/v1/namespaces/default/secrets").await });
    until("joe", &server, waits, waiting + 1).await;
    assert!(!joe.is_finished());
    // Her first two requests are inside for sure: one is for whichever of hers is next, one for him.
    for first in flood.drain(..2) {
        assert!(first.finish().await.starts_with("HTTP/1.1 201"));
    }
    let served = tokio::time::timeout(Duration::from_secs(10), joe).await.expect("joe is served in his turn");
    assert_eq!(served.unwrap().0, 200);
    assert!(metric(&server, waits).await >= 10, "most of the flood still waits");
    // Who hangs up gives his place back.
    drop(flood);
    let asked = tokio::time::timeout(Duration::from_secs(10), ask(server.port, "joe", MAPS));
    assert_eq!(asked.await.expect("all seats are free again").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_its_time() {
    // The server's limit, or less where the client says so.
    let patient = Server::start_with(|c| c.request_timeout = Duration::from_secs(600)).await;
    let server = Server::start_with(|c| c.request_timeout = Duration::from_secs(1)).await;
    for (server, path) in [(&server, MAPS.to_owned()), (&patient, format!("{MAPS}?timeout=100ms"))] {
        let slow = raw::slow(server.port, "jane", &path, &map("slow")).await;
        let answer = tokio::time::timeout(Duration::from_secs(60), slow.answer()).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
        assert!(answer.contains("\"reason\":\"Timeout\""), "{answer}");
    }
    patient.stop().await;
    let wrong = server.get(&format!("{MAPS}?timeout=soon")).await;
    let text = "invalid timeout specified in the request URL - time: invalid duration \"soon\"";
    assert_eq!((wrong.code, wrong.body["message"].as_str()), (400, Some(text)));
    // A watch lasts longer than that.
    let mut client = raw::http1(server.port).await;
    let watch = raw::request("GET", &format!("{MAPS}?watch=true&timeoutSeconds=4"), &[], "");
    let started = std::time::Instant::now();
    let answer = client.send_request(watch).await.unwrap();
    assert_eq!(answer.status(), 200);
    let running =
        "apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"configmaps\"";
    assert_eq!(metric(&server, running).await, 1);
    raw::text(answer).await;
    assert!(started.elapsed().as_millis() > 1500, "{:?}", started.elapsed());
    let over = async {
        while metric(&server, running).await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), over).await.expect("it is over");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let server = Server::start().await;
    let answer = async |request| {
        let mut client = raw::http1(server.port).await;
        let answer = client.send_request(request).await.unwrap();
        let code = answer.status().as_u16();
        (code, serde_json::from_str::<Value>(&raw::text(answer).await).unwrap_or_default())
    };
    let json = [("content-type", "application/json")];
    let patch = [("content-type", "application/json-patch+json")];
    let large = "x".repeat(3 * 1024 * 1024 + 1);
    let (code, status) = answer(raw::request("POST", MAPS, &json, large)).await;
    assert_eq!((code, status["message"].as_str()), (413, Some("Request entity too large: limit is 3145728")));
    // A kind may have a limit of its own.
    let wide = json!({"metadata": {"name": "a"}, "data": {"k": "x".repeat(1024 * 1024 - 10), "l": "y".repeat(600 * 1024)}});
    let (code, status) = answer(raw::request("POST", MAPS, &json, wide.to_string())).await;
    assert_eq!((code, status["reason"].as_str()), (422, Some("Invalid")), "{status}");
    server.send("POST", MAPS, &json!({"metadata": {"name": "p"}, "data": {"k": "v"}})).await;
    let many = vec![json!({"op": "test", "path": "/data/k", "value": "v"}); 10_001];
    let (code, status) =
        answer(raw::request("PATCH", &format!("{MAPS}/p"), &patch, Value::from(many).to_string())).await;
    let text = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!((code, status["message"].as_str()), (413, Some(text)));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(answer(raw::request("POST", MAPS, &json, deep)).await.0, 400);
    let selector = format!("{MAPS}?labelSelector={}", "a%3Db,".repeat(10_500));
    assert_eq!(answer(raw::request("GET", &selector, &[], "")).await.0, 414);
    // A head that is too long is not read to its end. Nothing is sent that the server leaves unread: closing the
    // connection would tear the answer off.
    let mut stream = raw::tls(server.port, &["http/1.1"]).await;
    let begin = format!("GET {MAPS} HTTP/1.1\r\nhost: skiff\r\nx-long: ");
    let head = format!("{begin}{}", "x".repeat(LONGEST_HEAD - begin.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    // The server may go without a word of TLS.
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer));
    let _torn = read.await.expect("the server does not wait for the rest");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(server.get("/healthz").await.code, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_the_store_is_refused() {
    const REVISIONS: &str = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let etcd = Etcd::start().await;
    let stores = etcd.iter().map(|etcd| format!("etcd:{}", etcd.endpoint()));
    for store in stores.chain(["memory".to_owned()]) {
        let server = Server::start_with(|c| c.store = store.parse().unwrap()).await;
        let revision = |length: usize| json!({"metadata": {"name": "r"}, "revision": 1, "data": {"k": "x".repeat(length)}});
        let made = server.send("POST", REVISIONS, &revision(1024 * 1024)).await;
        assert_eq!(made.code, 201, "{store}");
        let path = &format!("{REVISIONS}/r");
        let label = json!({"metadata": {"labels": {"l": "v"}}});
        assert_eq!(
            server.send("PATCH", path, &label).await.code,
            200,
            "{store}: as much as that can be changed"
        );
        server.send("DELETE", path, &Value::Null).await;
        // It fits through the door, but etcd refuses the one and its gRPC the other.
        for length in [1700 * 1024, 2500 * 1024] {
            let refused = server.send("POST", REVISIONS, &revision(length)).await;
            let reason = refused.body["reason"].as_str();
            assert_eq!((refused.code, reason), (413, Some("RequestEntityTooLarge")), "{store} {length}");
            let text = "Request entity too large: etcdserver: request is too large";
            assert_eq!(refused.body["message"], text, "{store} {length}");
            assert_eq!(server.get(path).await.code, 404, "{store} {length}");
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_served_by_the_clusters_own_schemas() {
    let server = Server::start().await;
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let uid =
        async |path: String| server.get(&path).await.body["metadata"]["uid"].as_str().unwrap().to_owned();
    let level = uid(format!("{group}/prioritylevelconfigurations/global-default")).await;
    let schema = uid(format!("{group}/flowschemas/global-default")).await;
    // The schema and the level that a request of Jane's was served under.
    let served = async || {
        let mut client = raw::http1(server.port).await;
        let answer = client.send_request(raw::request_as("jane", "GET", MAPS, &[], "")).await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        (header("x-kubernetes-pf-flowschema-uid"), header("x-kubernetes-pf-prioritylevel-uid"))
    };
    let expect = async |schema: &str| {
        let expected = (Some(schema.to_owned()), Some(level.clone()));
        for _ in 0..1000 {
            if served().await == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?} instead of {expected:?}", served().await);
    };
    expect(&schema).await;
    let own = json!({
        "metadata": {"name": "jane"},
        "spec": {
            "matchingPrecedence": 9000,
            "priorityLevelConfiguration": {"name": "global-default"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "resourceRules": [{
                    "verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "namespaces": ["*"],
                }],
            }],
        },
    });
    let made = server.send("POST", &format!("{group}/flowschemas"), &own).await;
    assert_eq!(made.code, 201, "{}", made.body);
    expect(made.body["metadata"]["uid"].as_str().unwrap()).await;
    server.send("DELETE", &format!("{group}/flowschemas/jane"), &Value::Null).await;
    expect(&schema).await;
    server.stop().await;
}
