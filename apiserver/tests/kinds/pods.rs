//! Pods: where they run, what comes first, and what holds them.

use serde_json::{Value, json};

use crate::harness::Server;

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
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let made = server.send("POST", pods, &pod).await.body;
    let mut sent = made.clone();
    for field in ["priority", "preemptionPolicy"] {
        sent["spec"].as_object_mut().unwrap().remove(field).unwrap();
    }
    let answer = server.send("PUT", &format!("{pods}/p"), &sent).await;
    assert_eq!((answer.code, answer.body), (200, made));
    server.stop().await;
}

#[tokio::test]
async fn budgets_hold_evictions_back() {
    const PODS: &str = "/api/v1/namespaces/default/pods";
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
    server.stop().await;
}
