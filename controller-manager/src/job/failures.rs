//! When a pod of a Job has failed, what its policy makes of that, and how long its successor has to wait. Nothing is
//! remembered: the failures that count are those of the pods that are still there. Upstream: `pod_failure_policy.go`,
//! `backoff_utils.go`.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use super::tally::is_tracked;
use crate::frame::{Timestamp, plus_seconds, span};
use crate::kit::{owners, pods};

/// The wait after the first failure, in seconds …
const FIRST_WAIT: i64 = 10;
/// … and the longest one.
const LONGEST_WAIT: i64 = 600;

/// What a policy makes of a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// It counts.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The Job has failed, in these words.
    FailJob(String),
}

/// Whether pods are only replaced once they have come to their end.
pub fn waits_for_the_end(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

/// Whether a pod has failed. One that was asked to go may never come to say how it ended, and counts as failed.
pub fn has_failed(pod: &Pod, spec: &JobSpec) -> bool {
    match pods::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => pods::is_terminating(pod) && !waits_for_the_end(spec),
    }
}

/// What the Job's policy makes of a failed pod: what the first rule says that matches.
pub fn judge(spec: &JobSpec, pod: &Pod) -> Sentence {
    let (Some(policy), Some(status)) = (&spec.pod_failure_policy, &pod.status) else {
        return Sentence::Count;
    };
    let place = || format!("{}/{}", owners::namespace(&pod.metadata), owners::name(&pod.metadata));
    for (number, rule) in policy.rules.iter().enumerate() {
        let why = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
            (Some(wanted), _) => exit_code(status, wanted).map(|(container, code)| {
                format!("Container {container} for pod {} failed with exit code {code}", place())
            }),
            (None, Some(wanted)) => {
                condition(status, wanted).map(|kind| format!("Pod {} has condition {kind}", place()))
            }
            (None, None) => None,
        };
        match (rule.action.as_str(), why) {
            (_, None) => {}
            ("Ignore", _) => return Sentence::Ignore,
            ("FailIndex", _) => return Sentence::FailIndex,
            ("FailJob", Some(why)) => {
                return Sentence::FailJob(format!("{why} matching FailJob rule at index {number}"));
            }
            _ => return Sentence::Count,
        }
    }
    Sentence::Count
}

/// The first container that ended with a code as wanted, and that code.
fn exit_code<'a>(
    status: &'a PodStatus,
    wanted: &PodFailurePolicyOnExitCodesRequirement,
) -> Option<(&'a str, i32)> {
    let containers = status.container_statuses.iter().flatten();
    containers.chain(status.init_container_statuses.iter().flatten()).find_map(|container| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let meant = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
        let listed = wanted.values.contains(&code);
        let matches = if wanted.operator == "In" { listed } else { !listed };
        (meant && code != 0 && matches).then_some((container.name.as_str(), code))
    })
}

/// The first condition of the pod that is among the wanted ones.
fn condition<'a>(
    status: &'a PodStatus,
    wanted: &[PodFailurePolicyOnPodConditionsPattern],
) -> Option<&'a str> {
    let has = status.conditions.iter().flatten().find(|has| {
        let status = |wanted: &Option<String>| wanted.as_deref().unwrap_or("True") == has.status;
        wanted.iter().any(|wanted| wanted.type_ == has.type_ && status(&wanted.status))
    })?;
    Some(&has.type_)
}

/// When a pod ended: its last container, else when it was no longer ready, else when it was asked to go.
pub fn end(pod: &Pod) -> Timestamp {
    let not_ready = || {
        let ready = pods::condition(pod, "Ready").filter(|ready| ready.status == "False")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    };
    let asked_to_go = || {
        let at = pod.metadata.deletion_timestamp.as_ref()?.0;
        Some(plus_seconds(at, -pod.metadata.deletion_grace_period_seconds.unwrap_or(0)))
    };
    let created = || pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    containers_end(pod).or_else(not_ready).or_else(asked_to_go).or_else(created).unwrap_or(Timestamp::MIN)
}

/// When the last of the containers ended that run beside each other; `None` while one has not.
fn containers_end(pod: &Pod) -> Option<Timestamp> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let sidecar = |name: &str| {
        let found = spec.init_containers.iter().flatten().find(|container| container.name == name);
        found.is_some_and(api::pod::is_sidecar)
    };
    let sidecars = status.init_container_statuses.iter().flatten().filter(|status| sidecar(&status.name));
    let end = |container: &ContainerStatus| {
        Some(container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
    };
    let ends: Option<Vec<Timestamp>> =
        status.container_statuses.iter().flatten().chain(sidecars).map(end).collect();
    ends?.into_iter().max()
}

/// How long a successor has to wait after so many failures, the last of them at `last`.
pub fn wait(failures: usize, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(failures - 1).unwrap_or(u32::MAX).min(10);
    span(now, plus_seconds(last.min(now), (FIRST_WAIT << doublings).min(LONGEST_WAIT)))
}

/// How long the next pod has to wait because of failures since the last success.
pub fn wait_after<'a>(all: impl Iterator<Item = &'a Pod>, spec: &JobSpec, now: Timestamp) -> Duration {
    let (mut last_success, mut failures) = (Timestamp::MIN, Vec::new());
    for pod in all {
        if pods::phase(pod) == "Succeeded" {
            last_success = last_success.max(end(pod));
        } else if has_failed(pod, spec) && (is_tracked(pod) || pods::is_finished(pod)) {
            // One that was let go while it ran was too many, and has not failed.
            failures.push(end(pod));
        }
    }
    failures.retain(|at| *at > last_success);
    failures.iter().max().map_or(Duration::ZERO, |last| wait(failures.len(), *last, now))
}
