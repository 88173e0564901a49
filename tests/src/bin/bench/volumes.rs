//! Volumes and claims in great numbers: what binding them takes, without any node.

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::report;
use crate::watcher::time;

const PAIRS: usize = 5_000;
const LABEL: &str = "bench=binder";
/// Requests under way at once.
const SIDE_BY_SIDE: usize = 32;

/// Claims for which there are volumes: from the first until all are bound.
pub async fn bind_many(client: &Client) {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
    let volume = |number: usize| {
        let capacity = json!({"storage": format!("{}Gi", 1 + number % 10)});
        serde_json::from_value(json!({
            "metadata": {"name": format!("bench-{number}"), "labels": {"bench": "binder"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": capacity, "storageClassName": "bench",
                "hostPath": {"path": "/tmp/bench"},
            },
        }))
        .expect("a volume")
    };
    let claim = |number: usize| {
        let requests = json!({"storage": format!("{}Gi", 1 + number % 10)});
        serde_json::from_value(json!({
            "metadata": {"name": format!("bench-{number}"), "labels": {"bench": "binder"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "bench", "resources": {"requests": requests},
            },
        }))
        .expect("a claim")
    };
    let params = PostParams::default();
    let make_volumes = || async {
        let create = |number| {
            let (volumes, volume, params) = (&volumes, volume(number), &params);
            async move { volumes.create(params, &volume).await.map(drop).expect("a volume can be created") }
        };
        stream::iter(0..PAIRS).map(create).buffer_unordered(SIDE_BY_SIDE).collect::<()>().await;
    };
    let is_available = |volume: &PersistentVolume| {
        volume.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Available"))
    };
    let took =
        time(&volumes, LABEL, make_volumes, |all| all.len() == PAIRS && all.values().all(is_available)).await;
    report(&format!("{PAIRS} volumes until all are Available"), vec![took]);

    let make_claims = || async {
        let create = |number| {
            let (claims, claim, params) = (&claims, claim(number), &params);
            async move { claims.create(params, &claim).await.map(drop).expect("a claim can be created") }
        };
        stream::iter(0..PAIRS).map(create).buffer_unordered(SIDE_BY_SIDE).collect::<()>().await;
    };
    let is_bound = |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Bound"))
    };
    let took =
        time(&claims, LABEL, make_claims, |all| all.len() == PAIRS && all.values().all(is_bound)).await;
    report(&format!("{PAIRS} claims until each has one of {PAIRS} volumes"), vec![took]);

    let which = ListParams::default().labels(LABEL);
    let all = DeleteParams::default();
    claims.delete_collection(&all, &which).await.map(drop).expect("claims can be deleted");
    volumes.delete_collection(&all, &which).await.map(drop).expect("volumes can be deleted");
}
