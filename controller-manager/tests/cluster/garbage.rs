//! The three ways of deleting an owner.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use lab::{DEPLOYMENT, Lab, deployment};

async fn counts(cluster: &Lab) -> (usize, usize, usize) {
    let all = ListParams::default();
    (
        cluster.api::<Deployment>().list(&all).await.unwrap().items.len(),
        cluster.api::<ReplicaSet>().list(&all).await.unwrap().items.len(),
        cluster.api::<Pod>().list(&all).await.unwrap().items.len(),
    )
}

async fn until_counts(cluster: &Lab, expected: (usize, usize, usize)) {
    cluster
        .until(async || {
            let found = counts(cluster).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_in_the_background_or_first_or_stay() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    for params in [DeleteParams::background(), DeleteParams::foreground()] {
        cluster.create(deployment("web", 2, "v1")).await;
        until_counts(&cluster, (1, 1, 2)).await;
        cluster.delete(DEPLOYMENT, "web", &params).await;
        until_counts(&cluster, (0, 0, 0)).await;
    }
    cluster.create(deployment("web", 2, "v1")).await;
    until_counts(&cluster, (1, 1, 2)).await;
    cluster.delete(DEPLOYMENT, "web", &DeleteParams::orphan()).await;
    until_counts(&cluster, (0, 1, 2)).await;
    let set = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items.remove(0);
    assert_eq!(set.metadata.owner_references.unwrap_or_default(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_owner_never_was_goes_and_one_with_another_owner_stays() {
    let cluster = Lab::start().await;
    let map = |name: &str, owners: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
    let owner = cluster.create(map("owner", json!([]))).await;
    let reference =
        |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    let real = reference("owner", owner.metadata.uid.as_deref().unwrap());
    let never = reference("never", "11111111-2222-3333-4444-555555555555");
    let stale = reference("owner", "99999999-2222-3333-4444-555555555555");
    cluster.create(map("lost", json!([never]))).await;
    cluster.create(map("stale", json!([stale]))).await;
    cluster.create(map("half", json!([never, real]))).await;
    let maps = cluster.api::<ConfigMap>();
    cluster
        .until(async || {
            let found = maps.list(&ListParams::default()).await.unwrap().items;
            let names: Vec<&str> = found.iter().filter_map(|map| map.metadata.name.as_deref()).collect();
            let half = maps.get("half").await.unwrap().metadata.owner_references.unwrap_or_default();
            if names == ["half", "kube-root-ca.crt", "owner"] && half.len() == 1 {
                Ok(())
            } else {
                Err(format!("{names:?} {half:?}"))
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_kind_that_has_just_come_is_collected_at_once() {
    let cluster = Lab::start().await;
    // The collector knows the kinds of the beginning.
    cluster.create(deployment("web", 0, "v1")).await;
    cluster.delete(DEPLOYMENT, "web", &DeleteParams::foreground()).await;
    until_counts(&cluster, (0, 0, 0)).await;
    let versions = json!([{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ships.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "versions": versions, "names": {"plural": "ships", "kind": "Ship"}}});
    let definitions = kube::Api::<CustomResourceDefinition>::all(cluster.client.clone());
    definitions.create(&Default::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let ship = json!({"apiVersion": "example.org/v1", "kind": "Ship", "metadata": {"name": "s", "namespace": "default"}});
    cluster
        .until(async || {
            let found =
                cluster.client.request_text(http::Request::get("/apis/example.org/v1").body(vec![]).unwrap());
            found.await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    let ship = cluster.create(ship).await;
    let owner =
        json!({"apiVersion": "example.org/v1", "kind": "Ship", "name": "s", "uid": ship.metadata.uid});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cargo", "ownerReferences": [owner]}});
    cluster.create(map).await;
    let started = std::time::Instant::now();
    cluster.delete(("example.org/v1", "Ship"), "s", &DeleteParams::background()).await;
    let maps = cluster.api::<ConfigMap>();
    cluster
        .until(async || match maps.get_opt("cargo").await.unwrap() {
            None => Ok(()),
            Some(map) => Err(format!("{:?}", map.metadata)),
        })
        .await;
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "it took {:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_of_each_other_go_together() {
    let cluster = Lab::start().await;
    let map = |name: &str, owners: serde_json::Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}});
    let owned_by = |name: &str, uid: &str| json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true}]);
    let one = cluster.create(map("one", json!([]))).await;
    let other = cluster.create(map("other", owned_by("one", one.metadata.uid.as_deref().unwrap()))).await;
    let maps = cluster.api::<ConfigMap>();
    let circle =
        json!({"metadata": {"ownerReferences": owned_by("other", other.metadata.uid.as_deref().unwrap())}});
    maps.patch("one", &Default::default(), &kube::api::Patch::Merge(circle)).await.unwrap();
    maps.delete("one", &DeleteParams::foreground()).await.unwrap();
    cluster
        .until(async || {
            let left = maps.list(&ListParams::default()).await.unwrap().items;
            let left: Vec<_> = left.into_iter().filter_map(|map| map.metadata.name).collect();
            let ours = left.iter().any(|name| name == "one" || name == "other");
            if ours { Err(format!("{left:?}")) } else { Ok(()) }
        })
        .await;
}
