//! What a namespace has from the start, and how it ends.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use lab::{Lab, deployment};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_furnished_and_mended() {
    let cluster = Lab::start().await;
    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh"}})).await;
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "fresh");
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "fresh");
    let furnished = async || {
        let (account, map) =
            (accounts.get_opt("default").await.unwrap(), maps.get_opt("kube-root-ca.crt").await.unwrap());
        match (account, map.and_then(|map| map.data)) {
            (Some(_), Some(data)) if data["ca.crt"].contains("MIIB") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    cluster.until(furnished).await;
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    maps.patch(
        "kube-root-ca.crt",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"ca.crt": "spoilt"}})),
    )
    .await
    .unwrap();
    cluster.until(furnished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_ends_with_all_that_is_in_it() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "doomed"}})).await;
    let mut web = deployment("web", 3, "v1");
    web["metadata"]["namespace"] = json!("doomed");
    cluster.create(web).await;
    let held = json!({"name": "held", "namespace": "doomed", "finalizers": ["example.com/hold"]});
    cluster.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})).await;
    cluster.all::<Namespace>().delete("doomed", &DeleteParams::default()).await.unwrap();
    cluster
        .until(async || {
            let status = cluster.all::<Namespace>().get("doomed").await.unwrap().status.unwrap();
            let conditions = status.conditions.unwrap_or_default();
            let message = conditions.iter().find(|condition| condition.type_ == "NamespaceFinalizersRemaining").and_then(|condition| condition.message.clone());
            let expected = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
            if message.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await;
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "doomed");
    let free = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    cluster
        .until(async || match cluster.all::<Namespace>().get_opt("doomed").await.unwrap() {
            None => Ok(()),
            Some(left) => Err(format!("{:?}", left.status)),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_stays_while_another_server_does_not_tell_what_is_in_it() {
    let cluster = Lab::start().await;
    let services = ("apiregistration.k8s.io/v1", "APIService");
    cluster
        .create(json!({"apiVersion": services.0, "kind": services.1, "metadata": {"name": "v1.gone.example.com"},
            "spec": {"group": "gone.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"namespace": "default", "name": "gone"}, "insecureSkipTLSVerify": true}}))
        .await;
    cluster.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "doomed"}})).await;
    let map = json!({"name": "map", "namespace": "doomed"});
    cluster.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": map})).await;
    cluster.all::<Namespace>().delete("doomed", &DeleteParams::default()).await.unwrap();
    let said = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: \
        gone.example.com/v1: stale GroupVersion discovery: gone.example.com/v1";
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "doomed");
    cluster
        .until(async || {
            let status = cluster.all::<Namespace>().get("doomed").await.unwrap().status.unwrap();
            let conditions = status.conditions.unwrap_or_default();
            let failed =
                conditions.iter().find(|condition| condition.type_ == "NamespaceDeletionDiscoveryFailure");
            let is_said = failed
                .is_some_and(|failed| failed.status == "True" && failed.message.as_deref() == Some(said));
            let is_empty = maps.get_opt("map").await.unwrap().is_none();
            if is_said && is_empty { Ok(()) } else { Err(format!("{conditions:?}")) }
        })
        .await;
    cluster.delete(services, "v1.gone.example.com", &DeleteParams::default()).await;
    cluster
        .until(async || match cluster.all::<Namespace>().get_opt("doomed").await.unwrap() {
            None => Ok(()),
            Some(left) => Err(format!("{:?}", left.status)),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_controllers_that_are_named_run() {
    let cluster = Lab::bare().await;
    let flags = ["--controllers=garbage-collector-controller,root-ca-certificate-publisher-controller"];
    let some = cluster.controllers(&flags).await;
    cluster.create(deployment("web", 1, "v1")).await;
    let sets = Api::<ReplicaSet>::namespaced(cluster.client.clone(), "default");
    let owner = Api::<Deployment>::namespaced(cluster.client.clone(), "default");
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "default");
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "default");
    let uid = owner.get("web").await.unwrap().metadata.uid;
    let owned = json!({"name": "owned", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid}]});
    cluster.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned})).await;
    owner.delete("web", &DeleteParams::default()).await.unwrap();
    let is_so = |found: bool, what: &str| if found { Ok(()) } else { Err(what.to_owned()) };
    cluster.until(async || is_so(maps.get_opt("owned").await.unwrap().is_none(), "it is collected")).await;
    cluster
        .until(async || is_so(maps.get_opt("kube-root-ca.crt").await.unwrap().is_some(), "it is published"))
        .await;
    some.stop().await;

    // What the others would have made long ago is made when they run.
    assert!(accounts.get_opt("default").await.unwrap().is_none());
    assert_eq!(sets.list(&Default::default()).await.unwrap().items, []);
    let _all = cluster.controllers(&[]).await;
    cluster.until(async || is_so(accounts.get_opt("default").await.unwrap().is_some(), "it is made")).await;
}
