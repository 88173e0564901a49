use serde_json::{Value, json};

use crate::{
    builtin::{
        pod::Pod,
        testing::{changed_in, made},
    },
    kind::Part,
};

/// A pod with a container, a sidecar and an init container.
fn pod(resources: &Value) -> Value {
    let container = |name: &str| json!({"name": name, "image": "i", "resources": resources[name]});
    let mut sidecar = container("side");
    sidecar["restartPolicy"] = "Always".into();
    let mut web = container("web");
    web["resizePolicy"] = resources["policy"].clone();
    let spec =
        json!({"initContainers": [container("init"), sidecar], "containers": [web], "os": resources["os"]});
    made::<Pod>(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))
}

fn resized(new: &Value, old: &Value) -> Vec<String> {
    changed_in::<Pod>(Part::Other("resize"), new, old)
}

#[test]
fn a_resize_changes_cpu_and_memory_and_removes_nothing() {
    let asked = |cpu: &str| json!({"requests": {"cpu": cpu, "ephemeral-storage": "1Gi"}});
    let old = json!({"web": asked("1"), "side": asked("1"), "init": asked("1")});
    for (change, expected) in [
        (json!({"web": asked("2"), "side": asked("2")}), vec![]),
        (json!({"web": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}}}), vec![]),
        (
            json!({"web": {"requests": {"cpu": null}}}),
            vec!["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            json!({"side": {"requests": {"cpu": null}}}),
            vec!["spec.initContainers[1].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        (
            json!({"web": {"requests": {"ephemeral-storage": "2Gi"}}}),
            vec!["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            json!({"side": {"requests": {"ephemeral-storage": "2Gi"}}}),
            vec!["spec: Forbidden: only cpu and memory resources for sidecar containers are mutable"],
        ),
        (
            json!({"init": asked("2")}),
            vec!["spec: Forbidden: resources for non-sidecar init containers are immutable"],
        ),
        (
            json!({"policy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}),
            vec!["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
    ] {
        let mut new = old.clone();
        json_patch::merge(&mut new, &change);
        assert_eq!(resized(&pod(&new), &pod(&old)), expected, "{change}");
    }
    let limited = json!({"web": {"limits": {"cpu": "1"}}});
    assert_eq!(
        resized(&pod(&json!({"web": {"requests": {"cpu": "1"}}})), &pod(&limited)),
        ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"]
    );
}

#[test]
fn a_resize_keeps_the_quality_of_service() {
    let old = pod(&json!({"web": {"requests": {"cpu": "1"}}}));
    assert_eq!(
        resized(&pod(&json!({})), &old),
        [
            "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
            "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
        ]
    );
}

#[test]
fn some_pods_are_not_resized() {
    let (old, new) = (json!({"web": {"requests": {"cpu": "1"}}}), json!({"web": {"requests": {"cpu": "2"}}}));
    let mut mirror = pod(&old);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    assert_eq!(resized(&pod(&new), &mirror), ["[]: Forbidden: static pods cannot be resized"]);
    let mut windows = pod(&old);
    windows["spec"]["os"] = json!({"name": "windows"});
    assert_eq!(resized(&pod(&new), &windows), ["[]: Forbidden: windows pods cannot be resized"]);
    let mut running = pod(&old);
    let status = json!({"name": "web", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}});
    running["status"]["containerStatuses"] = json!([status]);
    assert_eq!(
        resized(&pod(&new), &running),
        ["spec: Forbidden: Pod running on node without support for resize"]
    );
    running["status"]["containerStatuses"][0]["resources"] = json!({});
    assert_eq!(resized(&pod(&new), &running), Vec::<String>::new());
}

#[test]
fn a_resize_neither_adds_nor_moves_containers() {
    let container = |name: &str| json!({"name": name, "image": "i", "resources": {"requests": {"cpu": "1"}}});
    let with = |containers: Value, inits: Value| {
        let spec = json!({"containers": containers, "initContainers": inits});
        made::<Pod>(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))
    };
    let old = with(json!([container("a"), container("b")]), json!([container("i")]));
    let moved = "containers may not be renamed or reordered on resize";
    for (new, expected) in [
        (
            with(json!([container("b"), container("a")]), json!([container("i")])),
            vec![
                format!("spec.containers[0].name: Forbidden: {moved}"),
                format!("spec.containers[1].name: Forbidden: {moved}"),
            ],
        ),
        (
            with(json!([container("a"), container("c")]), json!([container("i")])),
            vec![format!("spec.containers[1].name: Forbidden: {moved}")],
        ),
        (
            with(json!([container("a")]), json!([])),
            vec![
                "spec.containers: Forbidden: containers may not be added or removed on resize".to_owned(),
                "spec.initContainers: Forbidden: initContainers may not be added or removed on resize"
                    .to_owned(),
            ],
        ),
    ] {
        assert_eq!(resized(&new, &old), expected);
    }
}
