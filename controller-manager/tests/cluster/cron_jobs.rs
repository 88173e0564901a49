//! CronJobs under each policy while the clock is moved, and controllers that end on the way.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::crashes::at_every_write;
use crate::jobs::job;
use lab::Lab;

fn cron_job(name: &str, image: &str, spec: Value) -> Value {
    let template = json!({"spec": job("", image, json!({}))["spec"]});
    let mut cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedule": "* * * * *", "jobTemplate": template},
    });
    json_patch::merge(&mut cron_job["spec"], &spec);
    cron_job
}

async fn jobs(cluster: &Lab) -> Vec<Job> {
    cluster.api::<Job>().list(&ListParams::default()).await.unwrap().items
}

/// Moves the clock a second into the next minute.
fn next_minute(cluster: &Lab) {
    let second = cluster.clock.now().as_second().rem_euclid(60);
    cluster.clock.advance(Duration::from_secs(u64::try_from(61 - second).unwrap()));
}

/// Waits until a CronJob and the Jobs that are named after it look so.
async fn until_so(cluster: &Lab, name: &str, so: impl Fn(&CronJob, &[String]) -> bool) {
    cluster
        .until(async || {
            let cron_job = cluster.api::<CronJob>().get(name).await.unwrap();
            let names = jobs(cluster).await.into_iter().filter_map(|job| job.metadata.name);
            let names: Vec<String> = names.filter(|job| job.starts_with(name)).collect();
            if so(&cron_job, &names) { Ok(()) } else { Err(format!("{cron_job:?} {names:?}")) }
        })
        .await;
}

fn active(cron_job: &CronJob) -> Vec<String> {
    let active = cron_job.status.iter().flat_map(|status| status.active.iter().flatten());
    active.filter_map(|job| job.name.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_does_with_running_jobs_as_it_says() {
    let cluster = Lab::start().await;
    for policy in ["Allow", "Forbid", "Replace"] {
        let spec = json!({"concurrencyPolicy": policy});
        cluster.create(cron_job(&policy.to_lowercase(), "runs", spec)).await;
    }
    cluster.create(cron_job("suspended", "runs", json!({"suspend": true}))).await;
    next_minute(&cluster);
    for name in ["allow", "forbid", "replace"] {
        until_so(&cluster, name, |cron_job, jobs| jobs.len() == 1 && active(cron_job) == jobs).await;
    }
    let first = jobs(&cluster).await;
    next_minute(&cluster);
    until_so(&cluster, "allow", |cron_job, jobs| jobs.len() == 2 && active(cron_job) == jobs).await;
    until_so(&cluster, "replace", |cron_job, jobs| {
        let new = |job: &String| !first.iter().any(|old| old.metadata.name.as_ref() == Some(job));
        jobs.len() == 1 && jobs.iter().all(new) && active(cron_job) == jobs
    })
    .await;
    cluster
        .until(async || {
            let said = cluster.events("JobAlreadyActive").await;
            if said.is_empty() { Err("nothing said".to_owned()) } else { Ok(()) }
        })
        .await;
    until_so(&cluster, "forbid", |cron_job, jobs| jobs.len() == 1 && active(cron_job) == jobs).await;
    until_so(&cluster, "suspended", |_, jobs| jobs.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_never_comes_is_said_to_be_so() {
    let cluster = Lab::start().await;
    cluster.create(cron_job("never", "runs", json!({"schedule": "0 0 31 2 *"}))).await;
    let message =
        "invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second";
    cluster
        .until(async || {
            let said = cluster.events("InvalidSchedule").await;
            if said.iter().any(|text| text == message) { Ok(()) } else { Err(format!("{said:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_minute_has_one_job_whichever_write_is_the_last() {
    at_every_write(&["/jobs", "/cronjobs"], async |cluster| {
        cluster.node("a").await;
        cluster.hollow_kubelet("a");
        cluster.create(cron_job("tick", "done", json!({"successfulJobsHistoryLimit": 1}))).await;
        for _ in 0..2 {
            next_minute(cluster);
            until_so(cluster, "tick", |cron_job, jobs| {
                let minute = |at: i64| at.div_euclid(60);
                let status = cron_job.status.clone().unwrap_or_default();
                let last = status.last_schedule_time.map(|at| minute(at.0.as_second()));
                last == Some(minute(cluster.clock.now().as_second()))
                    && status.last_successful_time.is_some()
                    && active(cron_job).is_empty()
                    && jobs.len() == 1
            })
            .await;
        }
        let left = jobs(cluster).await;
        left.iter().map(|job| job.status.as_ref().unwrap().succeeded).collect::<Vec<_>>()
    })
    .await;
}
