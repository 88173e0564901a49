//! How this node's part of the pod network should be, from the list of nodes.
//!
//! Pure. Every node derives the same facts about another from that node's object alone: nothing
//! has to be published for the tunnel. Upstream: `flannel`'s host-gw and vxlan back ends.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use machinery::iptables::Jump;
use serde_json::json;

use crate::cni::PLUGIN_TYPE;

/// What a tunnel's header takes of each packet.
const TUNNEL_OVERHEAD: u32 = 50;

/// What of a node matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its pods' range.
    pub pods: Ipv4Net,
}

impl Peer {
    /// Reads a node; none while it has no IPv4 address or no range.
    pub fn of(node: &Node) -> Option<Peer> {
        let spec = node.spec.as_ref()?;
        let pods = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr).find_map(|range| range.parse().ok());
        let addresses = node.status.as_ref()?.addresses.iter().flatten();
        let ip = addresses
            .filter(|address| address.type_ == "InternalIP")
            .find_map(|address| address.address.parse().ok())?;
        Some(Peer { name: node.metadata.name.clone()?, ip, pods: pods.map(|range: Ipv4Net| range.trunc())? })
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
    /// The nodes at the tunnel's other ends; without any there is no tunnel.
    pub tunnel: Vec<Peer>,
    /// MTU of the tunnel's device.
    pub tunnel_mtu: u32,
    /// MTU of the pods' interfaces.
    pub pod_mtu: u32,
}

/// Plans; none while this node has no range.
pub fn plan(own_name: &str, nodes: &[Peer], uplinks: &[Uplink]) -> Option<Plan> {
    let own = nodes.iter().find(|node| node.name == own_name)?.clone();
    let mut routes = BTreeMap::new();
    let mut tunnel = Vec::new();
    let mut taken = vec![own.pods];
    for peer in nodes.iter().filter(|node| node.name != own_name) {
        // Two nodes with one range or address: the first has it, rather than both now and then.
        let overlaps = |range: &Ipv4Net| range.contains(&peer.pods) || peer.pods.contains(range);
        if peer.ip == own.ip || taken.iter().any(overlaps) {
            continue;
        }
        taken.push(peer.pods);
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
    Some(Plan { own, routes, tunnel, tunnel_mtu, pod_mtu })
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
        Peer { name: name.into(), ip: ip.parse().unwrap(), pods: pods.parse().unwrap() }
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
        let near = plan("a", &nodes[..2], &uplinks()).unwrap();
        let direct = Via::Neighbour { gateway: nodes[1].ip, index: 7 };
        assert_eq!(near.routes, BTreeMap::from([(nodes[1].pods, direct)]));
        assert_eq!((near.tunnel.len(), near.pod_mtu), (0, 9000));

        let far = plan("a", &nodes, &uplinks()).unwrap();
        let tunnel = Via::Tunnel { gateway: [10, 244, 2, 0].into() };
        assert_eq!(far.routes, BTreeMap::from([(nodes[1].pods, direct), (nodes[2].pods, tunnel)]));
        assert_eq!((far.tunnel.as_slice(), far.pod_mtu), (&nodes[2..], 8950));
        assert_eq!(plan("d", &nodes, &uplinks()), None, "a node without a range");
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
        let plan = plan("a", &nodes, &uplinks()).unwrap();
        assert_eq!(plan.routes.keys().collect::<Vec<_>>(), [&nodes[3].pods]);
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
        assert_eq!(node(spec.clone(), addresses.clone()), Some(peer("n", "192.0.2.1", "10.244.1.0/24")));
        assert_eq!(node(json!({}), addresses), None);
        assert_eq!(node(spec, json!({})), None);
    }

    #[test]
    fn rules_and_configuration_as_text() {
        let nodes = [peer("a", "192.0.2.1", "10.244.0.0/24")];
        let plan = plan("a", &nodes, &uplinks()).unwrap();
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
