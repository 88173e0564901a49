//! Answers → verdicts; and real servers, in the process, asked by the probes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use ::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures::stream;
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use machinery::events::Recorder;
use machinery::tasks::Tasks;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::gauge::{After, Gauge, Kind, Outcome, Timing};
use super::*;

fn probe(value: Value) -> Probe {
    serde_json::from_value(value).expect("the test's probe is well-formed")
}

fn container(value: Value) -> Container {
    serde_json::from_value(value).expect("the test's container is well-formed")
}

fn bad(text: &str) -> Outcome {
    Outcome::Bad(text.to_owned())
}

#[test]
fn verdicts_need_enough_of_the_same_in_a_row() {
    let outcome = |letter| match letter {
        'g' => Outcome::Good,
        'o' => Outcome::Odd(String::new()),
        'b' => bad(""),
        _ => Outcome::Unclear { state: "unknown", error: String::new() },
    };
    // Of each answer, `+` and `-` are verdicts and `.` is none.
    for (success, failure, answers, verdicts) in [
        (None, None, "gbbbbg", "+..--+"),
        (Some(1), Some(1), "bgb", "-+-"),
        (Some(2), Some(2), "gggbgbbgg", ".++...-.+"),
        (Some(1), Some(3), "bbubbgbb", "...--+.."),
        (Some(2), Some(3), "gogbgo", ".++..+"),
        (Some(0), Some(0), "gb", "+-"),
    ] {
        let mut gauge = Gauge::of(&probe(json!({"successThreshold": success, "failureThreshold": failure})));
        let given: String = answers
            .chars()
            .map(|letter| match gauge.take(&outcome(letter)) {
                Some(true) => '+',
                Some(false) => '-',
                None => '.',
            })
            .collect();
        assert_eq!(given, verdicts, "{answers} with {success:?} and {failure:?}");
    }
}

#[test]
fn verdicts_change_the_health_they_are_about() {
    let begin = Health { started: false, ready: false, failed: None };
    for (kind, good, after, health) in [
        (Kind::Startup, true, After::Ends, Health { started: true, ..begin.clone() }),
        (Kind::Startup, false, After::Ends, Health { failed: Some("startup"), ..begin.clone() }),
        (Kind::Readiness, true, After::GoesOn, Health { ready: true, ..begin.clone() }),
        (Kind::Readiness, false, After::GoesOn, begin.clone()),
        (Kind::Liveness, true, After::GoesOn, begin.clone()),
        (Kind::Liveness, false, After::Ends, Health { failed: Some("liveness"), ..begin.clone() }),
    ] {
        let mut now = begin.clone();
        assert_eq!(kind.judge(good, &mut now), after, "{kind:?} {good}");
        assert_eq!(now, health, "{kind:?} {good}");
    }
}

#[test]
fn events_tell_what_is_wrong() {
    let unclear = Outcome::Unclear { state: "unknown", error: "no".to_owned() };
    for (kind, outcome, expected) in [
        (Kind::Liveness, Outcome::Good, None),
        (Kind::Liveness, bad("x"), Some(("Unhealthy", "Liveness probe failed: x"))),
        (Kind::Readiness, Outcome::Odd("x".to_owned()), Some(("ProbeWarning", "Readiness probe warning: x"))),
        (
            Kind::Startup,
            unclear,
            Some(("Unhealthy", "Startup probe errored and resulted in unknown state: no")),
        ),
    ] {
        let event = kind.event(&outcome);
        assert_eq!(event.as_ref().map(|(reason, message)| (*reason, message.as_str())), expected);
    }
}

#[test]
fn times_have_defaults_and_least_values() {
    let seconds = Duration::from_secs;
    let timing = Timing::of(&probe(json!({})));
    assert_eq!(
        timing,
        Timing { delay: Duration::from_millis(100), period: seconds(10), timeout: seconds(1) }
    );
    let timing =
        Timing::of(&probe(json!({"initialDelaySeconds": 5, "periodSeconds": 0, "timeoutSeconds": 3})));
    assert_eq!(timing, Timing { delay: seconds(5), period: seconds(1), timeout: seconds(3) });
    assert_eq!(timing.first(seconds(2)), seconds(3));
    assert_eq!(timing.first(seconds(9)), seconds(0));
}

#[test]
fn what_the_api_says_of_this_container_holds_at_first() {
    let asked = json!({"exec": {"command": ["x"]}});
    let all = container(json!({"name": "c", "startupProbe": asked, "readinessProbe": asked}));
    let plain = container(json!({"name": "c", "livenessProbe": asked}));
    let status = |started, ready| {
        json!({"containerStatuses": [{"name": "c", "containerID": "containerd://x", "started": started,
            "ready": ready, "restartCount": 0, "image": "", "imageID": ""}]})
    };
    for (container, status, id, started, ready, known) in [
        (&all, json!({}), "x", false, false, false),
        (&plain, json!({}), "x", true, true, false),
        (&all, status(true, true), "x", true, true, true),
        (&all, status(true, false), "x", true, false, true),
        (&all, status(false, false), "x", false, false, false),
        (&all, status(true, true), "y", false, false, false),
    ] {
        let pod = serde_json::from_value(json!({"metadata": {}, "status": status})).expect("a pod");
        let first = first_health(&pod, container, id);
        assert_eq!(first, (Health { started, ready, failed: None }, known), "{status} {id}");
    }
}

