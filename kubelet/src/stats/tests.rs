use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// A node of cgroup v2 with one pod that runs and one that has ended.
fn node(dir: &Path) -> (Cgroups, Vec<Arc<Pod>>) {
    let pod = |name: &str, id: &str| -> Arc<Pod> {
        let value = json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
            "spec": {"containers": [{"name": "c"}]},
            "status": {"startTime": "2026-01-02T03:04:05Z", "containerStatuses": [{"name": "c", "image": "",
                "imageID": "", "ready": true, "restartCount": 0, "containerID": format!("containerd://{id}"),
                "state": {"running": {"startedAt": "2026-01-02T03:04:06Z"}}}]},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    };
    let pods = dir.join("node/kubepods/besteffort/poduid-web");
    for (cgroup, cpu, memory) in [(&pods, 3_000_000, 9000), (&pods.join("id-1"), 2_500_000, 8000)] {
        fs::create_dir_all(cgroup).unwrap();
        fs::write(cgroup.join("cpu.stat"), format!("usage_usec {cpu}\n")).unwrap();
        fs::write(cgroup.join("memory.current"), format!("{memory}\n")).unwrap();
        fs::write(cgroup.join("memory.stat"), "anon 100\ninactive_file 1000\n").unwrap();
        fs::write(cgroup.join("memory.swap.current"), "0\n").unwrap();
        fs::write(cgroup.join("cgroup.procs"), format!("{}\n", std::process::id())).unwrap();
    }
    let logs = dir.join("logs/default_web_uid-web/c");
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join("0.log"), "12345").unwrap();
    (Cgroups::V2(dir.to_owned()), vec![pod("web", "id-1"), pod("gone", "id-2")])
}

fn read(stats: &Stats, dir: &Path, disk: Option<&Disk>) -> Summary {
    let (cgroups, pods) = node(dir);
    let logs = dir.join("logs");
    let sources = Sources {
        node: "node-1",
        cgroup_root: "/node",
        cgroups: &cgroups,
        root: dir,
        logs: &logs,
        pods: &pods,
        disk,
    };
    stats.read(&sources)
}

#[test]
fn a_summary_tells_of_what_runs() {
    let dir = tempfile::tempdir().unwrap();
    let disk =
        Disk { images: dir.path().to_owned(), used: 77, layers: HashMap::from([("id-1".to_owned(), 42)]) };
    let stats = Stats::default();
    let first = serde_json::to_value(read(&stats, dir.path(), Some(&disk))).unwrap();
    assert_eq!(first["node"]["nodeName"], "node-1");
    assert_eq!(first["node"]["runtime"]["imageFs"]["usedBytes"], 77);
    assert!(
        first["node"]["memory"]["workingSetBytes"].as_u64().is_some_and(|bytes| bytes > 0),
        "the machine's"
    );
    let pods = first["pods"].as_array().unwrap();
    assert_eq!(pods.len(), 1, "what has ended has no cgroup: {pods:?}");
    let pod = &pods[0];
    assert_eq!(pod["podRef"], json!({"name": "web", "namespace": "default", "uid": "uid-web"}));
    assert_eq!(pod["cpu"]["usageCoreNanoSeconds"], 3_000_000_000u64);
    assert_eq!(pod["memory"]["workingSetBytes"], 8000);
    assert_eq!(pod["ephemeral-storage"]["usedBytes"], 47, "log and writable layer");
    let container = &pod["containers"][0];
    assert_eq!((&container["name"], &container["startTime"]), (&json!("c"), &json!("2026-01-02T03:04:06Z")));
    assert_eq!((&container["rootfs"]["usedBytes"], &container["logs"]["usedBytes"]), (&json!(42), &json!(5)));
    assert_eq!(container["cpu"]["usageNanoCores"], Value::Null, "no rate at the first look");

    // As if the last look had been two seconds ago, and 1.5 s of processor time less.
    for (at, used) in stats.last.lock().values_mut() {
        *at -= Duration::from_secs(2);
        *used -= 1_500_000_000;
    }
    let second = read(&stats, dir.path(), None);
    let rate = second.pods[0].containers[0].compute.cpu.unwrap().usage_nano_cores.unwrap();
    assert!((700_000_000..=750_000_000).contains(&rate), "{rate}");
    assert_eq!(second.pods[0].ephemeral_storage, None, "disks were not asked for");
}

#[test]
fn the_same_as_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let mut summary = read(&Stats::default(), dir.path(), None);
    let time: Timestamp = "2026-01-02T03:05:00Z".parse().unwrap();
    summary.node.compute.memory = None;
    summary.node.compute.swap = None;
    summary.node.compute.cpu =
        Some(CpuStats { time, usage_nano_cores: None, usage_core_nano_seconds: 7_250_000_000 });
    let pod = &mut summary.pods[0];
    for cpu in [&mut pod.compute.cpu, &mut pod.containers[0].compute.cpu] {
        cpu.as_mut().unwrap().time = time;
    }
    for memory in [&mut pod.compute.memory, &mut pod.containers[0].compute.memory] {
        memory.as_mut().unwrap().time = time;
    }
    for swap in [&mut pod.compute.swap, &mut pod.containers[0].compute.swap] {
        swap.as_mut().unwrap().time = time;
    }
    insta::assert_snapshot!(render(&summary), @r#"
    # HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
    # TYPE container_cpu_usage_seconds_total counter
    container_cpu_usage_seconds_total{container="c",namespace="default",pod="web"} 2.5 1767323100000
    # HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
    # TYPE container_memory_working_set_bytes gauge
    container_memory_working_set_bytes{container="c",namespace="default",pod="web"} 7000 1767323100000
    # HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
    # TYPE container_start_time_seconds gauge
    container_start_time_seconds{container="c",namespace="default",pod="web"} 1767323046
    # HELP container_swap_usage_bytes [ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems
    # TYPE container_swap_usage_bytes gauge
    container_swap_usage_bytes{container="c",namespace="default",pod="web"} 0 1767323100000
    # HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
    # TYPE node_cpu_usage_seconds_total counter
    node_cpu_usage_seconds_total 7.25 1767323100000
    # HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds
    # TYPE pod_cpu_usage_seconds_total counter
    pod_cpu_usage_seconds_total{namespace="default",pod="web"} 3 1767323100000
    # HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes
    # TYPE pod_memory_working_set_bytes gauge
    pod_memory_working_set_bytes{namespace="default",pod="web"} 8000 1767323100000
    # HELP pod_swap_usage_bytes [ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems
    # TYPE pod_swap_usage_bytes gauge
    pod_swap_usage_bytes{namespace="default",pod="web"} 0 1767323100000
    # HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
    # TYPE resource_scrape_error gauge
    resource_scrape_error 0
    "#);
}
