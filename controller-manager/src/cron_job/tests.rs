//! What a CronJob starts and deletes as time goes by, also when the process ends between two writes.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::{Value, json};

use super::due::Times;
use super::plan::{Snapshot, plan};
use super::status;
use crate::frame::{Action, Timestamp, plus_seconds};

/// A CronJob and its Jobs; a step plans, does what is to be done, and reports.
struct World {
    cron_job: Value,
    jobs: Vec<Value>,
    now: Timestamp,
    made: usize,
    told: Vec<String>,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut cron_job = json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "cron", "creationTimestamp": "2026-01-01T00:00:30Z"},
            "spec": {"schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "suspend": false,
                "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
                "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {"spec":
                    {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}},
            "status": {},
        });
        json_patch::merge(&mut cron_job["spec"], spec);
        World { cron_job, jobs: vec![], now: at("2026-01-01T00:00:30Z"), made: 0, told: vec![] }
    }

    fn snapshot(&self) -> Snapshot {
        let job = |job: &Value| Arc::new(serde_json::from_value(job.clone()).unwrap());
        Snapshot {
            cron_job: Arc::new(serde_json::from_value(self.cron_job.clone()).unwrap()),
            jobs: self.jobs.iter().map(job).collect(),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.jobs.iter().map(|job| job["metadata"]["name"].as_str().unwrap()).collect()
    }

    fn active(&self) -> Vec<&str> {
        let active = self.cron_job["status"]["active"].as_array().map(Vec::as_slice).unwrap_or_default();
        active.iter().map(|job| job["name"].as_str().unwrap()).collect()
    }

    fn ends(&mut self, name: &str, condition: &str) {
        let now = self.now.to_string();
        let job = self.jobs.iter_mut().find(|job| job["metadata"]["name"] == name).unwrap();
        job["status"] = json!({"startTime": now, "conditions": [{"type": condition, "status": "True"}]});
        if condition == "Complete" {
            job["status"]["completionTime"] = json!(now);
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Create { bodies, .. } => {
                    self.made += 1;
                    let mut job = (*bodies[0]).clone();
                    job["metadata"]["uid"] = json!(format!("u{}", self.made));
                    assert!(!self.names().contains(&job["metadata"]["name"].as_str().unwrap()));
                    self.jobs.push(job);
                }
                Action::Delete { name, .. } => self.jobs.retain(|job| job["metadata"]["name"] != name),
                Action::Patch { body, .. } => json_patch::merge(&mut self.cron_job, &body),
                Action::Tell { reason, message, .. } => self.told.push(format!("{reason} {message}")),
                Action::CatchUp { .. } | Action::Release { .. } => panic!("CronJobs own what they look at"),
            }
        }
    }

    /// Plans and does it, and no more: the process ends.
    fn half_a_step(&mut self) {
        let planned = plan(&self.snapshot(), self.now);
        self.carry_out(planned.actions);
    }

    /// One look; says when to look again.
    fn step(&mut self) -> Option<Timestamp> {
        let planned = plan(&self.snapshot(), self.now);
        self.carry_out(planned.actions);
        let reported = status::report(&self.snapshot());
        self.carry_out(reported.actions);
        let wait = planned.requeue_after?;
        Some(plus_seconds(self.now, i64::try_from(wait.as_secs()).unwrap()))
    }

    fn at(&mut self, time: &str) -> Option<Timestamp> {
        self.now = at(time);
        self.step()
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }
}

// 2026-01-01T00:10:00Z is minute 29453770.

#[test]
fn jobs_start_on_time_and_are_noted() {
    let mut world = World::new(&json!({"timeZone": "Europe/Berlin"}));
    assert_eq!(world.step(), Some(at("2026-01-01T00:10:00Z")));
    assert_eq!(world.names(), Vec::<&str>::new());
    assert_eq!(world.at("2026-01-01T00:10:00.1Z"), Some(at("2026-01-01T00:20:00.1Z")));
    assert_eq!(world.names(), ["c-29453770"]);
    let meta = &world.jobs[0]["metadata"];
    assert_eq!(
        meta["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"],
        "2026-01-01T01:10:00+01:00"
    );
    assert_eq!(
        (&meta["labels"], &meta["ownerReferences"][0]["controller"]),
        (&json!({"a": "b"}), &json!(true))
    );
    assert_eq!(world.active(), ["c-29453770"]);
    assert_eq!(world.cron_job["status"]["lastScheduleTime"], "2026-01-01T00:10:00Z");
    world.at("2026-01-01T00:12:00Z");
    world.ends("c-29453770", "Complete");
    world.step();
    world.step();
    assert_eq!(world.names().len(), 1);
    assert_eq!(world.cron_job["status"]["active"], Value::Null);
    assert_eq!(world.cron_job["status"]["lastSuccessfulTime"], "2026-01-01T00:12:00Z");
    assert_eq!(world.told(), ["SawCompletedJob Saw completed job: c-29453770, condition: Complete"]);
}

#[test]
fn policies_say_what_becomes_of_a_job_that_still_runs() {
    let jobs_at_second_time = |policy: &str| {
        let mut world = World::new(&json!({"concurrencyPolicy": policy}));
        world.at("2026-01-01T00:10:00Z");
        world.at("2026-01-01T00:20:00Z");
        let active: Vec<String> = world.active().into_iter().map(str::to_owned).collect();
        assert_eq!(world.names(), active);
        (active.iter().map(|name| name.replace("c-294537", "")).collect::<Vec<_>>(), world)
    };
    assert_eq!(jobs_at_second_time("Allow").0, ["70", "80"]);
    assert_eq!(jobs_at_second_time("Replace").0, ["80"]);
    let (jobs, mut world) = jobs_at_second_time("Forbid");
    assert_eq!(jobs, ["70"]);
    let why = "JobAlreadyActive Not starting job because prior execution is running and concurrency policy is Forbid";
    assert_eq!(world.told(), [why]);
    world.now = at("2026-01-01T00:25:00Z");
    world.ends("c-29453770", "Failed");
    world.step();
    world.step();
    assert_eq!(world.names(), ["c-29453770", "c-29453780"], "it starts late");
}

