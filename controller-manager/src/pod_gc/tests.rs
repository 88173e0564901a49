use super::*;
use serde_json::{Value, json};

fn pod(name: &str, phase: &str, extra: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "d", "uid": name},
        "spec": {"containers": [], "nodeName": "gone"},
        "status": {"phase": phase},
    });
    json_patch(&mut pod, &extra);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn json_patch(target: &mut Value, extra: &Value) {
    for (part, fields) in extra.as_object().unwrap() {
        for (key, value) in fields.as_object().unwrap() {
            target[part][key] = value.clone();
        }
    }
}

fn told(plan: Plan) -> Vec<String> {
    let line = |action: Action| match action {
        Action::Delete { name, grace: Some(0), .. } => format!("delete {name}"),
        Action::Patch { name, body, .. } => format!("{name} is {}", body["status"]["phase"]),
        other => panic!("{other:?}"),
    };
    plan.actions.into_iter().map(line).collect()
}

#[test]
fn pods_of_a_missing_node_go_after_a_while() {
    let start = Timestamp::UNIX_EPOCH;
    let pods = vec![pod("ran", "Running", json!({})), pod("done", "Succeeded", json!({}))];
    let orphans = Orphans { pods, missed_since: start };
    let early = plan_orphans(&orphans, plus_seconds(start, 30));
    assert_eq!(early, Plan { actions: vec![], requeue_after: Some(Duration::from_secs(10)) });
    let due = plan_orphans(&orphans, plus_seconds(start, 40));
    assert_eq!(told(due), ["ran is \"Failed\"", "delete ran", "delete done"]);
}

#[test]
fn unbound_and_too_many_finished_pods_go() {
    let unbound =
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"nodeName": null}});
    let born =
        |second: u8| json!({"metadata": {"creationTimestamp": format!("2026-01-01T00:00:0{second}Z")}});
    let pods = [
        pod("unbound", "Pending", unbound),
        pod("young", "Failed", born(3)),
        pod("old", "Succeeded", born(1)),
        pod("middle", "Failed", born(2)),
        pod("runs", "Running", born(0)),
    ];
    assert_eq!(told(plan_rest(&pods, 1)), ["delete unbound", "delete old", "delete middle"]);
    assert_eq!(told(plan_rest(&pods, 9)), ["delete unbound"]);
}
