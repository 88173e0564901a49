//! What a Job does about its pods, from one look at the world to the next, also when it is cut short.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::failures;
use super::plan::plan;
use super::status;
use super::tally::{FINALIZER, Snapshot, is_finished};
use crate::frame::{Action, Timestamp, plus_seconds};

/// A Job and its world; a step plans, does what is to be done, and reports.
struct World {
    job: Value,
    pods: Vec<Value>,
    now: Timestamp,
    made: usize,
    /// How many writes are still done before the process ends.
    writes_left: usize,
    told: Vec<String>,
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut job = json!({
            "metadata": {"name": "j", "namespace": "n", "uid": "job", "generation": 1},
            "spec": {
                "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
                "podReplacementPolicy": "TerminatingOrFailed",
                "selector": {"matchLabels": {"job": "j"}},
                "template": {"metadata": {"labels": {"job": "j"}},
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}},
            },
            "status": {},
        });
        json_patch::merge(&mut job["spec"], spec);
        let now = Timestamp::from_second(1_000_000).unwrap();
        World { job, pods: vec![], now, made: 0, writes_left: usize::MAX, told: vec![] }
    }

    fn snapshot(&self) -> Snapshot {
        let pod = |pod: &Value| Arc::new(serde_json::from_value(pod.clone()).unwrap());
        Snapshot {
            job: Arc::new(serde_json::from_value(self.job.clone()).unwrap()),
            pods: self.pods.iter().map(pod).collect(),
        }
    }

    fn is_finished(&self) -> bool {
        is_finished(&self.snapshot().job)
    }

    fn pod(&mut self, name: &str) -> &mut Value {
        self.pods.iter_mut().find(|pod| pod["metadata"]["name"] == name).unwrap()
    }

    /// Pods whose names begin so.
    fn all(&self, prefix: &str) -> Vec<String> {
        let names = self.pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap());
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    fn active(&self) -> Vec<String> {
        let active = self.pods.iter().filter(|pod| {
            !["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
                && pod["metadata"]["deletionTimestamp"].is_null()
        });
        active.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    fn ends(&mut self, name: &str, code: i32) {
        let now = self.now.to_string();
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        self.pod(name)["status"] = json!({"phase": phase, "containerStatuses": [{"name": "c", "ready": false,
            "image": "i", "imageID": "", "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": now}}}]});
    }

    /// The kubelet's and the server's part: what was asked to go and is not held goes.
    fn sweep(&mut self) {
        for pod in &mut self.pods {
            if !pod["metadata"]["deletionTimestamp"].is_null() && pod["status"]["phase"].is_null() {
                pod["status"]["phase"] = json!("Failed");
            }
        }
        self.pods.retain(|pod| {
            pod["metadata"]["deletionTimestamp"].is_null()
                || pod["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty())
        });
    }

    /// Does it, until the process ends; says whether it got through.
    fn carry_out(&mut self, actions: Vec<Action>) -> bool {
        for action in actions {
            match action {
                Action::Create { bodies, .. } => {
                    for body in bodies {
                        if !self.writes() {
                            return false;
                        }
                        let mut pod = (*body).clone();
                        self.made += 1;
                        let prefix = pod["metadata"]["generateName"].as_str().unwrap().to_owned();
                        pod["metadata"]["name"] = json!(format!("{prefix}{}", self.made));
                        pod["metadata"]["uid"] = json!(format!("u{}", self.made));
                        pod["metadata"]["creationTimestamp"] = json!(self.now.to_string());
                        self.pods.push(pod);
                    }
                }
                Action::Delete { name, .. } => {
                    if !self.writes() {
                        return false;
                    }
                    let now = self.now.to_string();
                    self.pod(&name)["metadata"]["deletionTimestamp"] = json!(now);
                    self.told.push(format!("delete {name}"));
                }
                Action::Patch { subresource, body, name, .. } => {
                    if !self.writes() {
                        return false;
                    }
                    let object = if subresource.is_some() { &mut self.job } else { self.pod(&name) };
                    json_patch::merge(object, &body);
                }
                Action::Release { name, finalizer, .. } => {
                    if !self.writes() {
                        return false;
                    }
                    let held = self.pod(&name)["metadata"]["finalizers"].as_array_mut().unwrap();
                    held.retain(|has| has != finalizer);
                }
                Action::Tell { reason, .. } => self.told.push(reason.to_owned()),
                Action::CatchUp { .. } => panic!("Jobs own what they look at"),
            }
        }
        true
    }

    fn writes(&mut self) -> bool {
        let alive = self.writes_left > 0;
        self.writes_left = self.writes_left.saturating_sub(1);
        alive
    }

    /// One look; says when to look again if that was asked.
    fn step(&mut self) -> Option<i64> {
        let planned = plan(&self.snapshot(), self.now);
        if self.carry_out(planned.actions) {
            let reported = status::report(&self.snapshot(), self.now);
            self.carry_out(reported.actions);
        }
        planned.requeue_after.map(|wait| i64::try_from(wait.as_secs()).unwrap())
    }

    /// Looks until nothing changes; says when to look again if that was asked.
    fn settle(&mut self) -> Option<i64> {
        for _ in 0..20 {
            let before = (self.job.clone(), self.pods.clone());
            if self.is_finished() {
                return None;
            }
            let again = self.step();
            self.sweep();
            if before == (self.job.clone(), self.pods.clone()) {
                return again;
            }
        }
        panic!("it never comes to rest: {} {:?}", self.job["status"], self.pods);
    }

    fn later(&mut self, seconds: i64) {
        self.now = plus_seconds(self.now, seconds);
    }

    /// `Type=Status reason: message` of each condition.
    fn conditions(&self) -> Vec<String> {
        let conditions = self.job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let text = |c: &Value, field: &str| c[field].as_str().unwrap().to_owned();
        let line = |c: &Value| {
            format!("{}={} {}: {}", text(c, "type"), text(c, "status"), text(c, "reason"), text(c, "message"))
        };
        conditions.iter().map(line).collect()
    }

    /// The status without times and conditions.
    fn counts(&self) -> Value {
        let mut status = self.job["status"].clone();
        for field in ["conditions", "startTime", "completionTime"] {
            status.as_object_mut().unwrap().remove(field);
        }
        status
    }

    /// That the Job has failed so, and nothing of it is left at work or waits to be counted.
    #[track_caller]
    fn has_failed(&self, reason: &str, message: &str) {
        let lines = ["FailureTarget", "Failed"].map(|kind| format!("{kind}=True {reason}: {message}"));
        assert_eq!(self.conditions(), lines);
        assert_eq!(self.active(), Vec::<String>::new());
        assert_eq!(self.told.last().map(String::as_str), Some(reason));
    }
}

