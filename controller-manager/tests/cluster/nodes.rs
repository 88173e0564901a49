//! Address ranges, silent nodes, and nodes that are gone.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;

use lab::{Lab, deployment};

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gets_a_range_of_its_own() {
    let cluster = Lab::start().await;
    for number in 0..12 {
        cluster
            .create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{number}")}}))
            .await;
    }
    let nodes = Api::<Node>::all(cluster.client.clone());
    let ranges = cluster
        .until(async || {
            let found = nodes.list(&ListParams::default()).await.unwrap().items;
            let ranges: Vec<String> = found.into_iter().filter_map(|node| node.spec?.pod_cidr).collect();
            if ranges.len() == 12 { Ok(ranges) } else { Err(format!("{ranges:?}")) }
        })
        .await;
    assert_eq!(ranges.iter().collect::<BTreeSet<_>>().len(), 12, "{ranges:?}");
    assert!(
        ranges.iter().all(|range| range.starts_with("10.244.") && range.ends_with(".0/24")),
        "{ranges:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_loses_its_pods_and_a_returning_one_its_taints() {
    let cluster = Lab::bare().await;
    cluster.controllers(&["--node-monitor-period=1s", "--node-monitor-grace-period=1s"]).await;
    cluster.node("quiet").await;
    cluster.hollow_kubelet("quiet");
    let mut web = deployment("web", 1, "v1");
    let toleration = json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1});
    web["spec"]["template"]["spec"]["tolerations"] = json!([toleration]);
    cluster.create(web).await;
    let nodes = Api::<Node>::all(cluster.client.clone());
    cluster
        .until(async || {
            let node = nodes.get("quiet").await.unwrap();
            let conditions = node.status.unwrap().conditions.unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
            let taints = node.spec.unwrap().taints.unwrap_or_default();
            let effects: Vec<&str> = taints
                .iter()
                .filter(|taint| taint.key == "node.kubernetes.io/unreachable")
                .map(|taint| taint.effect.as_str())
                .collect();
            if ready.status == "Unknown" && effects == ["NoSchedule", "NoExecute"] {
                Ok(())
            } else {
                Err(format!("{conditions:?} {taints:?}"))
            }
        })
        .await;
    cluster
        .until(async || {
            let said = cluster.events("TaintManagerEviction").await;
            if said.iter().any(|text| text.starts_with("Marking for deletion Pod default/web-")) {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        })
        .await;
    // From here on the node speaks up twice in its grace period.
    let speaking = async {
        loop {
            let now = k8s_openapi::jiff::Timestamp::now().to_string();
            let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": now}]}});
            nodes.patch_status("quiet", &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        }
    };
    let healed = cluster.until(async || {
        let taints = nodes.get("quiet").await.unwrap().spec.unwrap().taints.unwrap_or_default();
        if taints.is_empty() { Ok(()) } else { Err(format!("{taints:?}")) }
    });
    tokio::select! { () = healed => {}, never = speaking => never }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tainted_node_is_cleared_of_pods_that_do_not_bear_it() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    let pod = |name: &str, tolerations: serde_json::Value| {
        let spec = json!({"containers": [{"name": "c", "image": "v1"}], "tolerations": tolerations});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    };
    cluster.create(pod("leaves", json!([]))).await;
    cluster.create(pod("stays", json!([{"key": "maintenance", "operator": "Exists"}]))).await;
    let pods = cluster.api::<Pod>();
    let running = async |name: &str| {
        pods.get_opt(name)
            .await
            .unwrap()
            .and_then(|pod| pod.status?.phase)
            .is_some_and(|phase| phase == "Running")
    };
    cluster
        .until(async || {
            if running("leaves").await && running("stays").await { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    cluster
        .patch(
            ("v1", "Node"),
            "n1",
            json!({"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}),
        )
        .await;
    cluster
        .until(async || if running("leaves").await { Err("still there".to_owned()) } else { Ok(()) })
        .await;
    assert!(running("stays").await);
}
