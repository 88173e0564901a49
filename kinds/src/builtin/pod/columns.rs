//! What `kubectl get pods` shows.
//!
//! Counterpart of upstream's `printPod`.

use std::collections::HashSet;

use api::{conditions, pod::is_final};
use jiff::Timestamp;

use crate::builtin::prelude::*;

/// The columns of pods.
pub fn columns() -> Vec<Column> {
    vec![
        Column::name(),
        Column::text("Ready", "Containers that are ready, of all that should be.", |pod| {
            let s = summarize(pod);
            format!("{}/{}", s.ready, s.total).into()
        }),
        Column::text("Status", "The pod's phase, or what keeps it from getting on.", |pod| {
            summarize(pod).reason.into()
        }),
        Column::timed("Restarts", "How often containers were restarted, and when last.", |pod, now| {
            let s = summarize(pod);
            match s.last_restart {
                Some(at) if s.restarts != 0 => {
                    let ago = cell::human_duration(now.as_second() - at.as_second());
                    format!("{} ({ago} ago)", s.restarts).into()
                }
                _ => s.restarts.to_string().into(),
            }
        }),
        Column::age(),
        Column::text("IP", "The pod's first address.", |pod| {
            let first = pod.list_at(&["status", "podIPs"]).first();
            first.map_or("<none>".into(), |first| text_or(first, &["ip"], "<none>"))
        })
        .wide(),
        Column::text("Node", "The node the pod is on.", |pod| text_or(pod, &["spec", "nodeName"], "<none>"))
            .wide(),
        Column::text("Nominated Node", "The node on which room is being made for the pod.", |pod| {
            text_or(pod, &["status", "nominatedNodeName"], "<none>")
        })
        .wide(),
        Column::text("Readiness Gates", "Readiness gates that are true, of all.", |pod| {
            let gates = pod.list_at(&["spec", "readinessGates"]);
            let open = gates.iter().filter(|g| conditions::holds(pod, g.str_at(&["conditionType"]))).count();
            if gates.is_empty() { "<none>".into() } else { format!("{open}/{}", gates.len()).into() }
        })
        .wide(),
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
    let phase = pod.str_at(&["status", "phase"]);
    let mut s = Summary {
        reason: match pod.str_at(&["status", "reason"]) {
            "" => phase.to_owned(),
            reason => reason.to_owned(),
        },
        ready: 0,
        total: pod.list_at(&["spec", "containers"]).len(),
        restarts: 0,
        last_restart: None,
    };
    if conditions::find(pod, "PodScheduled").is_some_and(|c| c.str_at(&["reason"]) == "SchedulingGated") {
        s.reason = "SchedulingGated".into();
    }
    let (initialized, of_sidecars) = s.add_init_containers(pod);
    if initialized || conditions::holds(pod, "Initialized") {
        (s.restarts, s.last_restart) = of_sidecars;
        s.add_containers(pod);
    }
    if pod.is_deleting() {
        if pod.str_at(&["status", "reason"]) == "NodeLost" {
            s.reason = "Unknown".into();
        } else if !is_final(phase) {
            s.reason = "Terminating".into();
        }
    }
    s
}

fn terminated(status: &Value) -> Option<&Value> {
    status.at(&["state", "terminated"]).filter(|t| t.is_object())
}

fn is_true(status: &Value, field: &str) -> bool {
    status.at(&[field]) == Some(&Value::Bool(true))
}

impl Summary {
    /// Adds init containers up to the first that is not through. Answers whether all are, and the restarts of sidecars
    /// among them, which go on to count.
    fn add_init_containers(&mut self, pod: &Value) -> (bool, (i64, Option<Timestamp>)) {
        let specs = pod.list_at(&["spec", "initContainers"]);
        let sidecars = specs.iter().filter(|c| c.str_at(&["restartPolicy"]) == "Always");
        self.total += sidecars.clone().count();
        let sidecars: HashSet<&str> = sidecars.map(|c| c.str_at(&["name"])).collect();
        let mut of_sidecars = (0, None);
        for (i, status) in pod.list_at(&["status", "initContainerStatuses"]).iter().enumerate() {
            let count = int(status, &["restartCount"]);
            self.restarts += count;
            self.last_restart = self.last_restart.max(last_end(status));
            let is_sidecar = sidecars.contains(status.str_at(&["name"]));
            if is_sidecar {
                of_sidecars = (of_sidecars.0 + count, of_sidecars.1.max(last_end(status)));
            }
            let waiting = status.str_at(&["state", "waiting", "reason"]);
            self.reason = match terminated(status) {
                Some(t) if int(t, &["exitCode"]) == 0 => continue,
                _ if is_sidecar && is_true(status, "started") => {
                    self.ready += usize::from(is_true(status, "ready"));
                    continue;
                }
                Some(t) if t.str_at(&["reason"]).is_empty() => format!("Init:{}", end_without_reason(t)),
                Some(t) => format!("Init:{}", t.str_at(&["reason"])),
                None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
                None => format!("Init:{i}/{}", specs.len()),
            };
            return (false, of_sidecars);
        }
        (true, of_sidecars)
    }

    fn add_containers(&mut self, pod: &Value) {
        let mut running = false;
        for status in pod.list_at(&["status", "containerStatuses"]).iter().rev() {
            self.restarts += int(status, &["restartCount"]);
            self.last_restart = self.last_restart.max(last_end(status));
            let waiting = status.str_at(&["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(t) = terminated(status) {
                self.reason = match t.str_at(&["reason"]) {
                    "" => end_without_reason(t),
                    reason => reason.to_owned(),
                };
            } else if is_true(status, "ready")
                && status.at(&["state", "running"]).is_some_and(Value::is_object)
            {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if conditions::holds(pod, "Ready") { "Running" } else { "NotReady" }.into();
        }
    }
}

#[cfg(test)]
mod tests;
