//! Several API servers on one etcd.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use apiserver::args::Config;
use harness::{Answer, Server, client, etcd::Etcd, events, send};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// Both sign and know tokens by the same key.
async fn two_servers(etcd: &Etcd) -> (Arc<Server>, Arc<Server>) {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machinery/tests/keys/p256.sec1.pem");
    let start = || {
        Server::start_with(|config| {
            config.store = format!("etcd:{}", etcd.endpoint()).parse().unwrap();
            config.service_account_keys = Some((key.clone(), Vec::new()));
        })
    };
    let (one, other) = tokio::join!(start(), start());
    (Arc::new(one), Arc::new(other))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_is_good_at_the_other_at_once() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, other) = two_servers(&etcd).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    for i in 0..20 {
        let name = format!("a{i}");
        assert_eq!(one.send("POST", accounts, &json!({"metadata": {"name": name}})).await.code, 201);
        let issued = one.send("POST", &format!("{accounts}/{name}/token"), &json!({})).await;
        let holder = client(other.port, issued.body["status"]["token"].as_str());
        assert_eq!(send(&holder, "GET", MAPS, &[], Vec::new()).await.code, 200, "{i}");
        assert_eq!(one.send("DELETE", &format!("{accounts}/{name}"), &Value::Null).await.code, 200);
        other.eventually(&format!("{accounts}/{name}"), |answer| answer.code == 404).await;
        assert_eq!(send(&holder, "GET", MAPS, &[], Vec::new()).await.code, 401, "{i}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_answered_the_other_shows() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, other) = two_servers(&etcd).await;
    for i in 0..40 {
        let (writer, reader) = if i % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let path = format!("{MAPS}/m{i}");
        let made = writer.send("POST", MAPS, &json!({"metadata": {"name": format!("m{i}")}})).await;
        assert_eq!(made.code, 201);
        assert_eq!(reader.get(&path).await.body, made.body);
        let listed = reader.get(MAPS).await.body;
        let names: BTreeSet<_> = listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["metadata"]["name"].clone().to_string())
            .collect();
        assert!(names.contains(&format!("\"m{i}\"")), "{names:?}");
        let data = json!({"data": {"k": i.to_string()}});
        let changed = writer.send("PATCH", &path, &data).await;
        assert_eq!(changed.code, 200);
        assert_eq!(reader.get(&path).await.body["data"]["k"], i.to_string());
        // Who works on what the other has changed meanwhile is told.
        let stale = reader.send("PUT", &path, &made.body).await;
        assert_eq!((stale.code, stale.body["reason"].as_str()), (409, Some("Conflict")));
        if i % 4 == 0 {
            assert_eq!(writer.send("DELETE", &path, &Value::Null).await.code, 200);
            assert_eq!(reader.get(&path).await.code, 404);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_is_given_out_twice() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, other) = two_servers(&etcd).await;
    // Ten node ports for twenty who ask at once, on both servers.
    let asks = (0..20).map(|i| {
        let server = if i % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move {
            let service = json!({
                "metadata": {"name": format!("s{i}")},
                "spec": {"type": "NodePort", "ports": [{"port": 80}]},
            });
            server.send("POST", SERVICES, &service).await
        })
    });
    let answers: Vec<_> = futures::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
    let made: Vec<&Value> = answers.iter().filter(|a| a.code == 201).map(|a| &a.body).collect();
    let ports: BTreeSet<i64> =
        made.iter().map(|s| s["spec"]["ports"][0]["nodePort"].as_i64().unwrap()).collect();
    let addresses: BTreeSet<&str> = made.iter().map(|s| s["spec"]["clusterIP"].as_str().unwrap()).collect();
    assert_eq!((ports.len(), addresses.len()), (made.len(), made.len()), "{made:?}");
    assert_eq!(ports, (30000..=30009).collect(), "all are used, none twice");
    for refused in answers.iter().filter(|a| a.code != 201) {
        assert!(refused.code >= 400 && refused.body["kind"] == "Status", "{}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_tell_the_same_story() {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    let Some(etcd) = Etcd::start().await else { return };
    let (one, other) = two_servers(&etcd).await;
    let begin = one.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let writers = (0..WRITERS).map(|w| {
        let server = if w % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move {
            let path = format!("{MAPS}/w{w}");
            assert_eq!(
                server.send("POST", MAPS, &json!({"metadata": {"name": format!("w{w}")}})).await.code,
                201
            );
            for i in 0..EACH {
                let patch = json!({"data": {"i": i.to_string()}});
                assert_eq!(server.send("PATCH", &path, &patch).await.code, 200);
            }
            assert_eq!(server.send("DELETE", &path, &Value::Null).await.code, 200);
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(|w| w.unwrap());
    let count = WRITERS * (EACH + 2);
    let path = format!("{MAPS}?watch=true&resourceVersion={begin}");
    let (first, second) = tokio::join!(events(&one, &path, count), events(&other, &path, count));
    let told = |events: &[Value]| -> Vec<(String, u64, String)> {
        let one = |e: &Value| {
            let meta = &e["object"]["metadata"];
            let revision = meta["resourceVersion"].as_str().unwrap().parse().unwrap();
            (e["type"].as_str().unwrap().to_owned(), revision, meta["name"].as_str().unwrap().to_owned())
        };
        events.iter().map(one).collect()
    };
    let (first, second) = (told(&first), told(&second));
    assert_eq!(first, second);
    assert!(first.is_sorted_by(|a, b| a.1 < b.1), "in the order of revisions");
    let mut lives: HashMap<&str, Vec<&str>> = HashMap::new();
    for (what, _, name) in &first {
        lives.entry(name.as_str()).or_default().push(what.as_str());
    }
    for (name, life) in lives {
        let expected: Vec<&str> =
            ["ADDED"].into_iter().chain(std::iter::repeat_n("MODIFIED", EACH)).chain(["DELETED"]).collect();
        assert_eq!(life, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_serve_the_same_custom_kinds() {
    const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";
    let Some(etcd) = Etcd::start().await else { return };
    let (one, other) = two_servers(&etcd).await;
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "integer"}}}}}}}]},
    });
    assert_eq!(one.send("POST", CRDS, &definition).await.code, 201);
    let path = format!("{CRDS}/widgets.example.com");
    let accepted =
        |answer: &Answer| answer.body["status"]["conditions"].to_string().contains("InitialNamesAccepted");
    one.eventually(&path, accepted).await;
    // Established is established everywhere, at the first attempt.
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"a": 1}});
    let made = other.send("POST", WIDGETS, &widget).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(one.get(&format!("{WIDGETS}/w")).await.body["spec"]["a"], 1);
    // A server that comes later knows the kind from its first request on.
    let late = Server::start_with(|c| c.store = format!("etcd:{}", etcd.endpoint()).parse().unwrap()).await;
    assert_eq!(late.get(&format!("{WIDGETS}/w")).await.code, 200);
    late.stop().await;

    assert_eq!(other.send("DELETE", &path, &Value::Null).await.code, 200);
    for server in [&one, &other] {
        server.eventually(WIDGETS, |answer| answer.code == 404).await;
    }
}

