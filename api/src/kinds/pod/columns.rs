//! What `kubectl get pods` shows.
//!
//! Counterpart of upstream's `printPod`.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    conditions,
    kind::{Column, cell},
    kinds::cells::{int, list, text_or},
    object::ObjectExt,
};

/// The columns of pods.
pub fn columns() -> Vec<Column> {
    vec![
        Column::name(),
        Column::new("Ready", "string", "Containers that are ready, of all that should be."),
        Column::new("Status", "string", "The pod's phase, or what keeps it from getting on."),
        Column::new("Restarts", "string", "How often containers were restarted, and when last."),
        Column::age(),
        Column::new("IP", "string", "The pod's first address.").wide(),
        Column::new("Node", "string", "The node the pod is on.").wide(),
        Column::new("Nominated Node", "string", "The node on which room is being made for the pod.").wide(),
        Column::new("Readiness Gates", "string", "Readiness gates that are true, of all.").wide(),
    ]
}

/// What the containers' statuses add up to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn last_end(status: &Value) -> Option<Timestamp> {
    status.str_at(&["lastState", "terminated", "finishedAt"]).parse().ok()
}

/// `Signal:9` or `ExitCode:1`, for a container that ended without a reason.
fn end_without_reason(terminated: &Value) -> String {
    match int(terminated, &["signal"]) {
        0 => format!("ExitCode:{}", int(terminated, &["exitCode"])),
        signal => format!("Signal:{signal}"),
    }
}

fn summarize(pod: &Value) -> Summary {
    let init_specs = list(pod, &["spec", "initContainers"]);
    let is_sidecar = |name: &str| {
        init_specs.iter().any(|c| c.str_at(&["name"]) == name && c.str_at(&["restartPolicy"]) == "Always")
    };
    let sidecars = init_specs.iter().filter(|c| is_sidecar(c.str_at(&["name"]))).count();
    let phase = pod.str_at(&["status", "phase"]);
    let mut s = Summary {
        reason: match pod.str_at(&["status", "reason"]) {
            "" => phase.to_owned(),
            reason => reason.to_owned(),
        },
        ready: 0,
        total: list(pod, &["spec", "containers"]).len() + sidecars,
        restarts: 0,
        last_restart: None,
    };
    if conditions::find(pod, "PodScheduled").is_some_and(|c| c.str_at(&["reason"]) == "SchedulingGated") {
        s.reason = "SchedulingGated".into();
    }

    let (mut sidecar_restarts, mut sidecar_last) = (0, None);
    let mut initializing = false;
    for (i, status) in list(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
        let count = int(status, &["restartCount"]);
        s.restarts += count;
        s.last_restart = s.last_restart.max(last_end(status));
        let sidecar = is_sidecar(status.str_at(&["name"]));
        if sidecar {
            sidecar_restarts += count;
            sidecar_last = sidecar_last.max(last_end(status));
        }
        let waiting = status.str_at(&["state", "waiting", "reason"]);
        let terminated = status.at(&["state", "terminated"]).filter(|t| t.is_object());
        match terminated {
            Some(t) if int(t, &["exitCode"]) == 0 => continue,
            _ if sidecar && status.at(&["started"]) == Some(&Value::Bool(true)) => {
                s.ready += usize::from(status.at(&["ready"]) == Some(&Value::Bool(true)));
                continue;
            }
            Some(t) => {
                s.reason = match t.str_at(&["reason"]) {
                    "" => format!("Init:{}", end_without_reason(t)),
                    reason => format!("Init:{reason}"),
                };
            }
            None if !waiting.is_empty() && waiting != "PodInitializing" => {
                s.reason = format!("Init:{waiting}");
            }
            None => s.reason = format!("Init:{i}/{}", init_specs.len()),
        }
        initializing = true;
        break;
    }

    if !initializing || conditions::holds(pod, "Initialized") {
        s.restarts = sidecar_restarts;
        s.last_restart = sidecar_last;
        let mut running = false;
        for status in list(pod, &["status", "containerStatuses"]).iter().rev() {
            s.restarts += int(status, &["restartCount"]);
            s.last_restart = s.last_restart.max(last_end(status));
            let waiting = status.str_at(&["state", "waiting", "reason"]);
            let terminated = status.at(&["state", "terminated"]).filter(|t| t.is_object());
            if !waiting.is_empty() {
                s.reason = waiting.to_owned();
            } else if let Some(t) = terminated {
                s.reason = match t.str_at(&["reason"]) {
                    "" => end_without_reason(t),
                    reason => reason.to_owned(),
                };
            } else if status.at(&["ready"]) == Some(&Value::Bool(true))
                && status.at(&["state", "running"]).is_some_and(Value::is_object)
            {
                running = true;
                s.ready += 1;
            }
        }
        if s.reason == "Completed" && running {
            s.reason = if conditions::holds(pod, "Ready") { "Running" } else { "NotReady" }.into();
        }
    }

    if pod.is_deleting() {
        if pod.str_at(&["status", "reason"]) == "NodeLost" {
            s.reason = "Unknown".into();
        } else if phase != "Succeeded" && phase != "Failed" {
            s.reason = "Terminating".into();
        }
    }
    s
}

/// The cells of one pod.
pub fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let s = summarize(pod);
    let restarts = match s.last_restart {
        Some(at) if s.restarts != 0 => {
            format!("{} ({} ago)", s.restarts, cell::human_duration(now.as_second() - at.as_second()))
        }
        _ => s.restarts.to_string(),
    };
    let gates = list(pod, &["spec", "readinessGates"]);
    let gates: Value = if gates.is_empty() {
        "<none>".into()
    } else {
        let open = gates.iter().filter(|g| conditions::holds(pod, g.str_at(&["conditionType"]))).count();
        format!("{open}/{}", gates.len()).into()
    };
    let address = match list(pod, &["status", "podIPs"]).first() {
        Some(first) => text_or(first, &["ip"], "<none>"),
        None => "<none>".into(),
    };
    vec![
        cell::name(pod),
        format!("{}/{}", s.ready, s.total).into(),
        s.reason.into(),
        restarts.into(),
        cell::age(pod, now),
        address,
        text_or(pod, &["spec", "nodeName"], "<none>"),
        text_or(pod, &["status", "nominatedNodeName"], "<none>"),
        gates,
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(spec: Value, status: Value, deleting: bool) -> (String, String, String) {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        if deleting {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("a time");
        let cells = cells(&pod, now);
        let text = |i: usize| cells[i].as_str().unwrap_or_default().to_owned();
        (text(1), text(2), text(3))
    }

    #[test]
    fn the_status_says_what_matters_most() {
        let one = json!({"containers": [{"name": "c"}]});
        let init = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "j"}]});
        let sidecar = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i", "restartPolicy": "Always"}]});
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
}
