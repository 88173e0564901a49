//! Pods: where they run, what comes first, and what holds them.

use serde_json::{Value, json};

use crate::harness::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn bindings_may_be_posted_to_their_namespace() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    server.send("POST", "/api/v1/namespaces/default/pods", &pod).await;
    let binding = |node: &str| json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    let bindings = "/api/v1/namespaces/default/bindings";
    let refused = server.send("POST", bindings, &binding("")).await;
    assert_eq!((refused.code, refused.body["message"].as_str()), (500, Some("target.name: Required value")));
    assert_eq!(server.send("POST", bindings, &binding("n")).await.code, 201);
    assert_eq!(server.get("/api/v1/namespaces/default/pods/p").await.body["spec"]["nodeName"], "n");
    assert_eq!(server.send("POST", bindings, &binding("n")).await.code, 409);
    server.stop().await;
}

#[tokio::test]
async fn a_pods_generation_counts_what_its_owner_changes() {
    let server = Server::start().await;
    let pod = json!({
        "metadata": {"name": "p", "generation": 500},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": "1"}}}]},
    });
    let made = server.send("POST", PODS, &pod).await;
    assert_eq!((made.code, &made.body["metadata"]["generation"]), (201, &json!(1)), "{}", made.body);
    let path = format!("{PODS}/p");
    let binding = json!({
        "metadata": {"name": "p", "labels": {"zone": "z"}},
        "target": {"kind": "Node", "name": "n"},
    });
    let nominated = json!({"status": {"nominatedNodeName": "n"}});
    server.send("PATCH", &format!("{path}/status"), &nominated).await;
    assert_eq!(server.send("POST", &format!("{path}/binding"), &binding).await.code, 201);
    let bound = server.get(&path).await.body;
    assert_eq!((&bound["spec"]["nodeName"], &bound["metadata"]["generation"]), (&json!("n"), &json!(1)));
    assert_eq!(bound["metadata"]["labels"], json!({"zone": "z"}));
    assert_eq!(bound["status"].get("nominatedNodeName"), None);
    for (part, patch, generation) in [
        ("", json!({"spec": {"containers": [{"name": "c", "image": "y"}]}}), 2),
        ("", json!({"spec": {"activeDeadlineSeconds": 60}}), 3),
        ("", json!({"metadata": {"labels": {"l": "1"}}}), 3),
        ("", json!({"spec": {"activeDeadlineSeconds": 60}}), 3),
        ("/status", json!({"status": {"phase": "Running", "observedGeneration": 3}}), 3),
        ("/status", json!({"status": {"observedGeneration": null}}), 3),
        (
            "/resize",
            json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}}),
            4,
        ),
        ("/ephemeralcontainers", json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "x"}]}}), 5),
    ] {
        let answer = server.send("PATCH", &format!("{path}{part}"), &patch).await;
        assert_eq!(
            (answer.code, &answer.body["metadata"]["generation"]),
            (200, &json!(generation)),
            "{part} {patch}: {}",
            answer.body
        );
    }
    let ending = server.send("DELETE", &path, &Value::Null).await;
    assert_eq!((ending.code, &ending.body["metadata"]["generation"]), (200, &json!(6)));
    assert_eq!(ending.body["status"]["observedGeneration"], 3);
    let hastened = server.send("DELETE", &path, &json!({"gracePeriodSeconds": 1})).await;
    assert_eq!((hastened.code, &hastened.body["metadata"]["generation"]), (200, &json!(6)));
    server.stop().await;
}

