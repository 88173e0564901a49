//! What a Job's status may say: a Job that has ended stays so, and everything fits together.
//!
//! Most is checked only where it changes, so that a status that is wrong already can be mended in steps. Counterpart of
//! `ValidateJobStatusUpdate` and of `getStatusValidationOptions` upstream.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::batch::v1::{Job, JobStatus, UncountedTerminatedPods},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::Serialize;

use api::{Message, field::ErrorType, message};

use crate::builtin::prelude::*;

/// What a Job's conditions say.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    complete: bool,
    failed: bool,
    will_fail: bool,
    succeeds: bool,
}

impl Ends {
    fn of(status: &JobStatus) -> Self {
        let holds =
            |kind: &str| status.conditions.iter().flatten().any(|c| c.type_ == kind && c.status == "True");
        Self {
            complete: holds("Complete"),
            failed: holds("Failed"),
            will_fail: holds("FailureTarget"),
            succeeds: holds("SuccessCriteriaMet"),
        }
    }

    fn is_over(self) -> bool {
        self.complete || self.failed
    }
}

/// What is wrong with a new status.
pub fn validate(new: &Job, old: &Job, errors: &mut Errors) {
    let none = JobStatus::default();
    let (status, was) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let (ends, ended) = (Ends::of(status), Ends::of(was));
    let at = Path::new("status");
    counts(status, &at, errors);
    conditions_fit(ends, ended, &at.child("conditions"), errors);
    times(status, was, &at, errors);
    conditions_lead(ends, ended, &at.child("conditions"), errors);
    what_is_over(status, was, &at, errors);
    indexes(new, status, was, &at, errors);
    if status.active != was.active || status.ready != was.ready {
        let (ready, active) = (status.ready.unwrap_or(0), status.active.unwrap_or(0));
        if ready > active {
            errors.invalid(&at.child("ready"), ready, "cannot set more ready pods than active");
        }
    }
    let conditions_at = at.child("conditions");
    let has_policy = new.spec.as_ref().is_some_and(|spec| spec.success_policy.is_some());
    for (wrong, why) in [
        (ends.succeeds && ends.failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (
            ends.succeeds && ends.will_fail,
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
        (
            has_policy && !ends.succeeds && ends.complete,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
    ] {
        refuse_if(wrong, why, &conditions_at, errors);
    }
    no_way_back(new, status, was, errors);
}

fn refuse_if(wrong: bool, why: &str, at: &Path, errors: &mut Errors) {
    if wrong {
        errors.plain(ErrorType::Invalid, at, why);
    }
}

fn counts(status: &JobStatus, at: &Path, errors: &mut Errors) {
    for (field, count) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        not_negative(count, &at.child(field), errors);
    }
    let Some(uncounted) = &status.uncounted_terminated_pods else { return };
    let at = at.child("uncountedTerminatedPods");
    let mut seen = BTreeSet::new();
    for (field, pods) in [("succeeded", &uncounted.succeeded), ("failed", &uncounted.failed)] {
        for (at, uid) in at.child(field).items(pods.iter().flatten()) {
            if uid.is_empty() {
                errors.invalid(&at, uid, "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&at, uid);
            }
        }
    }
}

/// Conditions that say two things.
fn conditions_fit(ends: Ends, ended: Ends, at: &Path, errors: &mut Errors) {
    let newly_complete = ends.complete != ended.complete;
    let wrong = (newly_complete || ends.failed != ended.failed) && ends.complete && ends.failed;
    refuse_if(wrong, "cannot set Complete=True and Failed=true conditions", at, errors);
    let wrong = (newly_complete || ends.will_fail != ended.will_fail) && ends.complete && ends.will_fail;
    refuse_if(wrong, "cannot set Complete=True and FailureTarget=true conditions", at, errors);
}

/// Conditions that come without those that go before them.
fn conditions_lead(ends: Ends, ended: Ends, at: &Path, errors: &mut Errors) {
    let changed = ends.failed != ended.failed || ends.will_fail != ended.will_fail;
    let why = "cannot set Failed=True condition without the FailureTarget=true condition";
    refuse_if(changed && ends.failed && !ends.will_fail, why, at, errors);
    let changed = ends.complete != ended.complete || ends.succeeds != ended.succeeds;
    let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
    refuse_if(changed && ends.complete && !ends.succeeds, why, at, errors);
}

/// A time as Go shows it.
fn wrong_time(time: &Time, why: &str, at: &Path, errors: &mut Errors) {
    let shown = time.0.strftime("%Y-%m-%d %H:%M:%S +0000 UTC");
    errors.push(ErrorType::Invalid, at, format!("Invalid value: {shown}: {why}"));
}

fn times(status: &JobStatus, was: &JobStatus, at: &Path, errors: &mut Errors) {
    let at = at.child("completionTime");
    let complete = Ends::of(status).complete;
    let end_changed = status.completion_time != was.completion_time;
    if complete != Ends::of(was).complete || end_changed {
        match &status.completion_time {
            Some(end) if !complete => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                wrong_time(end, why, &at, errors);
            }
            None if complete => errors.required(&at, "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    if (end_changed || status.start_time != was.start_time)
        && let (Some(start), Some(end)) = (&status.start_time, &status.completion_time)
        && end.0 < start.0
    {
        wrong_time(end, "completionTime cannot be set before startTime", &at, errors);
    }
}

/// Pods as upstream shows those that it has not counted yet.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    succeeded: &'a Option<Vec<String>>,
    failed: &'a Option<Vec<String>>,
}

/// A Job that is over has begun, and has no pods left.
fn what_is_over(status: &JobStatus, was: &JobStatus, at: &Path, errors: &mut Errors) {
    let over = Ends::of(status).is_over();
    if !over {
        return;
    }
    let newly = !Ends::of(was).is_over();
    let active = status.active.unwrap_or(0);
    if (newly || status.active != was.active) && active > 0 {
        errors.invalid(&at.child("active"), active, "active>0 is invalid for finished job");
    }
    if (newly || status.start_time != was.start_time) && status.start_time.is_none() {
        errors.required(&at.child("startTime"), "startTime is required for finished job");
    }
    let is_empty = |pods: &UncountedTerminatedPods| {
        [&pods.succeeded, &pods.failed].iter().all(|list| list.as_ref().is_none_or(Vec::is_empty))
    };
    let uncounted = &status.uncounted_terminated_pods;
    if let Some(pods) = uncounted.as_ref().filter(|pods| !is_empty(pods))
        && (newly || *uncounted != was.uncounted_terminated_pods)
    {
        let shown = Shown { succeeded: &pods.succeeded, failed: &pods.failed };
        let why = "uncountedTerminatedPods needs to be empty for finished job";
        errors.invalid(&at.child("uncountedTerminatedPods"), shown, why);
    }
    let terminating = status.terminating.unwrap_or(0);
    if (newly || status.terminating != was.terminating) && terminating > 0 {
        errors.invalid(&at.child("terminating"), terminating, "terminating>0 is invalid for finished job");
    }
}

/// Which indexes have ended, well or not.
fn indexes(job: &Job, status: &JobStatus, was: &JobStatus, at: &Path, errors: &mut Errors) {
    let Some(spec) = &job.spec else { return };
    let (done_at, failed_at) = (at.child("completedIndexes"), at.child("failedIndexes"));
    let done = status.completed_indexes.as_deref().unwrap_or_default();
    let done_changed = done != was.completed_indexes.as_deref().unwrap_or_default();
    let failed_changed = status.failed_indexes != was.failed_indexes;
    let failed = status.failed_indexes.as_deref();
    let per_index = spec.backoff_limit_per_index.is_some();
    let ranges = |text: &str| intervals(text, spec.completions.unwrap_or(i32::MAX));
    if done_changed
        && spec.completions.is_some()
        && let Err(why) = ranges(done)
    {
        errors.invalid(&done_at, done, format!("error parsing completedIndexes: {why}"));
    }
    if failed_changed
        && spec.completions.is_some()
        && per_index
        && let Some(failed) = failed
        && let Err(why) = ranges(failed)
    {
        errors.invalid(&failed_at, failed, format!("error parsing failedIndexes: {why}"));
    }
    if done_changed && !done.is_empty() && spec.completion_mode.as_deref() != Some("Indexed") {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.invalid(&done_at, done, why);
    }
    let Some(failed) = failed else { return };
    if failed_changed && !per_index {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(&failed_at, failed, why);
    }
    if (done_changed || failed_changed)
        && spec.completions.is_some()
        && let (Ok(done), Ok(failing)) = (ranges(done), ranges(failed))
    {
        // Both are in order.
        let overlaps = |(a, b): &(i32, i32)| {
            let next = failing.get(failing.partition_point(|(_, d)| d < a))?;
            (next.0 <= *b).then(|| *a.max(&next.0))
        };
        if let Some(index) = done.iter().find_map(overlaps) {
            let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.invalid(&failed_at, failed, why);
        }
    }
}

/// The intervals of a text such as `1,3-5`, or what is wrong with it.
pub(super) fn intervals(text: &str, completions: i32) -> Result<Vec<(i32, i32)>, Message> {
    let index = |text: &str| -> Result<i32, Message> {
        let index: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        i32::try_from(index)
            .ok()
            .filter(|index| *index < completions)
            .ok_or_else(|| message!("too large index: {text:?}"))
    };
    let disorder =
        |before: i32, now: i32| message!("non-increasing order, previous: {before}, current: {now}");
    let mut intervals: Vec<(i32, i32)> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let ends: Vec<&str> = part.split('-').collect();
        let (first, last) = match ends.as_slice() {
            [one] => (index(one)?, index(one)?),
            [first, last] => {
                let (first, last) = (index(first)?, index(last)?);
                if first >= last {
                    return Err(disorder(first, last));
                }
                (first, last)
            }
            _ => {
                return Err(message!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
        };
        if let Some((_, before)) = intervals.last().filter(|(_, before)| *before >= first) {
            return Err(disorder(*before, first));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

/// What has been said once stays said.
fn no_way_back(job: &Job, status: &JobStatus, was: &JobStatus, errors: &mut Errors) {
    let at = Path::new("status");
    let conditions_at = at.child("conditions");
    let (ends, ended) = (Ends::of(status), Ends::of(was));
    for (kind, holds, held) in [
        ("Failed", ends.failed, ended.failed),
        ("Complete", ends.complete, ended.complete),
        ("FailureTarget", ends.will_fail, ended.will_fail),
    ] {
        let why = format!("cannot disable the terminal {kind}=True condition");
        refuse_if(held && !holds, &why, &conditions_at, errors);
    }
    let spec = job.spec.as_ref();
    let elastic = spec.is_some_and(|spec| {
        spec.completion_mode.as_deref() == Some("Indexed") && spec.completions == spec.parallelism
    });
    for (field, now, before, may_shrink) in [
        ("failed", status.failed, was.failed, false),
        ("succeeded", status.succeeded, was.succeeded, elastic),
    ] {
        let (now, before) = (now.unwrap_or(0), before.unwrap_or(0));
        if now < before && !may_shrink {
            errors.invalid(&at.child(field), now, format!("cannot decrease the {field} counter"));
        }
    }
    if let (Some(now), Some(before)) = (&status.completion_time, &was.completion_time)
        && now != before
    {
        wrong_time(now, "completionTime cannot be mutated", &at.child("completionTime"), errors);
    }
    let suspended = spec.and_then(|spec| spec.suspend).unwrap_or(false);
    if was.start_time.is_some() && status.start_time != was.start_time && !suspended {
        errors.required(&at.child("startTime"), "startTime cannot be removed for unsuspended job");
    }
    let why = "cannot disable the SuccessCriteriaMet=True condition";
    refuse_if(ended.succeeds && !ends.succeeds, why, &conditions_at, errors);
    let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
    refuse_if(ended.complete && !ended.succeeds && ends.succeeds, why, &conditions_at, errors);
}

#[cfg(test)]
mod tests;
