//! A big deployment on nodes that exist only in the API: what API server,
//! controllers and scheduler take, without any kubelet.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::report;
use crate::watcher::time;

const NODES: usize = 20;
const REPLICAS: usize = 1_000;
const LABEL: &str = "bench=rollout";

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

async fn fake_node(client: &Client, number: usize) {
    let name = format!("fake-{number}");
    let nodes: Api<Node> = Api::all(client.clone());
    let node = of(json!({"metadata": {"name": name, "labels": {"bench": "rollout"}}}));
    nodes.create(&PostParams::default(), &node).await.expect("a node can be created");
    let now = jiff::Timestamp::now();
    let resources = json!({"cpu": "64", "memory": "256Gi", "pods": "110"});
    let status = json!({"status": {"capacity": resources, "allocatable": resources, "conditions": [{
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake",
        "lastHeartbeatTime": now.strftime("%FT%TZ").to_string(), "lastTransitionTime": now.strftime("%FT%TZ").to_string(),
    }]}});
    let params = PatchParams::default();
    nodes.patch_status(&name, &params, &Patch::Merge(&status)).await.expect("a node's status can be set");
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = of(json!({"metadata": {"name": name}, "spec": {
        "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now.strftime("%FT%T.%6fZ").to_string()}}));
    leases.create(&PostParams::default(), &lease).await.expect("a lease can be created");
}

async fn wait_schedulable(nodes: &Api<Node>) {
    loop {
        let list = nodes.list(&ListParams::default().labels(LABEL)).await.expect("nodes can be listed");
        let tainted = |node: &Node| {
            node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty())
        };
        if !list.items.iter().any(tainted) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A Deployment of 1,000 on 20 nodes: until every pod is created and bound.
pub async fn thousand(client: &Client) {
    let nodes: Api<Node> = Api::all(client.clone());
    futures::future::join_all((0..NODES).map(|number| fake_node(client, number))).await;
    wait_schedulable(&nodes).await;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let deployment: Deployment = of(json!({
        "metadata": {"name": "big"},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"bench": "rollout"}},
            "template": {
                "metadata": {"labels": {"bench": "rollout"}},
                "spec": {
                    "nodeSelector": {"bench": "rollout"},
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "web", "image": "none"}],
                },
            },
        },
    }));
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let create = || async {
        deployments.create(&PostParams::default(), &deployment).await.expect("a deployment can be created");
    };
    let bound = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let took = time(&pods, LABEL, create, |all| all.len() == REPLICAS && all.values().all(bound)).await;
    report(&format!("a Deployment of {REPLICAS} on {NODES} nodes until all are bound"), vec![took]);

    let background = DeleteParams::background();
    deployments.delete("big", &background).await.expect("a deployment can be deleted");
    let clean_up = || async {
        let which = ListParams::default().labels(LABEL);
        nodes.delete_collection(&DeleteParams::default(), &which).await.expect("nodes can be deleted");
        pods.delete_collection(&DeleteParams::default().grace_period(0), &which)
            .await
            .expect("pods can be deleted");
    };
    let gone = time(&pods, LABEL, clean_up, |all| all.is_empty()).await;
    report("the same deleted, until no pod is left", vec![gone]);
}
