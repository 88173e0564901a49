//! Volumes and claims are bound, given back, made to order and grown, by controllers that may die at any time.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use lab::Lab;

fn volume(name: &str, more: Value) -> Value {
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}, "hostPath": {"path": "/data"}},
    });
    json_patch::merge(&mut volume, &more);
    volume
}

fn claim(name: &str, more: Value) -> Value {
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    json_patch::merge(&mut claim, &more);
    claim
}

/// The phase and the other half.
async fn volume_is(cluster: &Lab, name: &str, phase: &str, claim: &str) {
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    cluster
        .until(async || {
            let volume = volumes.get(name).await.unwrap();
            let now = volume.status.and_then(|status| status.phase).unwrap_or_default();
            let has = volume.spec.and_then(|spec| spec.claim_ref?.name).unwrap_or_default();
            if now == phase && has == claim { Ok(()) } else { Err(format!("{name}: {now} {has}")) }
        })
        .await;
}

async fn claim_is(cluster: &Lab, name: &str, phase: &str, volume: &str) {
    let claims = cluster.api::<PersistentVolumeClaim>();
    cluster
        .until(async || {
            let claim = claims.get(name).await.unwrap();
            let now = claim.status.and_then(|status| status.phase).unwrap_or_default();
            let has = claim.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
            if now == phase && has == volume { Ok(()) } else { Err(format!("{name}: {now} {has}")) }
        })
        .await;
}

async fn said(cluster: &Lab, reason: &str, message: &str) {
    cluster
        .until(async || {
            let said = cluster.events(reason).await;
            if said.iter().any(|said| said == message) { Ok(()) } else { Err(format!("{reason}: {said:?}")) }
        })
        .await;
}

async fn volume_gone(cluster: &Lab, name: &str) {
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    cluster
        .until(async || match volumes.get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(volume) => Err(format!("{volume:?}")),
        })
        .await;
}

/// The pod that removes data has done it.
async fn removed(cluster: &Lab, namespace: &str, volume: &str) {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
    let done = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    let name = format!("recycler-for-{volume}");
    cluster
        .until(async || {
            let done = pods.patch_status(&name, &PatchParams::default(), &done).await;
            done.map(drop).map_err(|error| error.to_string())
        })
        .await;
}

