//! Every verb, as a client sees it over HTTPS.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{collections::BTreeSet, net::Ipv4Addr};

use harness::{Server, client, events, send};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
}

#[tokio::test]
async fn callers_are_identified() {
    let server = Server::start().await;
    let (nobody, wrong) = (client(server.port, None), client(server.port, Some("guess")));
    for path in ["/api/v1/namespaces", "/apis", "/metrics", "/nope", "/livez/etcd", "/version"] {
        let answer = send(&wrong, "GET", path, &[], Vec::new()).await;
        assert_eq!((answer.code, answer.body["reason"].as_str()), (401, Some("Unauthorized")), "{path}");
    }
    for (path, what) in [
        ("/api/v1/namespaces", "list resource \"namespaces\" in API group \"\" at the cluster scope"),
        ("/apis", "get path \"/apis\""),
        ("/metrics", "get path \"/metrics\""),
        ("/nope", "get path \"/nope\""),
        ("/livez/etcd", "get path \"/livez/etcd\""),
        ("/livez/", "get path \"/livez/\""),
        ("/api/v1/namespaces/a", "get resource \"namespaces\" in API group \"\" in the namespace \"a\""),
        ("/apis/none/v1/things", "list resource \"things\" in API group \"none\" at the cluster scope"),
        ("/api/v1/pods?limit=x", "list resource \"pods\" in API group \"\" at the cluster scope"),
    ] {
        let answer = send(&nobody, "GET", path, &[], Vec::new()).await;
        assert_eq!((answer.code, answer.body["reason"].as_str()), (403, Some("Forbidden")), "{path}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(
            message.ends_with(&format!("forbidden: User \"system:anonymous\" cannot {what}")),
            "{message}"
        );
    }
    for path in ["/healthz", "/livez", "/readyz?verbose", "/version", "/version/"] {
        assert_eq!(send(&nobody, "GET", path, &[], Vec::new()).await.code, 200, "{path}");
    }
    for (path, code) in [("/livez/etcd", 200), ("/livez/none", 404), ("/livez/", 404)] {
        assert_eq!(server.get(path).await.code, code, "{path}");
    }
    // A token that the server issued identifies its service account.
    let request = json!({"spec": {"expirationSeconds": 600}});
    let issued =
        server.send("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", &request).await;
    assert_eq!(issued.code, 201);
    let account = client(server.port, issued.body["status"]["token"].as_str());
    assert_eq!(send(&account, "GET", MAPS, &[], Vec::new()).await.code, 200);
    // It dies with the account.
    server.send("DELETE", "/api/v1/namespaces/default/serviceaccounts/default", &Value::Null).await;
    server.get("/api/v1/namespaces/default/serviceaccounts").await;
    assert_eq!(send(&account, "GET", MAPS, &[], Vec::new()).await.code, 401);
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_nobody_reaches_is_not_published_and_no_obstacle() {
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(169, 254, 1, 1)] {
        // Started at all, it is ready.
        let server = Server::start_with(|c| c.advertise = Some(address.into())).await;
        assert_eq!(server.get("/readyz").await.code, 200);
        assert_eq!(server.get("/api/v1/namespaces/default/endpoints/kubernetes").await.code, 404);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let server = Server::start().await;
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    server.send("POST", PODS, &pod("p")).await;
    for path in [MAPS, token, &format!("{PODS}/p/binding"), &format!("{PODS}/p/eviction")] {
        for body in [json!([{"op": "add"}]), json!("text"), json!(1)] {
            let answer = server.send("POST", path, &body).await;
            assert_eq!(
                (answer.code, answer.body["reason"].as_str()),
                (400, Some("BadRequest")),
                "{path} {body}"
            );
        }
    }
    for spec in [json!([]), json!("x"), json!({"audiences": {}}), json!({"expirationSeconds": "soon"})] {
        let answer = server.send("POST", token, &json!({"spec": spec})).await;
        assert_eq!((answer.code, answer.body["reason"].as_str()), (400, Some("BadRequest")), "{spec}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_resource_version_on_a_new_object_is_refused_where_it_is_stored() {
    let server = Server::start().await;
    let versioned = |name: &str, version: &str| {
        let mut map = map(name, json!({}));
        map["metadata"]["resourceVersion"] = json!(version);
        map
    };
    let create = async |query: &str, name: &str, version: &str| {
        let answer = server.send("POST", &format!("{MAPS}{query}"), &versioned(name, version)).await;
        let reason = answer.body["reason"].as_str().unwrap_or_default().to_owned();
        (answer.code, reason, answer.body)
    };
    let (code, reason, refused) = create("", "a", "5").await;
    let words = "resourceVersion should not be set on objects to be created";
    assert_eq!((code, reason.as_str(), &refused["message"]), (500, "", &json!(words)));
    // Whatever else is wrong is told first, but for a name that is taken.
    let (code, reason, _) = create("", "A", "5").await;
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    for fine in ["0", "", "abc"] {
        assert_eq!(create("", &format!("fine{fine}"), fine).await.0, 201, "{fine}");
    }
    assert_eq!(create("", "fine0", "5").await.0, 500);
    let (code, _, tried) = create("?dryRun=All", "b", "5").await;
    assert_eq!((code, &tried["metadata"]["resourceVersion"]), (201, &json!("5")));
    server.stop().await;
}

#[tokio::test]
async fn create_get_update_delete() {
    let server = Server::start().await;
    let created = server.send("POST", MAPS, &map("a", json!({"k": "1"}))).await;
    assert_eq!(created.code, 201);
    let meta = &created.body["metadata"];
    assert!(meta["uid"].as_str().is_some_and(|u| u.len() == 36));
    assert_eq!(meta["namespace"], "default");
    let got = server.get(&format!("{MAPS}/a")).await;
    assert_eq!(got.body, created.body);

    let again = server.send("POST", MAPS, &map("a", json!({}))).await;
    assert_eq!((again.code, again.body["reason"].as_str()), (409, Some("AlreadyExists")));

    let mut changed = got.body.clone();
    changed["data"]["k"] = json!("2");
    let updated = server.send("PUT", &format!("{MAPS}/a"), &changed).await;
    assert_eq!((updated.code, updated.body["data"]["k"].as_str()), (200, Some("2")));
    let late = server.send("PUT", &format!("{MAPS}/a"), &changed).await;
    assert_eq!((late.code, late.body["reason"].as_str()), (409, Some("Conflict")));
    // What changes nothing writes nothing.
    let same = server.send("PUT", &format!("{MAPS}/a"), &updated.body).await;
    assert_eq!(same.body["metadata"]["resourceVersion"], updated.body["metadata"]["resourceVersion"]);

    let wrong = json!({"preconditions": {"uid": "other"}});
    assert_eq!(server.send("DELETE", &format!("{MAPS}/a"), &wrong).await.code, 409);
    let deleted = server.send("DELETE", &format!("{MAPS}/a"), &Value::Null).await;
    assert_eq!((deleted.code, deleted.body["status"].as_str()), (200, Some("Success")));
    assert_eq!(server.get(&format!("{MAPS}/a")).await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn names_are_generated_and_checked() {
    let server = Server::start().await;
    let mut names = BTreeSet::new();
    for _ in 0..3 {
        let made = server.send("POST", MAPS, &json!({"metadata": {"generateName": "x-"}})).await;
        names.insert(made.body["metadata"]["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|n| n.starts_with("x-") && n.len() == 7));
    let bad = server.send("POST", MAPS, &map("Bad_Name", json!({}))).await;
    assert_eq!((bad.code, bad.body["details"]["causes"][0]["field"].as_str()), (422, Some("metadata.name")));
    let elsewhere = server.send("POST", "/api/v1/namespaces/nope/configmaps", &map("a", json!({}))).await;
    assert_eq!((elsewhere.code, elsewhere.body["details"]["kind"].as_str()), (404, Some("namespaces")));
    server.stop().await;
}

#[tokio::test]
async fn field_validation_ignores_warns_or_refuses() {
    let server = Server::start().await;
    let odd = json!({"metadata": {"name": "a"}, "dada": {"a": "b"}});
    for (mode, code, warnings) in [("Ignore", 201, 0), ("Warn", 201, 1), ("Strict", 400, 0)] {
        let answer = server.send("POST", &format!("{MAPS}?dryRun=All&fieldValidation={mode}"), &odd).await;
        assert_eq!((answer.code, answer.warnings.len()), (code, warnings), "{mode}");
    }
    assert_eq!(server.get(&format!("{MAPS}/a")).await.code, 404, "a dry run stores nothing");
    server.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_of_one_revision() {
    let server = Server::start().await;
    for i in 0..5 {
        let mut object = map(&format!("m{i}"), json!({}));
        object["metadata"]["labels"] = json!({"even": (i % 2 == 0).to_string()});
        server.send("POST", MAPS, &object).await;
    }
    let first = server.get(&format!("{MAPS}?limit=2")).await.body;
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.send("DELETE", &format!("{MAPS}/m2"), &Value::Null).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = server.get(&format!("{MAPS}?limit=10&continue={token}")).await.body;
    let names: Vec<_> =
        rest["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["m2", "m3", "m4"], "the page shows the state of the first one");
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);

    let selected = server.get(&format!("{MAPS}?labelSelector=even%3Dtrue")).await.body;
    assert_eq!(selected["items"].as_array().unwrap().len(), 2);
    let one = server.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dm1")).await.body;
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    for bad in [
        "labelSelector=a%20b",
        "fieldSelector=spec.nope%3D1",
        "limit=x",
        "continue=garbage",
        "resourceVersion=abc",
    ] {
        assert_eq!(server.get(&format!("{MAPS}?{bad}")).await.code, 400, "{bad}");
    }
    assert_eq!(server.get(&format!("{MAPS}?resourceVersionMatch=Exact")).await.code, 422);
    assert_eq!(server.get(&format!("{MAPS}?resourceVersion=99999999")).await.code, 504);
    let gone = server.send("DELETE", &format!("{MAPS}?labelSelector=even"), &Value::Null).await;
    assert_eq!(gone.code, 200);
    assert_eq!(server.get(MAPS).await.body["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn tables_show_what_kubectl_prints() {
    let server = Server::start().await;
    server.send("POST", MAPS, &map("a", json!({"k": "1"}))).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = server.send_raw("GET", MAPS, &accept, Vec::new()).await.body;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][1]["name"], "Data");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["cells"][1], 1);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    server.stop().await;
}

#[tokio::test]
async fn pods_are_deleted_gracefully() {
    let server = Server::start().await;
    server.send("POST", PODS, &pod("p")).await;
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(server.send("POST", &format!("{PODS}/p/binding"), &binding).await.code, 201);
    let twice = server.send("POST", &format!("{PODS}/p/binding"), &binding).await;
    assert_eq!(twice.code, 409);
    let bound = server.get(&format!("{PODS}/p")).await.body;
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let leaving = server.send("DELETE", &format!("{PODS}/p"), &Value::Null).await.body;
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 30);
    let hastened = server.send("DELETE", &format!("{PODS}/p"), &json!({"gracePeriodSeconds": 5})).await.body;
    assert_eq!(hastened["metadata"]["deletionGracePeriodSeconds"], 5);
    server.send("DELETE", &format!("{PODS}/p"), &json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(server.get(&format!("{PODS}/p")).await.code, 404);

    // Neither a huge grace period nor an endless watch harms the server.
    let mut patient = pod("patient");
    patient["spec"]["terminationGracePeriodSeconds"] = json!(999_999_999_999_i64);
    patient["spec"]["nodeName"] = json!("n1");
    server.send("POST", PODS, &patient).await;
    assert_eq!(server.send("DELETE", &format!("{PODS}/patient"), &Value::Null).await.code, 200);
    let endless = format!("{PODS}?watch=true&timeoutSeconds=9223372036854775807");
    assert_eq!(events(&server, &endless, 1).await.len(), 1);

    // A pod without a node goes at once.
    server.send("POST", PODS, &pod("q")).await;
    server.send("DELETE", &format!("{PODS}/q"), &Value::Null).await;
    assert_eq!(server.get(&format!("{PODS}/q")).await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn finalizers_hold_an_object_back() {
    let server = Server::start().await;
    let mut object = map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    server.send("POST", MAPS, &object).await;
    let pending =
        server.send("DELETE", &format!("{MAPS}/a?propagationPolicy=Foreground"), &Value::Null).await;
    assert_eq!(pending.body["metadata"]["finalizers"], json!(["example.com/wait", "foregroundDeletion"]));
    let mut held = server.get(&format!("{MAPS}/a")).await.body;
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    held["metadata"]["finalizers"] = json!(["example.com/new"]);
    assert_eq!(server.send("PUT", &format!("{MAPS}/a"), &held).await.code, 422, "none may be added now");
    held["metadata"]["finalizers"] = json!([]);
    assert_eq!(server.send("PUT", &format!("{MAPS}/a"), &held).await.code, 200);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.code, 404);
    server.stop().await;
}

#[tokio::test]
async fn status_and_spec_have_writers_of_their_own() {
    let server = Server::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let object = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}, "status": {"replicas": 7}});
    let created = server.send("POST", path, &object).await.body;
    assert_eq!(
        (created["metadata"]["generation"].as_i64(), created["status"].get("replicas")),
        (Some(1), None)
    );
    let mut both = created.clone();
    both["spec"]["replicas"] = json!(3);
    both["status"]["replicas"] = json!(2);
    let through_status = server.send("PUT", &format!("{path}/d/status"), &both).await.body;
    assert_eq!(through_status["spec"]["replicas"], 1);
    assert_eq!(through_status["status"]["replicas"], 2);
    assert_eq!(through_status["metadata"]["generation"], 1);
    // The status takes annotations along, and what a kind allows of the rest.
    let marked =
        json!({"metadata": {"annotations": {"x": "y"}, "labels": {"x": "y"}}, "spec": {"paused": true}});
    let marked = server.send("PATCH", &format!("{path}/d/status"), &marked).await.body;
    assert_eq!(marked["metadata"]["annotations"], json!({"x": "y"}));
    assert_eq!((marked["metadata"].get("labels"), marked["spec"].get("paused")), (None, None));
    let scaled =
        server.send("PATCH", &format!("{path}/d/scale"), &json!({"spec": {"replicas": 5}})).await.body;
    assert_eq!((scaled["kind"].as_str(), scaled["spec"]["replicas"].as_i64()), (Some("Scale"), Some(5)));
    assert_eq!(scaled["status"], json!({"replicas": 2, "selector": "a=b"}));
    let after = server.get(&format!("{path}/d")).await.body;
    assert_eq!(
        (after["spec"]["replicas"].as_i64(), after["metadata"]["generation"].as_i64()),
        (Some(5), Some(2))
    );
    server.stop().await;
}

#[tokio::test]
async fn no_address_is_handed_out_twice() {
    let server = Server::start().await;
    let service = |name: &str, more: Value| {
        let mut spec = json!({"ports": [{"port": 80}], "selector": {"a": "b"}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({"metadata": {"name": name}, "spec": spec})
    };
    // The harness' range has ten ports: all are found, and the eleventh service is refused.
    let mut ports = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for i in 0..10 {
        let made =
            server.send("POST", SERVICES, &service(&format!("s{i}"), json!({"type": "NodePort"}))).await;
        assert_eq!(made.code, 201, "{}", made.body);
        ports.insert(made.body["spec"]["ports"][0]["nodePort"].as_u64().unwrap());
        addresses.insert(made.body["spec"]["clusterIP"].as_str().unwrap().to_owned());
    }
    assert_eq!((ports.len(), addresses.len()), (10, 10));
    assert_eq!(server.send("POST", SERVICES, &service("s10", json!({"type": "NodePort"}))).await.code, 500);

    let taken = addresses.first().unwrap().clone();
    let same = server.send("POST", SERVICES, &service("t", json!({"clusterIP": taken}))).await;
    assert_eq!(same.code, 422);
    assert!(same.body["message"].as_str().unwrap().contains("already allocated"), "{}", same.body);
    let outside = server.send("POST", SERVICES, &service("t", json!({"clusterIP": "10.1.2.3"}))).await;
    assert!(outside.body["message"].as_str().unwrap().ends_with("does not match the current range"));

    let own = server.get(&format!("{SERVICES}/s0")).await.body["spec"]["ports"][0]["nodePort"].as_u64();
    let other = ports.iter().find(|port| Some(**port) != own).unwrap();
    let steal = json!({"spec": {"ports": [{"port": 80, "nodePort": other}]}});
    let stolen = server.send("PATCH", &format!("{SERVICES}/s0"), &steal).await;
    assert_eq!(stolen.code, 422, "{}", stolen.body);
    assert!(stolen.body["message"].as_str().unwrap().contains("provided port is already allocated"));
    // More ports than the range has.
    let many: Vec<Value> = (0..11).map(|i| json!({"name": format!("p{i}"), "port": 80 + i})).collect();
    let greedy = service("greedy", json!({"type": "NodePort", "ports": many}));
    assert_eq!(server.send("POST", SERVICES, &greedy).await.code, 500);

    // What a service gives back is free again.
    let s0 = server.get(&format!("{SERVICES}/s0")).await.body;
    let port = s0["spec"]["ports"][0]["nodePort"].clone();
    server.send("PATCH", &format!("{SERVICES}/s0"), &json!({"spec": {"type": "ClusterIP"}})).await;
    let back = service("t", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    assert_eq!(server.send("POST", SERVICES, &back).await.code, 201);
    server.send("DELETE", &format!("{SERVICES}/s1"), &Value::Null).await;
    assert_eq!(server.send("POST", SERVICES, &service("u", json!({"type": "NodePort"}))).await.code, 201);
    server.stop().await;
}

#[tokio::test]
async fn watches_tell_every_change_in_order() {
    let server = Server::start().await;
    server.send("POST", MAPS, &map("a", json!({"k": "0"}))).await;
    let start = server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    for i in 1..4 {
        server.send("PATCH", &format!("{MAPS}/a"), &json!({"data": {"k": i.to_string()}})).await;
    }
    server.send("DELETE", &format!("{MAPS}/a"), &Value::Null).await;
    let seen = events(&server, &format!("{MAPS}?watch=true&resourceVersion={start}"), 4).await;
    let told: Vec<_> = seen
        .iter()
        .map(|e| (e["type"].as_str().unwrap(), e["object"]["data"]["k"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("MODIFIED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]);

    server.send("POST", MAPS, &map("b", json!({}))).await;
    let initial = format!(
        "{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let seen = events(&server, &initial, 2).await;
    assert_eq!((seen[0]["type"].as_str(), seen[1]["type"].as_str()), (Some("ADDED"), Some("BOOKMARK")));
    assert_eq!(seen[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");

    assert_eq!(server.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await.code, 422);
    server.stop().await;
}

#[tokio::test]
async fn an_object_that_stops_matching_is_deleted_for_its_watcher() {
    let server = Server::start().await;
    let mut object = map("a", json!({}));
    object["metadata"]["labels"] = json!({"l": "x"});
    server.send("POST", MAPS, &object).await;
    let start = server.get(MAPS).await.body["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    server.send("PATCH", &format!("{MAPS}/a"), &json!({"metadata": {"labels": {"l": "y"}}})).await;
    server.send("PATCH", &format!("{MAPS}/a"), &json!({"metadata": {"labels": {"l": "x"}}})).await;
    let seen =
        events(&server, &format!("{MAPS}?watch=true&labelSelector=l%3Dx&resourceVersion={start}"), 2).await;
    assert_eq!((seen[0]["type"].as_str(), seen[1]["type"].as_str()), (Some("DELETED"), Some("ADDED")));
    server.stop().await;
}

#[tokio::test]
async fn namespaces_go_through_finalize() {
    let server = Server::start().await;
    server.send("POST", "/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    server.send("DELETE", "/api/v1/namespaces/n", &Value::Null).await;
    let mut ending = server.get("/api/v1/namespaces/n").await.body;
    assert_eq!(ending["status"]["phase"], "Terminating");
    assert!(ending["metadata"].get("deletionGracePeriodSeconds").is_none());
    let late = server.send("POST", "/api/v1/namespaces/n/configmaps", &map("a", json!({}))).await;
    assert_eq!(
        (late.code, late.body["details"]["causes"][0]["reason"].as_str()),
        (403, Some("NamespaceTerminating"))
    );
    assert_eq!(
        late.body["message"],
        "configmaps \"a\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
    ending["spec"]["finalizers"] = json!([]);
    assert_eq!(server.send("PUT", "/api/v1/namespaces/n/finalize", &ending).await.code, 200);
    assert_eq!(server.get("/api/v1/namespaces/n").await.code, 404);
    assert_eq!(server.send("DELETE", "/api/v1/namespaces/default", &Value::Null).await.code, 403);
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_get_kubernetes_own_answers() {
    let server = Server::start().await;
    let long = "x".repeat(4 * 1024 * 1024);
    for (method, path, body, code) in [
        ("POST", MAPS.to_owned(), "{\"apiVersion\":", 400),
        ("POST", MAPS.to_owned(), "[]", 400),
        ("POST", MAPS.to_owned(), "", 400),
        ("POST", MAPS.to_owned(), r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"}}"#, 400),
        ("POST", MAPS.to_owned(), r#"{"metadata":{"name":"x"},"data":{"a":1}}"#, 400),
        ("POST", MAPS.to_owned(), long.as_str(), 413),
        ("PUT", MAPS.to_owned(), "{}", 405),
        ("PUT", format!("{MAPS}/a"), r#"{"metadata":{"name":"b"}}"#, 400),
        ("PUT", format!("{MAPS}/a"), r#"{"metadata":{"name":"a"}}"#, 404),
        ("DELETE", format!("{MAPS}/a"), r#"{"propagationPolicy":"Sideways"}"#, 422),
        ("GET", "/api/v1/namespaces/default/nopes".to_owned(), "", 404),
        ("GET", "/apis/nope/v1".to_owned(), "", 404),
        ("GET", "/nope".to_owned(), "", 404),
        ("POST", format!("{PODS}/nope/eviction"), "{}", 404),
    ] {
        let answer =
            server.send_raw(method, &path, &[("content-type", "application/json")], body.into()).await;
        assert_eq!(answer.code, code, "{method} {path}: {}", answer.body);
    }
    let media = server.send_raw("POST", MAPS, &[("content-type", "text/csv")], b"a".to_vec()).await;
    assert_eq!(media.code, 415);
    // None of this has harmed the server.
    assert_eq!(server.send("POST", MAPS, &map("fine", json!({}))).await.code, 201);
    server.stop().await;
}
