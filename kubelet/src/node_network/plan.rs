//! How this node's part of the pod network should be, from the list of nodes.
//!
//! Pure. Every node derives the same facts about another from that node's object alone: nothing
//! has to be published for the tunnel. Whoever may write Node objects must not lead this node's
//! packets elsewhere, so a range counts only within all pods' range and beside the ranges of
//! older nodes. Upstream: `flannel`'s host-gw and vxlan back ends.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use api::{Message, load_balancer, message};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use machinery::iptables::Jump;
use machinery::node_address::{internal_addresses, internal_ipv4};
use serde_json::json;

use crate::cni::PLUGIN_TYPE;

/// What a tunnel's header takes of each packet.
const TUNNEL_OVERHEAD: u32 = 50;

/// What of a node matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// When it was made.
    pub made: Option<Time>,
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its pods' range.
    pub pods: Ipv4Net,
}

impl Peer {
    /// Reads a node; none while it has no address or no range, a sentence when it has some that cannot be used.
    pub fn of(node: &Node) -> Result<Option<Peer>, Message> {
        let name = node.metadata.name.clone().unwrap_or_default();
        let spec = node.spec.iter();
        let ranges: Vec<&str> = spec
            .flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr).map(String::as_str))
            .collect();
        let addresses: Vec<&str> = internal_addresses(node).collect();
        if ranges.is_empty() || addresses.is_empty() {
            return Ok(None);
        }
        let pods: Option<Ipv4Net> = ranges.iter().find_map(|range| range.parse().ok());
        let (Some(pods), Some(ip)) = (pods, internal_ipv4(node)) else {
            return Err(message!(
                "node {name}: no IPv4 among {} at {}",
                ranges.join(", "),
                addresses.join(", ")
            ));
        };
        if pods.trunc() != pods {
            return Err(message!("node {name}: {pods} is an address in a range and no range"));
        }
        Ok(Some(Peer { made: node.metadata.creation_timestamp.clone(), name, ip, pods }))
    }

    /// The hardware address of its end of the tunnel.
    pub fn tunnel_mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.ip.octets();
        [0x0a, 0x53, a, b, c, d]
    }

    /// The address of its end of the tunnel: the one of its range that nothing else has.
    pub fn tunnel_ip(&self) -> Ipv4Addr {
        self.pods.network()
    }
}

/// An address of this node on some network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The interface's number.
    pub index: u32,
    /// The interface's hardware address.
    pub mac: [u8; 6],
    /// Address and network.
    pub address: Ipv4Net,
    /// The interface's MTU.
    pub mtu: u32,
}

/// How to reach a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Over a neighbour on the same network.
    Neighbour {
        /// Its address.
        gateway: Ipv4Addr,
        /// The interface that leads there.
        index: u32,
    },
    /// Through the tunnel.
    Tunnel {
        /// The other end's address inside.
        gateway: Ipv4Addr,
    },
}

/// This node's part of the pod network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// This node.
    pub own: Peer,
    /// The way to each other node's pods.
    pub routes: BTreeMap<Ipv4Net, Via>,
    /// Addresses of load balancers that are this node's for now, and where it says so.
    pub answers: BTreeMap<Ipv4Addr, Option<Uplink>>,
    /// What is wrong with the nodes that are not reached.
    pub left_out: Vec<Message>,
    /// The nodes at the tunnel's other ends; without any there is no tunnel.
    pub tunnel: Vec<Peer>,
    /// MTU of the tunnel's device.
    pub tunnel_mtu: u32,
    /// MTU of the pods' interfaces.
    pub pod_mtu: u32,
}

/// Plans; none while this node has no range. `cluster` is all pods' range.
///
/// # Errors
/// A sentence, when this node itself has a range that pods cannot have.
pub fn plan(
    own_name: &str,
    nodes: &[Peer],
    uplinks: &[Uplink],
    cluster: Option<Ipv4Net>,
) -> Result<Option<Plan>, Message> {
    let Some(own) = nodes.iter().find(|node| node.name == own_name).cloned() else { return Ok(None) };
    let known = Known { uplinks, cluster, length: own.pods.prefix_len() };
    known.check_range(&own)?;
    let mut by_age: Vec<&Peer> = nodes.iter().filter(|node| node.name != own_name).collect();
    by_age.sort_by_key(|node| (&node.made, &node.name));
    let (mut routes, mut tunnel, mut left_out) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut taken = vec![&own];
    for peer in by_age {
        let fits = known.check_range(peer).and_then(|()| known.check_hop(peer)).and_then(|()| {
            // Two nodes with one range or address: the older has it, rather than both now and then.
            match taken.iter().find(|other| other.ip == peer.ip || overlap(&other.pods, &peer.pods)) {
                Some(other) => {
                    Err(message!("{} at {} is in conflict with node {}", peer.pods, peer.ip, other.name))
                }
                None => Ok(()),
            }
        });
        if let Err(why) = fits {
            left_out.push(message!("node {}: {why}", peer.name));
            continue;
        }
        taken.push(peer);
        let direct = uplinks.iter().find(|uplink| uplink.address.contains(&peer.ip));
        let via = match direct {
            Some(uplink) => Via::Neighbour { gateway: peer.ip, index: uplink.index },
            None => {
                tunnel.push(peer.clone());
                Via::Tunnel { gateway: peer.tunnel_ip() }
            }
        };
        routes.insert(peer.pods, via);
    }
    let uplink_mtu = uplinks.iter().find(|uplink| uplink.address.addr() == own.ip).map_or(1500, |u| u.mtu);
    let tunnel_mtu = uplink_mtu.saturating_sub(TUNNEL_OVERHEAD);
    let pod_mtu = if tunnel.is_empty() { uplink_mtu } else { tunnel_mtu };
    Ok(Some(Plan { own, routes, answers: BTreeMap::new(), left_out, tunnel, tunnel_mtu, pod_mtu }))
}

