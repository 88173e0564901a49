#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::harness::{Answer, Server};

const NAMESPACES: &str = "/api/v1/namespaces";
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// A namespace whose pods are held to these labels.
async fn held(server: &Server, name: &str, labels: Value) -> Answer {
    let made = server.send("POST", NAMESPACES, &json!({"metadata": {"name": name, "labels": labels}})).await;
    let account = json!({"metadata": {"name": "default"}});
    server.send("POST", &format!("{NAMESPACES}/{name}/serviceaccounts"), &account).await;
    server.get(NAMESPACES).await;
    made
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let fields = spec.as_object().cloned().unwrap_or_default();
    pod["spec"].as_object_mut().unwrap().extend(fields);
    pod
}

fn told(answer: &Answer) -> (u16, &str) {
    (answer.code, answer.body["message"].as_str().unwrap_or(""))
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_held_to_what_labels_say_and_workloads_are_warned_of() {
    let server = Server::start().await;
    let wrong = held(&server, "wrong", json!({ENFORCE: "nope"})).await;
    let why = "Namespace \"wrong\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"nope\": must be one of privileged, baseline, restricted";
    assert_eq!(told(&wrong), (422, why));
    held(&server, "held", json!({ENFORCE: "baseline"})).await;
    let ns = format!("{NAMESPACES}/held");
    let pods = format!("{ns}/pods");
    let own = json!({"hostNetwork": true});
    let refused = server.send("POST", &pods, &pod("p", own.clone())).await;
    let why = "violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    assert_eq!(told(&refused), (403, &*format!("pods \"p\" is forbidden: {why}")));
    let made = server.send("POST", &pods, &pod("p", Value::Null)).await;
    assert_eq!((made.code, made.warnings.len()), (201, 0), "{:?}", made.warnings);
    // What makes pods is only warned of.
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("", own)["spec"]});
    let selector = json!({"matchLabels": {"a": "b"}});
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = "Never".into();
    for (path, spec) in [
        ("apps/v1/namespaces/held/deployments", json!({"selector": selector, "template": template})),
        ("batch/v1/namespaces/held/jobs", json!({"template": once})),
        (
            "batch/v1/namespaces/held/cronjobs",
            json!({"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}}),
        ),
    ] {
        let object = json!({"metadata": {"name": "w"}, "spec": spec});
        let made = server.send("POST", &format!("/apis/{path}"), &object).await;
        assert_eq!(made.code, 201, "{}", made.body);
        let warned = made.warnings.iter().any(|warning| {
            warning.contains("would violate PodSecurity")
                && warning.contains("host namespaces (hostNetwork=true)")
        });
        assert!(warned, "{path}: {:?}", made.warnings);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_held_to_more_tells_of_the_pods_in_it() {
    let server = Server::start().await;
    held(&server, "later", json!({})).await;
    let ns = format!("{NAMESPACES}/later");
    let pods = format!("{ns}/pods");
    for (name, owner) in [("b", ""), ("a", "u"), ("c", "u"), ("d", "u")] {
        let mut pod = pod(name, json!({"hostPID": true}));
        if !owner.is_empty() {
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": owner, "controller": true}]);
        }
        if name == "d" {
            pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
        }
        assert_eq!(server.send("POST", &pods, &pod).await.code, 201);
    }
    server.send("POST", &pods, &pod("z", Value::Null)).await;
    server.get(&pods).await;
    let enforce = |level: &str| json!({"metadata": {"labels": {ENFORCE: level}}});
    let labelled = server.send("PATCH", &ns, &enforce("baseline")).await;
    let expected = [
        "existing pods in namespace \"later\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "a (and 2 other pods): host namespaces",
        "d: host namespaces, privileged",
    ];
    assert_eq!(labelled.code, 200, "{}", labelled.body);
    assert_eq!(labelled.warnings.len(), expected.len(), "{:?}", labelled.warnings);
    for (warning, expected) in labelled.warnings.iter().zip(expected) {
        assert!(warning.replace("\\\"", "\"").contains(expected), "{warning}");
    }
    // The step looks at the cache, which a read waits for.
    server.get(&ns).await;
    // Who relaxes is told nothing, and what changes nothing of account is not judged.
    let patched =
        server.send("PATCH", &format!("{pods}/a"), &json!({"metadata": {"labels": {"k": "v"}}})).await;
    assert_eq!(patched.code, 200, "{}", patched.body);
    let image = json!({"spec": {"containers": [{"name": "c", "image": "other"}]}});
    assert_eq!(server.send("PATCH", &format!("{pods}/a"), &image).await.code, 403);
    assert_eq!(server.send("PATCH", &format!("{pods}/z"), &image).await.code, 200);
    let debugger = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    assert_eq!(server.send("PATCH", &format!("{pods}/a/ephemeralcontainers"), &debugger).await.code, 403);
    let relaxed = server.send("PATCH", &ns, &enforce("privileged")).await;
    assert_eq!((relaxed.code, relaxed.warnings.len()), (200, 0));
    server.get(&ns).await;
    assert_eq!(server.send("PATCH", &format!("{pods}/a"), &image).await.code, 200);
    server.stop().await;
}
