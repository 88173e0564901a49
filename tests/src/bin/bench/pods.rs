//! How long pods take to start and to go.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::report;
use crate::watcher::{is_ready, time};

const LABEL: &str = "bench=pods";

fn pod(name: &str, node: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"bench": "pods"}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "web", "image": "http-go:v1"}],
        },
    }))
    .expect("a pod")
}

async fn create(api: &Api<Pod>, pod: Pod) {
    api.create(&PostParams::default(), &pod).await.expect("a pod can be created");
}

/// One pod after the other: from create to Ready, from delete to gone.
pub async fn one_by_one(client: &Client, node: &str, count: usize) {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for number in 0..count {
        let name = format!("one-{number}");
        starts.push(
            time(&api, LABEL, || create(&api, pod(&name, node)), |pods| pods.values().any(is_ready)).await,
        );
        let delete = || async {
            api.delete(&name, &DeleteParams::default()).await.expect("a pod can be deleted");
        };
        ends.push(time(&api, LABEL, delete, |pods| pods.is_empty()).await);
    }
    report("a pod from create to Ready, image on the node", starts);
    report("a pod from delete to gone, obeying SIGTERM", ends);
}

/// Many pods on one node at the same moment.
pub async fn at_once(client: &Client, node: &str, count: usize) {
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let create_all = || async {
        let creations = (0..count).map(|number| create(&api, pod(&format!("many-{number}"), node)));
        futures::future::join_all(creations).await;
    };
    let all_ready =
        |pods: &std::collections::BTreeMap<String, Pod>| pods.len() == count && pods.values().all(is_ready);
    let start = time(&api, LABEL, create_all, all_ready).await;
    report(&format!("{count} pods at once on one node until all are Ready"), vec![start]);
    let delete_all = || async {
        let which = kube::api::ListParams::default().labels(LABEL);
        api.delete_collection(&DeleteParams::default(), &which).await.expect("pods can be deleted");
    };
    let end = time(&api, LABEL, delete_all, |pods| pods.is_empty()).await;
    report(&format!("{count} pods at once deleted until all are gone"), vec![end]);
}
