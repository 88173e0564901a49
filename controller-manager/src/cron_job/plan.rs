//! Which Jobs a CronJob starts and deletes. Upstream: `syncCronJob`, `cleanupFinishedJobs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::due::{Due, Missed, Times};
use crate::frame::{Action, Kind, Plan, Propagation, Timestamp, Told, plus_seconds, reference};
use crate::job::{condition, is_finished};
use crate::kit::owners;

/// The annotation that says for which time a Job was started.
pub const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// All that a plan for one CronJob looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The CronJob.
    pub cron_job: Arc<CronJob>,
    /// The Jobs that it controls.
    pub jobs: Vec<Arc<Job>>,
}

impl Snapshot {
    /// Its status.
    pub fn status(&self) -> CronJobStatus {
        self.cron_job.status.clone().unwrap_or_default()
    }

    /// The Jobs by their uids.
    pub fn by_uid(&self) -> HashMap<Option<&str>, &Job> {
        self.jobs.iter().map(|job| (job.metadata.uid.as_deref(), &**job)).collect()
    }

    /// The uids of the Jobs that the status lists, and of those that it does not know yet.
    fn known<'a>(&'a self, active: &'a [ObjectReference]) -> HashSet<Option<&'a str>> {
        let started = self.started().map(|(job, _)| job.metadata.uid.as_deref());
        active.iter().map(|job| job.uid.as_deref()).chain(started).collect()
    }

    /// The time for which a Job was started, if it was started by schedule.
    pub fn scheduled(&self, job: &Job) -> Option<Timestamp> {
        let at: Timestamp = job.metadata.annotations.as_ref()?.get(SCHEDULED)?.parse().ok()?;
        (owners::name(&job.metadata) == name_at(&self.cron_job, at)).then_some(at)
    }

    /// The Jobs that were started and are not noted in the status, with the time of each.
    pub fn started(&self) -> impl Iterator<Item = (&Job, Timestamp)> {
        let last = self.cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let last = last.map_or(Timestamp::MIN, |time| time.0);
        let jobs = self.jobs.iter().filter_map(|job| Some((&**job, self.scheduled(job)?)));
        jobs.filter(move |(_, at)| *at > last)
    }
}

/// A Job is named after the minute that it is for, so that there is but one.
fn name_at(cron_job: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", owners::name(&cron_job.metadata), at.as_second().div_euclid(60))
}

/// What to do next about a CronJob.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let cron_job = &*snapshot.cron_job;
    let status = snapshot.status();
    let active = status.active.as_deref().unwrap_or_default();
    let mut plan = Plan::default();
    plan.actions.extend(surprises(snapshot, active));
    plan.actions.extend(old_jobs(snapshot, active, &status).into_iter().map(|job| delete(cron_job, job)));
    if cron_job.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let times = match Times::of(cron_job) {
        Ok(times) => times,
        Err(why) => {
            plan.actions.push(tell(cron_job, true, why.reason(), why.to_string()));
            return plan;
        }
    };
    if cron_job.spec.suspend == Some(true) {
        return plan;
    }
    match times.due(cron_job, now, true) {
        Ok(due) => start(snapshot, &due, now, &mut plan),
        Err(why) => {
            plan.actions.push(tell(cron_job, true, why.reason(), why.to_string()));
            return plan;
        }
    }
    plan.requeue_after = times.wait(cron_job, now);
    plan
}

/// Tells of Jobs that have gone without having ended, and of those that somebody else started.
fn surprises(snapshot: &Snapshot, active: &[ObjectReference]) -> Vec<Action> {
    let cron_job = &*snapshot.cron_job;
    let (jobs, known) = (snapshot.by_uid(), snapshot.known(active));
    let gone = active.iter().filter(|job| !jobs.contains_key(&job.uid.as_deref())).map(|job| {
        let message = format!("Active job went missing: {}", job.name.as_deref().unwrap_or_default());
        tell(cron_job, false, "MissingJob", message)
    });
    let unknown =
        snapshot.jobs.iter().filter(|job| !is_finished(job) && !known.contains(&job.metadata.uid.as_deref()));
    let unknown = unknown.map(|job| {
        let name = owners::name(&job.metadata);
        let message = format!("Saw a job that the controller did not create or forgot: {name}");
        tell(cron_job, true, "UnexpectedJob", message)
    });
    gone.chain(unknown).collect()
}

