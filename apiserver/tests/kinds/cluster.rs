//! What belongs to the cluster as a whole.

use serde_json::{Value, json};

use crate::harness::{Answer, Server};

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
    for path in [service, &schema] {
        let gone = server.send("DELETE", path, &Value::Null).await;
        assert_eq!(gone.code, 200, "{path}: {}", gone.body);
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
async fn the_systems_priority_classes_stay() {
    let server = Server::start().await;
    for name in ["system-node-critical", "system-cluster-critical"] {
        let path = format!("/apis/scheduling.k8s.io/v1/priorityclasses/{name}");
        server.eventually(&path, |answer| answer.code == 200).await;
        let refused = server.send("DELETE", &path, &Value::Null).await;
        let words = format!(
            "priorityclasses.scheduling.k8s.io \"{name}\" is forbidden: this is a system priority class and cannot be deleted"
        );
        assert_eq!((refused.code, refused.body["message"].as_str()), (403, Some(words.as_str())));
        assert_eq!(server.get(&path).await.code, 200);
    }
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
    let chosen = |answer: &Answer| answer.body["spec"]["storageClassName"].clone();
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
