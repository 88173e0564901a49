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

/// Where the addresses of load balancers begin in the node range: its second half.
const LOAD_BALANCERS_HOST: u8 = 128;

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
        self.nodes.contains(&address) && (FIRST_NODE_HOST..LOAD_BALANCERS_HOST).contains(&host)
    }

    /// The addresses of load balancers. They are on the nodes' network, so whoever is on it reaches them.
    pub fn load_balancers(&self) -> Ipv4Net {
        Ipv4Net::new_assert(self.host(LOAD_BALANCERS_HOST), self.nodes.prefix_len() + 1)
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
mod tests;
