//! How long a Job of many short pods takes.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::report;
use crate::watcher::time;

const LABEL: &str = "bench=jobs";

/// A Job of `completions` pods that do nothing, so many at a time, on all nodes: until it is complete.
pub async fn complete(client: &Client, completions: usize, parallelism: usize) {
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let job: Job = serde_json::from_value(json!({
        "metadata": {"name": "many", "labels": {"bench": "jobs"}},
        "spec": {
            "completions": completions,
            "parallelism": parallelism,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "c", "image": "busybox:bench", "command": ["true"]}],
            }},
        },
    }))
    .expect("a job");
    let create = || async {
        jobs.create(&PostParams::default(), &job).await.expect("a job can be created");
    };
    let is_over = |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
    let took = time(&jobs, LABEL, create, |all| all.values().any(is_over)).await;
    report(&format!("a Job of {completions} completions, {parallelism} at a time, on two nodes"), vec![took]);
    let delete = || async {
        jobs.delete("many", &DeleteParams::foreground()).await.expect("a job can be deleted");
    };
    report(
        "the same deleted, until no pod is left",
        vec![time(&jobs, LABEL, delete, |all| all.is_empty()).await],
    );
}
