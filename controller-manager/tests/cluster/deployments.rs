//! Roll-outs from `create` to Ready, and what a restart in the middle leaves.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use lab::{DEPLOYMENT, Lab, deployment};

async fn is_complete(cluster: &Lab, name: &str, replicas: i32) -> Result<Deployment, String> {
    let found = cluster.api::<Deployment>().get(name).await.unwrap();
    let status = found.status.clone().unwrap_or_default();
    let complete = status.observed_generation == found.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.replicas == Some(replicas)
        && status.available_replicas == Some(replicas);
    if complete { Ok(found) } else { Err(format!("{status:?}")) }
}

async fn images(cluster: &Lab) -> BTreeSet<String> {
    let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap();
    pods.items.into_iter().filter_map(|pod| pod.spec.unwrap().containers.remove(0).image).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_rolls_out_and_is_undone() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    cluster.create(deployment("web", 4, "v1")).await;
    cluster.until(async || is_complete(&cluster, "web", 4).await).await;
    assert_eq!(images(&cluster).await, ["v1".to_owned()].into());

    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    cluster.patch(DEPLOYMENT, "web", image("v2")).await;
    let updated = cluster.until(async || is_complete(&cluster, "web", 4).await).await;
    assert_eq!(updated.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "2");
    let conditions = updated.status.unwrap().conditions.unwrap();
    let progressing = conditions.iter().find(|condition| condition.type_ == "Progressing").unwrap();
    assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetAvailable"));

    cluster.patch(DEPLOYMENT, "web", image("v1")).await;
    let undone = cluster.until(async || is_complete(&cluster, "web", 4).await).await;
    assert_eq!(undone.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "3");
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(sets.len(), 2, "the first set has come back");
    cluster
        .until(async || {
            let said = cluster.events("ScalingReplicaSet").await;
            let first = said
                .iter()
                .any(|text| text.starts_with("Scaled up replica set web-") && text.ends_with(" from 0 to 4"));
            if first { Ok(()) } else { Err(format!("{said:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_update_keeps_the_old_pods() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    let mut web = deployment("web", 3, "v1");
    web["spec"]["progressDeadlineSeconds"] = json!(1);
    cluster.create(web).await;
    cluster.until(async || is_complete(&cluster, "web", 3).await).await;
    let broken = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "broken"}]}}}});
    cluster.patch(DEPLOYMENT, "web", broken).await;
    // The deadline may pass before the first new pod is there, too.
    cluster
        .until(async || {
            let found = cluster.api::<Deployment>().get("web").await.unwrap().status.unwrap();
            let conditions = found.conditions.clone().unwrap_or_default();
            let late = |reason: &Option<String>| reason.as_deref() == Some("ProgressDeadlineExceeded");
            let is_late = conditions.iter().any(|condition| late(&condition.reason));
            match (is_late, found.available_replicas, found.updated_replicas) {
                (true, Some(3), Some(1)) => Ok(()),
                _ => Err(format!("{found:?}")),
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_and_a_relabelled_pod_are_replaced() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    cluster.create(deployment("web", 2, "v1")).await;
    cluster.until(async || is_complete(&cluster, "web", 2).await).await;
    let pods = cluster.api::<Pod>();
    let before: Vec<Pod> = pods.list(&ListParams::default()).await.unwrap().items;
    let name = |index: usize| before[index].metadata.name.clone().unwrap();
    pods.delete(&name(0), &DeleteParams::default()).await.unwrap();
    cluster.patch(("v1", "Pod"), &name(1), json!({"metadata": {"labels": {"app": "apart"}}})).await;
    cluster
        .until(async || {
            let web = pods.list(&ListParams::default().labels("app=web")).await.unwrap().items;
            let apart = pods.get(&name(1)).await.unwrap();
            let fresh = web
                .iter()
                .filter(|pod| !before.iter().any(|old| old.metadata.uid == pod.metadata.uid))
                .count();
            let free = apart.metadata.owner_references.unwrap_or_default().is_empty();
            if fresh == 2 && web.len() == 2 && free {
                Ok(())
            } else {
                Err(format!("{fresh} fresh, free: {free}"))
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_created_twice_when_controllers_change_in_the_middle() {
    const COUNT: usize = 300;
    let cluster = Lab::bare().await;
    let first = cluster.controllers(&[]).await;
    cluster.create(deployment("big", 300, "v1")).await;
    let pods = cluster.api::<Pod>();
    let count = async || pods.list(&ListParams::default()).await.unwrap().items.len();
    cluster.until(async || if count().await > 20 { Ok(()) } else { Err("no pods yet".to_owned()) }).await;
    first.stop().await;
    let second = cluster.controllers(&[]).await;
    cluster
        .until(async || {
            let status = cluster.api::<Deployment>().get("big").await.unwrap().status.unwrap_or_default();
            let number = count().await;
            assert!(number <= COUNT, "{number} pods");
            if status.replicas == Some(300) { Ok(()) } else { Err(format!("{number} pods, {status:?}")) }
        })
        .await;
    assert_eq!(count().await, COUNT);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_controller_keeps_its_count_too() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    let template = json!({"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}});
    let spec = json!({"replicas": 2, "selector": {"app": "rc"}, "template": template});
    let rc = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc"}, "spec": spec});
    cluster.create(rc).await;
    let controllers = cluster.api::<ReplicationController>();
    cluster
        .until(async || {
            let status = controllers.get("rc").await.unwrap().status.unwrap_or_default();
            if status.available_replicas == Some(2) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    cluster.patch(("v1", "ReplicationController"), "rc", json!({"spec": {"replicas": 1}})).await;
    let pods = cluster.api::<Pod>();
    cluster
        .until(async || match pods.list(&ListParams::default()).await.unwrap().items.len() {
            1 => Ok(()),
            other => Err(other.to_string()),
        })
        .await;
}
