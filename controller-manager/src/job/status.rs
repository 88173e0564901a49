//! The status of a Job, and how its pods are counted: a pod that has ended is first listed as uncounted, then let go by
//! taking off its finalizer, and counted once it carries that no more. Each step can be lost or repeated, and no pod
//! counts twice or not at all. A done index counts by being in the list of these. Upstream:
//! `trackJobStatusAndRemoveFinalizers`.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;

use super::failures::{self, Sentence};
use super::tally::{FINALIZER, Snapshot, Tally, index_of, is_tracked};
use super::verdict;
use crate::frame::{Action, Kind, Plan, Timestamp, api_time, reference};
use crate::kit::{count, owners, pods};

/// The most uncounted pods, so that the status stays small.
const MOST_UNCOUNTED: usize = 500;

/// A status to be, and what goes with it.
struct Next<'a> {
    status: JobStatus,
    /// Pods to let go once it is written.
    release: Vec<&'a Pod>,
    /// What to tell once it is written.
    told: Vec<(bool, &'static str, String)>,
}

/// Writes the status, then tells of it and lets counted pods go.
pub fn report(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let tally = Tally::of(snapshot);
    let Next { status, release, told } = next(&tally, now);
    let mut plan = Plan { actions: write(&tally, &status).into_iter().collect(), requeue_after: None };
    plan.actions.extend(told.into_iter().map(|(warning, reason, message)| Action::Tell {
        about: reference(tally.job),
        warning,
        reason,
        message,
    }));
    plan.actions.extend(release.into_iter().map(|pod| Action::release(pod, FINALIZER)));
    plan
}

/// Writes that the Job comes to its end, if it has not been written.
pub fn announce(tally: &Tally, now: Timestamp) -> Option<Action> {
    let mut status = tally.status.clone();
    begin(&mut status, tally, now);
    add(&mut status, verdict::of(tally, now)?);
    write(tally, &status)
}

fn write(tally: &Tally, status: &JobStatus) -> Option<Action> {
    let kind = Kind::of::<Job>();
    Action::latest_status(kind, &tally.job.metadata, &tally.job.status.clone().unwrap_or_default(), status)
}

fn add(status: &mut JobStatus, condition: JobCondition) {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|old| old.type_ == condition.type_) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

fn begin(status: &mut JobStatus, tally: &Tally, now: Timestamp) {
    if status.start_time.is_none() && !tally.is_suspended() {
        status.start_time = Some(api_time(now));
    }
}

fn next<'a>(tally: &Tally<'a>, now: Timestamp) -> Next<'a> {
    let mut next = Next { status: tally.status.clone(), release: Vec::new(), told: Vec::new() };
    let status = &mut next.status;
    begin(status, tally, now);
    let ready = count(tally.active.iter().filter(|pod| pods::is_ready(pod)).count());
    status.active = Some(count(tally.active.len())).filter(|active| *active > 0);
    status.ready = Some(ready);
    status.terminating = Some(tally.terminating);
    count_released(status, tally);
    let end = verdict::of(tally, now);
    // While pods are still at work because they could not be deleted, nothing ends.
    let ending = end.clone().filter(|_| tally.active.is_empty());
    let all_seen = list_ended(&mut next, tally, ending.as_ref());
    let status = &mut next.status;
    if let Some(indexed) = &tally.indexed {
        status.succeeded = Some(indexed.done.total()).filter(|done| *done > 0);
        status.completed_indexes = Some(indexed.done.to_string()).filter(|text| !text.is_empty());
        status.failed_indexes = indexed.failed.as_ref().map(ToString::to_string);
    }
    match (end, ending) {
        (None, _) if tally.job.metadata.deletion_timestamp.is_none() => rest(&mut next, tally, now),
        (Some(end), ending) => {
            add(status, end);
            let uncounted = status.uncounted_terminated_pods.as_ref();
            let counted = uncounted
                .is_none_or(|pods| [&pods.succeeded, &pods.failed].iter().all(|list| list.is_none()));
            if let Some(end) = ending
                && counted
                && all_seen
                && next.release.is_empty()
                && tally.terminating == 0
            {
                finish(&mut next, tally, &end, now);
            }
        }
        (None, _) => {}
    }
    next
}

