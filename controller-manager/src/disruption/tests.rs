//! Budgets and the numbers they come to.

use api::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plan::{Snapshot, plan};
use crate::frame::{Action, Plan, Timestamp};

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn pod(name: &str, extra: &Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "d", "labels": {"app": "web"}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    json_patch::merge(&mut pod, extra);
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn ready(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|number| pod(&format!("p{number}"), &json!({}))).collect()
}

fn snapshot(spec: Value, status: Value, pods: Vec<Arc<Pod>>, size: Result<i32, api::Message>) -> Snapshot {
    let budget = json!({
        "metadata": {"name": "b", "namespace": "d", "generation": 2, "resourceVersion": "7", "uid": "u"},
        "spec": spec, "status": status,
    });
    let sizes = BTreeMap::from([("owner".to_owned(), size)]);
    Snapshot { budget: Arc::new(serde_json::from_value(budget).unwrap()), pods, sizes }
}

/// The status that the plan writes.
fn status(plan: &Plan) -> Value {
    let written = plan.actions.iter().find_map(|action| match action {
        Action::Patch { body, subresource: Some("status"), .. } => Some(body),
        _ => None,
    });
    let body = written.cloned().unwrap_or_default();
    assert_eq!(body["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
    body["status"].clone()
}

fn told(plan: &Plan) -> Vec<&str> {
    let reason = |action: &Action| match action {
        Action::Tell { reason, .. } => Some(*reason),
        _ => None,
    };
    plan.actions.iter().filter_map(reason).collect()
}

#[test]
fn as_many_may_go_as_are_not_needed() {
    let unready = pod("x", &json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    let going = pod("y", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    let with = |mut pods: Vec<Arc<Pod>>, other: &Arc<Pod>| {
        pods.push(other.clone());
        pods
    };
    // Spec, pods, wanted; expected, healthy, desired, allowed.
    let cases = [
        (json!({"minAvailable": 2}), ready(3), 3, (3, 3, 2, 1)),
        (json!({"minAvailable": 2}), with(ready(2), &unready), 3, (3, 2, 2, 0)),
        (json!({"minAvailable": "50%"}), ready(3), 5, (5, 3, 3, 0)),
        (json!({"maxUnavailable": 1}), ready(3), 3, (3, 3, 2, 1)),
        (json!({"maxUnavailable": "30%"}), with(ready(3), &going), 4, (4, 3, 2, 1)),
        (json!({"maxUnavailable": 9}), ready(3), 3, (3, 3, 0, 3)),
        (json!({"minAvailable": 1}), vec![], 0, (0, 0, 1, 0)),
    ];
    for (spec, pods, wanted, (expected, healthy, desired, allowed)) in cases {
        let written = status(&plan(&snapshot(spec.clone(), json!({}), pods, Ok(wanted)), now()));
        let numbers = ["expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed"]
            .map(|f| written[f].clone());
        assert_eq!(numbers, [expected, healthy, desired, allowed].map(Value::from), "{spec}");
        let condition = &written["conditions"][0];
        let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
        assert_eq!((&condition["type"], &condition["reason"]), (&json!("DisruptionAllowed"), &json!(reason)));
        assert_eq!(written["observedGeneration"], 2);
    }
}

#[test]
fn an_evicted_pod_counts_again_when_it_stays() {
    let status_of = |at: &str| json!({"disruptedPods": {"p0": at, "gone": at}});
    let fresh = snapshot(json!({"minAvailable": 1}), status_of("2026-01-01T00:09:00Z"), ready(2), Ok(2));
    let early = plan(&fresh, now());
    assert_eq!(status(&early)["currentHealthy"], 1);
    assert_eq!(status(&early)["disruptedPods"], json!({"gone": null}));
    assert_eq!(early.requeue_after, Some(std::time::Duration::from_secs(60)));
    let old = snapshot(json!({"minAvailable": 1}), status_of("2026-01-01T00:01:00Z"), ready(2), Ok(2));
    let late = plan(&old, now());
    assert_eq!(status(&late)["currentHealthy"], 2);
    assert_eq!(told(&late), ["NotDeleted"]);
}

#[test]
fn nothing_may_go_while_the_wanted_size_is_unknown() {
    let unknown = Err("found no scale of Thing \"t\"".to_owned());
    let mut seen =
        snapshot(json!({"maxUnavailable": 1}), json!({}), ready(2), unknown.map_err(Message::from));
    let first = plan(&seen, now());
    assert_eq!(told(&first), ["CalculateExpectedPodCountFailed"]);
    assert_eq!(status(&first)["disruptionsAllowed"], 0);
    assert_eq!(status(&first)["conditions"][0]["reason"], "SyncFailed");
    let mut budget = (*seen.budget).clone();
    budget.status = Some(serde_json::from_value(status(&first)).unwrap());
    seen.budget = Arc::new(budget);
    assert_eq!(plan(&seen, now()), Plan::default(), "what is known is not told again");
}

#[test]
fn a_budget_for_nothing_says_so_once() {
    let empty = snapshot(json!({"minAvailable": 1}), json!({}), vec![], Ok(0));
    assert_eq!(told(&plan(&empty, now())), ["NoPods"]);
    let seen = snapshot(json!({"minAvailable": 1}), json!({"observedGeneration": 2}), vec![], Ok(0));
    assert!(told(&plan(&seen, now())).is_empty());
}
