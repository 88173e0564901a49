//! A StatefulSet with claims, scaled down and up again, and rolled.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use serde_json::json;

use lab::Lab;

const STATEFUL_SET: (&str, &str) = ("apps/v1", "StatefulSet");

/// Waits until these pods are there with this image, and ready.
async fn settled(cluster: &Lab, names: &[&str], image: &str) {
    cluster
        .until(async || {
            let pods = cluster.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
            let has_image =
                |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image);
            let found: Vec<&str> = pods
                .iter()
                .filter(|pod| has_image(pod))
                .filter_map(|pod| pod.metadata.name.as_deref())
                .collect();
            let status = cluster.api::<StatefulSet>().get("web").await.unwrap().status.unwrap_or_default();
            let ready = status.ready_replicas.unwrap_or(0) == i32::try_from(names.len()).unwrap();
            if found == names && pods.len() == names.len() && ready {
                Ok(())
            } else {
                Err(format!("{found:?} {status:?}"))
            }
        })
        .await;
}

#[tokio::test]
async fn claims_outlive_pods_and_are_found_again() {
    let cluster = Lab::start().await;
    cluster.node("a").await;
    cluster.hollow_kubelet("a");
    let template = |image: &str| {
        json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image, "volumeMounts": [{"name": "www", "mountPath": "/w"}]}]}})
    };
    let claim = json!({"metadata": {"name": "www"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    cluster
        .create(json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
                "template": template("v1"), "volumeClaimTemplates": [claim]},
        }))
        .await;
    settled(&cluster, &["web-0", "web-1"], "v1").await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    let uid = claims.get("www-web-1").await.unwrap().metadata.uid;
    cluster.patch(STATEFUL_SET, "web", json!({"spec": {"replicas": 1}})).await;
    settled(&cluster, &["web-0"], "v1").await;
    cluster.patch(STATEFUL_SET, "web", json!({"spec": {"replicas": 2}})).await;
    settled(&cluster, &["web-0", "web-1"], "v1").await;
    assert_eq!(claims.get("www-web-1").await.unwrap().metadata.uid, uid);
    cluster.patch(STATEFUL_SET, "web", json!({"spec": {"template": template("v2")}})).await;
    settled(&cluster, &["web-0", "web-1"], "v2").await;
    cluster
        .until(async || {
            let status = cluster.api::<StatefulSet>().get("web").await.unwrap().status.unwrap_or_default();
            let done =
                status.current_revision == status.update_revision && status.current_replicas == Some(2);
            if done { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    let told = cluster.events("SuccessfulCreate").await;
    assert!(
        told.iter().any(|line| line == "create Claim www-web-0 Pod web-0 in StatefulSet web success"),
        "{told:?}"
    );
    assert!(told.iter().any(|line| line == "create Pod web-0 in StatefulSet web successful"), "{told:?}");
}
