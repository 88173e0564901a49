use serde_json::json;

use super::*;

fn row(spec: Value, status: Value, deleting: bool) -> (String, String, String) {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
    if deleting {
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
    let cells = crate::kind::cells(&columns(), &pod, now);
    let text = |i: usize| cells[i].as_str().unwrap_or_default().to_owned();
    (text(1), text(2), text(3))
}

#[test]
fn the_status_says_what_matters_most() {
    let one = json!({"containers": [{"name": "c"}]});
    let init = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
    let sidecar =
        json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i", "restartPolicy": "Always"}]});
    let ended = |code: i64, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason}});
    for (spec, status, deleting, ready, reason, restarts) in [
        (&one, json!({"phase": "Pending"}), false, "0/1", "Pending", "0"),
        (
            &one,
            json!({"phase": "Running", "containerStatuses": [
                {"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
            false,
            "1/1",
            "Running",
            "0",
        ),
        (
            &one,
            json!({"phase": "Running", "containerStatuses": [
                {"name": "c", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:55:00Z"}}}]}),
            false,
            "0/1",
            "CrashLoopBackOff",
            "3 (5m ago)",
        ),
        (&one, json!({"phase": "Running"}), true, "0/1", "Terminating", "0"),
        (
            &one,
            json!({"phase": "Succeeded", "containerStatuses": [
                {"name": "c", "restartCount": 0, "state": ended(0, "Completed")}]}),
            true,
            "0/1",
            "Completed",
            "0",
        ),
        (
            &one,
            json!({"phase": "Failed", "containerStatuses": [
                {"name": "c", "restartCount": 0, "state": ended(3, "")}]}),
            false,
            "0/1",
            "ExitCode:3",
            "0",
        ),
        (&one, json!({"phase": "Failed", "reason": "Evicted"}), false, "0/1", "Evicted", "0"),
        (
            &one,
            json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            false,
            "0/1",
            "SchedulingGated",
            "0",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 0, "state": ended(0, "Completed")},
                {"name": "j", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            false,
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            false,
            "0/1",
            "Init:CrashLoopBackOff",
            "2",
        ),
        (
            &init,
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 0, "state": ended(1, "Error")}]}),
            false,
            "0/1",
            "Init:Error",
            "0",
        ),
        (
            &sidecar,
            json!({"phase": "Running", "initContainerStatuses": [
                {"name": "i", "restartCount": 1, "started": true, "ready": true, "state": {"running": {}}}],
                "containerStatuses": [{"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
            false,
            "2/2",
            "Running",
            "1",
        ),
    ] {
        assert_eq!(
            row(spec.clone(), status.clone(), deleting),
            (ready.into(), reason.into(), restarts.into()),
            "{status}"
        );
    }
}
