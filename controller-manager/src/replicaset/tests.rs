//! What a set does about its pods, case by case.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plan::{Set, Snapshot, plan, status, write_status};
use crate::frame::{Action, Failure, Kind, Outcome, Timestamp, to_value};
use crate::kit::deletion_order;

fn pod(name: &str, extra: &Value) -> Arc<Pod> {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "set", "controller": true}]);
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": "web"}, "ownerReferences": owner},
        "spec": {"containers": [], "nodeName": "n1"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    });
    for (path, value) in extra.as_object().unwrap() {
        *pod.pointer_mut(path.rsplit_once('/').unwrap().0)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .entry(path.rsplit_once('/').unwrap().1)
            .or_insert(json!(null)) = value.clone();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn snapshot(replicas: i32, pods: Vec<Arc<Pod>>) -> Snapshot {
    let meta = json!({"name": "web", "namespace": "d", "uid": "set", "generation": 4});
    Snapshot {
        set: Set {
            kind: Kind::of::<ReplicaSet>(),
            meta: serde_json::from_value(meta).unwrap(),
            replicas,
            min_ready_seconds: 0,
            selector: serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap(),
            template: serde_json::from_value(
                json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}),
            )
            .unwrap(),
            status: ReplicaSetStatus::default(),
        },
        pods,
        pods_on_node: HashMap::new(),
    }
}

fn told(actions: &[Action]) -> Vec<String> {
    let line = |action: &Action| match action {
        Action::Create { bodies, .. } => format!("create {}", bodies.len()),
        Action::Delete { name, .. } => format!("delete {name}"),
        Action::Patch { name, body, .. } => {
            format!("owners of {name}: {}", body["metadata"]["ownerReferences"])
        }
        Action::Tell { message, .. } => message.clone(),
        Action::CatchUp { kind, .. } => format!("all {}", kind.plural),
        Action::Release { name, .. } => format!("release {name}"),
    };
    actions.iter().map(line).collect()
}

#[test]
fn the_count_is_kept() {
    let run = |name| pod(name, &json!({}));
    let gone = pod("going", &json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}));
    let done = pod("done", &json!({"/status/phase": "Succeeded"}));
    let foreign = pod(
        "foreign",
        &json!({"/metadata/ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "x", "controller": true}]}),
    );
    type Case<'a> = (i32, Vec<Arc<Pod>>, Vec<&'a str>);
    let cases: Vec<Case> = vec![
        (3, vec![], vec!["create 3"]),
        (i32::MAX, vec![], vec!["create 500"]),
        (2, vec![run("a"), run("b")], vec![]),
        (2, vec![run("a"), gone, done], vec!["create 1"]),
        (1, vec![run("a"), run("b")], vec!["delete a"]),
        (0, vec![run("a"), run("b")], vec!["delete a", "delete b"]),
        (1, vec![foreign], vec!["create 1"]),
    ];
    for (replicas, pods, expected) in cases {
        assert_eq!(told(&plan(&snapshot(replicas, pods)).actions), expected);
    }
}

#[test]
fn a_created_pod_is_the_template_owned_by_the_set() {
    let plan = plan(&snapshot(2, vec![]));
    let [Action::Create { bodies, namespace, .. }] = plan.actions.as_slice() else { panic!("{plan:?}") };
    let body = &bodies[0];
    assert_eq!(namespace, "d");
    assert_eq!(body["metadata"]["generateName"], "web-");
    assert_eq!(body["metadata"]["labels"], json!({"app": "web"}));
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "set", "controller": true, "blockOwnerDeletion": true});
    assert_eq!(body["metadata"]["ownerReferences"], json!([owner]));
}

#[test]
fn a_relabelled_pod_is_let_go_and_a_free_one_taken_in() {
    let relabelled = pod("other", &json!({"/metadata/labels": {"app": "other"}}));
    let found = told(&plan(&snapshot(1, vec![relabelled])).actions);
    assert_eq!(found, ["owners of other: []", "create 1"]);
    let free = pod("free", &json!({"/metadata/ownerReferences": null}));
    let found = told(&plan(&snapshot(1, vec![free])).actions);
    assert!(found[0].starts_with("owners of free: [") && found[0].contains("\"uid\":\"set\""), "{found:?}");
    assert_eq!(found.len(), 1);
}

