//! The routes of host and control plane to pods: each node's `podCIDR` leads to
//! its InternalIP, and those of nodes that are gone are taken away.
//!
//! Whoever may write Node objects must not lead the host's packets elsewhere, so
//! a node gets a route only to its part of the pods' range, by way of an address
//! that nodes have; where two want the same, the older one has it.

use api::{Message, message};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use machinery::backoff::Backoff;
use machinery::cache::Cache;
use machinery::node_address::{internal_addresses, internal_ipv4};
use machinery::tasks::Tasks;

use crate::cluster::Cluster;
use crate::network::{self, PodRoute};
use crate::pki;
use crate::ranges::{NODE_PREFIX, Ranges, overlap};

/// The routes to the pods of all nodes, and what is wrong with the nodes that get none.
pub fn pod_routes(ranges: &Ranges, nodes: &[Arc<Node>]) -> (Vec<PodRoute>, BTreeSet<String>) {
    let mut by_age: Vec<&Arc<Node>> = nodes.iter().collect();
    by_age.sort_by_key(|node| (node.metadata.creation_timestamp.clone(), node.metadata.name.clone()));
    let (mut routes, mut wrong) = (Vec::new(), BTreeSet::new());
    for node in by_age {
        match pod_route(ranges, node, &routes) {
            Ok(route) => routes.extend(route),
            Err(why) => {
                let name = node.metadata.name.as_deref().unwrap_or_default();
                wrong.insert(format!("node {name} gets no route: {why}"));
            }
        }
    }
    (routes, wrong)
}

/// The route to the pods of one node beside those of older ones, once its range and address are known.
///
/// # Errors
/// A sentence, when it gets none.
pub fn pod_route(ranges: &Ranges, node: &Node, older: &[PodRoute]) -> Result<Option<PodRoute>, Message> {
    let range = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
    let addresses: Vec<&str> = internal_addresses(node).collect();
    let Some(range) = range.filter(|_| !addresses.is_empty()) else { return Ok(None) };
    let pods: Ipv4Net = range.parse().map_err(|_| format!("{range:?} is no IPv4 range"))?;
    let hop = internal_ipv4(node).ok_or_else(|| format!("no IPv4 among {}", addresses.join(", ")))?;
    if pods.trunc() != pods || pods.prefix_len() < NODE_PREFIX || !ranges.pods.contains(&pods) {
        return Err(message!("{pods} is no node's part of the pods' range {}", ranges.pods));
    }
    if !ranges.may_be_node(hop) {
        return Err(message!("{hop} is no node's address in {}", ranges.nodes));
    }
    match older.iter().find(|(other, at)| overlap(other, &pods) || *at == hop) {
        Some((other, at)) => Err(message!("{pods} at {hop} is in conflict with {other} at {at}")),
        None => Ok(Some((pods, hop))),
    }
}

/// Starts to follow the nodes.
pub fn start(cluster: &Cluster, tasks: &Tasks) -> Result<()> {
    let client = machinery::client::connect(&cluster.kubeconfig_of(pki::SUPERVISOR), "skiff")?;
    let (cluster, stop, inner) = (cluster.clone(), tasks.token(), tasks.clone());
    tasks.spawn("routes", async move {
        if !machinery::client::wait_ready(&client, &stop).await {
            return Ok(());
        }
        let nodes: Cache<Node> = Cache::start(Api::all(client), Default::default(), &inner);
        let mut changes = nodes.subscribe();
        let (mut known, mut told) = (Vec::new(), BTreeSet::new());
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        while !stop.is_cancelled() {
            let (wanted, wrong) = pod_routes(&cluster.ranges, &nodes.list());
            for why in wrong.difference(&told) {
                tracing::warn!("{why}");
            }
            told = wrong;
            let failures = network::ensure_pod_routes(&cluster, &mut known, &wanted);
            for error in &failures {
                tracing::warn!(error = format!("{error:#}"), "Cannot set a route to pods");
            }
            if failures.is_empty() {
                backoff.reset();
            }
            let again = (!failures.is_empty()).then(|| backoff.pause());
            tokio::select! {
                () = stop.cancelled() => {}
                () = changes.changed() => {}
                () = tokio::time::sleep(again.unwrap_or_default()), if again.is_some() => {}
            }
        }
        Ok(())
    });
    Ok(())
}

#[cfg(test)]
mod tests;
