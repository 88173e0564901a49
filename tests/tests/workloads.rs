//! A pod on each node, and pods with names of their own, as kubectl shows and rolls them.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;

use e2e::{Cluster, eventually, http_go};
use serde_json::Value;

const DAEMON_SET: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: agent, image: 'http-go:v1'}
";

const STATEFUL_SET: &str = "
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: db, image: 'http-go:v1'}
";

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The pods of an app that are not on their way out.
fn pods(cluster: &Cluster, app: &str) -> Vec<Value> {
    let mut pods = cluster.items(&format!("get pods -l app={app}"));
    pods.retain(|pod| pod["metadata"].get("deletionTimestamp").is_none());
    pods
}

/// How many pods of an app are ready and not on their way out.
fn ready(cluster: &Cluster, app: &str) -> usize {
    let ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .filter(|condition| condition["type"] == "Ready")
            .any(|condition| condition["status"] == "True")
    };
    pods(cluster, app).iter().filter(ready).count()
}

#[test]
fn each_node_has_one_and_each_name_its_place() {
    let cluster = Cluster::up("work", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0), http_go("http-go:v2", "v2", 0)]);

    cluster.apply(DAEMON_SET);
    let done = cluster.kubectl("rollout status daemonset/agent --timeout=60s").ok();
    assert!(done.contains("daemon set \"agent\" successfully rolled out"), "{done}");
    let nodes: BTreeSet<String> =
        pods(&cluster, "agent").iter().map(|pod| text(pod, "/spec/nodeName").to_owned()).collect();
    assert_eq!(nodes, [cluster.node(1), cluster.node(2)].into());
    let shown = cluster.kubectl("get daemonset agent --no-headers").ok();
    let columns: Vec<&str> = shown.split_whitespace().take(7).collect();
    assert_eq!(columns, ["agent", "2", "2", "2", "2", "2", "<none>"]);

    cluster.kubectl("set image daemonset/agent agent=http-go:v2").ok();
    cluster.kubectl("rollout status daemonset/agent --timeout=60s").ok();
    let of = |image: &str| {
        pods(&cluster, "agent").iter().all(|pod| text(pod, "/spec/containers/0/image") == image)
    };
    assert!(of("http-go:v2"));
    let history = cluster.kubectl("rollout history daemonset/agent").ok();
    assert!(history.contains('1') && history.contains('2'), "{history}");
    cluster.kubectl("rollout undo daemonset/agent").ok();
    cluster.kubectl("rollout status daemonset/agent --timeout=60s").ok();
    assert!(of("http-go:v1"));

    // A node that may not have one loses it, and gets it back.
    let second = cluster.node(2);
    let until_ready = |wanted: usize| {
        eventually("each node that may have a daemon has one", 60, || match ready(&cluster, "agent") {
            count if count == wanted => Ok(()),
            count => Err(format!("{count} pods are ready")),
        });
    };
    cluster.kubectl(&format!("taint node {second} team=a:NoExecute")).ok();
    until_ready(1);
    cluster.kubectl(&format!("taint node {second} team-")).ok();
    until_ready(2);

    cluster.apply(STATEFUL_SET);
    cluster.kubectl("rollout status statefulset/db --timeout=60s").ok();
    let names = || {
        let mut names: Vec<String> =
            pods(&cluster, "db").iter().map(|pod| text(pod, "/metadata/name").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["db-0", "db-1", "db-2"]);
    assert_eq!(cluster.kubectl("exec db-1 -- /http-go get 127.0.0.1:8080").ok(), "Welcome! v1\ndb-1\n");
    // `rollout status` may read the status of before: what waits here is told by the pods.
    cluster.kubectl("delete pod db-1").ok();
    eventually("the place is filled again", 60, || match ready(&cluster, "db") {
        3 => Ok(()),
        count => Err(format!("{count} pods are ready")),
    });
    assert_eq!(names(), ["db-0", "db-1", "db-2"]);

    // Down to the partition, and no further.
    let partition = r#"{"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}"#;
    cluster.kubectl_words(&["patch", "statefulset", "db", "-p", partition]).ok();
    cluster.kubectl("set image statefulset/db db=http-go:v2").ok();
    cluster.kubectl("rollout status statefulset/db --timeout=60s").ok();
    let images: Vec<String> = names()
        .iter()
        .map(|name| text(&cluster.json(&format!("get pod {name}")), "/spec/containers/0/image").to_owned())
        .collect();
    assert_eq!(images, ["http-go:v1", "http-go:v1", "http-go:v2"]);
    cluster.kubectl("scale statefulset db --replicas=1").ok();
    eventually("the highest are gone", 30, || match names() {
        names if names == ["db-0"] => Ok(()),
        names => Err(format!("{names:?}")),
    });
    let revisions = cluster.kubectl("get controllerrevisions --no-headers").ok();
    assert_eq!(revisions.lines().count(), 4, "{revisions}");
}
