//! Roll-outs played through without a cluster: a small world carries out what
//! each plan asks for, and the scaling messages tell the story.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use serde_json::{Value, json};

use super::plan::{self, Snapshot, bounds};
use super::{revisions, status};
use crate::frame::{Action, Failure, Outcome, Timestamp, plus_seconds, to_value};
use crate::kit::template_hash;

/// A Deployment and its ReplicaSets, and what happens to them.
struct World {
    deployment: Value,
    sets: Vec<Value>,
    now: Timestamp,
    told: Vec<String>,
}

fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    target.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut target[key], value);
                }
            }
        }
        other => *target = other.clone(),
    }
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut deployment = json!({
            "metadata": {"name": "web", "namespace": "d", "uid": "deploy", "generation": 1, "resourceVersion": "1"},
            "spec": {
                "replicas": 3,
                "progressDeadlineSeconds": 600,
                "revisionHistoryLimit": 10,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            },
        });
        merge(&mut deployment["spec"], spec);
        World { deployment, sets: vec![], now: Timestamp::from_second(1_000).unwrap(), told: vec![] }
    }

    fn edit(&mut self, spec: &Value) {
        merge(&mut self.deployment["spec"], spec);
        self.deployment["metadata"]["generation"] =
            json!(self.deployment["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    fn image(&mut self, image: &str) {
        self.edit(&json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
    }

    fn snapshot(&self) -> Snapshot {
        let sets =
            self.sets.iter().map(|set| Arc::new(serde_json::from_value::<ReplicaSet>(set.clone()).unwrap()));
        Snapshot {
            deployment: Arc::new(serde_json::from_value(self.deployment.clone()).unwrap()),
            sets: sets.collect(),
            pods: vec![],
        }
    }

    /// Plans once and carries it out; says whether there was anything to do.
    fn step(&mut self) -> bool {
        let plan = plan::plan(&self.snapshot());
        let acted = !plan.actions.is_empty();
        let mut outcome = Outcome::default();
        for action in plan.actions {
            match action {
                Action::Create { bodies, told, .. } => {
                    let mut body = (*bodies[0]).clone();
                    outcome.created += 1;
                    let number = self.sets.len() + 1;
                    body["metadata"]["uid"] = json!(format!("set-{number}"));
                    body["metadata"]["generation"] = json!(1);
                    body["metadata"]["creationTimestamp"] = json!(format!("2026-01-01T00:00:{number:02}Z"));
                    let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                    self.sets.push(body);
                    self.tell(
                        told.and_then(|told| told.done)
                            .map(|(_, text)| text.replace(&name, &format!("#{number}"))),
                    );
                }
                Action::Patch { kind, name, body, told, .. } => {
                    let target = if kind.kind == "Deployment" {
                        &mut self.deployment
                    } else {
                        self.sets.iter_mut().find(|set| set["metadata"]["name"] == name.as_str()).unwrap()
                    };
                    merge(target, &body);
                    let told = told.and_then(|told| told.done).map(|(_, text)| text);
                    let numbered = told.map(|text| self.numbered(text));
                    self.tell(numbered);
                }
                Action::Delete { name, .. } => {
                    let text = self.numbered(format!("Deleted {name}"));
                    self.sets.retain(|set| set["metadata"]["name"] != name.as_str());
                    self.tell(Some(text));
                }
                Action::Tell { message, .. } => self.tell(Some(message)),
                Action::CatchUp { .. } | Action::Release { .. } => {
                    panic!("deployments own what they look at")
                }
            }
        }
        self.report(&outcome);
        acted
    }

    fn numbered(&self, text: String) -> String {
        self.sets.iter().fold(text, |text, set| {
            let number = set["metadata"]["uid"].as_str().unwrap().replace("set-", "#");
            text.replace(set["metadata"]["name"].as_str().unwrap(), &number)
        })
    }

    fn report(&mut self, outcome: &Outcome) {
        let (status, _) = status::status(&self.snapshot(), outcome, self.now);
        self.deployment["status"] = to_value(&status);
    }

    fn tell(&mut self, text: Option<String>) {
        self.told.extend(text.map(|text| text.replace("Scaled ", "").replace("replica set ", "")));
    }

    /// Lets every set's pods come up (or stay broken), as their controller and kubelet would.
    fn pods_settle(&mut self, broken: &[usize]) {
        for (index, set) in self.sets.iter_mut().enumerate() {
            let size = set["spec"]["replicas"].clone();
            let up = if broken.contains(&(index + 1)) { json!(0) } else { size.clone() };
            set["status"] = json!({"replicas": size, "readyReplicas": up, "availableReplicas": up, "observedGeneration": 9});
        }
        self.now = plus_seconds(self.now, 1);
    }

    /// Goes on until nothing is left to do.
    fn settle(&mut self, broken: &[usize]) -> Vec<String> {
        for _ in 0..100 {
            let acted = self.step();
            self.pods_settle(broken);
            self.report(&Outcome::default());
            if !acted {
                break;
            }
        }
        std::mem::take(&mut self.told)
    }

    fn status(&self) -> DeploymentStatus {
        serde_json::from_value(self.deployment["status"].clone()).unwrap()
    }

    fn conditions(&self) -> Vec<String> {
        let conditions = self.status().conditions.unwrap_or_default();
        let text = conditions.into_iter().map(|condition| {
            let message = self.numbered(condition.message.unwrap_or_default());
            format!(
                "{}={} {}: {message}",
                condition.type_,
                condition.status,
                condition.reason.unwrap_or_default()
            )
        });
        text.collect()
    }

    fn revisions(&self) -> Vec<(String, String)> {
        let note =
            |set: &Value, key: &str| set["metadata"]["annotations"][key].as_str().unwrap_or("").to_owned();
        self.sets.iter().map(|set| (note(set, revisions::REVISION), note(set, revisions::HISTORY))).collect()
    }
}

#[test]
fn bounds_round_as_upstream_does() {
    let cases = [
        (json!({"replicas": 10}), (3, 2)),
        (json!({"replicas": 3}), (1, 0)),
        (json!({"replicas": 1}), (1, 0)),
        (json!({"replicas": 0}), (0, 0)),
        (json!({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}), (0, 1)),
        (json!({"replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 9}}}), (2, 3)),
        (
            json!({"replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "0%"}}}),
            (3, 0),
        ),
        (json!({"strategy": {"type": "Recreate"}}), (0, 0)),
    ];
    for (spec, (surge, unavailable)) in cases {
        let found = bounds(World::new(&spec).snapshot().spec());
        assert_eq!((found.surge, found.unavailable), (surge, unavailable), "{spec}");
    }
}

#[test]
fn a_first_roll_out_makes_one_set_and_completes() {
    let mut world = World::new(&json!({}));
    world.step();
    assert_eq!(world.told, ["up #1 from 0 to 3"]);
    assert_eq!(
        world.conditions(),
        [
            "Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.",
            "Progressing=True NewReplicaSetCreated: Created new replica set \"#1\"",
        ]
    );
    world.settle(&[]);
    assert_eq!(
        world.conditions(),
        [
            "Available=True MinimumReplicasAvailable: Deployment has minimum availability.",
            "Progressing=True NewReplicaSetAvailable: ReplicaSet \"#1\" has successfully progressed.",
        ]
    );
    let set = &world.sets[0];
    let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().unwrap();
    assert_eq!(set["metadata"]["name"], format!("web-{hash}"));
    assert_eq!(set["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
    assert_eq!(set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], hash);
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"], "3");
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"], "4");
    assert_eq!(world.deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
}

#[test]
fn the_largest_numbers_are_no_trouble() {
    let mut world = World::new(&json!({
        "replicas": i32::MAX,
        "strategy": {"rollingUpdate": {"maxSurge": i32::MAX, "maxUnavailable": "100%"}},
    }));
    for image in ["v1", "v2", "v3"] {
        world.edit(&json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}));
        plan::plan(&world.snapshot());
        let set = json!({
            "metadata": {"name": format!("web-{image}"), "namespace": "d", "uid": image, "labels": {"app": "web"},
                "annotations": {
                    "deployment.kubernetes.io/desired-replicas": "1",
                    "deployment.kubernetes.io/max-replicas": i64::MAX.to_string(),
                    "deployment.kubernetes.io/revision": i64::MAX.to_string()},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "deploy",
                    "controller": true}]},
            "spec": {"replicas": i32::MAX, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": i32::MAX, "availableReplicas": i32::MAX},
        });
        world.sets.push(set);
        plan::plan(&world.snapshot());
        status::status(&world.snapshot(), &Outcome::default(), world.now);
    }
}

#[test]
fn a_rolling_update_stays_within_its_bounds() {
    let mut world = World::new(&json!({"replicas": 10}));
    world.settle(&[]);
    world.image("v2");
    assert_eq!(
        world.settle(&[]),
        [
            "up #2 from 0 to 3",
            "down #1 from 10 to 5",
            "up #2 from 3 to 8",
            "down #1 from 5 to 0",
            "up #2 from 8 to 10",
        ]
    );
    assert_eq!(world.revisions(), [("1".to_owned(), String::new()), ("2".to_owned(), String::new())]);
}

#[test]
fn a_broken_update_leaves_the_old_pods_alone_and_times_out() {
    let mut world = World::new(&json!({"replicas": 4}));
    world.settle(&[]);
    world.image("broken");
    assert_eq!(world.settle(&[2]), ["up #2 from 0 to 1", "down #1 from 4 to 3", "up #2 from 1 to 2"]);
    let status = world.status();
    assert_eq!((status.available_replicas, status.unavailable_replicas), (Some(3), Some(2)));
    world.now = plus_seconds(world.now, 601);
    assert!(!world.step());
    assert_eq!(
        world.conditions(),
        [
            "Available=True MinimumReplicasAvailable: Deployment has minimum availability.",
            "Progressing=False ProgressDeadlineExceeded: ReplicaSet \"#2\" has timed out progressing.",
        ]
    );
}

#[test]
fn an_undo_brings_the_old_set_back_under_a_new_revision() {
    let mut world = World::new(&json!({}));
    world.settle(&[]);
    world.image("v2");
    world.settle(&[]);
    world.image("v1");
    world.settle(&[]);
    assert_eq!(world.revisions(), [("3".to_owned(), "1".to_owned()), ("2".to_owned(), String::new())]);
    assert_eq!(world.deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(&json!({}));
    world.settle(&[]);
    world.edit(&json!({"paused": true, "replicas": 5}));
    world.image("v2");
    assert_eq!(world.settle(&[]), ["up #1 from 3 to 5"]);
    assert!(
        world.conditions().contains(&"Progressing=Unknown DeploymentPaused: Deployment is paused".to_owned())
    );
    world.edit(&json!({"paused": false}));
    world.report(&Outcome::default());
    assert!(
        world
            .conditions()
            .contains(&"Progressing=Unknown DeploymentResumed: Deployment is resumed".to_owned())
    );
    assert_eq!(world.settle(&[])[0], "up #2 from 0 to 2");
}

#[test]
fn a_resize_in_the_middle_is_shared_in_proportion() {
    let mut world = World::new(
        &json!({"replicas": 10, "strategy": {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}}),
    );
    world.settle(&[]);
    world.image("broken");
    assert_eq!(world.settle(&[2]), ["up #2 from 0 to 3", "down #1 from 10 to 8", "up #2 from 3 to 5"]);
    world.edit(&json!({"replicas": 15}));
    assert_eq!(world.settle(&[2])[..2], ["up #1 from 8 to 11", "up #2 from 5 to 7"]);
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let mut world = World::new(&json!({"strategy": {"type": "Recreate"}}));
    assert_eq!(world.settle(&[]), ["up #1 from 0 to 3"]);
    world.image("v2");
    world.step();
    assert_eq!(std::mem::take(&mut world.told), ["down #1 from 3 to 0"]);
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "set-1", "controller": true});
    let pod = json!({"metadata": {"name": "p", "ownerReferences": [owner]}, "status": {"phase": "Running"}});
    let mut snapshot = world.snapshot();
    snapshot.pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
    assert!(plan::plan(&snapshot).actions.is_empty(), "an old pod still runs");
    assert_eq!(world.settle(&[]), ["up #2 from 0 to 3"]);
}

#[test]
fn old_sets_beyond_the_history_limit_go() {
    let mut world = World::new(&json!({"revisionHistoryLimit": 1}));
    world.settle(&[]);
    world.image("v2");
    world.settle(&[]);
    world.image("v3");
    assert!(world.settle(&[]).contains(&"Deleted #1".to_owned()));
    assert_eq!(world.sets.len(), 2);
}

#[test]
fn foreign_sets_are_left_alone_and_matching_free_ones_adopted() {
    let mut world = World::new(&json!({}));
    world.settle(&[]);
    let mut free = world.sets[0].clone();
    free["metadata"]["name"] = json!("free");
    free["metadata"]["uid"] = json!("free");
    free["metadata"]["ownerReferences"] = json!(null);
    let mut foreign = free.clone();
    foreign["metadata"]["name"] = json!("foreign");
    foreign["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "other", "uid": "other", "controller": true}]);
    world.sets.extend([free, foreign]);
    let plan = plan::plan(&world.snapshot());
    let Some(Action::Patch { name, body, .. }) = plan.actions.first() else { panic!("{plan:?}") };
    assert_eq!(name, "free");
    assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "deploy");
    assert!(!format!("{plan:?}").contains("foreign"));
}

#[test]
fn a_taken_name_makes_another_hash() {
    let world = World::new(&json!({}));
    let failure = Failure {
        code: 409,
        reason: "AlreadyExists".to_owned(),
        message: String::new(),
        namespace_terminating: false,
    };
    let outcome = Outcome { failure: Some(failure), created: 0 };
    let (status, _) = status::status(&world.snapshot(), &outcome, world.now);
    assert_eq!(status.collision_count, Some(1));
    let template = &world.snapshot().spec().template.clone();
    assert_ne!(template_hash::of(template, None), template_hash::of(template, Some(1)));
    assert_eq!(template_hash::of(template, None), template_hash::of(template, None));
}

#[test]
fn a_settled_deployment_writes_nothing() {
    let mut world = World::new(&json!({}));
    world.settle(&[]);
    let before: Deployment = serde_json::from_value(world.deployment.clone()).unwrap();
    assert!(!world.step());
    let after: Deployment = serde_json::from_value(world.deployment.clone()).unwrap();
    assert_eq!(before, after);
}