#[test]
fn pods_are_made_counted_and_the_job_completes() {
    let mut world = World::new(&json!({"parallelism": 2, "completions": 3}));
    world.settle();
    assert_eq!(world.active(), ["j-1", "j-2"]);
    assert_eq!(world.pod("j-1")["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(
        world.counts(),
        json!({"active": 2, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}})
    );
    world.ends("j-1", 0);
    world.settle();
    assert_eq!(world.active(), ["j-2", "j-3"]);
    assert_eq!(world.counts()["succeeded"], 1);
    world.ends("j-2", 0);
    world.ends("j-3", 0);
    world.settle();
    assert_eq!(
        world.conditions(),
        [
            "SuccessCriteriaMet=True CompletionsReached: Reached expected number of succeeded pods",
            "Complete=True CompletionsReached: Reached expected number of succeeded pods",
        ]
    );
    let done = json!({"ready": 0, "succeeded": 3, "terminating": 0, "uncountedTerminatedPods": {}});
    assert_eq!(world.counts(), done);
    assert_eq!(world.told, ["Completed"]);
}

#[test]
fn a_pod_is_listed_then_let_go_then_counted() {
    let mut world = World::new(&json!({"completions": 2}));
    world.settle();
    world.ends("j-1", 0);
    world.writes_left = 2;
    world.step();
    assert_eq!(world.job["status"]["uncountedTerminatedPods"], json!({"succeeded": ["u1"]}));
    assert_eq!(world.pod("j-1")["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(world.job["status"]["succeeded"], Value::Null);
    world.writes_left = usize::MAX;
    world.settle();
    assert_eq!(world.pod("j-1")["metadata"]["finalizers"], json!([]));
    assert_eq!(world.job["status"]["uncountedTerminatedPods"], json!({}));
    assert_eq!(world.job["status"]["succeeded"], 1);
}

/// Runs a Job of mixed fortunes to its end; the process ends after `writes` writes and is started again.
fn fortunes(spec: &Value, writes: usize) -> World {
    let mut world = World::new(spec);
    world.writes_left = writes;
    let mut ended = 0;
    for _ in 0..300 {
        if world.is_finished() {
            break;
        }
        world.step();
        world.sweep();
        if world.writes_left == 0 {
            world.writes_left = usize::MAX;
        }
        // Every third pod fails, one at a time.
        if let Some(name) = world.active().first().cloned() {
            ended += 1;
            world.ends(&name, i32::from(ended % 3 == 0));
        }
        world.later(700);
    }
    world
}

#[test]
fn a_crash_at_any_write_changes_no_sum() {
    let per_index = json!({"completions": 5, "parallelism": 3, "completionMode": "Indexed",
        "backoffLimitPerIndex": 2, "backoffLimit": 100});
    for spec in [
        json!({"completions": 5, "parallelism": 3}),
        json!({"completions": 5, "parallelism": 3, "completionMode": "Indexed"}),
        per_index,
        json!({"completions": 30, "parallelism": 3, "backoffLimit": 2}),
    ] {
        let undisturbed = fortunes(&spec, usize::MAX);
        assert!(undisturbed.is_finished(), "{spec} {}", undisturbed.job["status"]);
        let ended_pods = |world: &World, phase: &str| {
            world.pods.iter().filter(|pod| pod["status"]["phase"] == phase).count()
        };
        for writes in 0..60 {
            let world = fortunes(&spec, writes);
            assert!(world.is_finished(), "{spec} after {writes}: {}", world.job["status"]);
            let sum = |field: &str| world.job["status"][field].as_u64().unwrap_or(0);
            assert_eq!(sum("succeeded"), ended_pods(&world, "Succeeded") as u64, "{spec} after {writes}");
            if world.told == ["Completed"] {
                assert_eq!(sum("failed"), ended_pods(&world, "Failed") as u64, "{spec} after {writes}");
            }
            assert_eq!(world.conditions(), undisturbed.conditions(), "{spec} after {writes}");
            assert_eq!(
                world.job["status"]["completedIndexes"],
                undisturbed.job["status"]["completedIndexes"]
            );
            let tracked = |pod: &&Value| pod["metadata"]["finalizers"] != json!([]);
            assert_eq!(world.pods.iter().filter(tracked).count(), 0, "{spec} after {writes}");
        }
    }
}

#[test]
fn failures_are_waited_for_ever_longer() {
    let mut world = World::new(&json!({"completions": 1, "backoffLimit": 10}));
    for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
        world.settle();
        let name = world.active().pop().unwrap();
        world.ends(&name, 1);
        assert_eq!(world.settle(), Some(wait));
        assert_eq!(world.active(), Vec::<String>::new());
        world.later(wait - 1);
        assert_eq!(world.settle(), Some(1));
        world.later(1);
    }
    world.settle();
    let name = world.active().pop().unwrap();
    world.later(1);
    world.ends(&name, 0);
    world.settle();
    assert!(world.conditions().last().unwrap().starts_with("Complete=True"), "{:?}", world.conditions());
    assert_eq!(world.counts()["failed"], 8);
}

#[test]
fn a_success_forgives_failures_before_it() {
    let mut world = World::new(&json!({"completions": 3, "parallelism": 2}));
    world.settle();
    world.ends("j-1", 1);
    world.later(1);
    world.ends("j-2", 0);
    assert_eq!(world.settle(), None);
    assert_eq!(world.active().len(), 2);
}

#[test]
fn a_job_fails_at_its_limit_and_takes_its_pods_along() {
    let limit = "Job has reached the specified backoff limit";
    let mut world = World::new(&json!({"completions": 4, "parallelism": 3, "backoffLimit": 0}));
    world.settle();
    world.ends("j-1", 1);
    world.settle();
    world.has_failed("BackoffLimitExceeded", limit);
    assert_eq!(world.counts()["failed"], 3);

    let mut world = World::new(&json!({"completions": 1, "backoffLimit": 2}));
    world.job["spec"]["template"]["spec"]["restartPolicy"] = json!("OnFailure");
    world.settle();
    for restarts in [1, 2] {
        assert!(!world.is_finished());
        world.pod("j-1")["status"] = json!({"phase": "Running", "containerStatuses": [{"name": "c",
            "ready": true, "image": "i", "imageID": "", "restartCount": restarts}]});
        world.settle();
    }
    world.has_failed("BackoffLimitExceeded", limit);
}

#[test]
fn a_deadline_ends_a_job_as_such_however_many_pods_it_takes() {
    let mut world = World::new(
        &json!({"completions": 3, "parallelism": 3, "activeDeadlineSeconds": 60, "backoffLimit": 0}),
    );
    world.settle();
    assert_eq!(world.settle(), Some(60));
    world.later(60);
    world.settle();
    world.has_failed("DeadlineExceeded", "Job was active longer than specified deadline");
    assert_eq!(world.counts()["failed"], 3);
}

#[test]
fn a_suspended_job_has_no_pods_and_its_time_stands_still() {
    let mut world = World::new(&json!({"completions": 2, "parallelism": 2, "suspend": true,
        "activeDeadlineSeconds": 60}));
    world.settle();
    assert_eq!(world.conditions(), ["Suspended=True JobSuspended: Job suspended"]);
    assert_eq!(world.job["status"]["startTime"], Value::Null);
    assert_eq!(world.active(), Vec::<String>::new());
    world.later(100);
    world.job["spec"]["suspend"] = json!(false);
    world.settle();
    assert_eq!(world.conditions(), ["Suspended=False JobResumed: Job resumed"]);
    assert_eq!(world.job["status"]["startTime"], json!(world.now.to_string()));
    assert_eq!(world.active().len(), 2);
    world.job["spec"]["suspend"] = json!(true);
    world.settle();
    assert_eq!(world.active(), Vec::<String>::new());
    let counts = json!({"ready": 0, "terminating": 0, "uncountedTerminatedPods": {}});
    assert_eq!(world.counts(), counts, "they do not count");
    assert_eq!(world.job["status"]["startTime"], Value::Null);
    assert_eq!(
        world.told.iter().filter(|line| !line.starts_with("delete")).collect::<Vec<_>>(),
        ["Suspended", "Resumed", "Suspended"]
    );
}

#[test]
fn each_index_has_its_pod() {
    let mut world = World::new(&json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"}));
    world.settle();
    assert_eq!(world.active(), ["j-0-1", "j-1-2", "j-2-3"]);
    let pod = world.pod("j-1-2");
    assert_eq!(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"], "1");
    assert_eq!(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"], "1");
    assert_eq!(pod["spec"]["hostname"], "j-1");
    assert_eq!(
        pod["spec"]["containers"][0]["env"],
        json!([{"name": "JOB_COMPLETION_INDEX", "valueFrom":
            {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}}])
    );
    world.ends("j-0-1", 0);
    world.ends("j-2-3", 0);
    world.settle();
    assert_eq!(world.counts()["completedIndexes"], "0,2");
    let mut twin = world.pod("j-1-2").clone();
    twin["metadata"]["name"] = json!("j-1-twin");
    twin["metadata"]["uid"] = json!("twin");
    world.pods.push(twin);
    world.settle();
    assert_eq!(world.active().len(), 1, "an index has one pod");
    let last = world.active().pop().unwrap();
    world.ends(&last, 0);
    world.settle();
    assert_eq!(world.counts()["completedIndexes"], "0-2");
    assert!(world.is_finished());
}

#[test]
fn each_index_may_have_a_limit_of_its_own() {
    let mut world = World::new(&json!({"completions": 2, "parallelism": 2, "completionMode": "Indexed",
        "backoffLimitPerIndex": 1, "backoffLimit": i32::MAX}));
    world.settle();
    world.ends("j-0-1", 1);
    assert_eq!(world.settle(), Some(10), "the other index goes on meanwhile");
    assert_eq!(world.pod("j-0-1")["metadata"]["finalizers"], json!([FINALIZER]), "its successor is awaited");
    world.later(10);
    world.settle();
    let note = "batch.kubernetes.io/job-index-failure-count";
    assert_eq!(world.pod("j-0-3")["metadata"]["annotations"][note], "1");
    assert_eq!(world.pod("j-0-1")["metadata"]["finalizers"], json!([]));
    world.ends("j-0-3", 1);
    world.settle();
    assert_eq!(world.counts()["failedIndexes"], "0");
    assert_eq!(world.all("j-0"), ["j-0-1", "j-0-3"], "no third try");
    world.ends("j-1-2", 0);
    world.settle();
    world.has_failed("FailedIndexes", "Job has failed indexes");
    assert_eq!((&world.counts()["failed"], &world.counts()["succeeded"]), (&json!(2), &json!(1)));
}

#[test]
fn policies_judge_failures() {
    let policy = |action: &str| {
        json!({"completions": 2, "parallelism": 1, "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": action, "onExitCodes": {"operator": "In", "values": [3]}}]}})
    };
    let mut world = World::new(&policy("FailJob"));
    world.settle();
    world.ends("j-1", 3);
    world.settle();
    let why = "Container c for pod n/j-1 failed with exit code 3 matching FailJob rule at index 1";
    world.has_failed("PodFailurePolicy", why);
    assert_eq!(world.counts()["failed"], 1);

    let mut world = World::new(&policy("Count"));
    world.settle();
    world.ends("j-1", 1);
    world.pod("j-1")["status"]["conditions"] = json!([{"type": "DisruptionTarget", "status": "True"}]);
    world.settle();
    assert_eq!(world.counts().get("failed"), None, "a disruption does not count");
    world.later(10);
    world.settle();
    world.ends("j-2", 3);
    world.settle();
    assert_eq!(world.counts()["failed"], 1);
}

#[test]
fn pods_that_are_deleted_count_as_failed_unless_their_end_is_awaited() {
    let mut world = World::new(&json!({"completions": 1}));
    world.settle();
    let now = world.now.to_string();
    world.pod("j-1")["metadata"]["deletionTimestamp"] = json!(now);
    world.pod("j-1")["status"]["phase"] = json!("Running");
    assert_eq!(world.step(), Some(10));
    world.step();
    assert_eq!(world.counts()["failed"], 1);

    let mut world = World::new(&json!({"completions": 1, "podReplacementPolicy": "Failed"}));
    world.settle();
    world.pod("j-1")["metadata"]["deletionTimestamp"] = json!(now);
    world.pod("j-1")["status"]["phase"] = json!("Running");
    world.step();
    assert_eq!((world.pods.len(), &world.counts()["terminating"]), (1, &json!(1)));
    world.pod("j-1")["status"]["phase"] = json!("Failed");
    world.later(100);
    world.settle();
    assert_eq!((world.active().len(), &world.counts()["failed"]), (1, &json!(1)));
}

#[test]
fn pods_that_were_too_many_are_not_waited_for() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let wait = |finalizers: Value, phase: &str| {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"deletionTimestamp": now.to_string(), "finalizers": finalizers},
            "status": {"phase": phase},
        }))
        .unwrap();
        failures::wait_after([&pod].into_iter(), &JobSpec::default(), now).as_secs()
    };
    assert_eq!(wait(json!([FINALIZER]), "Running"), 10, "somebody deleted it");
    assert_eq!(wait(json!([]), "Running"), 0, "it was let go, and then deleted");
    assert_eq!(wait(json!([]), "Failed"), 10);
}

