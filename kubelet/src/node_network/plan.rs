//! How this node's part of the pod network should be, from the list of nodes.
//!
//! Pure. Every node derives the same facts about another from that node's object alone: nothing
//! has to be published for the tunnel. Whoever may write Node objects must not lead this node's
//! packets elsewhere, so a range counts only within all pods' range and beside the ranges of
//! older nodes. Upstream: `flannel`'s host-gw and vxlan back ends.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
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
    pub fn of(node: &Node) -> Result<Option<Peer>, String> {
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
            return Err(format!(
                "node {name}: no IPv4 among {} at {}",
                ranges.join(", "),
                addresses.join(", ")
            ));
        };
        if pods.trunc() != pods {
            return Err(format!("node {name}: {pods} is an address in a range and no range"));
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
    /// What is wrong with the nodes that are not reached.
    pub left_out: Vec<String>,
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
) -> Result<Option<Plan>, String> {
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
                    Err(format!("{} at {} is in conflict with node {}", peer.pods, peer.ip, other.name))
                }
                None => Ok(()),
            }
        });
        if let Err(why) = fits {
            left_out.push(format!("node {}: {why}", peer.name));
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
    Ok(Some(Plan { own, routes, left_out, tunnel, tunnel_mtu, pod_mtu }))
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
    fn check_range(&self, node: &Peer) -> Result<(), String> {
        let pods = node.pods;
        match self.cluster {
            Some(cluster) if !cluster.contains(&pods) => {
                return Err(format!("{pods} is no part of the pods' range {cluster}"));
            }
            _ => {}
        }
        if pods.prefix_len() < self.length {
            return Err(format!("{pods} is larger than a node's part of the pods' range, /{}", self.length));
        }
        let networks = self.uplinks.iter().map(|uplink| uplink.address.trunc());
        match networks.chain([node.ip.into()]).find(|network| overlap(network, &pods)) {
            Some(network) => Err(format!("the pods' range {pods} is in conflict with the network {network}")),
            None => Ok(()),
        }
    }

    /// Whether packets can be sent to a node's address.
    fn check_hop(&self, node: &Peer) -> Result<(), String> {
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
            return Err(format!("{ip} is no address of another node"));
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
mod tests {
    use super::*;

    fn peer(name: &str, ip: &str, pods: &str) -> Peer {
        Peer { made: None, name: name.into(), ip: ip.parse().unwrap(), pods: pods.parse().unwrap() }
    }

    fn planned(own: &str, nodes: &[Peer]) -> Option<Plan> {
        plan(own, nodes, &uplinks(), "10.244.0.0/16".parse().ok()).unwrap()
    }

    fn uplinks() -> Vec<Uplink> {
        vec![Uplink { index: 7, address: "192.0.2.1/24".parse().unwrap(), mtu: 9000 }]
    }

    #[test]
    fn neighbours_are_reached_directly_and_others_through_the_tunnel() {
        let nodes = [
            peer("a", "192.0.2.1", "10.244.0.0/24"),
            peer("b", "192.0.2.2", "10.244.1.0/24"),
            peer("c", "198.51.100.3", "10.244.2.0/24"),
        ];
        let near = planned("a", &nodes[..2]).unwrap();
        let direct = Via::Neighbour { gateway: nodes[1].ip, index: 7 };
        assert_eq!(near.routes, BTreeMap::from([(nodes[1].pods, direct)]));
        assert_eq!((near.tunnel.len(), near.pod_mtu), (0, 9000));

        let far = planned("a", &nodes).unwrap();
        let tunnel = Via::Tunnel { gateway: [10, 244, 2, 0].into() };
        assert_eq!(far.routes, BTreeMap::from([(nodes[1].pods, direct), (nodes[2].pods, tunnel)]));
        assert_eq!((far.tunnel.as_slice(), far.pod_mtu), (&nodes[2..], 8950));
        assert_eq!(planned("d", &nodes), None, "a node without a range");
    }

    #[test]
    fn a_range_or_address_used_twice_does_no_harm() {
        let nodes = [
            peer("a", "192.0.2.1", "10.244.0.0/24"),
            peer("b", "192.0.2.2", "10.244.0.0/24"),
            peer("c", "192.0.2.1", "10.244.1.0/24"),
            peer("d", "192.0.2.4", "10.244.4.0/24"),
            peer("e", "192.0.2.5", "10.244.4.0/25"),
        ];
        let plan = planned("a", &nodes).unwrap();
        assert_eq!(plan.routes.keys().collect::<Vec<_>>(), [&nodes[3].pods]);
        assert_eq!(plan.left_out.len(), 3);
    }

    #[test]
    fn a_node_object_cannot_lead_packets_elsewhere() {
        let made = |second: i64| k8s_openapi::jiff::Timestamp::from_second(second).ok().map(Time);
        for (ip, pods, why) in [
            ("192.0.2.3", "0.0.0.0/0", "0.0.0.0/0 is no part of the pods' range 10.244.0.0/16"),
            ("192.0.2.3", "192.0.2.128/25", "192.0.2.128/25 is no part of the pods' range 10.244.0.0/16"),
            (
                "192.0.2.3",
                "10.244.0.0/16",
                "10.244.0.0/16 is larger than a node's part of the pods' range, /24",
            ),
            (
                "192.0.2.3",
                "10.244.128.0/17",
                "10.244.128.0/17 is larger than a node's part of the pods' range, /24",
            ),
            ("192.0.2.3", "10.244.1.0/25", "10.244.1.0/25 at 192.0.2.3 is in conflict with node z"),
            ("192.0.2.2", "10.244.9.0/24", "10.244.9.0/24 at 192.0.2.2 is in conflict with node z"),
            ("192.0.2.1", "10.244.9.0/24", "192.0.2.1 is no address of another node"),
            ("192.0.2.255", "10.244.9.0/24", "192.0.2.255 is no address of another node"),
            ("127.0.0.1", "10.244.9.0/24", "127.0.0.1 is no address of another node"),
            ("10.244.1.7", "10.244.9.0/24", "10.244.1.7 is no address of another node"),
            ("224.0.0.1", "10.244.9.0/24", "224.0.0.1 is no address of another node"),
        ] {
            let nodes = [
                peer("a", "192.0.2.1", "10.244.0.0/24"),
                Peer { made: made(9), ..peer("bad", ip, pods) },
                Peer { made: made(5), ..peer("z", "192.0.2.2", "10.244.1.0/24") },
            ];
            let plan = planned("a", &nodes).unwrap();
            assert_eq!(plan.routes.keys().collect::<Vec<_>>(), [&nodes[2].pods], "{ip} {pods}");
            assert_eq!(plan.left_out, [format!("node bad: {why}")]);
        }
        // Without a range of all pods, at least what the node is plugged into stays.
        let nodes = [peer("a", "192.0.2.1", "10.244.0.0/24"), peer("b", "198.51.100.2", "0.0.0.0/0")];
        assert!(plan("a", &nodes, &uplinks(), None).unwrap().unwrap().routes.is_empty());
        assert!(plan("b", &nodes, &uplinks(), None).is_err(), "nor may its own range be that");
    }

    #[test]
    fn a_node_is_read_once_it_has_address_and_range() {
        let node = |spec, status| {
            let node = json!({"metadata": {"name": "n"}, "spec": spec, "status": status});
            Peer::of(&serde_json::from_value(node).unwrap())
        };
        let addresses = json!({"addresses": [
            {"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "192.0.2.1"}]});
        let spec = json!({"podCIDR": "10.244.1.0/24", "podCIDRs": ["fd00::/64", "10.244.1.0/24"]});
        assert_eq!(node(spec.clone(), addresses.clone()), Ok(Some(peer("n", "192.0.2.1", "10.244.1.0/24"))));
        assert_eq!(node(json!({}), addresses.clone()), Ok(None));
        assert_eq!(node(spec, json!({})), Ok(None));
        for (range, why) in [
            ("10.244.1.7/24", "node n: 10.244.1.7/24 is an address in a range and no range"),
            ("fd00::/64", "node n: no IPv4 among fd00::/64 at 192.0.2.1"),
        ] {
            assert_eq!(node(json!({"podCIDR": range}), addresses.clone()), Err(why.to_owned()));
        }
    }

    #[test]
    fn rules_and_configuration_as_text() {
        let nodes = [peer("a", "192.0.2.1", "10.244.0.0/24")];
        let plan = planned("a", &nodes).unwrap();
        insta::assert_snapshot!(rules(&plan, "10.244.0.0/16".parse().ok(), &JUMPS[..1]), @r#"
        *nat
        :SKIFF-POSTROUTING - [0:0]
        -A SKIFF-POSTROUTING -s 10.244.0.0/24 -d 10.244.0.0/16 -m comment --comment "pods to pods" -j RETURN
        -A SKIFF-POSTROUTING -s 10.244.0.0/24 ! -d 224.0.0.0/4 -m comment --comment "pods to outside the cluster" -j MASQUERADE --random-fully
        -A POSTROUTING -j SKIFF-POSTROUTING
        COMMIT
        *filter
        :SKIFF-FORWARD - [0:0]
        -A SKIFF-FORWARD -s 10.244.0.0/16 -m comment --comment "from pods" -j ACCEPT
        -A SKIFF-FORWARD -d 10.244.0.0/16 -m comment --comment "to pods" -j ACCEPT
        COMMIT
        "#);
        let list: serde_json::Value = serde_json::from_str(&conflist(&plan, Path::new("/d"))).unwrap();
        assert_eq!(
            list["plugins"],
            json!([{"type": "skiff-cni", "bridge": "cni0", "podCIDR": "10.244.0.0/24", "mtu": 9000,
                    "dataDir": "/d", "capabilities": {"portMappings": true}}])
        );
    }
}
