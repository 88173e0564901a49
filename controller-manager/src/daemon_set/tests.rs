//! What a DaemonSet does about its pods, from one look at the world to the next.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::nodes::judge;
use super::plan::{Snapshot, plan};
use super::status;
use crate::frame::{Action, Failure, Outcome, Timestamp, plus_seconds};

/// A set and its world; a step plans, notes what is to be done, and does it.
struct World {
    set: Value,
    nodes: Vec<Value>,
    pods: Vec<Value>,
    revisions: Vec<Value>,
    failed_until: HashMap<String, Timestamp>,
    now: Timestamp,
    made: usize,
}

impl World {
    fn new(nodes: &[&str], strategy: &Value) -> Self {
        let set = json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "set", "generation": 1,
                "annotations": {"deprecated.daemonset.template.generation": "1"}},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "revisionHistoryLimit": 1,
                "updateStrategy": strategy,
                "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}},
            },
        });
        let node = |name: &&str| json!({"metadata": {"name": name}});
        World {
            set,
            nodes: nodes.iter().map(node).collect(),
            pods: vec![],
            revisions: vec![],
            failed_until: HashMap::new(),
            now: Timestamp::from_second(1_000).unwrap(),
            made: 0,
        }
    }

    fn snapshot(&self) -> Snapshot {
        fn all<T: serde::de::DeserializeOwned>(values: &[Value]) -> Vec<Arc<T>> {
            values.iter().map(|value| Arc::new(serde_json::from_value(value.clone()).unwrap())).collect()
        }
        Snapshot {
            set: Arc::new(serde_json::from_value(self.set.clone()).unwrap()),
            nodes: all(&self.nodes),
            pods: all(&self.pods),
            revisions: all(&self.revisions),
            failed_until: self.failed_until.clone(),
        }
    }

    fn image(&mut self, image: &str) {
        self.set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    }

    fn pod(&mut self, name: &str) -> &mut Value {
        self.pods.iter_mut().find(|pod| pod["metadata"]["name"] == name).unwrap()
    }

    fn all_ready(&mut self) {
        for pod in &mut self.pods {
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": self.now.to_string()}]});
        }
    }

    /// Plans, carries it out, and says what was done: `+node`, `-pod`, and reasons of events that stand alone.
    fn step(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for action in plan(&self.snapshot(), self.now).actions {
            match action {
                Action::Create { kind, bodies, .. } if kind.kind == "Pod" => {
                    for body in bodies {
                        let node = body["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                            ["nodeSelectorTerms"][0]["matchFields"][0]["values"][0].clone();
                        done.push(format!("+{}", node.as_str().unwrap()));
                        self.made += 1;
                        let mut pod = (*body).clone();
                        pod["metadata"]["name"] = json!(format!("p{}", self.made));
                        pod["metadata"]["uid"] = json!(format!("p{}", self.made));
                        pod["metadata"]["creationTimestamp"] =
                            json!(plus_seconds(self.now, self.made as i64).to_string());
                        pod["spec"]["nodeName"] = node;
                        self.pods.push(pod);
                    }
                }
                Action::Create { bodies, .. } => {
                    let mut revision = (*bodies[0]).clone();
                    revision["metadata"]["uid"] = revision["metadata"]["name"].clone();
                    done.push(format!("revision {}", revision["revision"]));
                    self.revisions.push(revision);
                }
                Action::Delete { kind, name, .. } if kind.kind == "Pod" => {
                    done.push(format!("-{name}"));
                    self.pods.retain(|pod| pod["metadata"]["name"] != name.as_str());
                }
                Action::Delete { name, .. } => {
                    done.push("forget".to_owned());
                    self.revisions.retain(|revision| revision["metadata"]["name"] != name.as_str());
                }
                Action::Patch { name, body, .. } => {
                    let revision = self
                        .revisions
                        .iter_mut()
                        .find(|revision| revision["metadata"]["name"] == name.as_str())
                        .unwrap();
                    revision["revision"] = body["revision"].clone();
                    done.push(format!("renumber {}", body["revision"]));
                }
                Action::Tell { reason, .. } => done.push(reason.to_owned()),
                Action::CatchUp { .. } | Action::Release { .. } => {}
            }
        }
        done
    }
}

fn rolling(bounds: &Value) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": bounds})
}