const CLAIM: (&str, &str) = ("v1", "PersistentVolumeClaim");
const VOLUME: (&str, &str) = ("v1", "PersistentVolume");

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_from_claim_to_claim_as_its_policy_says() {
    let cluster = Lab::start().await;
    cluster.create(volume("v", json!({}))).await;
    volume_is(&cluster, "v", "Available", "").await;
    cluster.create(claim("first", json!({}))).await;
    claim_is(&cluster, "first", "Bound", "v").await;
    cluster.create(claim("second", json!({}))).await;
    volume_is(&cluster, "v", "Bound", "first").await;
    let words = "no persistent volumes available for this claim and no storage class is set";
    said(&cluster, "FailedBinding", words).await;
    cluster.delete(CLAIM, "first", &DeleteParams::default()).await;
    volume_is(&cluster, "v", "Released", "first").await;
    claim_is(&cluster, "second", "Pending", "").await;

    cluster.patch(VOLUME, "v", json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}})).await;
    removed(&cluster, "default", "v").await;
    said(&cluster, "VolumeRecycled", "Volume recycled").await;
    claim_is(&cluster, "second", "Bound", "v").await;

    cluster.patch(VOLUME, "v", json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})).await;
    cluster.delete(CLAIM, "second", &DeleteParams::default()).await;
    volume_is(&cluster, "v", "Failed", "second").await;
    said(
        &cluster,
        "VolumeFailedDelete",
        "host_path deleter only supports /tmp/.+ but received provided /data",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_made_to_order_grown_and_deleted_with_its_data() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    let offer = json!({"metadata": {
        "annotations": {"skiff.local/volumes": "/n1/volumes"}, "labels": {"kubernetes.io/hostname": "n1"},
    }});
    cluster.patch(("v1", "Node"), "n1", offer).await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"},
        "provisioner": "skiff.local/volumes", "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
    });
    cluster.create(claim("data", json!({}))).await;
    cluster.create(class).await;
    let default =
        json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    cluster.patch(("storage.k8s.io/v1", "StorageClass"), "standard", default).await;
    said(&cluster, "WaitForFirstConsumer", "waiting for first consumer to be created before binding").await;

    let selected = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}});
    cluster.patch(CLAIM, "data", selected).await;
    let made = cluster.api::<PersistentVolumeClaim>().get("data").await.unwrap();
    let name = format!("pvc-{}", made.metadata.uid.unwrap());
    claim_is(&cluster, "data", "Bound", &name).await;
    let words = format!("Successfully provisioned volume {name} using skiff.local/volumes");
    said(&cluster, "ProvisioningSucceeded", &words).await;

    let more = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    cluster.patch(CLAIM, "data", more).await;
    let claims = cluster.api::<PersistentVolumeClaim>();
    cluster
        .until(async || {
            let status = claims.get("data").await.unwrap().status.unwrap();
            let capacity = status.capacity.as_ref().map(|capacity| capacity["storage"].0.clone());
            if capacity.as_deref() == Some("3Gi") && status.conditions.is_none() {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;

    cluster.delete(CLAIM, "data", &DeleteParams::default()).await;
    volume_is(&cluster, &name, "Released", "data").await;
    removed(&cluster, "kube-system", &name).await;
    volume_gone(&cluster, &name).await;
    // The pod that did it goes along.
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), "kube-system");
    cluster
        .until(async || match pods.list(&ListParams::default()).await.unwrap().items.len() {
            0 => Ok(()),
            left => Err(format!("{left} pods")),
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_brings_its_own_claim_along() {
    let cluster = Lab::start().await;
    cluster.hollow_kubelet("n1");
    cluster.create(volume("v", json!({}))).await;
    let template = claim("", json!({}))["spec"].clone();
    let volumes = json!([{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": template}}}]);
    let pod = json!({"containers": [{"name": "c", "image": "v1"}], "volumes": volumes});
    cluster.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod})).await;
    cluster
        .until(async || match cluster.api::<PersistentVolumeClaim>().get_opt("p-scratch").await.unwrap() {
            Some(_) => Ok(()),
            None => Err("no claim".to_owned()),
        })
        .await;
    claim_is(&cluster, "p-scratch", "Bound", "v").await;
    cluster.delete(("v1", "Pod"), "p", &DeleteParams::default()).await;
    volume_is(&cluster, "v", "Released", "p-scratch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_claim_gets_a_volume_although_the_controllers_are_killed_again_and_again() {
    const PAIRS: usize = 60;
    let cluster = Lab::bare().await;
    for i in 0..PAIRS {
        cluster.create(claim(&format!("c{i}"), json!({}))).await;
        cluster.create(volume(&format!("v{i}"), json!({}))).await;
    }
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    let claims = cluster.api::<PersistentVolumeClaim>();
    let bound = async || {
        let all = claims.list(&ListParams::default()).await.unwrap().items;
        let is_bound = |claim: &&PersistentVolumeClaim| {
            claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
        };
        all.iter().filter(is_bound).count()
    };
    let mut least = 1;
    while least < PAIRS {
        let controllers = cluster.mortal_controllers();
        cluster
            .until(async || match bound().await {
                enough if enough >= least => Ok(()),
                few => Err(format!("{few} are bound")),
            })
            .await;
        controllers.shutdown_background();
        least = (bound().await + 7).min(PAIRS);
    }
    cluster.controllers(&[]).await;
    cluster
        .until(async || match bound().await {
            PAIRS => Ok(()),
            few => Err(format!("{few} are bound")),
        })
        .await;
    cluster
        .until(async || {
            for volume in volumes.list(&ListParams::default()).await.unwrap() {
                let name = volume.metadata.name.unwrap();
                let status = volume.status.unwrap();
                let named = volume.spec.unwrap().claim_ref.ok_or(format!("{name} is free"))?;
                let claim = claims.get(&named.name.unwrap()).await.unwrap();
                let both =
                    claim.spec.unwrap().volume_name == Some(name.clone()) && claim.metadata.uid == named.uid;
                if !both || status.phase.as_deref() != Some("Bound") {
                    return Err(format!("{name}: {status:?}"));
                }
            }
            Ok(())
        })
        .await;
}
