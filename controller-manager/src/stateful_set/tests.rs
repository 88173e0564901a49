//! What a StatefulSet does about its pods and claims, from one look at the world to the next.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::{Value, json};

use super::identity::ordinal;
use super::plan::{Snapshot, plan};
use super::status;
use crate::frame::{Action, Outcome, Timestamp, plus_seconds};

/// A set and its world; a step plans, notes what is to be done, and does it.
struct World {
    set: Value,
    pods: Vec<Value>,
    claims: Vec<Value>,
    revisions: Vec<Value>,
    now: Timestamp,
    made: usize,
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut set = json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "set", "generation": 1},
            "spec": {
                "replicas": 3,
                "serviceName": "nginx",
                "selector": {"matchLabels": {"app": "web"}},
                "podManagementPolicy": "OrderedReady",
                "revisionHistoryLimit": 2,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            },
        });
        set["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let now = Timestamp::from_second(1_000).unwrap();
        World { set, pods: vec![], claims: vec![], revisions: vec![], now, made: 0 }
    }

    fn snapshot(&self) -> Snapshot {
        fn all<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<Arc<T>> {
            values.iter().map(|value| Arc::new(serde_json::from_value(value.clone()).unwrap())).collect()
        }
        Snapshot {
            set: Arc::new(serde_json::from_value(self.set.clone()).unwrap()),
            pods: all(&self.pods),
            revisions: all(&self.revisions),
            claims: all(&self.claims)
                .into_iter()
                .map(|claim: Arc<k8s_openapi::api::core::v1::PersistentVolumeClaim>| {
                    (claim.metadata.name.clone().unwrap(), claim)
                })
                .collect(),
        }
    }

    fn edit(&mut self, path: &str, value: Value) {
        *self.set.pointer_mut(path).unwrap() = value;
    }

    fn image(&mut self, image: &str) {
        self.edit("/spec/template/spec/containers/0/image", json!(image));
    }

    fn pod(&mut self, name: &str) -> &mut Value {
        self.pods.iter_mut().find(|pod| pod["metadata"]["name"] == name).unwrap()
    }

    fn ready(&mut self, name: &str) {
        let since = self.now.to_string();
        self.pod(name)["status"] = json!({"phase": "Running", "conditions":
            [{"type": "Ready", "status": "True", "lastTransitionTime": since}]});
    }

    /// Steps, with every pod ready after each, until nothing is to be done.
    fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        loop {
            let step = self.step();
            if step.is_empty() {
                return done;
            }
            done.extend(step);
            for name in self.names() {
                self.ready(&name);
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Plans, carries it out and writes the status; says what was done: `+pod`, `-pod`, `+claim`, reasons of events.
    fn step(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for action in plan(&self.snapshot(), self.now).actions {
            match action {
                Action::Create { kind, bodies, .. } => {
                    for body in bodies {
                        let mut object = (*body).clone();
                        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                        self.made += 1;
                        object["metadata"]["uid"] = json!(format!("{name}/{}", self.made));
                        match kind.kind.as_str() {
                            "ControllerRevision" => {
                                done.push(format!("revision {}", object["revision"]));
                                self.revisions.push(object);
                                continue;
                            }
                            "Pod" => {
                                object["status"] = json!({"phase": "Pending"});
                                self.pods.push(object);
                            }
                            _ => self.claims.push(object),
                        }
                        done.push(format!("+{name}"));
                    }
                }
                Action::Delete { kind, name, .. } if kind.kind == "Pod" => {
                    done.push(format!("-{name}"));
                    self.pods.retain(|pod| pod["metadata"]["name"] != name.as_str());
                }
                Action::Delete { name, .. } => {
                    done.push("forget".to_owned());
                    self.revisions.retain(|revision| revision["metadata"]["name"] != name.as_str());
                }
                Action::Patch { kind, name, body, .. } => {
                    let (list, said) = match kind.kind.as_str() {
                        "PersistentVolumeClaim" => {
                            let owner =
                                body["metadata"]["ownerReferences"][0]["kind"].as_str().unwrap_or("nobody");
                            (&mut self.claims, format!("{name} goes with {owner}"))
                        }
                        "Pod" => (&mut self.pods, format!("mend {name}")),
                        _ => (&mut self.revisions, format!("renumber {}", body["revision"])),
                    };
                    let object =
                        list.iter_mut().find(|object| object["metadata"]["name"] == name.as_str()).unwrap();
                    merge(object, &body);
                    done.push(said);
                }
                Action::Tell { reason, .. } => done.push(reason.to_owned()),
                Action::CatchUp { .. } | Action::Release { .. } => {}
            }
        }
        for action in status::report(&self.snapshot(), &Outcome::default(), self.now).actions {
            let Action::Patch { body, .. } = action else { panic!("{action:?}") };
            merge(&mut self.set, &json!({"status": body["status"]}));
        }
        done
    }
}

fn merge(base: &mut Value, patch: &Value) {
    let (Value::Object(base), Value::Object(patch)) = (&mut *base, patch) else {
        *base = patch.clone();
        return;
    };
    for (key, value) in patch {
        match value {
            Value::Null => drop(base.remove(key)),
            value => merge(base.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

const NOTHING: [&str; 0] = [];

fn www() -> Value {
    json!([{"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}}])
}

#[test]
fn pods_come_one_after_the_other_and_go_in_reverse() {
    let mut world = World::new(&json!({}));
    assert_eq!(world.step(), ["revision 1", "+web-0"]);
    assert_eq!(world.step(), NOTHING, "the first is not ready yet");
    world.ready("web-0");
    assert_eq!(world.step(), ["+web-1"]);
    world.ready("web-1");
    world.pod("web-0")["status"] = json!({"phase": "Running"});
    assert_eq!(world.step(), NOTHING, "one before it is not ready");
    world.ready("web-0");
    assert_eq!(world.settle(), ["+web-2"]);
    world.edit("/spec/replicas", json!(1));
    assert_eq!(world.step(), ["-web-2"]);
    assert_eq!(world.settle(), ["-web-1"]);
    // A pod that ends or is deleted comes back under its name.
    world.pod("web-0")["status"] = json!({"phase": "Failed"});
    assert_eq!(world.step(), ["RecreatingFailedPod", "-web-0"]);
    assert_eq!(world.settle(), ["+web-0"]);
    world.edit("/spec/replicas", json!(2));
    world.edit("/spec", {
        let mut spec = world.set["spec"].clone();
        spec["ordinals"] = json!({"start": 1});
        spec
    });
    assert_eq!(world.settle(), ["+web-1", "+web-2", "-web-0"], "the ordinals begin at another number");
}

#[test]
fn parallel_ones_do_not_wait() {
    let mut world = World::new(&json!({"podManagementPolicy": "Parallel"}));
    assert_eq!(world.step(), ["revision 1", "+web-0", "+web-1", "+web-2"]);
    world.edit("/spec/replicas", json!(1));
    assert_eq!(world.step(), ["-web-2", "-web-1"]);
    world.edit("/spec/replicas", json!(i32::MAX));
    assert_eq!(world.step().len(), 250, "a burst at a time");
}

#[test]
fn pods_have_names_hosts_labels_and_claims_of_their_own() {
    let mut world = World::new(&json!({"volumeClaimTemplates": www(), "replicas": 2}));
    assert_eq!(world.settle(), ["revision 1", "+www-web-0", "+web-0", "+www-web-1", "+web-1"]);
    let pod = world.pods[1].clone();
    assert_eq!(pod["spec"]["hostname"], "web-1");
    assert_eq!(pod["spec"]["subdomain"], "nginx");
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "www", "persistentVolumeClaim": {"claimName": "www-web-1"}}])
    );
    assert_eq!(pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"], "web-1");
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], world.revisions[0]["metadata"]["name"]);
    assert_eq!(world.claims[0]["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(world.claims[0]["metadata"]["ownerReferences"], Value::Null);
    // Claims outlive their pods and are found again.
    world.edit("/spec/replicas", json!(0));
    assert_eq!(world.settle(), ["-web-1", "-web-0"]);
    world.edit("/spec/replicas", json!(1));
    assert_eq!(world.settle(), ["+web-0"]);
    world.pod("web-0")["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!("7");
    assert_eq!(world.step(), ["mend web-0"]);
}

#[test]
fn claims_go_with_pod_or_set_when_they_are_told_to() {
    let retention = |deleted: &str, scaled: &str| {
        json!({"volumeClaimTemplates": www(), "replicas": 2,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}})
    };
    let mut world = World::new(&retention("Delete", "Delete"));
    world.settle();
    let owner =
        |world: &World, claim: usize| world.claims[claim]["metadata"]["ownerReferences"][0]["kind"].clone();
    assert_eq!((owner(&world, 0), owner(&world, 1)), (json!("StatefulSet"), json!("StatefulSet")));
    assert_eq!(world.claims[0]["metadata"]["ownerReferences"][0]["controller"], true);
    // Another controller's is left to it.
    let others =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c", "controller": true}]);
    let ours = std::mem::replace(&mut world.claims[0]["metadata"]["ownerReferences"], others.clone());
    assert_eq!(world.step(), NOTHING);
    world.claims[0]["metadata"]["ownerReferences"] = json!([others[0], ours[0]]);
    assert_eq!(world.step(), ["www-web-0 goes with ConfigMap"]);
    world.claims[0]["metadata"]["ownerReferences"] = ours;
    // One that does not control it yet is to.
    world.claims[0]["metadata"]["ownerReferences"][0]["controller"] = json!(false);
    assert_eq!(world.step(), ["www-web-0 goes with StatefulSet"]);
    world.edit("/spec/replicas", json!(1));
    assert_eq!(world.step(), ["www-web-1 goes with Pod", "-web-1"]);
    world.edit(
        "/spec/persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    assert_eq!(world.step(), ["www-web-0 goes with nobody"]);
}

#[test]
fn a_rolling_update_goes_from_the_highest_to_the_partition() {
    let mut world = World::new(&json!({}));
    world.settle();
    world.edit("/spec/updateStrategy/rollingUpdate/partition", json!(1));
    world.image("v2");
    assert_eq!(world.step(), ["revision 2", "-web-2"]);
    assert_eq!(world.set["status"]["updatedReplicas"], Value::Null);
    assert_eq!(world.step(), ["+web-2"]);
    assert_eq!(world.step(), NOTHING, "the new one is not ready yet");
    world.ready("web-2");
    assert_eq!(world.settle(), ["-web-1", "+web-1"]);
    let first = world.revisions[0]["metadata"]["name"].clone();
    assert_eq!(world.set["status"]["currentRevision"], first);
    assert_eq!(world.set["status"]["updatedReplicas"], 2);
    // Below the partition a pod comes back as it was.
    world.pods.retain(|pod| pod["metadata"]["name"] != "web-0");
    world.settle();
    assert_eq!(world.pod("web-0")["spec"]["containers"][0]["image"], "v1");
    world.edit("/spec/updateStrategy/rollingUpdate/partition", json!(0));
    assert_eq!(world.settle(), ["-web-0", "+web-0"]);
    assert_eq!(world.set["status"]["currentRevision"], world.revisions[1]["metadata"]["name"]);
    assert_eq!(world.set["status"]["currentReplicas"], 3);
    // Back again: the old revision under a new number.
    world.image("v1");
    assert_eq!(world.step()[0], "renumber 3");
}

#[test]
fn more_may_be_missing_at_once_and_on_delete_waits() {
    let mut world = World::new(&json!({"podManagementPolicy": "Parallel"}));
    world.settle();
    world.edit("/spec/updateStrategy/rollingUpdate", json!({"partition": 0, "maxUnavailable": 2}));
    world.image("v2");
    assert_eq!(world.step(), ["revision 2", "-web-2", "-web-1"]);
    assert_eq!(world.settle(), ["+web-1", "+web-2", "-web-0", "+web-0"]);
    world.edit("/spec/updateStrategy", json!({"type": "OnDelete"}));
    world.image("v3");
    assert_eq!(world.settle(), ["revision 3"]);
    world.pods.retain(|pod| pod["metadata"]["name"] != "web-0");
    assert_eq!(world.settle(), ["+web-0"]);
    assert_eq!(world.pod("web-0")["spec"]["containers"][0]["image"], "v3");
}

#[test]
fn seconds_of_readiness_are_waited_for() {
    let mut world = World::new(&json!({"minReadySeconds": 10, "replicas": 2}));
    world.step();
    world.ready("web-0");
    assert_eq!(world.step(), NOTHING);
    assert_eq!(world.set["status"]["readyReplicas"], 1);
    assert_eq!(world.set["status"]["availableReplicas"], 0);
    let wait = status::report(&world.snapshot(), &Outcome::default(), world.now).requeue_after;
    assert_eq!(wait, Some(std::time::Duration::from_secs(10)));
    world.now = plus_seconds(world.now, 10);
    assert_eq!(world.step(), ["+web-1"]);
}

#[test]
fn ordinals_are_read_from_names_that_the_set_gives() {
    let cases = [
        ("web-0", Some(0)),
        ("web-12", Some(12)),
        ("web-01", None),
        ("web--1", None),
        ("web-", None),
        ("db-0", None),
        ("web-a", None),
        ("web-99999999999", None),
    ];
    for (name, expected) in cases {
        assert_eq!(ordinal("web", name), expected, "{name}");
    }
}
