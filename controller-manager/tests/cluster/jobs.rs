//! Jobs to their end and beyond it, and controllers that end on the way.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::crashes::at_every_write;
use lab::Lab;

const JOB: (&str, &str) = ("batch/v1", "Job");

/// A Job of one container.
pub fn job(name: &str, image: &str, spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}},
    });
    json_patch::merge(&mut job["spec"], &spec);
    job
}

async fn pods(cluster: &Lab) -> Vec<Pod> {
    cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items
}

/// Waits until a Job is over in this way.
async fn ends(cluster: &Lab, name: &str, condition: &str) -> JobStatus {
    cluster
        .until(async || {
            let status = cluster.api::<Job>().get(name).await.unwrap().status.unwrap_or_default();
            let holds =
                status.conditions.iter().flatten().any(|c| c.type_ == condition && c.status == "True");
            if holds { Ok(status) } else { Err(format!("{status:?} {:?}", pods(cluster).await)) }
        })
        .await
}

/// Waits until there are so many pods.
async fn pods_are(cluster: &Lab, count: usize) -> Vec<Pod> {
    cluster
        .until(async || {
            let pods = pods(cluster).await;
            if pods.len() == count { Ok(pods) } else { Err(format!("{pods:?}")) }
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_side_by_side_until_enough_have_ended_well() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.hollow_kubelet("a");
    cluster.create(job("all", "done", json!({"completions": 5, "parallelism": 2}))).await;
    let status = ends(&cluster, "all", "Complete").await;
    assert_eq!((status.succeeded, status.failed, status.active), (Some(5), None, None));
    let pods = pods(&cluster).await;
    assert_eq!(pods.len(), 5);
    assert!(pods.iter().all(|pod| pod.metadata.finalizers.is_none()), "{pods:?}");
    cluster
        .create(job(
            "indexed",
            "done",
            json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"}),
        ))
        .await;
    let status = ends(&cluster, "indexed", "Complete").await;
    assert_eq!(status.completed_indexes.as_deref(), Some("0-2"));
    cluster
        .until(async || {
            let said = cluster.events("Completed").await;
            if said == ["Job completed", "Job completed"] { Ok(()) } else { Err(format!("{said:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_wait_and_then_end_the_job() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.hollow_kubelet("a");
    cluster.create(job("bad", "fails", json!({"backoffLimit": 2}))).await;
    for (failed, wait) in [(1, 10), (2, 20)] {
        cluster
            .until(async || {
                let status = cluster.api::<Job>().get("bad").await.unwrap().status.unwrap_or_default();
                if status.failed == Some(failed) { Ok(()) } else { Err(format!("{status:?}")) }
            })
            .await;
        cluster.clock.advance(Duration::from_secs(wait));
    }
    let status = ends(&cluster, "bad", "Failed").await;
    assert_eq!((status.failed, status.succeeded), (Some(3), None));
    assert_eq!(pods(&cluster).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_job_begins_anew() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.hollow_kubelet("a");
    cluster.create(job("held", "runs", json!({"parallelism": 2, "completions": 2, "suspend": true}))).await;
    let suspended = async |suspended: &str| {
        cluster
            .until(async || {
                let status = cluster.api::<Job>().get("held").await.unwrap().status.unwrap_or_default();
                let condition = status.conditions.clone().unwrap_or_default().pop();
                let says = condition.is_some_and(|c| c.type_ == "Suspended" && c.status == suspended);
                if says { Ok(status) } else { Err(format!("{status:?}")) }
            })
            .await
    };
    assert_eq!(suspended("True").await.start_time, None);
    assert_eq!(pods(&cluster).await.len(), 0);
    cluster.patch(JOB, "held", json!({"spec": {"suspend": false}})).await;
    assert!(suspended("False").await.start_time.is_some());
    pods_are(&cluster, 2).await;
    cluster.patch(JOB, "held", json!({"spec": {"suspend": true}})).await;
    suspended("True").await;
    pods_are(&cluster, 0).await;
    let status = cluster.api::<Job>().get("held").await.unwrap().status.unwrap();
    assert_eq!((status.failed, status.start_time), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_jobs_take_their_pods_along_or_leave_them_free() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.hollow_kubelet("a");
    for (params, left) in [
        (DeleteParams::background(), 0),
        (DeleteParams::foreground(), 0),
        (
            DeleteParams {
                propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
                ..DeleteParams::default()
            },
            2,
        ),
    ] {
        cluster.create(job("gone", "runs", json!({"parallelism": 2}))).await;
        pods_are(&cluster, 2).await;
        cluster.delete(JOB, "gone", &params).await;
        cluster
            .until(async || {
                let job = cluster.api::<Job>().get_opt("gone").await.unwrap();
                let pods = pods(&cluster).await;
                let free =
                    |pod: &Pod| pod.metadata.finalizers.is_none() && pod.metadata.owner_references.is_none();
                let settled = job.is_none() && pods.len() == left && pods.iter().all(free);
                if settled { Ok(()) } else { Err(format!("{job:?} {pods:?}")) }
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_go_when_their_time_is_over() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.hollow_kubelet("a");
    cluster.create(job("short", "done", json!({"ttlSecondsAfterFinished": 100}))).await;
    ends(&cluster, "short", "Complete").await;
    cluster.clock.advance(Duration::from_secs(101));
    pods_are(&cluster, 0).await;
    let gone = async || match cluster.api::<Job>().get_opt("short").await.unwrap() {
        None => Ok(()),
        Some(job) => Err(format!("{job:?}")),
    };
    cluster.until(gone).await;
}

/// How a Job has ended, and what is left of it: the phases of pods, and which of them are held.
async fn end_of(cluster: &Lab, name: &str, condition: &str) -> (JobStatus, Vec<String>) {
    let mut status = ends(cluster, name, condition).await;
    status.start_time = None;
    status.completion_time = None;
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_probe_time = None;
        condition.last_transition_time = None;
    }
    let phase = |pod: Pod| format!("{:?} {:?}", pod.status.and_then(|s| s.phase), pod.metadata.finalizers);
    let mut left: Vec<String> = pods(cluster).await.into_iter().map(phase).collect();
    left.sort();
    (status, left)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_counts_twice_or_is_lost_whichever_write_is_the_last() {
    at_every_write(&["/jobs", "/pods"], async |cluster| {
        cluster.node("a").await;
        cluster.hollow_kubelet("a");
        cluster.create(job("all", "done", json!({"completions": 3, "parallelism": 2}))).await;
        end_of(cluster, "all", "Complete").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_does_so_whichever_write_is_the_last() {
    at_every_write(&["/jobs", "/pods"], async |cluster| {
        cluster.node("a").await;
        cluster.hollow_kubelet("a");
        let spec = json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 0});
        cluster.create(job("bad", "fails", spec)).await;
        end_of(cluster, "bad", "Failed").await
    })
    .await;
}