/// A server over plain HTTP that answers by path; it ends with the test's runtime.
async fn server() -> SocketAddr {
    let starts = Arc::new(AtomicUsize::new(0));
    let (listener, address) = listener().await;
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn_scoped("test server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let starts = Arc::clone(&starts);
            connections.spawn_scoped("test connection", async move {
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let starts = Arc::clone(&starts);
                    async move { answer(&request, &starts).await }
                });
                let http = hyper::server::conn::http1::Builder::new();
                // A client that goes away is none of the server's business.
                let _gone = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

async fn answer(
    request: &hyper::Request<hyper::body::Incoming>,
    starts: &AtomicUsize,
) -> Result<Response<Full<Bytes>>, ::http::Error> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("none");
    let heard =
        format!("{} {} {} {}", header("host"), header("user-agent"), header("accept"), header("x-own"));
    let answer = Response::builder();
    let to = |location: &str| Response::builder().status(302).header("location", location);
    let answer = match request.uri().path() {
        "/ok" => answer,
        "/heard" if heard.starts_with("example kube-probe/1.36 none own") => answer,
        "/starts" if starts.fetch_add(1, Ordering::SeqCst) > 0 => answer,
        "/near" => to("/ok"),
        "/beside" => to("ok"),
        "/bad-near" => to("/bad"),
        "/far" => to("http://elsewhere.invalid/ok"),
        "/round" => to("/round"),
        "/slow" => {
            tokio::time::sleep(Duration::from_secs(5)).await;
            answer
        }
        _ => answer.status(StatusCode::INTERNAL_SERVER_ERROR),
    };
    answer.body(Full::new(Bytes::from(heard)))
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("a bound listener has an address");
    (listener, address)
}

/// Asks a container whose pod has the address 127.0.0.1.
async fn asked(value: Value) -> Outcome {
    let runtime = Runtime::new("unix:///nonexistent/runtime.sock").expect("nothing is opened yet");
    let container = container(json!({"name": "c", "ports": [{"name": "web", "containerPort": 1}]}));
    let reach = http::Reach { pod_ip: "127.0.0.1", host_network: false };
    let place = Place { id: "c0", reach, container: &container };
    check::ask(&runtime, &place, &probe(value)).await
}

#[tokio::test]
async fn http_servers_answer() {
    let port = server().await.port();
    let get = |path: &str| json!({"httpGet": {"path": path, "port": port}});
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let odd = format!("Probe terminated redirects, Response body: 127.0.0.1:{port} kube-probe/1.36 */* none");
    for (path, expected) in [
        ("/ok", Outcome::Good),
        ("ok", Outcome::Good),
        ("/near", Outcome::Good),
        ("/beside", Outcome::Good),
        ("/far", Outcome::Odd(odd)),
        ("/bad", bad("HTTP probe failed with statuscode: 500")),
        ("/bad-near", bad("HTTP probe failed with statuscode: 500")),
        ("/round", bad("Get \"/round\": stopped after 10 redirects")),
        ("/slow", bad(&format!("Get \"{}\": {late}", url("/slow")))),
    ] {
        assert_eq!(asked(get(path)).await, expected, "{path}");
    }
    let headers = json!([
        {"name": "Host", "value": "example"}, {"name": "X-Own", "value": "own"}, {"name": "Accept", "value": ""},
    ]);
    let heard = json!({"httpGet": {"path": "/heard", "port": port, "httpHeaders": headers}});
    assert_eq!(asked(heard).await, Outcome::Good);
    let secure = json!({"httpGet": {"path": "/ok", "port": port, "scheme": "HTTPS"}});
    let text =
        format!("Get \"https://127.0.0.1:{port}/ok\": http: server gave HTTP response to HTTPS client");
    assert_eq!(asked(secure).await, bad(&text));
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, address) = listener().await;
    let port = address.port();
    assert_eq!(asked(json!({"tcpSocket": {"port": port}})).await, Outcome::Good);
    drop(listener);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(asked(json!({"tcpSocket": {"port": port}})).await, bad(&refused));
    let text = format!("Get \"http://127.0.0.1:{port}/\": {refused}");
    assert_eq!(asked(json!({"httpGet": {"path": "/", "port": port}})).await, bad(&text));
    let text = format!(
        "timeout: failed to connect service \"127.0.0.1:{port}\" within 1s: context deadline exceeded"
    );
    assert_eq!(asked(json!({"grpc": {"port": port}})).await, bad(&text));
    let text = "dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(asked(json!({"tcpSocket": {"port": "web"}})).await, bad(text), "a port by name");
    let error = "strconv.Atoi: parsing \"other\": invalid syntax".to_owned();
    assert_eq!(
        asked(json!({"tcpSocket": {"port": "other"}})).await,
        Outcome::Unclear { state: "unknown", error }
    );
}

