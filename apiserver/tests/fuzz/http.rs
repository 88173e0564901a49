//! A whole server, and requests that nobody in his right mind sends.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use serde_json::Value;

use crate::{
    corpus,
    harness::{Server, raw},
    mutate, seed, time,
};

const METHODS: &[&str] = &["GET", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "FOO"];
const MEDIA: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "text/html",
    "",
    ";;;",
];
const ACCEPT: &[&str] = &[
    "*/*",
    "application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/yaml",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "image/png",
    ",,;=",
];
const NAMES: &[&str] = &[
    "x-remote-user",
    "impersonate-user",
    "upgrade",
    "if-none-match",
    "accept-encoding",
    "user-agent",
    "range",
    "te",
    "expect",
];

/// A request from the corpora of the other targets. None that does not fit HTTP at all: the client would not send it.
fn request(pools: &Pools, random: &mut SmallRng) -> Option<Request<Full<Bytes>>> {
    let line = if random.random_bool(0.5) {
        pools.lines.choose(random)?.clone()
    } else {
        mutate::mutate(&pools.lines, random)
    };
    let line = String::from_utf8(line).ok()?;
    let uri = line.split_once(' ').map_or(line.as_str(), |(_, uri)| uri);
    let method = if random.random_bool(0.3) { line.split(' ').next()? } else { METHODS.choose(random)? };
    let body = match method {
        "GET" | "HEAD" => Vec::new(),
        _ if random.random_bool(0.3) => pools.bodies.choose(random)?.clone(),
        _ => mutate::mutate(&pools.bodies, random),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "skiff")
        .header("authorization", "Bearer jane")
        .header("content-type", *MEDIA.choose(random)?)
        .header("accept", *ACCEPT.choose(random)?);
    for _ in 0..random.random_range(0..3) {
        let value = mutate::mutate(&pools.lines, random);
        request = request.header(*NAMES.choose(random)?, http::HeaderValue::from_bytes(&value).ok()?);
    }
    request.body(Full::new(body.into())).ok().filter(|r| r.uri().path().starts_with('/'))
}

struct Pools {
    lines: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
}

/// What an answer must be like.
fn check(asked: &str, code: u16, head: bool, media: &str, body: &[u8]) {
    assert!((200..600).contains(&code), "{asked}: {code}");
    if code < 400 || head {
        return;
    }
    let text = String::from_utf8_lossy(body);
    if media.starts_with("text/plain") {
        let plain = [(404, "404 page not found\n"), (400, "400 Bad Request")];
        assert!(plain.contains(&(code, &*text)), "{asked}: {code} {text}");
        return;
    }
    let status: Value =
        serde_json::from_slice(body).unwrap_or_else(|e| panic!("{asked}: {code} {e}: {text}"));
    assert_eq!(
        (&status["kind"], &status["status"]),
        (&"Status".into(), &"Failure".into()),
        "{asked}: {text}"
    );
    assert_eq!(status["code"], code, "{asked}: {text}");
    assert!(!text.contains("stumbled over this request"), "{asked} panics");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_a_status() {
    // Requests that are let through but answered late are not what this is about.
    let server = Server::start_with(|c| c.request_timeout = Duration::from_secs(8)).await;
    let bodies =
        ["json_objects", "yaml_objects", "json_patches", "merge_patches", "strategic_patches", "applied"];
    let pools = Pools { lines: corpus("requests"), bodies: bodies.iter().flat_map(|t| corpus(t)).collect() };
    let seed = seed();
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut client, mut codes) = (None, BTreeMap::<u16, u64>::new());
    let both = |codes: &BTreeMap<u16, u64>| codes.keys().any(|c| *c < 300) && codes.keys().any(|c| *c >= 400);
    let end = Instant::now() + time();
    // On a busy machine it takes longer until answers of both kinds have come.
    while Instant::now() < end || (!both(&codes) && Instant::now() < end + Duration::from_secs(30)) {
        let Some(request) = request(&pools, &mut random) else { continue };
        let asked = format!("seed {seed}: {} {} {:?}", request.method(), request.uri(), request.headers());
        let head = request.method() == "HEAD";
        if client.is_none() {
            client = Some(raw::http1(server.port).await);
        }
        let answering = async {
            let sender = client.as_mut()?;
            sender.ready().await.ok()?;
            let answer = sender.send_request(request).await.ok()?;
            let (parts, mut body) = answer.into_parts();
            let media =
                parts.headers.get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
            // A watch goes on: its beginning is enough.
            let mut bytes = Vec::new();
            while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(200), body.frame()).await {
                bytes.extend_from_slice(frame.ok()?.data_ref()?);
            }
            Some((parts.status.as_u16(), media, bytes, http_body::Body::is_end_stream(&body)))
        };
        let answered = tokio::time::timeout(Duration::from_secs(12), answering).await;
        match answered.unwrap_or_else(|_| panic!("{asked} hangs")) {
            Some((code, media, bytes, ended)) => {
                check(&asked, code, head, &media, &bytes);
                // A handler that panics is answered for, which must not hide that it did.
                let text = String::from_utf8_lossy(&bytes);
                assert!(code != 500 || !text.contains("stumbled"), "{asked} made a handler panic: {text}");
                *codes.entry(code).or_default() += 1;
                if !ended {
                    client = None;
                }
            }
            // HTTP that hyper does not take, or an answer before the end of the body: a new connection.
            None => client = None,
        }
    }
    println!("http: {codes:?}, seed {seed}");
    drop(client);
    assert!(both(&codes), "{codes:?}");
    // Nothing is left over: the server is well, and no seat is taken.
    assert_eq!(server.get("/livez").await.code, 200);
    let taken = async || {
        let text = server.get("/metrics").await.body;
        let text = text.as_str().unwrap().to_owned();
        let seats = text.lines().filter(|l| l.starts_with("apiserver_flowcontrol_current_executing_seats{"));
        seats.map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    for _ in 0..1000 {
        if taken().await == 0 {
            return server.stop().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} seats are never given back", taken().await);
}
