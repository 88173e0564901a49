#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::{
    builtin::testing::made,
    kind::{Rules, Typed},
};

fn defaulted(spec: Value) -> Value {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    Typed::<Pod>::RULES.default(pod).unwrap()
}

#[test]
fn a_small_pod_gets_its_defaults() {
    let pod = defaulted(json!({"containers": [{"name": "web", "image": "registry/web:2"}]}));
    assert_eq!(
        pod["spec"],
        json!({
            "containers": [{
                "name": "web", "image": "registry/web:2", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
}

#[test]
fn what_is_off_by_default_is_taken_away() {
    let spec = json!({"containers": [{"name": "c", "image": "i:1", "lifecycle": {"stopSignal": "SIGUSR1"}}],
        "schedulingGroup": {"podGroupName": "g"}, "volumes": [{"name": "v", "projected": {"sources": [
            {"podCertificate": {"signerName": "s", "keyType": "ED25519", "keyPath": "k"}}]}}]});
    let spec = &defaulted(spec)["spec"];
    assert_eq!((&spec["containers"][0]["lifecycle"], &spec["schedulingGroup"]), (&Value::Null, &Value::Null));
    assert_eq!(spec["volumes"][0]["projected"]["sources"], json!([{}]));
}

#[test]
fn limits_become_requests_and_quantities_canonical() {
    let pod = defaulted(json!({"containers": [{"name": "c", "image": "i:1",
            "resources": {"limits": {"cpu": "2000m", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}}}]}));
    assert_eq!(
        pod["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}})
    );
}

#[test]
fn host_network_opens_host_ports() {
    let pod = defaulted(json!({"hostNetwork": true,
            "containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}]}]}));
    assert_eq!(
        pod["spec"]["containers"][0]["ports"],
        json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}])
    );
}

#[test]
fn a_volume_without_a_source_is_an_empty_folder() {
    let pod = defaulted(json!({"containers": [], "volumes": [{"name": "v"}]}));
    assert_eq!(pod["spec"]["volumes"], json!([{"name": "v", "emptyDir": {}}]));
}

#[test]
fn what_a_pod_as_a_whole_does_not_say_follows_from_its_containers() {
    let own = |requests: Value| json!({"containers": [{"name": "c", "image": "i:1", "resources": requests}]});
    for (whole, own, expected) in [
        (
            json!({"limits": {"cpu": "2", "memory": "1Gi"}}),
            own(json!({"requests": {"cpu": "500m", "example.com/dongle": "1"}})),
            json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}),
        ),
        (
            json!({"requests": {"cpu": "2"}}),
            own(json!({"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi"}})),
            json!({"limits": {"hugepages-2Mi": "4Mi"}, "requests": {"cpu": "2", "hugepages-2Mi": "4Mi", "memory": "1Gi"}}),
        ),
        (json!({"requests": {"cpu": "2"}}), own(json!({})), json!({"requests": {"cpu": "2"}})),
        (json!({}), own(json!({"limits": {"cpu": "2"}})), json!({})),
    ] {
        let mut spec = own;
        spec["resources"] = whole;
        assert_eq!(defaulted(spec.clone())["spec"]["resources"], expected, "{spec}");
    }
}

#[test]
fn a_status_does_not_forget_what_generation_it_is_of() {
    let pod =
        |status: Value| json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status});
    let condition = |kind: &str, generation: Option<i64>| {
        let mut condition = json!({"type": kind, "status": "True"});
        if let Some(generation) = generation {
            condition["observedGeneration"] = generation.into();
        }
        condition
    };
    let old = pod(json!({"observedGeneration": 2, "conditions": [
            condition("A", Some(2)), condition("B", None), condition("A", Some(1))]}));
    let mut new = pod(json!({"conditions": [
            condition("A", None), condition("A", Some(0)), condition("A", None), condition("B", Some(2)), condition("C", None)]}));
    Typed::<Pod>::RULES.prepare_update(&mut new, &old, Part::Status);
    assert_eq!(new["status"]["observedGeneration"], 2);
    let kept: Vec<&Value> =
        new["status"]["conditions"].as_array().unwrap().iter().map(|c| &c["observedGeneration"]).collect();
    assert_eq!(json!(kept), json!([2, 1, null, 2, null]));
}

#[test]
fn grace_ends_at_once_where_nothing_runs() {
    let pod = |node: &str, phase: &str| json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}});
    for (pod, requested, expected) in [
        (pod("n", "Running"), None, 30),
        (pod("n", "Running"), Some(5), 5),
        (pod("n", "Running"), Some(0), 0),
        (pod("n", "Running"), Some(-7), 1),
        (pod("", "Pending"), Some(5), 0),
        (pod("n", "Succeeded"), None, 0),
    ] {
        assert_eq!(Pod::grace_period(&pod, requested), Some(expected), "{pod} {requested:?}");
    }
}

#[test]
fn the_class_follows_from_the_spec_unless_it_is_given() {
    let class = |status: Value| {
        let containers = json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]);
        let pod = made::<Pod>(
            json!({"metadata": {"name": "p"}, "spec": {"containers": containers}, "status": status}),
        );
        pod["status"].clone()
    };
    assert_eq!(class(json!({"phase": "Running"})), json!({"phase": "Pending", "qosClass": "Burstable"}));
    assert_eq!(
        class(json!({"qosClass": "BestEffort"})),
        json!({"phase": "Pending", "qosClass": "BestEffort"})
    );
}

#[test]
fn a_gated_pod_says_since_when_it_waits() {
    let pod = |gates: Value| {
        made::<Pod>(json!({
            "metadata": {"name": "p", "creationTimestamp": "2024-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "c", "image": "i"}], "schedulingGates": gates},
        }))
    };
    let waiting = pod(json!([{"name": "g"}]));
    let condition = &waiting["status"]["conditions"][0];
    assert_eq!(condition["reason"], "SchedulingGated");
    assert_eq!(condition["lastTransitionTime"], "2024-01-01T00:00:00Z");
    assert_eq!(pod(json!([]))["status"].get("conditions"), None);
}