#[tokio::test]
async fn pods_get_the_priority_of_their_class() {
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    const PODS: &str = "/api/v1/namespaces/default/pods?dryRun=All";
    let server = Server::start().await;
    let pod = |extra: Value| {
        let mut spec = json!({"containers": [{"name": "c", "image": "x"}]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"name": "p"}, "spec": spec})
    };
    let numbers = |spec: &Value| {
        (spec["priority"].clone(), spec["preemptionPolicy"].clone(), spec["priorityClassName"].clone())
    };
    let plain = server.send("POST", PODS, &pod(json!({}))).await;
    assert_eq!(numbers(&plain.body["spec"]), (json!(0), json!("PreemptLowerPriority"), Value::Null));
    let critical =
        server.send("POST", PODS, &pod(json!({"priorityClassName": "system-node-critical"}))).await;
    assert_eq!(critical.body["spec"]["priority"], 2_000_001_000);
    let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default, "preemptionPolicy": "Never"});
    assert_eq!(server.send("POST", CLASSES, &class("usual", 7, true)).await.code, 201);
    server.get(CLASSES).await;
    let second = server.send("POST", CLASSES, &class("other", 8, true)).await;
    assert_eq!(
        (second.code, second.body["message"].as_str().unwrap()),
        (
            403,
            "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"
        )
    );
    let usual = server.send("POST", PODS, &pod(json!({}))).await;
    assert_eq!(numbers(&usual.body["spec"]), (json!(7), json!("Never"), json!("usual")));
    for (extra, message) in [
        (json!({"priorityClassName": "nope"}), "no PriorityClass with name nope was found"),
        (
            json!({"priority": 3}),
            "the integer value of priority (3) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name",
        ),
        (
            json!({"preemptionPolicy": "PreemptLowerPriority"}),
            "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name",
        ),
    ] {
        let refused = server.send("POST", PODS, &pod(extra)).await;
        assert_eq!(
            (refused.code, refused.body["message"].as_str().unwrap()),
            (403, format!("pods \"p\" is forbidden: {message}").as_str())
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_sent_without_what_the_server_computes_has_not_changed() {
    let server = Server::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let made = server.send("POST", PODS, &pod).await.body;
    let mut sent = made.clone();
    for field in ["priority", "preemptionPolicy", "tolerations"] {
        sent["spec"].as_object_mut().unwrap().remove(field).unwrap();
    }
    let answer = server.send("PUT", &format!("{PODS}/p"), &sent).await;
    assert_eq!((answer.code, answer.body), (200, made));
    server.stop().await;
}

/// A pod with an own mark, as it was made.
async fn marked_pod(server: &Server, resources: Value) -> Value {
    let pod = json!({
        "metadata": {"name": "p", "labels": {"l": "1"}, "annotations": {"a": "1"}},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": resources}]},
    });
    let made = server.send("POST", PODS, &pod).await;
    assert_eq!((made.code, &made.body["metadata"]["generation"]), (201, &json!(1)));
    made.body
}

/// Everything of a pod that a write through one of its parts must leave as it is.
fn besides(pod: &Value, part: &str) -> Value {
    let mut rest = pod.clone();
    for field in ["generation", "resourceVersion", "managedFields"] {
        rest["metadata"].as_object_mut().unwrap().remove(field);
    }
    match part {
        "ephemeralcontainers" => drop(rest["spec"].as_object_mut().unwrap().remove("ephemeralContainers")),
        _ => drop(rest["spec"]["containers"][0].as_object_mut().unwrap().remove("resources")),
    }
    rest
}

/// The pod with changes everywhere, of which only those of one part may come through.
fn changed_everywhere(pod: &Value) -> Value {
    let mut sent = pod.clone();
    sent["metadata"]["labels"] = json!({"l": "2"});
    sent["metadata"]["annotations"] = json!({"a": "2"});
    sent["metadata"]["finalizers"] = json!(["x.io/f"]);
    sent["spec"]["containers"][0]["image"] = "y".into();
    sent["spec"]["activeDeadlineSeconds"] = 5.into();
    sent["status"]["phase"] = "Failed".into();
    sent
}

#[tokio::test]
async fn ephemeral_containers_come_and_stay() {
    let server = Server::start().await;
    let made = marked_pod(&server, json!({})).await;
    let path = format!("{PODS}/p/ephemeralcontainers");
    assert_eq!(server.get(&path).await.body, made);
    // None come by another way.
    let debug = json!([{"name": "debug", "image": "sh", "targetContainerName": "c"}]);
    let mut sent = made.clone();
    sent["spec"]["ephemeralContainers"] = debug.clone();
    let refused = server.send("PUT", &format!("{PODS}/p"), &sent).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (422, Some("Invalid")), "{}", refused.body);
    assert!(
        refused.body["message"].as_str().unwrap().contains("pod updates may not change fields other than")
    );

    let mut sent = changed_everywhere(&made);
    sent["spec"]["ephemeralContainers"] = debug;
    let put = server.send("PUT", &path, &sent).await;
    assert_eq!((put.code, &put.body["metadata"]["generation"]), (200, &json!(2)), "{}", put.body);
    assert_eq!(besides(&put.body, "ephemeralcontainers"), besides(&made, "ephemeralcontainers"));
    let there = &put.body["spec"]["ephemeralContainers"];
    assert_eq!((&there[0]["name"], &there[0]["imagePullPolicy"]), (&json!("debug"), &json!("Always")));
    let owner = put.body["metadata"]["managedFields"].as_array().unwrap().last().unwrap();
    assert_eq!(owner["subresource"], "ephemeralcontainers");

    // A strategic patch adds one beside those that there are.
    let second = json!({"spec": {"ephemeralContainers": [{"name": "more", "image": "sh"}]}});
    let patched = server.send("PATCH", &path, &second).await;
    let names: Vec<_> = patched.body["spec"]["ephemeralContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!((patched.code, names.len(), &patched.body["metadata"]["generation"]), (200, 2, &json!(3)));
    assert!(names.contains(&json!("debug")) && names.contains(&json!("more")), "{names:?}");

    for (sent, why) in [
        (json!([]), "existing ephemeral containers \"debug\" may not be removed"),
        (
            json!([{"name": "debug", "image": "other", "targetContainerName": "c"}, {"name": "more", "image": "sh"}]),
            "existing ephemeral containers \"debug\" may not be changed",
        ),
        (json!([{"name": "c", "image": "sh"}]), "Duplicate value: \"c\""),
        (
            json!([{"name": "new", "image": "sh", "ports": [{"containerPort": 80}]}]),
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
        (
            json!([{"name": "new", "image": "sh", "targetContainerName": "none"}]),
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"none\"",
        ),
    ] {
        let mut pod = patched.body.clone();
        pod["spec"]["ephemeralContainers"] = sent;
        let refused = server.send("PUT", &path, &pod).await;
        let message = refused.body["message"].as_str().unwrap_or_default();
        assert_eq!(refused.code, 422, "{why}: {}", refused.body);
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(server.get(&path).await.body, patched.body);
    assert_eq!(server.get(&format!("{PODS}/none/ephemeralcontainers")).await.code, 404);
    assert_eq!(server.send("POST", &path, &made).await.code, 405);
    assert_eq!(server.send("DELETE", &path, &Value::Null).await.code, 405);
    server.stop().await;
}

#[tokio::test]
async fn a_resize_changes_what_containers_may_use() {
    let server = Server::start().await;
    let asks = |cpu: &str, memory: &str| json!({"requests": {"cpu": cpu, "memory": memory}});
    let made = marked_pod(&server, asks("1", "1Gi")).await;
    let path = format!("{PODS}/p/resize");
    assert_eq!(server.get(&path).await.body, made);
    // Not by another way.
    let more = json!({"spec": {"containers": [{"name": "c", "resources": asks("2", "1Gi")}]}});
    let refused = server.send("PATCH", &format!("{PODS}/p"), &more).await;
    assert_eq!((refused.code, refused.body["reason"].as_str()), (422, Some("Invalid")));

    let mut sent = changed_everywhere(&made);
    sent["spec"]["containers"][0]["resources"] = asks("2", "1Gi");
    let put = server.send("PUT", &path, &sent).await;
    assert_eq!((put.code, &put.body["metadata"]["generation"]), (200, &json!(2)), "{}", put.body);
    assert_eq!(besides(&put.body, "resize"), besides(&made, "resize"));
    assert_eq!(put.body["spec"]["containers"][0]["resources"], asks("2", "1Gi"));

    let bigger =
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"memory": "2Gi"}}}]}});
    let patched = server.send("PATCH", &path, &bigger).await;
    assert_eq!((patched.code, &patched.body["metadata"]["generation"]), (200, &json!(3)), "{}", patched.body);
    assert_eq!(patched.body["spec"]["containers"][0]["resources"], asks("2", "2Gi"));
    // What is as it was is no change.
    assert_eq!(server.send("PATCH", &path, &bigger).await.body, patched.body);

    for (containers, why) in [
        (
            json!([{"name": "c", "resources": {"requests": {"cpu": null}}}]),
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ),
        (
            json!([{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!([{"name": "c", "resources": {"limits": {"cpu": "2", "memory": "2Gi"}}}]),
            "Pod QOS Class may not change as a result of resizing",
        ),
        (
            json!([{"name": "c", "resources": {"requests": {"ephemeral-storage": "1Gi"}}}]),
            "spec: Forbidden: only cpu and memory resources are mutable",
        ),
        (
            json!([{"name": "d", "image": "x", "resources": asks("1", "1Gi")}]),
            "spec.containers: Forbidden: containers may not be added or removed on resize",
        ),
        (
            json!([{"$patch": "replace"}, {"name": "d", "image": "x", "resources": asks("1", "1Gi")}]),
            "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
        ),
    ] {
        let refused = server.send("PATCH", &path, &json!({"spec": {"containers": containers}})).await;
        let message = refused.body["message"].as_str().unwrap_or_default();
        assert_eq!(refused.code, 422, "{why}: {}", refused.body);
        assert!(message.contains(why), "{message}");
    }
    // A kubelet that says nothing of resources cannot do it.
    let old = json!({"status": {"phase": "Running", "containerStatuses": [{
        "name": "c", "image": "x", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]}});
    let running = server.send("PATCH", &format!("{PODS}/p/status"), &old).await;
    assert_eq!(running.code, 200, "{}", running.body);
    let refused = server.send("PATCH", &path, &more).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.body["message"].as_str().unwrap().contains("Pod running on node without support for resize")
    );
    assert_eq!(server.get(&path).await.body, running.body);
    assert_eq!(server.send("POST", &path, &made).await.code, 405);
    server.stop().await;
}

#[tokio::test]
async fn a_mirror_pod_asks_for_nothing_of_the_cluster() {
    let server = Server::start().await;
    let volume = |source: Value| json!([{"name": "v", "projected": {"sources": [source]}}]);
    for (field, value, why) in [
        ("serviceAccountName", json!("default"), "reference service accounts"),
        ("imagePullSecrets", json!([{"name": "s"}]), "reference secrets"),
        (
            "volumes",
            volume(json!({"serviceAccountToken": {"path": "t"}})),
            "use ServiceAccountToken volume projections",
        ),
    ] {
        let mut pod = json!({
            "metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "hash"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]},
        });
        pod["spec"][field] = value;
        let refused = server.send("POST", PODS, &pod).await;
        let why = format!("pods \"m\" is forbidden: a mirror pod may not {why}");
        assert_eq!((refused.code, refused.body["message"].as_str()), (403, Some(&*why)), "{field}");
        pod["spec"].as_object_mut().unwrap().remove(field);
        assert_eq!(server.send("POST", &format!("{PODS}?dryRun=All"), &pod).await.code, 201);
    }
    server.stop().await;
}

#[tokio::test]
async fn budgets_hold_evictions_back() {
    const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let server = Server::start().await;
    for name in ["a", "b"] {
        let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}});
        server.send("POST", PODS, &pod).await;
        let ready =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(server.send("PATCH", &format!("{PODS}/{name}/status"), &ready).await.code, 200);
    }
    let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    server.send("POST", BUDGETS, &budget).await;
    server.get(BUDGETS).await;
    let evict = |name: &'static str, query: &'static str| {
        let server = &server;
        async move {
            server
                .send("POST", &format!("{PODS}/{name}/eviction{query}"), &json!({"metadata": {"name": name}}))
                .await
        }
    };
    let early = evict("a", "").await;
    assert_eq!((early.code, &early.body["details"]["retryAfterSeconds"]), (429, &json!(10)));
    let counts = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    assert_eq!(server.send("PATCH", &format!("{BUDGETS}/web/status"), &counts).await.code, 200);
    // What is refused is neither counted nor told to the pod.
    let path = format!("{PODS}/a/eviction");
    for (options, code) in [
        (json!({"propagationPolicy": "Sideways"}), 422),
        (json!({"dryRun": ["Some"]}), 422),
        (json!({"preconditions": {"uid": "another"}}), 409),
        (json!({"preconditions": {"resourceVersion": "1"}}), 409),
    ] {
        let eviction = json!({"metadata": {"name": "a"}, "deleteOptions": options});
        assert_eq!(server.send("POST", &path, &eviction).await.code, code, "{options}");
    }
    let budget_status = server.get(&format!("{BUDGETS}/web")).await.body["status"].take();
    assert_eq!(budget_status["disruptionsAllowed"], 1);
    let conditions = server.get(&format!("{PODS}/a")).await.body["status"]["conditions"].take();
    assert!(conditions.as_array().unwrap().iter().all(|c| c["type"] != "DisruptionTarget"), "{conditions}");
    assert_eq!(evict("a", "?dryRun=All").await.code, 201);
    assert_eq!(evict("a", "").await.code, 201);
    let gone = server.get(&format!("{PODS}/a")).await.body;
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
    let target =
        gone["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(target.unwrap()["reason"], "EvictionByEvictionAPI");
    let status = server.get(&format!("{BUDGETS}/web")).await.body["status"].clone();
    assert_eq!((&status["disruptionsAllowed"], status["disruptedPods"]["a"].is_string()), (&json!(0), true));
    let held = evict("b", "").await;
    assert_eq!(
        (held.code, &held.body["details"]["causes"][0]),
        (
            429,
            &json!({"reason": "DisruptionBudget", "message": "The disruption budget web needs 1 healthy pods and has 2 currently"})
        )
    );
    // Two budgets for one pod are a mistake.
    let mut second = budget.clone();
    second["metadata"]["name"] = json!("too");
    server.send("POST", BUDGETS, &second).await;
    server.get(BUDGETS).await;
    assert_eq!(evict("b", "").await.code, 500);
    // A pod that does no work yet is no matter of budgets; it is told, too, whether a version is meant or not.
    for (name, insists) in [("c", true), ("d", false)] {
        let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}});
        let made = server.send("POST", PODS, &pod).await.body;
        let version = made["metadata"]["resourceVersion"].clone();
        let meant = if insists { json!({"resourceVersion": version}) } else { Value::Null };
        let eviction = json!({"metadata": {"name": name}, "deleteOptions": {"preconditions": meant}});
        let evicted = server.send("POST", &format!("{PODS}/{name}/eviction"), &eviction).await;
        assert_eq!(evicted.code, 201, "{}", evicted.body);
        let gone = server.get(&format!("{PODS}/{name}")).await.body;
        assert!(gone["metadata"]["deletionTimestamp"].is_string(), "{gone}");
        let mut conditions = gone["status"]["conditions"].as_array().unwrap().iter();
        assert!(conditions.any(|c| c["type"] == "DisruptionTarget"), "{gone}");
    }
    server.stop().await;
}
