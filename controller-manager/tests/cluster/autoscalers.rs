//! Autoscalers, with measurements of the test's own: a custom kind stands in for the metrics API.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use lab::{Lab, deployment};

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";

/// Says what all pods of the deployment use.
async fn measure(cluster: &Lab, cpu: &str) {
    for pod in cluster.api::<Pod>().list(&ListParams::default()).await.unwrap() {
        let name = pod.metadata.name.unwrap();
        let metrics = json!({
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
            "metadata": {"name": name, "labels": pod.metadata.labels},
            "timestamp": "2026-01-02T00:00:00Z", "window": "15s",
            "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": "1Mi"}}],
        });
        let patch = http::Request::patch(format!("{METRICS}/{name}?fieldManager=test&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(metrics.to_string().into_bytes())
            .unwrap();
        cluster.client.request::<Value>(patch).await.unwrap();
    }
}

/// Serves the metrics API from objects.
async fn serve_metrics(cluster: &Lab) {
    let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    cluster
        .create(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "pods.metrics.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved"}},
            "spec": {"group": "metrics.k8s.io", "scope": "Namespaced",
                "names": {"plural": "pods", "kind": "PodMetrics"},
                "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": open}]},
        }))
        .await;
    let listed = async || {
        let request = http::Request::get(METRICS).body(Vec::new()).unwrap();
        cluster.client.request::<Value>(request).await.map_err(|error| error.to_string())
    };
    cluster.until(listed).await;
}

/// Waits for a condition's reason, and answers its message.
async fn reason(cluster: &Lab, kind: &str, wanted: &str) -> String {
    cluster
        .until(async || {
            let status = cluster.api::<HorizontalPodAutoscaler>().get("web").await.unwrap().status;
            let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
            let found = conditions.iter().find(|condition| condition.type_ == kind);
            let found = found.filter(|condition| condition.reason.as_deref() == Some(wanted));
            found.and_then(|found| found.message.clone()).ok_or_else(|| format!("{conditions:?}"))
        })
        .await
}

async fn replicas(cluster: &Lab, wanted: i32) {
    cluster
        .until(async || {
            let found = cluster.api::<Deployment>().get("web").await.unwrap();
            let ready = found.status.and_then(|status| status.ready_replicas);
            if ready == Some(wanted) { Ok(()) } else { Err(format!("{ready:?} replicas are ready")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_what_pods_use() {
    // The node says nothing while the clock is moved.
    let cluster = Lab::start_with(&["--node-monitor-grace-period=10h"]).await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    let mut web = deployment("web", 1, "v1");
    web["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}});
    cluster.create(web).await;
    replicas(&cluster, 1).await;
    cluster
        .create(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1, "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50}}}],
            },
        }))
        .await;
    let why = reason(&cluster, "ScalingActive", "FailedGetResourceMetric").await;
    assert_eq!(
        why,
        "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for \
         resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested \
         resource (get pods.metrics.k8s.io)"
    );
    serve_metrics(&cluster).await;
    measure(&cluster, "100m").await;
    cluster.clock.advance(Duration::from_secs(16));
    replicas(&cluster, 2).await;
    let up = "New size: 2; reason: cpu resource utilization (percentage of request) above target";
    let told = async || {
        let told = cluster.events("SuccessfulRescale").await;
        if told == [up] { Ok(()) } else { Err(format!("{told:?}")) }
    };
    cluster.until(told).await;

    // Both at once ask for more than there may be.
    measure(&cluster, "400m").await;
    cluster.clock.advance(Duration::from_secs(16));
    replicas(&cluster, 3).await;
    reason(&cluster, "ScalingLimited", "TooManyReplicas").await;

    // Fewer must have been enough for five minutes.
    measure(&cluster, "0").await;
    cluster.clock.advance(Duration::from_secs(16));
    reason(&cluster, "AbleToScale", "ScaleDownStabilized").await;
    let status = cluster.api::<HorizontalPodAutoscaler>().get("web").await.unwrap().status.unwrap();
    assert_eq!((status.current_replicas, status.desired_replicas), (Some(3), 3));
    let metric = serde_json::to_value(&status.current_metrics.unwrap()[0]).unwrap();
    let current = json!({"averageUtilization": 0, "averageValue": "0"});
    assert_eq!(metric, json!({"type": "Resource", "resource": {"name": "cpu", "current": current}}));
    cluster.clock.advance(Duration::from_secs(301));
    replicas(&cluster, 1).await;
    reason(&cluster, "ScalingLimited", "TooFewReplicas").await;
    assert!(cluster.events("SuccessfulRescale").await.len() > 2);

    // A target that is gone is told of.
    cluster.delete(("apps/v1", "Deployment"), "web", &Default::default()).await;
    cluster.clock.advance(Duration::from_secs(16));
    let why = reason(&cluster, "AbleToScale", "FailedGetScale").await;
    assert!(
        why.starts_with("the HPA controller was unable to get the target's current scale: deployments"),
        "{why}"
    );
}
