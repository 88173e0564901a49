//! Whether a Job has come to its end, and which. The end is announced by a condition (`SuccessCriteriaMet`,
//! `FailureTarget`), which stands from then on whatever else happens; the Job is over once all pods are gone or have
//! ended, and are counted. Upstream: the second half of `syncJob`, `success_policy.go`.

use k8s_openapi::api::batch::v1::JobCondition;

use super::failures::{self, Sentence};
use super::indexes::Indexes;
use super::tally::{Indexed, Tally, condition};
use crate::frame::{Timestamp, api_time, plus_seconds};
use crate::kit::pods;

/// Announces that a Job has succeeded.
pub const SUCCESS: &str = "SuccessCriteriaMet";
/// Announces that a Job has failed.
pub const FAILURE: &str = "FailureTarget";

/// Why a Job may have failed.
const FAILURES: [&str; 5] = [
    "PodFailurePolicy",
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "MaxFailedIndexesExceeded",
    "FailedIndexes",
];

/// The reason of a failure as events have it; somebody else's is told in general.
pub fn known(reason: &str) -> &'static str {
    FAILURES.into_iter().find(|known| *known == reason).unwrap_or("Failed")
}

/// A condition that holds from now on.
pub fn holding(kind: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(api_time(now)),
        last_transition_time: Some(api_time(now)),
    }
}

/// When an unsuspended Job has been at work for as long as it may.
pub fn deadline(tally: &Tally) -> Option<Timestamp> {
    let seconds = tally.spec.active_deadline_seconds.filter(|_| !tally.is_suspended())?;
    Some(plus_seconds(tally.status.start_time.as_ref()?.0, seconds))
}

/// The condition that announces the Job's end, if it has come.
pub fn of(tally: &Tally, now: Timestamp) -> Option<JobCondition> {
    if let Some(announced) = condition(tally.job, SUCCESS).or(condition(tally.job, FAILURE)) {
        return Some(announced.clone());
    }
    let failure = |reason: &str, message: &str| Some(holding(FAILURE, reason, message, now));
    let success = |reason: &str, message: &str| Some(holding(SUCCESS, reason, message, now));
    let spec = tally.spec;
    if let Some(why) = tally.pods.iter().filter(|pod| tally.has_failed(pod)).find_map(|pod| {
        match failures::judge(spec, pod) {
            Sentence::FailJob(why) => Some(why),
            _ => None,
        }
    }) {
        return failure("PodFailurePolicy", &why);
    }
    if tally.failed > spec.backoff_limit.unwrap_or(6) || has_restarted_too_often(tally) {
        return failure("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if deadline(tally).is_some_and(|at| at <= now) {
        return failure("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    if let Some(indexed) = &tally.indexed {
        if let Some((reason, message)) = failed_indexes(tally, indexed) {
            return failure(reason, message);
        }
        if let Some(rule) = fulfilled_rule(tally, indexed) {
            return success("SuccessPolicy", &format!("Matched rules at index {rule}"));
        }
    }
    let enough = tally.spec.completions.map_or(tally.succeeded > 0, |wanted| tally.succeeded >= wanted);
    if enough && tally.active.is_empty() {
        return success("CompletionsReached", "Reached expected number of succeeded pods");
    }
    None
}

/// Whether containers that are started again in their pods have been so as often as pods may fail.
fn has_restarted_too_often(tally: &Tally) -> bool {
    let policy = tally.spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let running = tally.pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
    let restarts: i32 = running.map(|pod| restarts(pod)).fold(0, i32::saturating_add);
    restarts >= tally.spec.backoff_limit.unwrap_or(6).max(1)
}

/// How often containers of a pod were started again.
pub fn restarts(pod: &k8s_openapi::api::core::v1::Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    statuses.map(|status| status.restart_count).fold(0, i32::saturating_add)
}

fn failed_indexes(tally: &Tally, indexed: &Indexed) -> Option<(&'static str, &'static str)> {
    let failed = indexed.failed.as_ref()?.total();
    if tally.spec.max_failed_indexes.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message));
    }
    let all_ended = failed + indexed.done.total() >= indexed.completions;
    (failed > 0 && all_ended).then_some(("FailedIndexes", "Job has failed indexes"))
}

/// The place of the first rule of the success policy that is fulfilled.
fn fulfilled_rule(tally: &Tally, indexed: &Indexed) -> Option<usize> {
    let rules = &tally.spec.success_policy.as_ref()?.rules;
    if indexed.done.is_empty() {
        return None;
    }
    rules.iter().position(|rule| {
        let enough = |done: i32| rule.succeeded_count.is_some_and(|wanted| done >= wanted);
        let Some(text) = &rule.succeeded_indexes else { return enough(indexed.done.total()) };
        let wanted = Indexes::parse(text, indexed.completions);
        let done = wanted.common(&indexed.done);
        !wanted.is_empty() && (done == wanted.total() || enough(done))
    })
}
