//! The routes of host and control plane to pods: each node's `podCIDR` leads to
//! its InternalIP, and those of nodes that are gone are taken away.

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use machinery::cache::Cache;
use machinery::tasks::Tasks;

use crate::cluster::Cluster;
use crate::network::{self, PodRoute};
use crate::pki;

/// Where a node's pods are and where it is itself, once both are known.
pub fn pod_route(node: &Node) -> Option<PodRoute> {
    let pods = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
    Some((pods, internal.address.parse().ok()?))
}

/// Starts to follow the nodes.
pub async fn start(cluster: &Cluster, tasks: &Tasks) -> Result<()> {
    let client = machinery::client::connect(&cluster.kubeconfig_of(pki::ADMIN), "skiff").await?;
    let (cluster, stop, inner) = (cluster.clone(), tasks.token(), tasks.clone());
    tasks.spawn("routes", async move {
        if !machinery::client::wait_ready(&client, &stop).await {
            return Ok(());
        }
        let nodes: Cache<Node> = Cache::start(Api::all(client), Default::default(), &inner);
        let mut changes = nodes.subscribe();
        let mut known = Vec::new();
        while !stop.is_cancelled() {
            let wanted: Vec<_> = nodes.list().iter().filter_map(|node| pod_route(node)).collect();
            match network::ensure_pod_routes(&cluster, &known, &wanted) {
                Ok(()) => known = wanted,
                // What stands of it is made again with the next change of a node.
                Err(e) => tracing::warn!(error = format!("{e:#}"), "Cannot set the routes to pods"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = changes.changed() => {}
            }
        }
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_route_needs_both_ends() {
        let node = |json| {
            pod_route(&serde_json::from_value(json).unwrap()).map(|(pods, node)| format!("{pods} {node}"))
        };
        let address = serde_json::json!({"addresses": [
            {"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "10.60.0.11"}]});
        let cases = [
            (serde_json::json!({}), None),
            (serde_json::json!({"spec": {"podCIDR": "10.244.0.0/24"}}), None),
            (serde_json::json!({"status": address}), None),
            (
                serde_json::json!({"spec": {"podCIDR": "10.244.0.0/24"}, "status": address}),
                Some("10.244.0.0/24 10.60.0.11".to_owned()),
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(node(json), expected);
        }
    }
}