const LISTED: &str = "/api/v1/namespaces/default/endpoints/kubernetes";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
/// How long a server is listed that is not heard of any more: longer than any test takes.
const LISTED_FOR: Duration = Duration::from_secs(60);
/// How long one is listed whose end is waited for.
const LISTED_BRIEFLY: Duration = Duration::from_secs(1);
/// What comes at once or after [`LISTED_BRIEFLY`] comes in this time, and before anything else runs out.
const IN_TIME: Duration = Duration::from_secs(30);

/// The addresses of the `kubernetes` service, which its Endpoints and its slice agree on, and the revision of the list.
async fn listed(server: &Server) -> (Vec<String>, String) {
    for _ in 0..1000 {
        let (endpoints, slice) = tokio::join!(server.get(LISTED), server.get(SLICE));
        let texts = |value: Option<&Vec<Value>>, path: &str| -> Vec<String> {
            let text = |item: &Value| item.pointer(path).unwrap().as_str().unwrap().to_owned();
            value.into_iter().flatten().map(text).collect()
        };
        let addresses =
            texts(endpoints.body.pointer("/subsets/0/addresses").and_then(Value::as_array), "/ip");
        if addresses == texts(slice.body["endpoints"].as_array(), "/addresses/0") {
            return (addresses, endpoints.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the Endpoints and the slice do not agree");
}

/// Waits until these addresses are listed, the first of them all the time.
async fn becomes(server: &Server, addresses: &[&str]) -> String {
    let in_time = async {
        loop {
            let (now, revision) = listed(server).await;
            assert!(now.iter().any(|a| a == addresses[0]), "{now:?}");
            if now == addresses {
                return revision;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(IN_TIME, in_time).await.expect("is listed in time")
}

/// A server at an address, in a runtime of its own, so that it can die without a word.
async fn start_apart(
    store: String,
    address: [u8; 4],
    listen: ([u8; 4], u16),
    listed_for: Duration,
) -> (Server, Runtime) {
    let runtime = Runtime::new().unwrap();
    let change = move |c: &mut Config| {
        c.store = store.parse().unwrap();
        c.advertise = Some(address.into());
        c.listen = (listen.0.into(), listen.1);
        c.listed_for = listed_for;
    };
    let server = runtime.spawn(Server::start_with(change)).await.unwrap();
    (server, runtime)
}

async fn kill((server, runtime): (Server, Runtime)) {
    end(runtime).await;
    drop(server);
}

async fn end(runtime: Runtime) {
    tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_lists_the_servers_that_live() {
    let Some(etcd) = Etcd::start().await else { return };
    let store = format!("etcd:{}", etcd.endpoint());
    // The other one is to have the same port at another address.
    let mut attempts = 0;
    let (one, own_runtime) = loop {
        attempts += 1;
        assert!(attempts < 20, "no port is free at both addresses");
        let (one, runtime) = start_apart(store.clone(), [10, 0, 0, 1], ([127, 0, 0, 1], 0), LISTED_FOR).await;
        if std::net::TcpListener::bind(("127.0.0.2", one.port)).is_ok() {
            break (one, runtime);
        }
        runtime.spawn(one.stop()).await.unwrap();
        end(runtime).await;
    };
    let port = one.port;
    assert_eq!(listed(&one).await.0, ["10.0.0.1"]);
    let start_other =
        |listed_for| start_apart(store.clone(), [10, 0, 0, 2], ([127, 0, 0, 2], port), listed_for);
    let other = start_other(LISTED_FOR).await;
    let both = becomes(&one, &["10.0.0.1", "10.0.0.2"]).await;
    let leases = async || one.get(LEASES).await.body["items"].as_array().unwrap().clone();
    let renewed = async || -> BTreeSet<String> {
        leases().await.iter().map(|lease| lease["spec"]["renewTime"].to_string()).collect()
    };

    // Whoever dies and is back in time was never away, and nobody writes what is as it should be.
    let before = renewed().await;
    assert_eq!(before.len(), 2, "{before:?}");
    kill(other).await;
    let other = start_other(LISTED_FOR).await;
    assert_ne!(renewed().await, before);
    assert_eq!(becomes(&one, &["10.0.0.1", "10.0.0.2"]).await, both);

    kill(other).await;
    let other = start_other(LISTED_BRIEFLY).await;
    becomes(&one, &["10.0.0.1", "10.0.0.2"]).await;
    kill(other).await;
    becomes(&one, &["10.0.0.1"]).await;
    assert_eq!(leases().await.len(), 1);

    // Whoever stops says so.
    let (other, runtime) = start_other(LISTED_FOR).await;
    becomes(&one, &["10.0.0.1", "10.0.0.2"]).await;
    runtime.spawn(other.stop()).await.unwrap();
    assert_eq!(leases().await.len(), 1);
    becomes(&one, &["10.0.0.1"]).await;
    end(runtime).await;

    // The last one stays.
    let visitor = Server::start_with(|c| c.store = store.parse().unwrap()).await;
    own_runtime.spawn(one.stop()).await.unwrap();
    assert_eq!(listed(&visitor).await.0, ["10.0.0.1"]);
    assert_eq!(visitor.get(LEASES).await.body["items"], json!([]));
    visitor.stop().await;
    end(own_runtime).await;
}

/// Makes config maps on both servers by a hundred clients; how many were made for good, as far as their makers know.
async fn storm(servers: [Arc<Server>; 2], namespace: &'static str, check: fn(&Answer)) -> usize {
    let clients = (0..100).map(|i| {
        let server = servers[i % 2].clone();
        tokio::spawn(async move {
            let map = json!({"metadata": {"name": format!("m{i}")}});
            let answer =
                server.send("POST", &format!("/api/v1/namespaces/{namespace}/configmaps"), &map).await;
            check(&answer);
            answer.code == 201
        })
    });
    let made = futures::future::join_all(clients).await;
    made.into_iter().filter(|made| matches!(made, Ok(true))).count()
}

/// A namespace with a quota of so many config maps that has been counted once.
async fn with_quota(server: &Server, namespace: &str, most: usize) {
    let made = server.send("POST", "/api/v1/namespaces", &json!({"metadata": {"name": namespace}})).await;
    assert_eq!(made.code, 201);
    let quotas = format!("/api/v1/namespaces/{namespace}/resourcequotas");
    for (name, hard) in [("maps", most), ("wide", 100)] {
        let hard = json!({"count/configmaps": hard.to_string()});
        let quota = json!({"metadata": {"name": name}, "spec": {"hard": hard}});
        assert_eq!(server.send("POST", &quotas, &quota).await.code, 201);
        let status = json!({"status": {"hard": hard, "used": {"count/configmaps": "0"}}});
        assert_eq!(server.send("PATCH", &format!("{quotas}/{name}/status"), &status).await.code, 200);
    }
}

/// How many config maps there are, and how many the quotas have counted.
async fn counted(server: &Server, namespace: &str) -> (usize, Vec<String>) {
    let maps = server.get(&format!("/api/v1/namespaces/{namespace}/configmaps")).await;
    let quotas = server.get(&format!("/api/v1/namespaces/{namespace}/resourcequotas")).await;
    let used = |quota: &Value| quota["status"]["used"]["count/configmaps"].as_str().unwrap().to_owned();
    let used = quotas.body["items"].as_array().unwrap().iter().map(used).collect();
    (maps.body["items"].as_array().unwrap().len(), used)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exact_whoever_creates_at_once() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, other) = two_servers(&etcd).await;
    with_quota(&one, "storm", 40).await;
    // Both know the quotas: one that is as new as its maker's answer may not be in the maker's cache yet.
    for server in [&one, &other] {
        server.get("/api/v1/namespaces/storm/resourcequotas").await;
    }
    let made = storm([one.clone(), other.clone()], "storm", |answer| {
        let words = "exceeded quota: maps, requested: count/configmaps=1, used: count/configmaps=40, limited: count/configmaps=40";
        let fine = answer.code == 201
            || answer.code == 403 && answer.body["message"].as_str().unwrap().ends_with(words);
        assert!(fine, "{} {}", answer.code, answer.body);
    });
    assert_eq!(made.await, 40);
    assert_eq!(counted(&one, "storm").await, (40, vec!["40".to_owned(), "40".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_exact_when_a_server_dies() {
    let Some(etcd) = Etcd::start().await else { return };
    let store = format!("etcd:{}", etcd.endpoint());
    let (doomed, runtime) = start_apart(store.clone(), [10, 0, 0, 1], ([127, 0, 0, 1], 0), LISTED_FOR).await;
    let other = Arc::new(Server::start_with(|c| c.store = store.parse().unwrap()).await);
    with_quota(&other, "storm", 90).await;
    let doomed = Arc::new(doomed);
    for server in [&doomed, &other] {
        server.get("/api/v1/namespaces/storm/resourcequotas").await;
    }
    let storm = tokio::spawn(storm([doomed.clone(), other.clone()], "storm", |_| {}));
    let maps = "/api/v1/namespaces/storm/configmaps";
    other
        .eventually(maps, |answer| answer.body["items"].as_array().is_some_and(|maps| maps.len() > 20))
        .await;
    end(runtime).await;
    let known = storm.await.unwrap();
    let (made, used) = counted(&other, "storm").await;
    assert!(known <= made && made <= 90, "{known} of {made}");
    assert_eq!(used, [made.to_string(), made.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_somebody_deletes_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for store in ["memory".to_owned(), format!("file:{}", folder.path().join("store").display())] {
        let server = Server::start_with(|c| {
            c.store = store.parse().unwrap();
            c.advertise = Some([10, 0, 0, 1].into());
        })
        .await;
        let lease = server.get(LEASES).await.body["items"][0].clone();
        assert_eq!(lease["spec"]["holderIdentity"], format!("10.0.0.1:{}", server.port));
        assert_eq!(lease["metadata"]["labels"]["apiserver.kubernetes.io/identity"], "kube-apiserver");
        let name = lease["metadata"]["name"].as_str().unwrap();
        for path in [LISTED, SLICE, &format!("{LEASES}/{name}")] {
            let uid = server.get(path).await.body["metadata"]["uid"].clone();
            assert_eq!(server.send("DELETE", path, &Value::Null).await.code, 200);
            server.eventually(path, |now| now.code == 200 && now.body["metadata"]["uid"] != uid).await;
        }
        assert_eq!(listed(&server).await.0, ["10.0.0.1"]);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slice_follows_its_first_address_and_keeps_its_labels() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |address: std::net::IpAddr| {
        Server::start_with(|c| {
            c.store = format!("file:{}", folder.path().join("store").display()).parse().unwrap();
            c.advertise = Some(address);
        })
        .await
    };
    let server = start("fd00::1".parse().unwrap()).await;
    assert_eq!(server.get(SLICE).await.body["addressType"], "IPv6");
    server.stop().await;

    let server = start([10, 0, 0, 1].into()).await;
    let slice = server.eventually(SLICE, |answer| answer.body["addressType"] == "IPv4").await;
    assert_eq!(listed(&server).await.0, ["10.0.0.1"], "{}", slice.body);

    let removed = json!({"metadata": {"labels": {"kubernetes.io/service-name": null}}});
    assert_eq!(server.send("PATCH", SLICE, &removed).await.code, 200);
    let label = "/metadata/labels/kubernetes.io~1service-name";
    server.eventually(SLICE, |answer| answer.body.pointer(label).is_some_and(|l| l == "kubernetes")).await;
    server.stop().await;
}
