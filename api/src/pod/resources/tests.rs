#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn shown(resources: Resources<'_>) -> Value {
    resources.into_iter().map(|(name, amount)| (name.to_owned(), json!(amount.to_string()))).collect()
}

fn main(list: &str, amounts: Value) -> Value {
    json!({"name": "c", "resources": {list: amounts}})
}

fn sidecar(list: &str, amounts: Value) -> Value {
    json!({"name": "s", "restartPolicy": "Always", "resources": {list: amounts}})
}

/// What is asked for, or allowed, by containers of these amounts.
fn cases(list: &'static str) -> Vec<(&'static str, Value, Value)> {
    let one = |cpu: &str| main(list, json!({"cpu": cpu}));
    let side = |cpu: &str| sidecar(list, json!({"cpu": cpu}));
    let cpu = |amount: &str| json!({"cpu": amount});
    vec![
        ("containers add up", json!({"containers": [one("100m"), one("1")]}), cpu("1100m")),
        (
            "one init container at a time",
            json!({"containers": [one("1")], "initContainers": [one("2"), one("1500m")]}),
            cpu("2"),
        ),
        (
            "small ones do not count",
            json!({"containers": [one("1")], "initContainers": [one("500m")]}),
            cpu("1"),
        ),
        (
            "sidecars run beside the containers",
            json!({"containers": [one("1")], "initContainers": [side("200m"), side("300m")]}),
            cpu("1500m"),
        ),
        (
            "and beside the init containers after them",
            json!({"containers": [one("1")],
                "initContainers": [one("3"), side("200m"), one("2900m"), side("1")]}),
            cpu("3100m"),
        ),
        (
            "each resource by itself",
            json!({"containers": [main(list, json!({"cpu": "1", "memory": "1Gi"}))],
                "initContainers": [main(list, json!({"cpu": "2", "example.com/dongle": "1"}))]}),
            json!({"cpu": "2", "memory": "1Gi", "example.com/dongle": "1"}),
        ),
        (
            "what is said of the whole goes first",
            json!({"containers": [main(list, json!({"cpu": "1", "ephemeral-storage": "1Gi"}))],
                "resources": {list: {"cpu": "3", "hugepages-2Mi": "4Mi"}}}),
            json!({"cpu": "3", "hugepages-2Mi": "4Mi", "ephemeral-storage": "1Gi"}),
        ),
        (
            "also when it is less",
            json!({"containers": [one("2")], "resources": {list: {"cpu": "1"}}, "overhead": {"cpu": "250m"}}),
            cpu("1250m"),
        ),
    ]
}

#[test]
fn requests_and_limits_of_whole_pods() {
    for (name, spec, expected) in cases("requests") {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(shown(requests(&spec)), expected, "requests: {name}");
    }
    for (name, spec, expected) in cases("limits") {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(shown(limits(&spec)), expected, "limits: {name}");
    }
    let overhead = json!({"containers": [main("limits", json!({"cpu": "1", "memory": "0"}))],
        "overhead": {"cpu": "1", "memory": "1Mi", "example.com/dongle": "1"}});
    let spec: PodSpec = serde_json::from_value(overhead).unwrap();
    assert_eq!(shown(requests(&spec)), json!({"cpu": "1", "memory": "1Mi", "example.com/dongle": "1"}));
    assert_eq!(shown(limits(&spec)), json!({"cpu": "2", "memory": "0"}), "only what is limited anyway");
}

#[test]
fn a_limit_binds_when_it_holds_for_all() {
    let limit = |cpu: &str| main("limits", json!({"cpu": cpu}));
    let none = json!({"name": "n"});
    for (spec, expected) in [
        (json!({"containers": [limit("1"), limit("2")]}), Some("3")),
        (json!({"containers": [limit("1"), none]}), None),
        (json!({"containers": [limit("1")], "initContainers": [none]}), None),
        (
            json!({"containers": [limit("1")], "initContainers": [sidecar("limits", json!({"cpu": "1"})), none]}),
            Some("2"),
        ),
        (json!({"containers": [limit("1"), none], "resources": {"limits": {"cpu": "4"}}}), Some("4")),
        (json!({"containers": [limit("1")], "overhead": {"cpu": "500m"}}), Some("1500m")),
        (json!({"containers": [none]}), None),
    ] {
        let parsed: PodSpec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(bound(&parsed, "cpu").map(|limit| limit.to_string()).as_deref(), expected, "{spec}");
    }
}

/// A pod that asks for 2 cpus (and a sidecar for 1), with what its status says of them.
fn resizing(container: Value, sidecar_has: Value, condition: Value, whole: Value, of_whole: Value) -> String {
    let status = |name: &str, more: &Value| {
        let mut status = json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    };
    let mut pod = json!({
        "spec": {"containers": [main("requests", json!({"cpu": "2"}))], "resources": whole,
            "initContainers": [sidecar("requests", json!({"cpu": "1"}))]},
        "status": {"containerStatuses": [status("c", &container)],
            "initContainerStatuses": [status("s", &sidecar_has)], "conditions": condition},
    });
    pod["status"].as_object_mut().unwrap().extend(of_whole.as_object().unwrap().clone());
    let pod: Pod = serde_json::from_value(pod).unwrap();
    requests_held(&pod)["cpu"].to_string()
}

#[test]
fn what_is_being_resized_holds_the_most_of_what_it_has_and_wants() {
    let has = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
    let promised = json!({"resources": {"requests": {"cpu": "1"}}, "allocatedResources": {"cpu": "4"}});
    let pending = |reason: &str| json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
    let (nothing, never) = (json!({}), pending("Infeasible"));
    for (expected, container, sidecar, condition) in [
        ("3", nothing.clone(), nothing.clone(), json!([])),
        ("3", has("1"), nothing.clone(), json!([])),
        ("4", has("3"), nothing.clone(), json!([])),
        ("5", promised.clone(), nothing.clone(), json!([])),
        ("6", promised, has("2"), json!([])),
        ("3", has("1"), nothing.clone(), pending("Deferred")),
        ("2", has("1"), nothing.clone(), never.clone()),
        ("3", nothing.clone(), nothing.clone(), never.clone()),
        ("3", json!({"allocatedResources": {"cpu": "4"}}), nothing.clone(), json!([])),
    ] {
        let held = resizing(container.clone(), sidecar.clone(), condition, json!(null), json!({}));
        assert_eq!(held, expected, "{container} {sidecar}");
    }
    let whole = json!({"requests": {"cpu": "8"}});
    for (expected, of_whole, condition) in [
        ("8", json!({}), json!([])),
        ("9", has("9"), json!([])),
        ("10", json!({"resources": {}, "allocatedResources": {"cpu": "10"}}), json!([])),
        ("5", has("5"), never),
    ] {
        let held = resizing(nothing.clone(), nothing.clone(), condition, whole.clone(), of_whole.clone());
        assert_eq!(held, expected, "{of_whole}");
    }
}

#[test]
fn work_grows_with_the_pod_alone() {
    let sidecars: Vec<Value> =
        (0..20_000).map(|i| sidecar("requests", json!({format!("example.com/r{i}"): "1"}))).collect();
    let spec: PodSpec =
        serde_json::from_value(json!({"containers": [], "initContainers": sidecars})).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(requests(&spec).len(), 20_000);
    assert!(begun.elapsed().as_secs() < 5, "it took {:?}", begun.elapsed());
}
