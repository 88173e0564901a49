//! Jobs and CronJobs as a course types them, and what kubectl shows of them.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually};
use serde_json::{Value, json};

/// A Job whose container runs this in a shell.
fn job(name: &str, spec: Value, script: &str) -> String {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec,
    });
    job["spec"]["template"] = json!({"spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "busybox:jobs", "command": ["sh", "-c", script]}],
    }});
    job.to_string()
}

fn columns(cluster: &Cluster, line: &str) -> Vec<String> {
    cluster.kubectl(line).ok().split_whitespace().map(str::to_owned).collect()
}

fn wait(cluster: &Cluster, condition: &str, name: &str) {
    let waited = cluster.kubectl(&format!("wait --for=condition={condition} job/{name} --timeout=90s")).ok();
    assert!(waited.contains("condition met"), "{waited}");
}

/// Waits until a Job has so many pods.
fn pods_are(cluster: &Cluster, job: &str, wanted: usize) -> Vec<Value> {
    eventually(&format!("{job} has {wanted} pods"), 60, || {
        let pods = cluster.items(&format!("get pods -l job-name={job}"));
        if pods.len() == wanted { Ok(pods) } else { Err(format!("{} pods", pods.len())) }
    })
}

#[test]
fn jobs_run_to_their_end() {
    let cluster = Cluster::up("jobs", 2);
    cluster.load(&[busybox("busybox:jobs")]);

    // Its first minute is over by the end of this.
    let tick = [
        "create",
        "cronjob",
        "tick",
        "--image=busybox:jobs",
        "--schedule=*/1 * * * *",
        "--",
        "echo",
        "hello",
    ];
    cluster.kubectl_words(&tick).ok();
    cluster.kubectl("create job by-hand --from=cronjob/tick").ok();
    wait(&cluster, "complete", "by-hand");
    assert_eq!(cluster.kubectl("logs job/by-hand").ok(), "hello\n");

    cluster.apply(&job("all", json!({"completions": 6, "parallelism": 2}), "echo done"));
    wait(&cluster, "complete", "all");
    assert_eq!(columns(&cluster, "get job all --no-headers")[..3], ["all", "Complete", "6/6"]);
    pods_are(&cluster, "all", 6);
    let described = cluster.kubectl("describe job all").ok();
    for line in ["0 Active (0 Ready) / 6 Succeeded / 0 Failed", "Job completed"] {
        assert!(described.contains(line), "{line}: {described}");
    }
    cluster.kubectl("delete job all").ok();
    pods_are(&cluster, "all", 0);

    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    cluster.apply(&job("indexed", spec, "echo $JOB_COMPLETION_INDEX $(hostname)"));
    wait(&cluster, "complete", "indexed");
    let label = "batch.kubernetes.io/job-completion-index";
    for index in 0..3 {
        let said = cluster.kubectl(&format!("logs -l job-name=indexed,{label}={index}")).ok();
        assert_eq!(said, format!("{index} indexed-{index}\n"));
    }
    assert_eq!(cluster.json("get job indexed")["status"]["completedIndexes"], "0-2");

    cluster.apply(&job("bad", json!({"backoffLimit": 1}), "exit 3"));
    wait(&cluster, "failed", "bad");
    assert_eq!(columns(&cluster, "get job bad --no-headers")[..3], ["bad", "Failed", "0/1"]);
    pods_are(&cluster, "bad", 2);
    let described = cluster.kubectl("describe job bad").ok();
    assert!(described.contains("Job has reached the specified backoff limit"), "{described}");

    cluster.apply(&job("held", json!({"suspend": true, "parallelism": 2}), "sleep 3600"));
    let says = |status: &str| {
        eventually(&format!("held is {status}"), 30, || {
            let shown = columns(&cluster, "get job held --no-headers");
            if shown[1] == status { Ok(()) } else { Err(shown.join(" ")) }
        });
    };
    says("Suspended");
    pods_are(&cluster, "held", 0);
    let suspend = |suspend: bool| {
        let patch = format!(r#"{{"spec": {{"suspend": {suspend}}}}}"#);
        cluster.kubectl_words(&["patch", "job", "held", "-p", &patch]).ok();
    };
    suspend(false);
    says("Running");
    pods_are(&cluster, "held", 2);
    suspend(true);
    says("Suspended");
    pods_are(&cluster, "held", 0);
    suspend(false);
    pods_are(&cluster, "held", 2);
    cluster.kubectl("delete job held --cascade=orphan").ok();
    let left = pods_are(&cluster, "held", 2);
    assert!(left.iter().all(|pod| pod["metadata"].get("ownerReferences").is_none()), "{left:?}");
    cluster.kubectl("delete pods -l job-name=held").ok();
    pods_are(&cluster, "held", 0);

    let scheduled = eventually("the minute's Job completes", 90, || {
        let jobs = cluster.items("get jobs");
        let note = |job: &Value| {
            let notes = &job["metadata"]["annotations"];
            notes.get("batch.kubernetes.io/cronjob-scheduled-timestamp").is_some()
        };
        let done = jobs.iter().find(|job| note(job) && job["status"]["succeeded"] == 1);
        done.map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).ok_or(format!("{jobs:?}"))
    });
    let minute: i64 = scheduled.strip_prefix("tick-").unwrap().parse().unwrap();
    assert!(minute > 29_000_000, "{scheduled}");
    let shown = columns(&cluster, "get cronjob tick --no-headers");
    assert_eq!(shown[..8], ["tick", "*/1", "*", "*", "*", "*", "<none>", "False"]);
    let events = cluster.kubectl("describe cronjob tick").ok();
    assert!(events.contains(&format!("Created job {scheduled}")), "{events}");
}
