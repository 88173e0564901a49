//! What single kinds do beyond being stored.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use harness::{Answer, Server};
use serde_json::{Value, json};

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";

#[tokio::test]
async fn a_cluster_begins_with_its_levels_classes_and_range() {
    let server = Server::start().await;
    for (path, count) in [(SCHEMAS, 11), (LEVELS, 8), ("/apis/scheduling.k8s.io/v1/priorityclasses", 2)] {
        assert_eq!(server.get(path).await.body["items"].as_array().unwrap().len(), count, "{path}");
    }
    let range = server.get("/apis/networking.k8s.io/v1/servicecidrs/kubernetes").await.body;
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(range["status"]["conditions"][0]["status"], "True");
    // What every cluster has comes back when somebody deletes it.
    let service = "/api/v1/namespaces/default/services/kubernetes";
    let uid = server.get(service).await.body["metadata"]["uid"].clone();
    let schema = format!("{SCHEMAS}/probes");
    for path in [service, &schema, "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical"] {
        let gone = server.send("DELETE", path, &Value::Null).await;
        assert!(gone.code == 200 || gone.code == 403, "{path}: {}", gone.body);
        server.eventually(path, |answer| answer.body["metadata"]["uid"].is_string()).await;
    }
    let is_new = |answer: &Answer| {
        let found = &answer.body["metadata"]["uid"];
        found.is_string() && *found != uid
    };
    let again = server.eventually(service, is_new).await;
    assert_eq!(again.body["spec"]["clusterIP"], "10.96.0.1");
    server.stop().await;
}