#[test]
fn a_set_that_goes_touches_nothing() {
    let mut going = snapshot(3, vec![pod("free", &json!({"/metadata/ownerReferences": null}))]);
    going.set.meta.deletion_timestamp = Some(crate::frame::api_time(Timestamp::UNIX_EPOCH));
    assert!(plan(&going).actions.is_empty());
}

#[test]
fn the_least_useful_pod_goes_first() {
    let since = |time: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": time}]);
    let ranked = [
        pod("unassigned", &json!({"/spec/nodeName": null})),
        pod("pending", &json!({"/status/phase": "Pending"})),
        pod("unknown", &json!({"/status/phase": "Unknown"})),
        pod("not-ready", &json!({"/status/conditions": []})),
        pod("cheap", &json!({"/metadata/annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}})),
        pod("crowded", &json!({"/spec/nodeName": "n2"})),
        pod("newly-ready", &json!({"/status/conditions": since("2026-01-02T00:00:00Z")})),
        pod(
            "restarted",
            &json!({"/status/containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 4}]}),
        ),
        pod("younger", &json!({"/metadata/creationTimestamp": "2026-01-01T00:00:09Z"})),
        pod("older", &json!({"/metadata/creationTimestamp": "2026-01-01T00:00:01Z"})),
        pod("dear", &json!({"/metadata/annotations": {"controller.kubernetes.io/pod-deletion-cost": "7"}})),
    ];
    let crowds = [("n1".to_owned(), 1), ("n2".to_owned(), 2)].into();
    let mut shuffled: Vec<&Pod> = ranked.iter().map(|pod| &**pod).rev().collect();
    deletion_order::sort(&mut shuffled, &crowds);
    let names =
        |pods: Vec<&Pod>| pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(names(shuffled), names(ranked.iter().map(|pod| &**pod).collect()));
}

#[test]
fn status_counts_and_tells_of_failure() {
    let pods = vec![
        pod("a", &json!({})),
        pod("b", &json!({"/status/conditions": []})),
        pod("c", &json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"})),
    ];
    let mut snapshot = snapshot(3, pods);
    let found = to_value(&status(&snapshot, &Outcome::default(), Timestamp::UNIX_EPOCH));
    let counts = json!({"replicas": 2, "fullyLabeledReplicas": 2, "readyReplicas": 1, "availableReplicas": 1, "terminatingReplicas": 1, "observedGeneration": 4});
    assert_eq!(found, counts);
    let message = "pods \"web-\" is forbidden: exceeded quota".to_owned();
    let failure =
        Failure { code: 403, reason: "Forbidden".to_owned(), message, namespace_terminating: false };
    let failed = status(&snapshot, &Outcome { failure: Some(failure), created: 0 }, Timestamp::UNIX_EPOCH);
    let condition = &failed.conditions.as_ref().unwrap()[0];
    assert_eq!(
        (condition.type_.as_str(), condition.reason.as_deref()),
        ("ReplicaFailure", Some("FailedCreate"))
    );
    snapshot.set.status = failed;
    assert!(
        status(&snapshot, &Outcome::default(), Timestamp::UNIX_EPOCH).conditions.is_none(),
        "success ends it"
    );
    let same = status(&snapshot, &Outcome::default(), Timestamp::UNIX_EPOCH);
    snapshot.set.status = same.clone();
    assert_eq!(write_status(&snapshot.set, &same), None, "what has not changed is not written");
}

#[test]
fn a_pod_is_available_after_the_minimum_time() {
    let mut snapshot = snapshot(1, vec![pod("a", &json!({}))]);
    snapshot.set.min_ready_seconds = 10;
    let ready: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let available = |seconds| {
        status(&snapshot, &Outcome::default(), crate::frame::plus_seconds(ready, seconds)).available_replicas
    };
    assert_eq!((available(9), available(10)), (None, Some(1)));
}