#[test]
fn each_node_gets_one_pod_and_nodes_that_join_too() {
    let mut world = World::new(&["a", "b"], &rolling(&json!({"maxUnavailable": 1, "maxSurge": 0})));
    assert_eq!(world.step(), ["revision 1", "+a", "+b"]);
    assert_eq!(world.step(), [] as [&str; 0]);
    world.nodes.push(json!({"metadata": {"name": "c"}}));
    assert_eq!(world.step(), ["+c"]);
    let labels = world.pods[0]["metadata"]["labels"].clone();
    assert_eq!(labels["pod-template-generation"], "1");
    assert_eq!(
        labels["controller-revision-hash"],
        world.revisions[0]["metadata"]["labels"]["controller-revision-hash"]
    );
    // Two on one node: the older stays. One that no scheduler has placed goes with its node.
    let mut double = world.pods[0].clone();
    (double["metadata"]["name"], double["metadata"]["uid"]) = (json!("twin"), json!("twin"));
    double["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.pods.push(double);
    world.pod("p3")["spec"]["nodeName"] = json!("");
    world.nodes.pop();
    assert_eq!(world.step(), ["-p3", "-twin"]);
}

#[test]
fn ended_pods_are_replaced_failed_ones_after_a_while() {
    let mut world = World::new(&["a", "b"], &rolling(&json!({"maxUnavailable": 1})));
    world.step();
    world.pod("p1")["status"] = json!({"phase": "Failed"});
    world.pod("p2")["status"] = json!({"phase": "Succeeded"});
    world.failed_until.insert("p1".to_owned(), plus_seconds(world.now, 2));
    assert_eq!(world.step(), ["SucceededDaemonPod", "-p2"]);
    assert_eq!(world.step(), ["+b"]);
    world.now = plus_seconds(world.now, 2);
    assert_eq!(world.step(), ["FailedDaemonPod", "-p1"]);
    assert_eq!(world.step(), ["+a"]);
}

#[test]
fn a_rolling_update_deletes_as_many_as_may_be_missing() {
    let mut world = World::new(&["a", "b", "c"], &rolling(&json!({"maxUnavailable": 1})));
    world.step();
    world.all_ready();
    world.image("v2");
    assert_eq!(world.step(), ["revision 2", "-p1"]);
    assert_eq!(world.step(), ["+a"]);
    assert_eq!(world.step(), [] as [&str; 0], "the new pod is not ready yet");
    world.all_ready();
    assert_eq!(world.step(), ["-p2"]);
    // One that does not work goes whatever the bounds say.
    world.pod("p3")["status"] = json!({"phase": "Pending"});
    assert_eq!(world.step(), ["+b", "-p3"]);
    assert_eq!(world.step(), ["+c"]);
    world.all_ready();
    world.image("v3");
    assert_eq!(world.step(), ["revision 3", "-p4"]);
    // Back to the first template: its revision gets a new number. Of two old ones the limit keeps one.
    world.image("v1");
    assert_eq!(world.step(), ["renumber 4", "+a"]);
    for _ in 0..10 {
        world.all_ready();
        world.step();
    }
    let numbers: Vec<&Value> = world.revisions.iter().map(|revision| &revision["revision"]).collect();
    assert_eq!(numbers, [&json!(4), &json!(3)]);
}

#[test]
fn a_surge_makes_the_new_pod_first() {
    let mut world = World::new(&["a", "b"], &rolling(&json!({"maxUnavailable": 0, "maxSurge": 1})));
    world.step();
    world.all_ready();
    world.image("v2");
    assert_eq!(world.step(), ["revision 2", "+a"]);
    assert_eq!(world.step(), [] as [&str; 0], "both stay until the new one works");
    world.all_ready();
    assert_eq!(world.step(), ["+b", "-p1"]);
    world.all_ready();
    assert_eq!(world.step(), ["-p2"]);
}

#[test]
fn on_delete_waits_for_a_hand() {
    let mut world = World::new(&["a"], &json!({"type": "OnDelete"}));
    world.step();
    world.all_ready();
    world.image("v2");
    assert_eq!(world.step(), ["revision 2"]);
    world.pods.clear();
    assert_eq!(world.step(), ["+a"]);
    let newest = &world.revisions[1]["metadata"]["labels"]["controller-revision-hash"];
    assert_eq!(&world.pods[0]["metadata"]["labels"]["controller-revision-hash"], newest);
}

#[test]
fn nodes_are_judged_by_labels_name_and_taints() {
    let node = |spec: Value| {
        serde_json::from_value(json!({"metadata": {"name": "a", "labels": {"disk": "ssd"}}, "spec": spec}))
            .unwrap()
    };
    let taint = |key: &str, effect: &str| json!({"taints": [{"key": key, "effect": effect}]});
    let cases = [
        (json!({}), json!({}), (true, true)),
        (json!({"nodeSelector": {"disk": "ssd"}}), json!({}), (true, true)),
        (json!({"nodeSelector": {"disk": "hdd"}}), json!({}), (false, false)),
        (json!({"nodeName": "b"}), json!({}), (false, false)),
        (json!({}), taint("team", "NoSchedule"), (false, true)),
        (json!({}), taint("team", "NoExecute"), (false, false)),
        (json!({}), taint("team", "PreferNoSchedule"), (true, true)),
        (json!({"tolerations": [{"operator": "Exists"}]}), taint("team", "NoExecute"), (true, true)),
        (json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule"), (true, true)),
        (json!({}), taint("node.kubernetes.io/not-ready", "NoExecute"), (true, true)),
        (json!({}), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), (false, true)),
        (
            json!({"hostNetwork": true}),
            taint("node.kubernetes.io/network-unavailable", "NoSchedule"),
            (true, true),
        ),
    ];
    for (pod, node_spec, (should_run, may_stay)) in cases {
        let mut spec = json!({"containers": []});
        spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
        let verdict = judge(
            &super::nodes::spec_of(&serde_json::from_value(spec.clone()).unwrap()),
            &node(node_spec.clone()),
        );
        assert_eq!((verdict.should_run, verdict.may_stay), (should_run, may_stay), "{spec} {node_spec}");
    }
}

#[test]
fn the_status_counts_nodes() {
    let mut world = World::new(&["a", "b", "c"], &rolling(&json!({"maxUnavailable": 1})));
    world.step();
    world.all_ready();
    world.pod("p2")["status"] = json!({"phase": "Pending"});
    world.image("v2");
    world.nodes[2]["spec"] = json!({"taints": [{"key": "team", "effect": "NoSchedule"}]});
    let reported = |world: &World, outcome: &Outcome| {
        let plan = status::report(&world.snapshot(), outcome, world.now);
        let [Action::Patch { body, .. }] = plan.actions.as_slice() else { panic!("{plan:?}") };
        body["status"].clone()
    };
    assert_eq!(
        reported(&world, &Outcome::default()),
        json!({"currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberMisscheduled": 1, "numberReady": 1,
            "numberAvailable": 1, "numberUnavailable": 1, "observedGeneration": 1})
    );
    // The name of the new revision is taken by something else: another one is tried.
    let taken = Failure {
        code: 409,
        reason: "AlreadyExists".into(),
        message: String::new(),
        namespace_terminating: false,
    };
    let outcome = Outcome { failure: Some(taken), created: 0 };
    assert_eq!(reported(&world, &outcome)["collisionCount"], 1);
}

#[test]
fn what_a_daemon_bears_for_a_while_it_bears_always() {
    let spec = |tolerations: Value| -> k8s_openapi::api::core::v1::PodSpec {
        serde_json::from_value(json!({"containers": [], "tolerations": tolerations})).unwrap()
    };
    let unreachable = |seconds: Value| {
        json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": seconds})
    };
    let others = json!({"key": "team", "operator": "Exists", "tolerationSeconds": 3, "effect": "NoExecute"});
    let tolerations =
        super::nodes::spec_of(&spec(json!([unreachable(json!(15)), others, unreachable(json!(20))])));
    let tolerations = tolerations.tolerations.unwrap();
    let seconds = |key: &str| {
        let found = tolerations.iter().filter(|toleration| toleration.key.as_deref() == Some(key));
        found.map(|toleration| toleration.toleration_seconds).collect::<Vec<_>>()
    };
    assert_eq!(seconds("node.kubernetes.io/unreachable"), [None, None]);
    assert_eq!(seconds("node.kubernetes.io/not-ready"), [None]);
    assert_eq!(seconds("team"), [Some(3)]);
}
