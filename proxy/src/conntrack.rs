//! Which tracked UDP connections are to be forgotten.
//!
//! UDP has no end: a client that keeps its port keeps its endpoint, also a dead one, until the
//! kernel forgets the connection. So after each change, connections through our addresses to what
//! is no endpoint of theirs any more are deleted. Upstream: `pkg/proxy/conntrack` `CleanStaleEntries`.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use machinery::netfilter::{Connection, Protocol};

use crate::endpoints::choose;
use crate::services::ServicePort;

type Address = (Ipv4Addr, u16);

/// For each UDP address of a service the endpoints that may answer for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UdpServices {
    by_address: HashMap<Address, HashSet<Address>>,
    by_node_port: HashMap<u16, HashSet<Address>>,
}

impl UdpServices {
    /// What the service ports say. Endpoints that terminate but still serve keep their callers.
    pub fn of(ports: &[ServicePort], node: &str, zone: Option<&str>) -> UdpServices {
        let mut services = UdpServices::default();
        for port in ports.iter().filter(|port| port.protocol == Protocol::Udp) {
            let chosen = choose(port, node, zone);
            let endpoints: HashSet<Address> = chosen
                .all
                .iter()
                .copied()
                .chain(port.endpoints.iter().filter(|endpoint| endpoint.serving))
                .map(|endpoint| (endpoint.ip, endpoint.port))
                .collect();
            let others = port.external_ips.iter().chain(&port.load_balancer_ips).copied();
            for ip in std::iter::once(port.cluster_ip).chain(others) {
                services.by_address.insert((ip, port.port), endpoints.clone());
            }
            if let Some(node_port) = port.node_port {
                services.by_node_port.insert(node_port, endpoints);
            }
        }
        services
    }

    /// Is there nothing to look for?
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty() && self.by_node_port.is_empty()
    }

    /// Does a connection go through one of our addresses to what is no endpoint of it?
    pub fn is_stale(&self, connection: &Connection) -> bool {
        if connection.protocol != Protocol::Udp {
            return false;
        }
        let endpoints = self.by_address.get(&connection.to).or_else(|| {
            // A node port on whichever address; only what was translated can be ours.
            let translated = connection.answered_by != connection.to;
            self.by_node_port.get(&connection.to.1).filter(|_| translated)
        });
        endpoints.is_some_and(|endpoints| !endpoints.contains(&connection.answered_by))
    }
}

#[cfg(test)]
mod tests;
