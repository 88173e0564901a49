//! What pods take, and which of them take too much.

use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> Pod {
    let status = |name: &str| {
        json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "containerID": format!("containerd://{name}-id"), "state": {"running": {}}})
    };
    let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec,
        "status": {"containerStatuses": [status("a"), status("b")]}});
    serde_json::from_value(pod).expect("the test's pod is well-formed")
}

fn with_limits(a: &str, b: &str) -> Value {
    let container = |name: &str, limit: &str| match limit {
        "" => json!({"name": name}),
        limit => json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}}),
    };
    json!({"containers": [container("a", a), container("b", b)]})
}

fn with_volume(source: Value) -> Value {
    json!({"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": source}]})
}

#[test]
fn only_pods_with_limits_that_the_cluster_can_do_without_are_looked_at() {
    let mut critical = with_limits("1Mi", "");
    critical["priority"] = json!(CRITICAL);
    for (spec, looked_at) in [
        (with_limits("", ""), false),
        (with_limits("", "1Mi"), true),
        (critical, false),
        (with_volume(json!({})), false),
        (with_volume(json!({"sizeLimit": "0"})), false),
        (with_volume(json!({"sizeLimit": "1Mi"})), true),
        (with_volume(json!({"sizeLimit": "1Mi", "medium": "Memory"})), false),
    ] {
        let pod = pod(spec.clone());
        assert_eq!(is_dispensable(&pod) && is_limited(&pod), looked_at, "{spec}");
    }
    let mut of_folder = pod(with_limits("1Mi", ""));
    of_folder.metadata.annotations =
        Some([(crate::labels::CONFIG_SOURCE.to_owned(), "file".to_owned())].into());
    assert!(!is_dispensable(&of_folder));
    let mut finished = pod(with_limits("1Mi", ""));
    finished.status.as_mut().expect("it has one").phase = Some("Succeeded".to_owned());
    assert!(!is_dispensable(&finished));
}

#[test]
fn what_takes_too_much_is_said_in_upstreams_words() {
    let mib = |mib: u64| mib << 20;
    let of_volume = "Usage of EmptyDir volume \"v\" exceeds the limit \"5Mi\". ";
    let of_pod = "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. ";
    let of_container = "Container a exceeded its local ephemeral storage limit \"2Mi\". ";
    for (spec, volume, a, b, expected) in [
        (with_volume(json!({"sizeLimit": "5Mi"})), mib(5), 0, 0, None),
        (with_volume(json!({"sizeLimit": "5Mi"})), mib(5) + 1, 0, 0, Some(of_volume)),
        (with_limits("2Mi", "3Mi"), mib(3), mib(2), 0, None),
        (with_limits("2Mi", "3Mi"), mib(3), mib(2), 1, Some(of_pod)),
        (with_limits("2Mi", "3Mi"), 0, mib(2) + 1, 0, Some(of_container)),
        (with_limits("5Mi", ""), 0, 0, mib(6), Some(of_pod)),
    ] {
        let usage = Usage {
            volumes: [("v".to_owned(), volume)].into(),
            containers: [("a".to_owned(), a), ("b".to_owned(), b)].into(),
            pod: volume + a + b,
        };
        assert_eq!(excess(&pod(spec.clone()), &usage).as_deref(), expected, "{spec}");
    }
}

#[test]
fn what_a_pod_takes_is_measured_on_the_disk() {
    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    let (root, logs) = (dir.path().join("root"), dir.path().join("logs"));
    let kib = |count: usize| vec![1; count << 10];
    let volumes = root.join("pods/u/volumes");
    for (folder, file, size) in [
        (volumes.join("kubernetes.io~empty-dir/v/deep"), "f", 64),
        (volumes.join("kubernetes.io~configmap/m"), "f", 8),
        (logs.join("d_p_u/a"), "0.log", 4),
    ] {
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join(file), kib(size)))
            .expect("there is room");
    }
    let volume = volumes.join("kubernetes.io~empty-dir/v");
    std::fs::hard_link(volume.join("deep/f"), volume.join("g")).expect("there is room");
    std::os::unix::fs::symlink("/", volume.join("out")).expect("there is room");
    let mut spec = with_limits("", "");
    spec["volumes"] = json!([{"name": "v", "emptyDir": {}}, {"name": "m", "configMap": {"name": "m"}},
        {"name": "gone", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]);
    let layers = HashMap::from([("a-id".to_owned(), 1000), ("other".to_owned(), 7)]);
    let usage = usage(&root, &logs, &pod(spec), &layers).expect("it can be read");
    // Folders take something, too.
    let in_volume = usage.volumes["v"];
    assert!((64 << 10..128 << 10).contains(&in_volume), "{in_volume}");
    assert_eq!((usage.volumes["gone"], usage.volumes.get("memory")), (0, None));
    assert_eq!((usage.containers["a"], usage.containers["b"]), (1000 + (4 << 10), 0));
    assert!(usage.pod > in_volume + usage.containers["a"] + (8 << 10) - 1, "{}", usage.pod);
}
