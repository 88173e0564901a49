//! What the tests of the pure parts build clusters from.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::needs::Needs;

pub(crate) fn merge(base: &mut Value, patch: &Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, patch) => *base = patch.clone(),
    }
}

/// A node with room for everything, but for what is said differently.
pub(crate) fn node(name: &str, differently: &Value) -> Node {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut node, differently);
    serde_json::from_value(node).unwrap()
}

/// A pod, which is its name and uid, but for what is said differently.
pub(crate) fn pod(name: &str, differently: &Value) -> Arc<Needs> {
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut pod, differently);
    let pod: Pod = serde_json::from_value(pod).unwrap();
    Arc::new(Needs::of(&pod))
}

/// Nodes `zone/name`, and pods on them by the node's name.
pub(crate) fn cluster(nodes: &[&str], pods: &[(&str, Arc<Needs>)]) -> Cluster {
    let mut cluster = Cluster::default();
    for place in nodes {
        let (zone, name) = place.split_once('/').unwrap();
        let labels = if zone.is_empty() { json!({}) } else { json!({"zone": zone}) };
        cluster.set_node(&node(name, &json!({"metadata": {"labels": labels}})));
    }
    for (node, pod) in pods {
        cluster.confirm(&pod.uid, node, pod);
    }
    cluster
}

/// What is said of each node, nothing where the pod fits.
pub(crate) fn judged(cluster: &Cluster, pod: &Needs) -> Vec<(String, String)> {
    let plugins = crate::plugins::Plugins::prepare(cluster, pod).unwrap();
    let said = |node| plugins.check(node).err().map_or(String::new(), |no| no.reasons.join(", "));
    cluster.nodes().map(|node| (node.name.clone(), said(node))).collect()
}

/// The names of the nodes on which a pod fits.
pub(crate) fn fitting(cluster: &Cluster, pod: &Needs) -> Vec<String> {
    let judged = judged(cluster, pod).into_iter();
    judged.filter(|(_, said)| said.is_empty()).map(|(node, _)| node).collect()
}

/// The scores of all nodes.
pub(crate) fn scores(cluster: &Cluster, pod: &Needs) -> Vec<i64> {
    let nodes: Vec<_> = cluster.nodes().collect();
    crate::plugins::Plugins::prepare(cluster, pod).unwrap().score(&nodes)
}
