//! What a namespace has from the start, and how it ends.

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