/// The node, and what is the network's own affair, are not the pod's to ask.
#[tokio::test]
async fn a_named_host_is_another_machine_unless_the_pod_is_in_the_nodes_network() {
    let (_listener, address) = listener().await;
    let port = address.port();
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "localhost", "0.0.0.0", "169.254.169.254"] {
        let Outcome::Bad(text) = asked(json!({"tcpSocket": {"port": port, "host": host}})).await else {
            panic!("{host}")
        };
        assert!(text.ends_with(": address not allowed"), "{text}");
        let Outcome::Bad(text) = asked(json!({"httpGet": {"port": port, "host": host}})).await else {
            panic!("{host}")
        };
        assert!(text.ends_with(": address not allowed"), "{text}");
    }
    let shared = http::Reach { pod_ip: "192.0.2.1", host_network: true };
    http::dial(&shared.host(Some("127.0.0.1")), port).await.expect("its own network's loopback");
    let own = http::Reach { pod_ip: "127.0.0.1", host_network: false };
    http::dial(&own.host(Some("")), port).await.expect("the pod's own address");
}

#[tokio::test]
async fn grpc_servers_answer() {
    let (listener, address) = listener().await;
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn_scoped("test server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn_scoped("test connection", async move {
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // A client that goes away is none of the server's business.
                let _gone = http.serve_connection(TokioIo::new(stream), service_fn(checked)).await;
            });
        }
    });
    let port = address.port();
    for (service, expected) in [
        ("", Outcome::Good),
        ("down", bad("service unhealthy (responded with \"NOT_SERVING\")")),
        ("none", bad("error: health rpc probe failed: rpc error: code = NotFound desc = unknown service")),
        (
            "old",
            bad(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service",
            ),
        ),
    ] {
        assert_eq!(asked(json!({"grpc": {"port": port, "service": service}})).await, expected, "{service}");
    }
}

type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>>;

/// A health server: one message, whose only field is a number, and a status in the trailers.
async fn checked(request: hyper::Request<hyper::body::Incoming>) -> Result<Response<Frames>, hyper::Error> {
    use http_body_util::BodyExt as _;
    let known = request.uri().path() == "/grpc.health.v1.Health/Check";
    let asked = request.into_body().collect().await?.to_bytes();
    let name = asked.get(7..).unwrap_or_default();
    let (health, code) = match name {
        b"" if known => (1, "0"),
        b"down" => (2, "0"),
        b"old" => (0, "12"),
        _ => (0, "5"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    trailers.insert("grpc-message", HeaderValue::from_static("unknown service"));
    let mut frames = vec![Ok(Frame::trailers(trailers))];
    if code == "0" {
        frames.insert(0, Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, health]))));
    }
    let mut answer = Response::new(StreamBody::new(stream::iter(frames)));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(answer)
}

#[tokio::test]
async fn a_startup_probe_holds_the_others_back() {
    let port = server().await.port();
    let get = |path: &str| json!({"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "failureThreshold": 2});
    let container = container(json!({
        "name": "c",
        "startupProbe": get("/starts"),
        "readinessProbe": get("/ok"),
        "livenessProbe": get("/bad"),
    }));
    let wake = Arc::new(Notify::new());
    let health = Arc::new(Mutex::new(Health::default()));
    let task = Task {
        runtime: Arc::new(Runtime::new("unix:///nonexistent/runtime.sock").expect("nothing is opened yet")),
        notes: Notes::new(Recorder::deaf()),
        clock: Clock::default(),
        wake: Arc::clone(&wake),
        pod: Arc::new(Pod::default()),
        container,
        role: Role::Main,
        id: "c0".to_owned(),
        pod_ip: "127.0.0.1".to_owned(),
        started: 0,
        known: false,
        health: Arc::clone(&health),
        restarting: CancellationToken::new(),
    };
    let seen = async {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|health: &Health| health.failed.is_none()) {
            wake.notified().await;
            seen.push(health.lock().clone());
        }
        seen
    };
    let seen = tokio::select! {
        seen = seen => seen,
        () = task.run() => panic!("a readiness probe never ends by itself"),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the probes say nothing"),
    };
    let started = Health { started: true, ready: false, failed: None };
    let ready = Health { ready: true, ..started.clone() };
    let failed = Health { failed: Some("liveness"), ..ready.clone() };
    // The first two may come so close that they are seen as one.
    assert!(seen == [started, ready.clone(), failed.clone()] || seen == [ready, failed], "{seen:?}");
}
