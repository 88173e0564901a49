//! Claims and volumes that are in use outlive their deletion.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams};
use serde_json::json;

use lab::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_stays_until_its_last_pod_is_gone_and_a_volume_while_it_is_bound() {
    let cluster = Lab::start().await;
    let resources = json!({"requests": {"storage": "1Gi"}});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": resources});
    for name in ["used", "free"] {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec});
        let made = cluster.create(claim).await;
        assert_eq!(made.metadata.finalizers, Some(vec!["kubernetes.io/pvc-protection".to_owned()]));
    }
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}]);
    let pod = json!({"containers": [{"name": "c", "image": "v1"}], "volumes": volumes, "nodeName": "n"});
    cluster.create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod})).await;
    for name in ["used", "free"] {
        cluster.delete(("v1", "PersistentVolumeClaim"), name, &DeleteParams::default()).await;
    }
    let claims = cluster.api::<PersistentVolumeClaim>();
    let gone = async |name: &str| match claims.get_opt(name).await.unwrap() {
        None => Ok(()),
        Some(claim) => Err(format!("{:?}", claim.metadata)),
    };
    cluster.until(async || gone("free").await).await;
    assert!(gone("used").await.is_err());
    cluster.api::<Pod>().delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    cluster.until(async || gone("used").await).await;

    let spec =
        json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}});
    let volume =
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": spec});
    let volumes = Api::<PersistentVolume>::all(cluster.client.clone());
    let volume = volumes.create(&Default::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    assert_eq!(volume.metadata.finalizers, Some(vec!["kubernetes.io/pv-protection".to_owned()]));
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim =
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": spec});
    cluster.create(claim).await;
    cluster
        .until(async || match volumes.get("v").await.unwrap().status.unwrap().phase.as_deref() {
            Some("Bound") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    volumes.delete("v", &DeleteParams::default()).await.unwrap();
    assert!(volumes.get("v").await.unwrap().metadata.deletion_timestamp.is_some());
    cluster.delete(("v1", "PersistentVolumeClaim"), "c", &DeleteParams::default()).await;
    cluster
        .until(async || match volumes.get_opt("v").await.unwrap() {
            None => Ok(()),
            Some(volume) => Err(format!("{:?}", volume.metadata)),
        })
        .await;
}
