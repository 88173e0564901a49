//! Pods that mind where other pods are, and pods that others have to make room for.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use e2e::{Cluster, eventually, http_go};

/// A Deployment whose pods are http servers, with something more in their spec.
fn deployment(name: &str, replicas: u32, more: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}}}, spec: {{replicas: {replicas}, \
         selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, \
         spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: c, image: 'http-go:v1'}}], {more}}}}}}}}}"
    )
}

/// How many pods of an app each node has; those without one count under the empty name.
fn spread(cluster: &Cluster, app: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in cluster.items(&format!("get pods -l app={app}")) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        *counts.entry(node).or_insert(0) += 1;
    }
    counts
}

fn wait_for_spread(cluster: &Cluster, app: &str, expected: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> =
        expected.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
    eventually(&format!("{app} is where it should be"), 60, || match spread(cluster, app) {
        found if found == expected => Ok(()),
        found => Err(format!("{found:?}")),
    });
}

#[test]
fn pods_are_placed_by_what_they_say_of_others() {
    let cluster = Cluster::up("place", 2);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    let say = |line: &str| cluster.kubectl(line).ok();
    let (first, second) = (cluster.node(1), cluster.node(2));
    let (first, second) = (first.as_str(), second.as_str());

    cluster.apply(&deployment(
        "apart",
        3,
        "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: \
         kubernetes.io/hostname, labelSelector: {matchLabels: {app: apart}}}]}}",
    ));
    wait_for_spread(&cluster, "apart", &[("", 1), (first, 1), (second, 1)]);
    eventually("it is said why one waits", 20, || {
        let events = say("get events --field-selector reason=FailedScheduling");
        let words = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.";
        if events.contains(words) { Ok(()) } else { Err(events) }
    });
    say("scale deployment apart --replicas=2");
    say("rollout status deployment/apart --timeout=60s");

    say(&format!("label node {first} disk=ssd"));
    cluster.apply(&deployment(
        "drawn",
        3,
        "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: \
         {matchExpressions: [{key: disk, operator: In, values: [ssd]}]}}]}}",
    ));
    wait_for_spread(&cluster, "drawn", &[(first, 3)]);
    say("delete deployment drawn");

    say(&format!("cordon {first}"));
    cluster.apply(&deployment(
        "even",
        2,
        "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: \
         DoNotSchedule, labelSelector: {matchLabels: {app: even}}}]",
    ));
    wait_for_spread(&cluster, "even", &[("", 1), (second, 1)]);
    say(&format!("uncordon {first}"));
    wait_for_spread(&cluster, "even", &[(first, 1), (second, 1)]);
    say("delete deployment even apart");

    // The whole of a node, of which somebody has a part.
    say("create priorityclass urgent --value=1000");
    let allocatable = say(&format!("get node {first} -o jsonpath={{.status.allocatable.cpu}}"));
    let milli = allocatable.parse::<u32>().unwrap() * 1000 * 6 / 10;
    let sized = |name: &str, class: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
             priorityClassName: {class}, nodeSelector: {{disk: ssd}}, containers: [{{name: c, \
             image: 'http-go:v1', resources: {{requests: {{cpu: {milli}m}}}}}}]}}}}"
        )
    };
    cluster.apply(&sized("lesser", "''"));
    say("wait --for=condition=Ready pod/lesser --timeout=60s");
    cluster.apply(&sized("important", "urgent"));
    say("wait --for=condition=Ready pod/important --timeout=60s");
    let lesser = cluster.items("get pods --field-selector metadata.name=lesser");
    assert!(lesser.is_empty(), "{lesser:?}");
    let events = say("get events --field-selector reason=Preempted");
    assert!(events.contains("Preempted by pod"), "{events}");
}
