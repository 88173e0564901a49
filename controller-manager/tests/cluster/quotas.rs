//! Quotas say what is used, whatever comes and goes.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use lab::Lab;

fn quota(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec})
}

async fn until_used(cluster: &Lab, hard: Value, used: Value) {
    let quotas = cluster.api::<ResourceQuota>();
    let expected = json!({"hard": hard, "used": used});
    cluster
        .until(async || {
            let status = json!(quotas.get("q").await.unwrap().status);
            if status == expected { Ok(()) } else { Err(format!("{status}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_is_true_when_objects_go_and_when_the_quota_changes() {
    let cluster = Lab::start().await;
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "100m"}}}]}})
    };
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    cluster.create(pod("before")).await;
    let hard = json!({"pods": "3", "cpu": "1", "configmaps": "5", "count/configmaps": "5", "services": "2",
        "services.nodeports": "1", "count/deployments.apps": "2", "count/ships.example.org": "1"});
    cluster.create(quota(json!({"hard": hard}))).await;
    let used = |pods: u32, maps: u32, services: u32, ports: u32| {
        json!({"pods": pods.to_string(), "cpu": if pods == 0 { "0".to_owned() } else { format!("{pods}00m") },
            "configmaps": maps.to_string(), "count/configmaps": maps.to_string(), "services": services.to_string(),
            "services.nodeports": ports.to_string(), "count/deployments.apps": "0"})
    };
    // The one map holds the cluster's root certificate, the one service is `kubernetes`.
    until_used(&cluster, hard.clone(), used(1, 1, 1, 0)).await;

    cluster.create(map("m")).await;
    cluster.create(pod("p")).await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"type": "NodePort", "ports": [{"port": 80}]}}))
        .await;
    until_used(&cluster, hard.clone(), used(2, 2, 2, 1)).await;

    let patch = |value: Value| (PatchParams::default(), Patch::Merge(value));
    let (params, change) = patch(json!({"spec": {"type": "ClusterIP"}}));
    cluster.api::<Service>().patch("s", &params, &change).await.unwrap();
    cluster.api::<ConfigMap>().delete("m", &DeleteParams::default()).await.unwrap();
    let (params, change) = patch(json!({"status": {"phase": "Failed"}}));
    cluster.api::<Pod>().patch_status("before", &params, &change).await.unwrap();
    until_used(&cluster, hard.clone(), used(1, 1, 2, 0)).await;

    // Smaller than what there is: it shows, and nothing is disturbed.
    let mut smaller: Value =
        hard.as_object().unwrap().keys().map(|name| (name.clone(), Value::Null)).collect();
    smaller["pods"] = json!("0");
    smaller["count/pods"] = json!("9");
    let (params, change) = patch(json!({"spec": {"hard": smaller}}));
    cluster.api::<ResourceQuota>().patch("q", &params, &change).await.unwrap();
    until_used(&cluster, json!({"pods": "0", "count/pods": "9"}), json!({"pods": "1", "count/pods": "2"}))
        .await;
    assert!(cluster.api::<Pod>().get("p").await.unwrap().metadata.deletion_timestamp.is_none());
}
