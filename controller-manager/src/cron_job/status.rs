//! The status of a CronJob: which of its Jobs run, for which time the last one was started, when one last succeeded.

use std::collections::HashSet;

use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::ObjectReference;

use super::plan::Snapshot;
use crate::frame::{Action, Kind, Plan, api_time, reference};
use crate::job::{condition, is_finished};
use crate::kit::owners;

/// Writes the status, then tells which Jobs have ended.
pub fn report(snapshot: &Snapshot) -> Plan {
    let cron_job = &*snapshot.cron_job;
    let old = snapshot.status();
    let mut new = old.clone();
    let active: Vec<ObjectReference> = old.active.clone().unwrap_or_default();
    let jobs = snapshot.by_uid();
    let (ended, mut active): (Vec<ObjectReference>, Vec<ObjectReference>) = active
        .into_iter()
        .filter(|job| jobs.contains_key(&job.uid.as_deref()))
        .partition(|job| jobs.get(&job.uid.as_deref()).is_some_and(|job| is_finished(job)));
    let listed: HashSet<Option<String>> = active.iter().map(|job| job.uid.clone()).collect();
    for (job, at) in snapshot.started() {
        let last = new.last_schedule_time.get_or_insert_with(|| api_time(at));
        last.0 = last.0.max(at);
        if !listed.contains(&job.metadata.uid) {
            active.push(reference(job));
        }
    }
    new.active = Some(active).filter(|active| !active.is_empty());
    let successes = snapshot.jobs.iter().filter(|job| condition(job, "Complete").is_some());
    let last = successes.filter_map(|job| job.status.as_ref()?.completion_time.clone()).max();
    new.last_successful_time = new.last_successful_time.max(last);
    let kind = Kind::of::<CronJob>();
    let mut plan = Plan::default();
    plan.actions.extend(Action::latest_status(kind, &cron_job.metadata, &old, &new));
    plan.actions.extend(ended.iter().filter_map(|job| {
        let job = *jobs.get(&job.uid.as_deref())?;
        let end = if condition(job, "Complete").is_some() { "Complete" } else { "Failed" };
        let name = owners::name(&job.metadata);
        Some(Action::Tell {
            about: reference(cron_job),
            warning: false,
            reason: "SawCompletedJob",
            message: format!("Saw completed job: {name}, condition: {end}"),
        })
    }));
    plan
}
