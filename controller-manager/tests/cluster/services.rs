//! Endpoints and slices follow the readiness of pods.

use k8s_openapi::api::core::v1::{Endpoints, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use lab::{Lab, deployment};

/// Ready and not ready addresses by Endpoints, and by slices.
async fn counts(cluster: &Lab) -> [(usize, usize); 2] {
    let endpoints = cluster.api::<Endpoints>().get_opt("web").await.unwrap();
    let subsets = endpoints.and_then(|endpoints| endpoints.subsets).unwrap_or_default();
    let legacy = subsets.iter().fold((0, 0), |(ready, not), subset| {
        let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
        (ready + count(&subset.addresses), not + count(&subset.not_ready_addresses))
    });
    let slices = cluster.api::<EndpointSlice>();
    let slices =
        slices.list(&ListParams::default().labels("kubernetes.io/service-name=web")).await.unwrap().items;
    let all: Vec<bool> = slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .map(|endpoint| endpoint.conditions.as_ref().unwrap().ready == Some(true))
        .collect();
    let ready = all.iter().filter(|ready| **ready).count();
    [legacy, (ready, all.len() - ready)]
}

async fn until_counts(cluster: &Lab, expected: [(usize, usize); 2]) {
    cluster
        .until(async || {
            let found = counts(cluster).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
        })
        .await;
}

fn service(selector: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_follow_pods() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    cluster.create(service(json!({"app": "web"}))).await;
    cluster.create(deployment("web", 3, "v1")).await;
    until_counts(&cluster, [(3, 0), (3, 0)]).await;
    let pods = cluster.api::<Pod>();
    let name = pods.list(&ListParams::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(unready)).await.unwrap();
    until_counts(&cluster, [(2, 1), (2, 1)]).await;
    cluster.delete(("v1", "Service"), "web", &DeleteParams::background()).await;
    until_counts(&cluster, [(0, 0), (0, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_made_endpoints_reach_those_who_read_slices() {
    let cluster = Lab::start().await;
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 80}]}]);
    cluster
        .create(
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets}),
        )
        .await;
    cluster.create(service(json!(null))).await;
    until_counts(&cluster, [(2, 0), (2, 0)]).await;
    cluster.delete(("v1", "Service"), "web", &DeleteParams::background()).await;
    until_counts(&cluster, [(0, 0), (0, 0)]).await;
}