/// The addresses of load balancers that a node answers for. Whoever may write Services must not take another address
/// than one of a load balancer.
pub fn answers(
    own_name: &str,
    services: &[Arc<Service>],
    pool: Option<Ipv4Net>,
    uplinks: &[Uplink],
) -> BTreeMap<Ipv4Addr, Option<Uplink>> {
    let own = services.iter().filter(|service| load_balancer::node(service) == Some(own_name));
    own.flat_map(|service| load_balancer::addresses(service))
        .filter(|address| pool.is_some_and(|pool| pool.contains(address)))
        .map(|address| (address, uplinks.iter().find(|at| at.address.contains(&address)).cloned()))
        .collect()
}

fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(other) || other.contains(one)
}

/// What this node knows of the networks around it.
struct Known<'a> {
    uplinks: &'a [Uplink],
    cluster: Option<Ipv4Net>,
    /// Of this node's own range. All nodes have parts of one size; a larger one would take the ranges of nodes that
    /// join later.
    length: u8,
}

impl Known<'_> {
    /// Whether pods can have a node's range.
    fn check_range(&self, node: &Peer) -> Result<(), Message> {
        let pods = node.pods;
        match self.cluster {
            Some(cluster) if !cluster.contains(&pods) => {
                return Err(message!("{pods} is no part of the pods' range {cluster}"));
            }
            _ => {}
        }
        if pods.prefix_len() < self.length {
            return Err(message!("{pods} is larger than a node's part of the pods' range, /{}", self.length));
        }
        let networks = self.uplinks.iter().map(|uplink| uplink.address.trunc());
        match networks.chain([node.ip.into()]).find(|network| overlap(network, &pods)) {
            Some(network) => {
                Err(message!("the pods' range {pods} is in conflict with the network {network}"))
            }
            None => Ok(()),
        }
    }

    /// Whether packets can be sent to a node's address.
    fn check_hop(&self, node: &Peer) -> Result<(), Message> {
        let ip = node.ip;
        let nowhere = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast();
        let no_host = |network: &Ipv4Net| {
            network.contains(&ip)
                && network.prefix_len() < 31
                && (ip == network.network() || ip == network.broadcast())
        };
        let of_pods = self.cluster.is_some_and(|cluster| cluster.contains(&ip));
        let mut networks = self.uplinks.iter().map(|uplink| uplink.address);
        if nowhere || ip.is_link_local() || of_pods || networks.any(|at| at.addr() == ip || no_host(&at)) {
            return Err(message!("{ip} is no address of another node"));
        }
        Ok(())
    }
}

/// The network configuration list that the container runtime reads.
pub fn conflist(plan: &Plan, data_dir: &Path) -> String {
    let value = json!({
        "cniVersion": "1.0.0",
        "name": "skiff",
        "plugins": [{
            "type": PLUGIN_TYPE,
            "bridge": super::BRIDGE,
            "podCIDR": plan.own.pods.to_string(),
            "mtu": plan.pod_mtu,
            "dataDir": data_dir,
            "capabilities": {"portMappings": true},
        }],
    });
    format!("{value:#}\n")
}

/// Where built-in chains lead into ours; both stand behind what others put there.
pub const JUMPS: [Jump; 2] = [
    Jump { table: "nat", from: "POSTROUTING", rule: "-j SKIFF-POSTROUTING" },
    Jump { table: "filter", from: "FORWARD", rule: "-j SKIFF-FORWARD" },
];

/// The restore for pods' traffic: masqueraded when it leaves the cluster, and let through where
/// the node would forward nothing by itself.
pub fn rules(plan: &Plan, cluster_cidr: Option<Ipv4Net>, missing: &[Jump]) -> String {
    let pods = plan.own.pods;
    let cluster = cluster_cidr.unwrap_or(pods);
    let jumps = |table: &str| -> String {
        missing
            .iter()
            .filter(|jump| jump.table == table)
            .map(|jump| format!("-A {} {}\n", jump.from, jump.rule))
            .collect()
    };
    format!(
        "*nat\n\
         :SKIFF-POSTROUTING - [0:0]\n\
         -A SKIFF-POSTROUTING -s {pods} -d {cluster} -m comment --comment \"pods to pods\" -j RETURN\n\
         -A SKIFF-POSTROUTING -s {pods} ! -d 224.0.0.0/4 -m comment --comment \"pods to outside the cluster\" \
         -j MASQUERADE --random-fully\n\
         {}COMMIT\n\
         *filter\n\
         :SKIFF-FORWARD - [0:0]\n\
         -A SKIFF-FORWARD -s {cluster} -m comment --comment \"from pods\" -j ACCEPT\n\
         -A SKIFF-FORWARD -d {cluster} -m comment --comment \"to pods\" -j ACCEPT\n\
         {}COMMIT\n",
        jumps("nat"),
        jumps("filter"),
    )
}

#[cfg(test)]
mod tests;
