use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn a_job_goes_when_its_time_after_the_end_is_over() {
    let job = |conditions: serde_json::Value| -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": "j", "namespace": "ns", "uid": "u", "resourceVersion": "7"},
            "spec": {"ttlSecondsAfterFinished": 100, "template": {"spec": {"containers": []}}},
            "status": {"conditions": conditions},
        }))
        .expect("it is a Job")
    };
    let ended = job(json!([
        {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]));
    let at = |seconds: i64| plus_seconds("2026-01-01T00:00:00Z".parse().expect("it is a time"), seconds);
    assert_eq!(plan(&job(json!([])), at(1000)), Plan::default(), "it runs");
    let wait = Plan { requeue_after: Some(Duration::from_secs(1)), ..Plan::default() };
    assert_eq!(plan(&ended, at(99)), wait);
    let over = plan(&ended, at(100));
    let [Action::Delete { propagation: Some(Propagation::Foreground), resource_version, .. }] =
        &*over.actions
    else {
        panic!("one deletion: {over:?}")
    };
    assert_eq!(resource_version.as_deref(), Some("7"));
}