#[tokio::test]
async fn a_flow_schema_says_whether_its_level_is_there() {
    let server = Server::start().await;
    let schema = json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": [
        {"subjects": [{"kind": "User", "user": {"name": "bob"}}],
         "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}]}});
    assert_eq!(server.send("POST", SCHEMAS, &schema).await.code, 201);
    let dangling =
        |wanted: &'static str| move |a: &Answer| a.body["status"]["conditions"][0]["status"] == wanted;
    let path = format!("{SCHEMAS}/s");
    let told = server.eventually(&path, dangling("True")).await.body;
    assert_eq!(told["status"]["conditions"][0]["reason"], "NotFound");
    let level = json!({"metadata": {"name": "l"},
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
    assert_eq!(server.send("POST", LEVELS, &level).await.code, 201);
    server.eventually(&path, dangling("False")).await;
    server.send("DELETE", &format!("{LEVELS}/l"), &Value::Null).await;
    server.eventually(&path, dangling("True")).await;
    server.stop().await;
}

const AUTHN: &str = "/apis/authentication.k8s.io/v1";
const AUTHZ: &str = "/apis/authorization.k8s.io/v1";

#[tokio::test]
async fn callers_learn_who_they_are_and_what_they_may_do() {
    let server = Server::start().await;
    let me = server.send("POST", &format!("{AUTHN}/selfsubjectreviews"), &json!({})).await;
    let info = &me.body["status"]["userInfo"];
    assert_eq!((me.code, &info["username"]), (201, &json!("tester")));
    assert_eq!(info["groups"], json!(["system:masters", "system:authenticated"]));

    let pods = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let may = |spec: Value| json!({"spec": spec});
    for (path, spec, allowed) in [
        (format!("{AUTHZ}/selfsubjectaccessreviews"), json!({"resourceAttributes": pods}), true),
        (format!("{AUTHZ}/subjectaccessreviews"), json!({"user": "bob", "resourceAttributes": pods}), true),
        (
            format!("{AUTHZ}/subjectaccessreviews"),
            json!({"user": "system:anonymous", "groups": ["system:unauthenticated"], "resourceAttributes": pods}),
            false,
        ),
        (
            format!("{AUTHZ}/subjectaccessreviews"),
            json!({"user": "system:anonymous", "nonResourceAttributes": {"verb": "get", "path": "/livez"}}),
            true,
        ),
        (
            format!("{AUTHZ}/namespaces/default/localsubjectaccessreviews"),
            json!({"user": "bob", "resourceAttributes": pods}),
            true,
        ),
    ] {
        let answer = server.send("POST", &path, &may(spec.clone())).await;
        assert_eq!((answer.code, &answer.body["status"]["allowed"]), (201, &json!(allowed)), "{path} {spec}");
        assert_eq!(answer.body["spec"], spec);
    }
    let elsewhere =
        json!({"user": "bob", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "x"}});
    let refused = server
        .send("POST", &format!("{AUTHZ}/namespaces/default/localsubjectaccessreviews"), &may(elsewhere))
        .await;
    assert_eq!(refused.code, 422);

    let rules = format!("{AUTHZ}/selfsubjectrulesreviews");
    let answer = server.send("POST", &rules, &may(json!({"namespace": "default"}))).await;
    assert_eq!(answer.body["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    assert_eq!(server.send("POST", &rules, &may(json!({}))).await.code, 400);
    // Nothing is kept.
    assert_eq!(server.get(&rules).await.code, 405);
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_reviewed_for_those_they_are_meant_for() {
    let server = Server::start().await;
    let request = json!({"spec": {"expirationSeconds": 600, "audiences": ["vault"]}});
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let issued = server.send("POST", &format!("{account}/token"), &request).await;
    let token = issued.body["status"]["token"].clone();
    let review = |spec: Value| {
        let (server, path) = (&server, format!("{AUTHN}/tokenreviews"));
        async move { server.send("POST", &path, &json!({"spec": spec})).await }
    };
    let answer = review(json!({"token": token, "audiences": ["vault", "other"]})).await;
    let status = &answer.body["status"];
    assert_eq!((answer.code, &status["authenticated"]), (201, &json!(true)));
    assert_eq!(status["audiences"], json!(["vault"]));
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:default");
    assert!(status["user"]["extra"]["authentication.kubernetes.io/credential-id"][0].is_string());
    for spec in [json!({"token": token}), json!({"token": "guess"})] {
        let answer = review(spec).await;
        assert_eq!(answer.body["status"], json!({"user": {}, "error": "invalid bearer token"}));
    }
    assert_eq!(review(json!({"token": "secret"})).await.body["status"]["user"]["username"], "tester");
    // Others can check it without asking.
    let said = server.get("/.well-known/openid-configuration").await;
    assert_eq!(said.body["issuer"], "https://kubernetes.default.svc.cluster.local");
    assert!(said.body["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"), "{}", said.body);
    assert_eq!(said.cache_control.as_deref(), Some("public, max-age=3600"));
    assert_eq!(server.get("/openid/v1/jwks").await.body["keys"][0]["crv"], "P-256");
    // A token dies with the secret or node that it is bound to.
    let secrets = "/api/v1/namespaces/default/secrets";
    for (kind, path) in [("Secret", secrets), ("Node", "/api/v1/nodes")] {
        let made = server.send("POST", path, &json!({"metadata": {"name": "bound"}})).await;
        let reference =
            json!({"apiVersion": "v1", "kind": kind, "name": "bound", "uid": made.body["metadata"]["uid"]});
        let request = json!({"spec": {"expirationSeconds": 600, "boundObjectRef": reference}});
        let token =
            server.send("POST", &format!("{account}/token"), &request).await.body["status"]["token"].take();
        assert_eq!(review(json!({"token": token})).await.body["status"]["authenticated"], true, "{kind}");
        server.send("DELETE", &format!("{path}/bound"), &Value::Null).await;
        server.get(path).await;
        assert_eq!(review(json!({"token": token})).await.body["status"].get("authenticated"), None, "{kind}");
        let mut other = request.clone();
        other["spec"]["boundObjectRef"]["kind"] = "ConfigMap".into();
        let refused = server.send("POST", &format!("{account}/token"), &other).await;
        let why = "cannot bind token for serviceaccount to object of type /v1, Kind=ConfigMap";
        assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(why)));
    }
    // No other account's pod lends a token its life and name.
    let pods = "/api/v1/namespaces/default/pods";
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    assert_eq!(server.send("POST", pods, &pod).await.code, 201);
    assert_eq!(server.send("POST", accounts, &json!({"metadata": {"name": "robot"}})).await.code, 201);
    let request = json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}});
    assert_eq!(server.send("POST", &format!("{account}/token"), &request).await.code, 201);
    let refused = server.send("POST", &format!("{accounts}/robot/token"), &request).await;
    let why =
        "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name.";
    assert_eq!((refused.code, refused.body["message"].as_str()), (400, Some(why)));
    assert_eq!(review(json!({})).await.code, 400);
    server.stop().await;
}

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
async fn components_are_asked_when_somebody_asks() {
    let server = Server::start().await;
    let list = server.get("/api/v1/componentstatuses").await;
    let names: Vec<_> =
        list.body["items"].as_array().unwrap().iter().map(|c| &c["metadata"]["name"]).collect();
    assert_eq!(names, ["controller-manager", "scheduler", "etcd-0"]);
    assert_eq!(list.warnings, ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let store = server.get("/api/v1/componentstatuses/etcd-0").await.body;
    assert_eq!(store["conditions"][0], json!({"type": "Healthy", "status": "True", "message": "ok"}));
    assert_eq!(server.get("/api/v1/componentstatuses/nope").await.code, 404);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.send_raw("GET", "/api/v1/componentstatuses", &table, Vec::new()).await.body;
    assert_eq!(table["rows"][2]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
    server.stop().await;
}

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

#[tokio::test]
async fn certificates_are_asked_for_and_approved() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let server = Server::start().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let request = |name: &str, pem: &str| {
        json!({"metadata": {"name": name}, "spec": {"request": STANDARD.encode(pem), "usages": ["client auth"],
            "signerName": "example.com/s", "username": "somebody-else"}})
    };
    let made = server.send("POST", REQUESTS, &request("a", &pem)).await;
    assert_eq!((made.code, &made.body["spec"]["username"]), (201, &json!("tester")));
    let refused = server.send("POST", REQUESTS, &request("b", "hello")).await;
    let cause = &refused.body["details"]["causes"][0];
    assert_eq!((refused.code, &cause["field"]), (422, &json!("spec.request")));
    assert!(cause["message"].as_str().unwrap().ends_with("PEM block type must be CERTIFICATE REQUEST"));

    let approval = format!("{REQUESTS}/a/approval");
    let mut approved = server.get(&approval).await.body;
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "ByHand"}]);
    approved["spec"]["signerName"] = json!("example.com/other");
    let answer = server.send("PUT", &approval, &approved).await;
    assert_eq!((answer.code, &answer.body["spec"]["signerName"]), (200, &json!("example.com/s")));
    assert!(answer.body["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let again = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
    assert_eq!(server.send("PATCH", &format!("{REQUESTS}/a/status"), &again).await.code, 422);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server.send_raw("GET", REQUESTS, &table, Vec::new()).await.body;
    assert_eq!(
        table["rows"][0]["cells"].as_array().unwrap()[2..],
        [json!("example.com/s"), json!("tester"), json!("<none>"), json!("Approved")]
    );
    let selected = server.get(&format!("{REQUESTS}?fieldSelector=spec.signerName%3Dexample.com/s")).await;
    assert_eq!(selected.body["items"].as_array().map(Vec::len), Some(1));
    server.stop().await;
}

#[tokio::test]
async fn what_is_served_here_has_an_available_api_service() {
    const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
    let server = Server::start().await;
    let found = |a: &Answer| a.body["status"]["conditions"][0]["reason"] == "Local";
    let apps = server.eventually(&format!("{SERVICES}/v1.apps"), found).await.body;
    assert_eq!(
        apps["spec"],
        json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15})
    );
    server.send("DELETE", &format!("{SERVICES}/v1.apps"), &Value::Null).await;
    let other = |answer: &Answer| {
        let found = &answer.body["metadata"]["uid"];
        found.is_string() && *found != apps["metadata"]["uid"]
    };
    server.eventually(&format!("{SERVICES}/v1.apps"), other).await;

    // Whom nobody answers for is not available, and says so.
    let remote = json!({"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": {
        "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        "service": {"namespace": "kube-system", "name": "metrics-server"}, "insecureSkipTLSVerify": true}});
    assert_eq!(server.get("/apis/metrics.k8s.io/v1beta1/nodes").await.code, 404);
    assert_eq!(server.send("POST", SERVICES, &remote).await.code, 201);
    let path = format!("{SERVICES}/v1beta1.metrics.k8s.io");
    let told = async |reason: &str| {
        let condition = |answer: &Answer| answer.body["status"]["conditions"][0].clone();
        let found = server.eventually(&path, |answer| condition(answer)["reason"] == reason).await;
        assert_eq!(condition(&found)["status"], "False");
        condition(&found)["message"].as_str().unwrap().to_owned()
    };
    let missing = "service/metrics-server in \"kube-system\" is not present";
    assert_eq!(told("ServiceNotFound").await, missing);
    for path in ["/apis/metrics.k8s.io/v1beta1", "/apis/metrics.k8s.io/v1beta1/nodes"] {
        let answer = server.get(path).await;
        assert_eq!((answer.code, answer.body), (503, json!("service unavailable\n")), "{path}");
    }
    let service = json!({"metadata": {"name": "metrics-server"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(server.send("POST", "/api/v1/namespaces/kube-system/services", &service).await.code, 201);
    told("ServicePortError").await;
    server.send("DELETE", "/api/v1/namespaces/kube-system/services/metrics-server", &Value::Null).await;
    told("ServiceNotFound").await;
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

#[tokio::test]
async fn the_default_class_is_the_newest_one() {
    const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims?dryRun=All";
    const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
    let server = Server::start().await;
    let claim = |class: Option<&str>| {
        let mut spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        if let Some(class) = class {
            spec["storageClassName"] = json!(class);
        }
        json!({"metadata": {"name": "c"}, "spec": spec})
    };
    let chosen = |answer: &harness::Answer| answer.body["spec"]["storageClassName"].clone();
    assert_eq!(chosen(&server.send("POST", CLAIMS, &claim(None)).await), Value::Null);
    let class = json!({"metadata": {"name": "usual", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "x.io/y"});
    assert_eq!(server.send("POST", CLASSES, &class).await.code, 201);
    server.get(CLASSES).await;
    assert_eq!(chosen(&server.send("POST", CLAIMS, &claim(None)).await), "usual");
    assert_eq!(chosen(&server.send("POST", CLAIMS, &claim(Some(""))).await), "");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"runtimeClassName": "nope", "containers": [{"name": "c", "image": "x"}]}});
    let refused = server.send("POST", "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(
        (refused.code, refused.body["message"].as_str().unwrap()),
        (403, "pods \"p\" is forbidden: pod rejected: RuntimeClass \"nope\" not found")
    );
    server.stop().await;
}

#[tokio::test]
async fn policies_are_told_what_does_not_fit_the_kinds_they_name() {
    let server = Server::start().await;
    let definition = json!({
        "metadata": {"name": "ships.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced", "names": {"plural": "ships", "kind": "Ship"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"masts": {"type": "integer"}}}}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(server.send("POST", definitions, &definition).await.code, 201);
    let policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
    let policy = |name: &str, group: &str, plural: &str, expressions: [&str; 2]| {
        let rule = json!({"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]});
        json!({"metadata": {"name": name}, "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "variables": [{"name": "meta", "expression": "object.metadata"}],
            "validations": expressions.map(|expression| json!({"expression": expression})),
        }})
    };
    let fine = [
        "object.spec.replicas > 1 && variables.meta.name != ''",
        "oldObject.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')",
    ];
    let wrong = ["object.spec.replicas > '1'", "variables.meta.nam == ''"];
    let custom = ["object.masts > 2", "object.mast > 2"];
    for (name, group, plural, expressions) in [
        ("fine", "apps", "deployments", fine),
        ("wrong", "apps", "deployments", wrong),
        ("custom", "example.org", "ships", custom),
    ] {
        let made = server.send("POST", policies, &policy(name, group, plural, expressions)).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let checked = async |name: &str| {
        let is_checked = |answer: &Answer| {
            let status = &answer.body["status"];
            status["typeChecking"].is_object() && status["observedGeneration"] == 1
        };
        let mut policy = server.eventually(&format!("{policies}/{name}"), is_checked).await.body;
        policy["status"]["typeChecking"].take()
    };
    assert_eq!(checked("fine").await, json!({}));
    let marked = |kind: &str, at: usize, why: &str, text: &str| {
        format!("{kind}: ERROR: <input>:1:{at}: {why}\n | {text}\n | {}^\n", ".".repeat(at - 1))
    };
    let overload = "found no matching overload for '_>_' applied to '(int, string)'";
    assert_eq!(
        checked("wrong").await["expressionWarnings"],
        json!([
            {"fieldRef": "spec.validations[0].expression", "warning": marked("apps/v1, Kind=Deployment", 22, overload, wrong[0])},
            {"fieldRef": "spec.validations[1].expression", "warning": marked("apps/v1, Kind=Deployment", 15, "undefined field 'nam'", wrong[1])},
        ])
    );
    assert_eq!(
        checked("custom").await["expressionWarnings"],
        json!([{"fieldRef": "spec.validations[1].expression", "warning": marked("example.org/v1, Kind=Ship", 7, "undefined field 'mast'", custom[1])}])
    );
    server.stop().await;
}

#[tokio::test]
async fn services_draw_from_every_range_that_is_ready() {
    let server = Server::start_with(|c| c.ranges.addresses = "10.96.0.0/29".parse().unwrap()).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, ip: &str| json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    let cidrs = "/apis/networking.k8s.io/v1/servicecidrs";
    let more = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/29"]}});
    assert_eq!(server.send("POST", cidrs, &more).await.code, 201);
    let refused = server.send("POST", services, &service("early", "10.97.0.3")).await;
    assert_eq!(refused.code, 422, "nothing is drawn from a range before it is ready");
    let ready = |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status, "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    assert_eq!(server.send("PATCH", &format!("{cidrs}/more/status"), &ready("True")).await.code, 200);
    server.get(cidrs).await;
    let asked = server.send("POST", services, &service("asked", "10.97.0.3")).await;
    assert_eq!((asked.code, asked.body["spec"]["clusterIP"].as_str()), (201, Some("10.97.0.3")));
    // The first range has five addresses left, the other one five.
    let mut drawn = std::collections::BTreeSet::new();
    for i in 0..10 {
        let made = server.send("POST", services, &service(&format!("s{i}"), "")).await;
        assert_eq!(made.code, 201, "{}", made.body);
        drawn.insert(made.body["spec"]["clusterIP"].as_str().unwrap().to_owned());
    }
    assert_eq!(drawn.iter().filter(|ip| ip.starts_with("10.97.0.")).count(), 5, "{drawn:?}");
    let full = server.send("POST", services, &service("over", "")).await;
    assert_eq!(full.code, 500);
    assert!(full.body["message"].as_str().unwrap().ends_with("range is full"), "{}", full.body);
    // A service keeps its address when the range is no longer ready.
    assert_eq!(server.send("PATCH", &format!("{cidrs}/more/status"), &ready("False")).await.code, 200);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(server.send("PATCH", &format!("{services}/asked"), &label).await.code, 200);
    server.stop().await;
}