/// Counts pods that were listed and have been let go, or are gone.
fn count_released(status: &mut JobStatus, tally: &Tally) {
    let tracked: BTreeSet<&str> =
        tally.pods.iter().filter(|pod| is_tracked(pod)).map(|pod| owners::uid(&pod.metadata)).collect();
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    for (list, sum) in
        [(&mut uncounted.succeeded, &mut status.succeeded), (&mut uncounted.failed, &mut status.failed)]
    {
        let Some(uids) = list else { continue };
        let before = uids.len();
        uids.retain(|uid| tracked.contains(uid.as_str()));
        let released = count(before - uids.len());
        if released > 0 {
            *sum = Some(sum.unwrap_or(0).saturating_add(released));
        }
        if uids.is_empty() {
            *list = None;
        }
    }
}

/// Lists pods that have ended, and all others when the Job comes to its end; says whether it got through.
fn list_ended<'a>(next: &mut Next<'a>, tally: &Tally<'a>, ending: Option<&JobCondition>) -> bool {
    let (succeeded, failed) = tally.uncounted();
    let uncounted = next.status.uncounted_terminated_pods.get_or_insert_default();
    let counted_index = |pod: &Pod| {
        let index = index_of(pod).unwrap_or(-1);
        tally.indexed.as_ref().is_some_and(|indexed| indexed.counted.contains(index))
    };
    let fails = ending.is_some_and(|end| end.type_ == verdict::FAILURE);
    let goes = ending.is_some() || tally.job.metadata.deletion_timestamp.is_some();
    let mut new_indexes = 0;
    for pod in tally.pods.iter().copied().filter(|pod| is_tracked(pod)) {
        let uid = owners::uid(&pod.metadata);
        let (has_succeeded, has_failed) = (pods::phase(pod) == "Succeeded", tally.has_failed(pod));
        if !(goes || has_succeeded || has_failed && !awaits_successor(tally, pod)) {
            continue;
        }
        next.release.push(pod);
        if has_succeeded && !failed.contains(uid) {
            if tally.indexed.is_some() {
                new_indexes += usize::from(tally.is_valid(pod) && !counted_index(pod));
            } else if !succeeded.contains(uid) {
                uncounted.succeeded.get_or_insert_default().push(uid.to_owned());
            }
        } else if (has_failed || fails)
            && !failed.contains(uid)
            && tally.is_valid(pod)
            && failures::judge(tally.spec, pod) != Sentence::Ignore
        {
            uncounted.failed.get_or_insert_default().push(uid.to_owned());
        }
        let listed = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        if new_indexes + listed(&uncounted.succeeded) + listed(&uncounted.failed) >= MOST_UNCOUNTED {
            return false;
        }
    }
    true
}

/// Whether the pod is kept so that its successor can go on from its number of failures.
fn awaits_successor(tally: &Tally, pod: &Pod) -> bool {
    let last = tally.indexed.as_ref().zip(index_of(pod));
    let last = last.and_then(|(indexed, index)| indexed.last_failures.get(&index));
    last.is_some_and(|last| last.metadata.uid == pod.metadata.uid)
}

/// Says whether the Job is suspended. Its time counts from when it was last not.
fn rest(next: &mut Next, tally: &Tally, now: Timestamp) {
    let was = next.status.conditions.iter().flatten().find(|condition| condition.type_ == "Suspended");
    let was = was.map(|condition| condition.status == "True");
    let (status, reason, message) = match (was, tally.is_suspended()) {
        (Some(true), true) | (None | Some(false), false) => return,
        (_, true) => ("True", "Suspended", "Job suspended"),
        (_, false) => ("False", "Resumed", "Job resumed"),
    };
    let mut condition = verdict::holding("Suspended", &format!("Job{reason}"), message, now);
    status.clone_into(&mut condition.status);
    add(&mut next.status, condition);
    next.status.start_time = Some(api_time(now)).filter(|_| !tally.is_suspended());
    next.told.push((false, reason, message.to_owned()));
}

/// The Job is over.
fn finish(next: &mut Next, tally: &Tally, end: &JobCondition, now: Timestamp) {
    next.status.start_time.get_or_insert_with(|| api_time(now));
    let (reason, message) = (end.reason.as_deref().unwrap_or(""), end.message.as_deref().unwrap_or(""));
    if end.type_ == verdict::FAILURE {
        add(&mut next.status, verdict::holding("Failed", reason, message, now));
        next.told.push((true, verdict::known(reason), message.to_owned()));
        return;
    }
    add(&mut next.status, verdict::holding("Complete", reason, message, now));
    next.status.completion_time = Some(api_time(now));
    if tally.spec.completions.is_some_and(|wanted| next.status.succeeded.unwrap_or(0) > wanted) {
        let message = "Too many succeeded pods running after completion count reached";
        next.told.push((true, "TooManySucceededPods", message.to_owned()));
    }
    next.told.push((false, "Completed", "Job completed".to_owned()));
}
