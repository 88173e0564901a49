//! What a silent node and a taint lead to.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use super::{eviction, health};
use crate::frame::{Action, Timestamp, plus_seconds};

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn node(ready: &str, taints: &Value) -> Arc<Node> {
    let node = json!({
        "metadata": {"name": "n1", "uid": "n1", "resourceVersion": "5"},
        "spec": {"taints": taints},
        "status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "DiskPressure", "status": "False"},
            {"type": "PIDPressure", "status": "False"},
            {"type": "Ready", "status": ready},
        ]},
    });
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, tolerations: &Value) -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name},
        "spec": {"containers": [], "nodeName": "n1", "tolerations": tolerations},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn judge(node: Arc<Node>, silent: i64) -> Vec<Value> {
    let snapshot = health::Snapshot {
        node,
        pods: vec![pod("p", &json!([]))],
        seen: start(),
        grace: Duration::from_secs(50),
        is_new: false,
    };
    let plan = health::plan(&snapshot, plus_seconds(start(), silent));
    let body = |action: Action| match action {
        Action::Patch { kind, mut body, .. } => {
            body.as_object_mut().unwrap().remove("metadata");
            json!({ kind.kind: body })
        }
        Action::Tell { message, .. } => json!(message),
        other => panic!("{other:?}"),
    };
    plan.actions.into_iter().map(body).collect()
}

#[test]
fn a_node_that_renews_is_left_alone() {
    assert!(judge(node("True", &json!(null)), 49).is_empty());
}

#[test]
fn a_silent_node_becomes_unknown_and_its_pods_not_ready() {
    let done = judge(node("True", &json!(null)), 50);
    assert_eq!(done[0], "Node n1 status is now: NodeNotReady");
    let ready = &done[1]["Node"]["status"]["conditions"][3];
    assert_eq!(
        *ready,
        json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status.", "lastTransitionTime": "2026-01-01T00:00:50Z"})
    );
    let added = "2026-01-01T00:00:50Z";
    assert_eq!(
        done[2]["Node"]["spec"]["taints"],
        json!([
            {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule", "timeAdded": added},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": added},
        ])
    );
    assert_eq!(done[3], "Node is not ready");
    assert_eq!(done[4]["Pod"]["status"]["conditions"][0]["status"], "False");
}

#[test]
fn taints_follow_conditions_and_others_stay() {
    let foreign = json!({"key": "dedicated", "value": "db", "effect": "NoExecute"});
    let left = json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"});
    let done = judge(node("True", &json!([foreign, left])), 1);
    assert_eq!(done, [json!({"Node": {"spec": {"taints": [foreign]}}})]);
    let done = judge(node("False", &json!([foreign])), 1);
    let taints = done[0]["Node"]["spec"]["taints"].as_array().unwrap();
    let keys: Vec<&str> = taints.iter().map(|taint| taint["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["dedicated", "node.kubernetes.io/not-ready", "node.kubernetes.io/not-ready"]);
}

#[test]
fn a_living_but_unready_node_speaks_for_its_pods_itself() {
    let done = judge(node("False", &json!(null)), 1);
    assert!(done.iter().all(|action| action.get("Pod").is_none()), "{done:?}");
}

#[test]
fn a_node_that_never_spoke_takes_no_pods_and_is_given_its_time() {
    let admitted = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    let mut silent = (*node("True", &admitted)).clone();
    silent.status = None;
    let silent = Arc::new(silent);
    assert_eq!(judge(Arc::clone(&silent), 49), [] as [Value; 0]);
    let done = judge(silent, 50);
    assert_eq!(done[0]["Node"]["status"]["conditions"][3]["reason"], "NodeStatusNeverUpdated");
    let taints = done[1]["Node"]["spec"]["taints"].as_array().unwrap();
    let keys: Vec<&str> = taints.iter().map(|taint| taint["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/unreachable", "node.kubernetes.io/unreachable"]);
}

fn evictions(taints: &Value, tolerations: &Value, after: i64) -> (Vec<String>, Option<Duration>) {
    let node = node("True", taints);
    let first_seen: HashMap<_, _> =
        eviction::evicting_taints(&node).map(|taint| (eviction::taint_name(taint), start())).collect();
    let snapshot = eviction::Snapshot { node, pods: vec![pod("p", tolerations)], first_seen };
    let plan = eviction::plan(&snapshot, plus_seconds(start(), after));
    let told = plan.actions.into_iter().filter_map(|action| match action {
        Action::Delete { name, .. } => Some(format!("delete {name}")),
        Action::Tell { reason, message, .. } => Some(format!("{reason} {message}")),
        _ => None,
    });
    (told.collect(), plan.requeue_after)
}

#[test]
fn pods_leave_when_their_toleration_ends() {
    let unreachable = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}]);
    let custom = json!([{"key": "k", "value": "v", "effect": "NoExecute"}]);
    let no_schedule = json!([{"key": "k", "effect": "NoSchedule"}]);
    let tolerate = |seconds: Value| json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
    let gone = vec!["TaintManagerEviction Marking for deletion Pod d/p".to_owned(), "delete p".to_owned()];
    let wait = |seconds| (vec![], Some(Duration::from_secs(seconds)));
    let stay = (vec![], None);
    let cases = [
        (&unreachable, tolerate(json!(300)), 100, wait(200)),
        (&unreachable, tolerate(json!(300)), 300, (gone.clone(), None)),
        (&unreachable, tolerate(json!(null)), 9999, stay.clone()),
        (&unreachable, json!([]), 0, (gone.clone(), None)),
        (&unreachable, json!([{"operator": "Exists"}]), 9999, stay.clone()),
        (&custom, json!([{"key": "k", "value": "v", "tolerationSeconds": 5}]), 4, wait(1)),
        (&custom, json!([{"key": "k", "value": "other"}]), 0, (gone, None)),
        (&no_schedule, json!([]), 9999, stay),
    ];
    for (taints, tolerations, after, expected) in cases {
        assert_eq!(evictions(taints, &tolerations, after), expected, "{taints} {tolerations} after {after}");
    }
}