#[test]
fn a_success_policy_ends_the_rest() {
    let mut world = World::new(&json!({"completions": 4, "parallelism": 4, "completionMode": "Indexed",
        "backoffLimit": 0, "successPolicy": {"rules": [{"succeededIndexes": "1-3", "succeededCount": 2}]}}));
    world.settle();
    world.ends("j-0-1", 0);
    world.ends("j-1-2", 0);
    world.settle();
    assert!(!world.is_finished());
    world.ends("j-3-4", 0);
    world.settle();
    assert_eq!(
        world.conditions(),
        ["SuccessCriteriaMet", "Complete"]
            .map(|kind| format!("{kind}=True SuccessPolicy: Matched rules at index 0"))
    );
    assert_eq!(world.counts()["completedIndexes"], "0,1,3");
}

#[test]
fn pods_that_lie_about_are_taken_in_and_others_let_go() {
    let mut world = World::new(&json!({"completions": 2, "parallelism": 1}));
    world
        .pods
        .push(json!({"metadata": {"name": "found", "namespace": "n", "uid": "f", "labels": {"job": "j"}}}));
    world.settle();
    assert_eq!(world.active(), ["found"]);
    assert_eq!(world.pod("found")["metadata"]["finalizers"], json!([FINALIZER]));
    world.pod("found")["metadata"]["labels"] = json!({"job": "other"});
    world.settle();
    assert_eq!(world.pod("found")["metadata"]["finalizers"], json!([]));
    assert_eq!(world.pod("found")["metadata"]["ownerReferences"], json!([]));
    assert_eq!(world.active(), ["found", "j-1"]);
}

#[test]
fn a_job_that_goes_lets_all_pods_go() {
    let mut world = World::new(&json!({"completions": 2, "parallelism": 2}));
    world.settle();
    world.job["metadata"]["deletionTimestamp"] = json!(world.now.to_string());
    world.settle();
    assert_eq!(world.pods.len(), 2);
    assert!(world.pods.iter().all(|pod| pod["metadata"]["finalizers"] == json!([])), "{:?}", world.pods);
}

#[test]
fn work_queues_end_with_their_first_success() {
    let mut world = World::new(&json!({"parallelism": 3}));
    world.settle();
    world.ends("j-2", 0);
    world.settle();
    assert_eq!(world.active(), ["j-1", "j-3"]);
    world.ends("j-1", 1);
    world.ends("j-3", 0);
    world.settle();
    assert!(world.is_finished());
    assert_eq!((&world.counts()["succeeded"], &world.counts()["failed"]), (&json!(2), &json!(1)));
}
