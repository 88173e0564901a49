//! Gives every node a range of pod addresses of its own out of the cluster's,
//! never one range twice: what is taken is read from the nodes each time.
//! Also tells that a node has been registered. Upstream: `pkg/controller/nodeipam`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp, reference};
use crate::kit::owners;

/// The controller.
pub struct NodeIpam {
    caches: Caches,
    cluster: IpNet,
    prefix: u8,
}

impl NodeIpam {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>, cluster: IpNet, prefix: u8) -> Self {
        let (keys, nodes) = (queue.clone(), caches.nodes.clone());
        caches.nodes.on_change(move |change| match &change.new {
            Some(node) => keys.add(Key::of(&node.metadata)),
            // A range has come free, perhaps for a node that found none.
            None => nodes.list().iter().for_each(|node| keys.add(Key::of(&node.metadata))),
        });
        NodeIpam { caches: caches.clone(), cluster, prefix }
    }
}

impl Controller for NodeIpam {
    type Snapshot = Snapshot;

    const NAME: &'static str = "node_ipam_controller";

    /// One node after the other, so that no two are given the same range.
    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Node>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let node = self.caches.nodes.get(None, &key.name)?;
        let nodes = self.caches.nodes.list();
        let taken = nodes.iter().flat_map(|node| ranges(node).collect::<Vec<_>>()).collect();
        Some(Snapshot { node, taken, cluster: self.cluster, prefix: self.prefix })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        plan(snapshot)
    }
}

/// All that a plan for one node looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node.
    pub node: Arc<Node>,
    /// The ranges that nodes have.
    pub taken: BTreeSet<IpNet>,
    /// The cluster's range.
    pub cluster: IpNet,
    /// The length of a node's prefix.
    pub prefix: u8,
}

/// The ranges a node has.
pub fn ranges(node: &Node) -> impl Iterator<Item = IpNet> + '_ {
    let spec = node.spec.iter();
    spec.flat_map(|spec| spec.pod_cidr.iter().chain(spec.pod_cidrs.iter().flatten()))
        .filter_map(|cidr| cidr.parse().ok())
}

/// Gives the node a range if it has none.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let node = &*snapshot.node;
    let mut plan = Plan::default();
    let has_one = node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some());
    if has_one || node.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let name = owners::name(&node.metadata);
    match free(snapshot) {
        Some(range) => {
            let mut given = node.clone();
            let spec = given.spec.get_or_insert_default();
            spec.pod_cidr = Some(range.to_string());
            spec.pod_cidrs = Some(vec![range.to_string()]);
            plan.actions.extend(Action::change(node, &given, None));
        }
        None => plan.actions.push(Action::Tell {
            about: reference(node),
            warning: false,
            reason: "CIDRNotAvailable",
            message: format!("Node {name} status is now: CIDRNotAvailable"),
        }),
    }
    plan
}

/// The first range of the node size that overlaps none that is taken. What no node can have is not taken by
/// the Node object that says so.
fn free(snapshot: &Snapshot) -> Option<IpNet> {
    let (cluster, prefix) = (&snapshot.cluster, snapshot.prefix);
    let is_part = |range: &&IpNet| {
        cluster.contains(*range)
            && (range.prefix_len() > cluster.prefix_len() || prefix == cluster.prefix_len())
    };
    let taken: Vec<&IpNet> = snapshot.taken.iter().filter(is_part).collect();
    cluster.subnets(prefix).ok()?.find(|range| !taken.iter().any(|taken| overlap(taken, range)))
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    let first = |net: &IpNet| -> IpAddr { net.network() };
    a.contains(&first(b)) || b.contains(&first(a))
}

#[cfg(test)]
mod tests;