/// The Jobs that have ended longest ago, beyond as many as are to be kept; those that the status does not take into
/// account yet stay until it does.
fn old_jobs<'a>(snapshot: &'a Snapshot, active: &[ObjectReference], status: &CronJobStatus) -> Vec<&'a Job> {
    let spec = &snapshot.cron_job.spec;
    let (mut old, known) = (Vec::new(), snapshot.known(active));
    for (kind, limit) in
        [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)]
    {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { continue };
        let mut ended: Vec<&Job> =
            snapshot.jobs.iter().map(|job| &**job).filter(|job| condition(job, kind).is_some()).collect();
        let start = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.clone());
        // Those that never began come last.
        ended.sort_by_key(|job| (start(job).is_none(), start(job), job.metadata.name.clone()));
        let noted = |job: &&Job| {
            let end = job.status.as_ref().and_then(|status| status.completion_time.as_ref());
            end <= status.last_successful_time.as_ref() && !known.contains(&job.metadata.uid.as_deref())
        };
        let surplus = ended.len().saturating_sub(limit);
        old.extend(ended.into_iter().take(surplus).filter(noted));
    }
    old.retain(|job| job.metadata.deletion_timestamp.is_none());
    old
}

/// Starts the Job that is due, as far as it may run beside others.
fn start(snapshot: &Snapshot, due: &Due, now: Timestamp, plan: &mut Plan) {
    let cron_job = &*snapshot.cron_job;
    let Some(at) = due.at else { return };
    if due.missed == Missed::Many {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.actions.push(tell(cron_job, true, "TooManyMissedTimes", message.to_owned()));
    }
    let latest = cron_job.spec.starting_deadline_seconds.map(|deadline| plus_seconds(at, deadline));
    if latest.is_some_and(|latest| latest < now) {
        let message =
            format!("Missed scheduled time to start a job: {}", at.strftime("%a, %d %b %Y %H:%M:%S +0000"));
        plan.actions.push(tell(cron_job, true, "MissSchedule", message));
        return;
    }
    let name = name_at(cron_job, at);
    let status = snapshot.status();
    let done = status.last_schedule_time.is_some_and(|time| time.0 == at);
    if done || snapshot.jobs.iter().any(|job| owners::name(&job.metadata) == name) {
        return;
    }
    // Also those that were started and are not noted yet.
    let known = snapshot.known(status.active.as_deref().unwrap_or_default());
    let jobs = snapshot.jobs.iter().filter(|job| known.contains(&job.metadata.uid.as_deref()));
    let running: Vec<&Job> = jobs.map(|job| &**job).filter(|job| !is_finished(job)).collect();
    match cron_job.spec.concurrency_policy.as_deref() {
        Some("Forbid") if !running.is_empty() => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.actions.push(tell(cron_job, false, "JobAlreadyActive", message.to_owned()));
            return;
        }
        Some("Replace") => plan.actions.extend(running.into_iter().map(|job| delete(cron_job, job))),
        _ => {}
    }
    plan.actions.extend(Action::create_all(&[job(cron_job, name, at)], Some(told_create(cron_job))));
}

/// The Job for a time.
fn job(cron_job: &CronJob, name: String, at: Timestamp) -> Job {
    let template = cron_job.spec.job_template.clone();
    let given = template.metadata.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.to_owned(), Times::show(cron_job.spec.time_zone.as_deref(), at));
    Job {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: cron_job.metadata.namespace.clone(),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owners::controller_ref(&Kind::of::<CronJob>(), &cron_job.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn told_create(cron_job: &CronJob) -> Told {
    Told {
        about: reference(cron_job),
        done: Some(("SuccessfulCreate", "Created job {name}".to_owned())),
        failed: Some(("FailedCreate", "Error creating job: {error}".to_owned())),
    }
}

/// Deletes a Job and its pods.
fn delete(cron_job: &CronJob, job: &Job) -> Action {
    let told = Told {
        about: reference(cron_job),
        done: Some(("SuccessfulDelete", "Deleted job {name}".to_owned())),
        failed: Some(("FailedDelete", "Deleted job: {error}".to_owned())),
    };
    let mut delete = Action::delete(job, Some(told));
    if let Action::Delete { propagation, .. } = &mut delete {
        *propagation = Some(Propagation::Background);
    }
    delete
}

fn tell(cron_job: &CronJob, warning: bool, reason: &'static str, message: String) -> Action {
    Action::Tell { about: reference(cron_job), warning, reason, message }
}
