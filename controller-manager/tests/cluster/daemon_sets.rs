//! A DaemonSet over nodes that come, and through a roll-out and back.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::json;

use lab::Lab;

const DAEMON_SET: (&str, &str) = ("apps/v1", "DaemonSet");

/// Waits until each of these nodes has one pod, with this image, and the status says so.
async fn settled(cluster: &Lab, nodes: &[&str], image: &str) {
    cluster
        .until(async || {
            let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
            let mut placed = BTreeMap::new();
            for pod in &pods {
                let spec = pod.spec.as_ref().unwrap();
                let image = spec.containers[0].image.clone().unwrap_or_default();
                placed.entry(spec.node_name.clone().unwrap_or_default()).or_insert_with(Vec::new).push(image);
            }
            let wanted: BTreeMap<String, Vec<String>> =
                nodes.iter().map(|node| ((*node).to_owned(), vec![image.to_owned()])).collect();
            let status = cluster.api::<DaemonSet>().get("d").await.unwrap().status.unwrap_or_default();
            let count = i32::try_from(nodes.len()).unwrap();
            let done = placed == wanted
                && status.number_available == Some(count)
                && status.updated_number_scheduled == Some(count);
            if done { Ok(()) } else { Err(format!("{placed:?} {status:?}")) }
        })
        .await;
}

#[tokio::test]
async fn each_node_has_its_pod_through_roll_outs_and_back() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.node("b").await;
    cluster.hollow_kubelet("a");
    let template = |image: &str| json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
    cluster
        .create(json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": "d", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template("v1")},
        }))
        .await;
    settled(&cluster, &["a", "b"], "v1").await;
    cluster.node("c").await;
    settled(&cluster, &["a", "b", "c"], "v1").await;
    cluster.patch(DAEMON_SET, "d", json!({"spec": {"template": template("v2")}})).await;
    settled(&cluster, &["a", "b", "c"], "v2").await;
    cluster.patch(DAEMON_SET, "d", json!({"spec": {"template": template("v1")}})).await;
    settled(&cluster, &["a", "b", "c"], "v1").await;
    let revisions = cluster.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap().items;
    let mut numbers: Vec<i64> = revisions.iter().map(|revision| revision.revision).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3], "the first template came back under a new number");
}