#[test]
fn a_start_is_noted_once_however_it_is_cut_short() {
    let mut world = World::new(&json!({}));
    world.now = at("2026-01-01T00:10:00Z");
    world.half_a_step();
    assert_eq!((world.names().len(), world.active().len()), (1, 0));
    world.half_a_step();
    world.at("2026-01-01T00:10:09Z");
    assert_eq!(world.names(), ["c-29453770"]);
    assert_eq!(world.active(), ["c-29453770"]);
    assert_eq!(world.cron_job["status"]["lastScheduleTime"], "2026-01-01T00:10:00Z");
    assert_eq!(world.told(), Vec::<String>::new());
    // It counts as running before it is noted.
    for (policy, left) in [("Forbid", "c-29453770"), ("Replace", "c-29453780")] {
        let mut world = World::new(&json!({"concurrencyPolicy": policy}));
        world.now = at("2026-01-01T00:10:00Z");
        world.half_a_step();
        world.at("2026-01-01T00:20:05Z");
        assert_eq!(world.names(), [left], "{policy}");
    }
}

#[test]
fn what_was_missed_is_made_up_for_once_and_in_time() {
    for (spec, now, started, told) in [
        (json!({}), "2026-01-01T02:03:00Z", Some("c-29453880"), None),
        (
            json!({"schedule": "* * * * *"}),
            "2026-01-01T02:03:00Z",
            Some("c-29453883"),
            Some(
                "TooManyMissedTimes too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
            ),
        ),
        (json!({"startingDeadlineSeconds": 200}), "2026-01-01T02:03:00Z", Some("c-29453880"), None),
        (json!({"startingDeadlineSeconds": 60}), "2026-01-01T02:03:00Z", None, None),
        (json!({"schedule": "@every 45m"}), "2026-01-01T02:03:00Z", Some("c-29453850"), None),
        (json!({"suspend": true}), "2026-01-01T02:03:00Z", None, None),
    ] {
        let mut world = World::new(&spec);
        world.at(now);
        assert_eq!(world.names().first().copied(), started, "{spec}");
        assert_eq!(world.told().first().map(String::as_str), told, "{spec}");
        world.step();
        assert_eq!(world.names().len(), usize::from(started.is_some()), "{spec}");
    }
}

#[test]
fn what_cannot_be_followed_is_said_and_not_tried_again() {
    for (spec, told) in [
        (
            json!({"schedule": "0 0 31 2 *"}),
            "InvalidSchedule invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second",
        ),
        (
            json!({"schedule": "0 0 31"}),
            "UnparseableSchedule unparseable schedule: \"0 0 31\" : expected exactly 5 fields, found 3: [0 0 31]",
        ),
        (
            json!({"timeZone": "Mars/Olympus"}),
            "UnknownTimeZone invalid timeZone: \"Mars/Olympus\": unknown time zone Mars/Olympus",
        ),
    ] {
        let mut world = World::new(&spec);
        assert_eq!(world.at("2027-01-01T00:00:00Z"), None, "{spec}");
        assert_eq!(world.told(), [told]);
        assert_eq!(world.names(), Vec::<&str>::new());
    }
}

#[test]
fn old_jobs_go_once_they_are_accounted_for() {
    let mut world = World::new(&json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0}));
    for (time, condition) in [("10", "Complete"), ("20", "Failed"), ("30", "Complete")] {
        world.at(&format!("2026-01-01T00:{time}:00Z"));
        let name = world.active()[0].to_owned();
        world.ends(&name, condition);
        world.step();
        assert!(world.names().contains(&name.as_str()));
    }
    world.step();
    assert_eq!(world.names(), ["c-29453790"]);
    assert_eq!(world.cron_job["status"]["lastSuccessfulTime"], "2026-01-01T00:30:00Z");
    assert_eq!(world.told().len(), 3);
}

#[test]
fn strangers_and_losses_are_told_of() {
    let mut world = World::new(&json!({}));
    world.at("2026-01-01T00:10:00Z");
    let mut manual = world.jobs[0].clone();
    manual["metadata"] = json!({"name": "by-hand", "uid": "h", "namespace": "n"});
    world.jobs = vec![manual];
    world.step();
    assert_eq!(
        world.told(),
        [
            "MissingJob Active job went missing: c-29453770",
            "UnexpectedJob Saw a job that the controller did not create or forgot: by-hand",
        ]
    );
    assert_eq!((world.active(), world.names()), (vec![], vec!["by-hand"]));
}

#[test]
fn times_are_shown_as_go_shows_them() {
    let time = at("2026-01-15T12:00:00Z");
    for (zone, expected) in [
        (None, "2026-01-15T12:00:00Z"),
        (Some("Europe/London"), "2026-01-15T12:00:00Z"),
        (Some("Asia/Kolkata"), "2026-01-15T17:30:00+05:30"),
        (Some("America/New_York"), "2026-01-15T07:00:00-05:00"),
    ] {
        assert_eq!(Times::show(zone, time), expected);
    }
}
