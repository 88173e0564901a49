//! A kubelet falls silent: its node is NotReady, its pods move; it comes back and cleans up.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, eventually, http_go};
use nix::sys::signal::Signal;

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers:
      - {name: web, image: 'http-go:v1'}
";

fn ready(cluster: &Cluster, node: &str) -> String {
    let node = cluster.json(&format!("get node {node}"));
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    ready.and_then(|condition| condition["status"].as_str()).unwrap_or("?").to_owned()
}

fn running_on(cluster: &Cluster, node: &str) -> usize {
    let pods = cluster.items(&format!("get pods -l app=web --field-selector spec.nodeName={node}"));
    let alive = |pod: &&serde_json::Value| {
        pod["status"]["phase"] == "Running" && pod["metadata"].get("deletionTimestamp").is_none()
    };
    pods.iter().filter(alive).count()
}

/// The processes of the test's program on a node.
fn programs_on(cluster: &Cluster, number: u8) -> usize {
    let node = cluster.description().node(number - 1);
    let group = format!("{}/", node.cgroup);
    let members = skiff::processes::of(&cluster.description()).unwrap();
    let ours = |pid: i32| {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups.contains(&group)
            && skiff::processes::command_line(pid).first().is_some_and(|program| program == "/http-go")
    };
    members.iter().filter(|process| ours(process.pid)).count()
}

#[test]
fn pods_leave_a_silent_node() {
    let cluster = Cluster::up("lost", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    cluster.apply(MANIFEST);
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let (first, second) = (cluster.node(1), cluster.node(2));
    assert_eq!((running_on(&cluster, &first), running_on(&cluster, &second)), (2, 2));
    assert_eq!(programs_on(&cluster, 2), 2);

    cluster.signal(&format!("{second}/kubelet"), Signal::SIGSTOP);
    eventually("the silent node is noticed", 90, || match ready(&cluster, &second).as_str() {
        "Unknown" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert!(cluster.kubectl("get nodes").ok().contains("NotReady"));
    eventually("the pods move", 30, || match running_on(&cluster, &first) {
        4 => Ok(()),
        other => Err(other.to_string()),
    });

    cluster.signal(&format!("{second}/kubelet"), Signal::SIGCONT);
    eventually("the node is back", 30, || match ready(&cluster, &second).as_str() {
        "True" => Ok(()),
        other => Err(other.to_owned()),
    });
    eventually("what it still ran is cleaned up", 30, || {
        match (programs_on(&cluster, 2), cluster.items("get pods -l app=web").len()) {
            (0, 4) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let taints = cluster.json(&format!("get node {second}"))["spec"].get("taints").cloned();
    eventually("its taints go", 10, || {
        match cluster.json(&format!("get node {second}"))["spec"].get("taints") {
            None => Ok(()),
            Some(_) => Err(format!("{taints:?}")),
        }
    });
    cluster.kubectl("scale deployment/web --replicas=8").ok();
    eventually("it is given pods again", 30, || match running_on(&cluster, &second) {
        4 => Ok(()),
        other => Err(other.to_string()),
    });
}
