//! The addresses of a cluster: nodes, pods and services.
//!
//! A cluster has an index; its three ranges follow from it. The default cluster
//! wants index 0, which has the ranges that everybody expects (10.244.0.0/16 and
//! 10.96.0.0/16); others take the next one whose ranges nothing else uses.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// How many clusters fit side by side.
const INDICES: u8 = 30;
/// Where the control plane stands in the node range.
const CONTROL_PLANE_HOST: u8 = 2;
/// The prefix length of a node's part of the pod range.
pub const NODE_PREFIX: u8 = 24;
/// Where the first node stands in the node range.
const FIRST_NODE_HOST: u8 = 11;

/// The address ranges of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// What they are derived from; also in the names of interfaces.
    pub index: u8,
    /// The bridge, the control plane and the nodes.
    pub nodes: Ipv4Net,
    /// All pods; each node has a /24 of it.
    pub pods: Ipv4Net,
    /// ClusterIPs.
    pub services: Ipv4Net,
}

fn net(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

impl Ranges {
    /// The ranges that belong to an index.
    pub fn of(index: u8) -> Ranges {
        Ranges {
            index,
            nodes: net(10, 60, index, 24),
            pods: net(10, 244 - index, 0, 16),
            services: net(10, 96 + index, 0, 16),
        }
    }

    /// The first ranges, from `first` on, that are free of `taken` ones.
    pub fn choose(first: u8, taken: &[Ipv4Net]) -> Result<Ranges> {
        let free = |ranges: &Ranges| {
            let ours = [ranges.nodes, ranges.pods, ranges.services];
            !taken.iter().any(|other| other.prefix_len() > 0 && ours.iter().any(|our| overlap(our, other)))
        };
        match (first..INDICES).map(Ranges::of).find(free) {
            Some(ranges) => Ok(ranges),
            None => bail!(
                "this machine's routes and clusters leave no room: none of the node ranges 10.60.0.0/24 to \
                 10.60.{}.0/24 is free together with its pod and service ranges",
                INDICES - 1
            ),
        }
    }

    fn host(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.nodes.network().octets();
        Ipv4Addr::new(a, b, c, number)
    }

    /// The bridge's address: the host as the nodes see it.
    pub fn gateway(&self) -> Ipv4Addr {
        self.host(1)
    }

    /// The control plane's address.
    pub fn control_plane(&self) -> Ipv4Addr {
        self.host(CONTROL_PLANE_HOST)
    }

    /// The address of the node with this position.
    pub fn node_address(&self, index: u8) -> Ipv4Addr {
        self.host(FIRST_NODE_HOST + index)
    }

    /// Whether a node can have this address.
    pub fn may_be_node(&self, address: Ipv4Addr) -> bool {
        let [.., host] = address.octets();
        self.nodes.contains(&address) && (FIRST_NODE_HOST..u8::MAX).contains(&host)
    }

    fn service(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.services.network().octets();
        Ipv4Addr::new(a, b, c, number)
    }

    /// The address of the service `kubernetes`.
    pub fn kubernetes_service(&self) -> Ipv4Addr {
        self.service(1)
    }

    /// The address of the cluster's DNS server.
    pub fn dns(&self) -> Ipv4Addr {
        self.service(10)
    }
}

/// Whether two ranges have an address in common.
pub fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

/// Reads the destinations out of `ip -4 route show table all`.
pub fn destinations(routes: &str) -> Vec<Ipv4Net> {
    let kinds =
        ["unicast", "local", "broadcast", "multicast", "blackhole", "unreachable", "prohibit", "throw"];
    let destination = |line: &str| {
        let word = line.split_whitespace().find(|word| !kinds.contains(word))?;
        word.parse::<Ipv4Net>().ok().or_else(|| word.parse::<Ipv4Addr>().ok().map(Ipv4Net::from))
    };
    routes.lines().filter_map(destination).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_cluster_has_the_usual_ranges() {
        let ranges = Ranges::choose(0, &[]).unwrap();
        assert_eq!(ranges.pods.to_string(), "10.244.0.0/16");
        assert_eq!(ranges.services.to_string(), "10.96.0.0/16");
        assert_eq!(ranges.dns().to_string(), "10.96.0.10");
        assert_eq!(ranges.control_plane().to_string(), "10.60.0.2");
        assert_eq!(ranges.node_address(1).to_string(), "10.60.0.12");
    }

    #[test]
    fn taken_ranges_are_passed_over() {
        let taken = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<Ipv4Net>>();
        let cases: &[(&[&str], u8)] = &[
            (&["0.0.0.0/0", "192.168.1.0/24"], 1),
            (&["10.60.1.0/24"], 2),
            (&["10.243.7.0/24"], 2),
            (&["10.97.0.0/16", "10.60.2.1/32"], 3),
        ];
        for (texts, index) in cases {
            assert_eq!(Ranges::choose(1, &taken(texts)).unwrap().index, *index, "{texts:?}");
        }
        assert!(
            Ranges::choose(0, &taken(&["10.0.0.0/8"])).unwrap_err().to_string().contains("leave no room")
        );
    }

    #[test]
    fn no_two_indices_overlap() {
        let all: Vec<Ipv4Net> =
            (0..INDICES).map(Ranges::of).flat_map(|r| [r.nodes, r.pods, r.services]).collect();
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| !overlap(a, b)), "{a}");
        }
    }

    #[test]
    fn destinations_of_routes() {
        let routes = "default via 192.0.2.1 dev eth0 \n192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2 \n\
                      local 192.0.2.2 dev eth0 table local proto kernel\nunreachable 10.9.0.0/16 \n";
        let found: Vec<String> = destinations(routes).iter().map(|n| n.to_string()).collect();
        assert_eq!(found, ["192.0.2.0/24", "192.0.2.2/32", "10.9.0.0/16"]);
    }
}
