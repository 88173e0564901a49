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
mod tests {
    use super::*;
    use crate::services::{Snapshot, resolve};
    use std::sync::Arc;

    fn dns() -> UdpServices {
        let service = "metadata: {namespace: n, name: dns}
spec: {type: NodePort, clusterIP: 10.96.0.10, externalIPs: [192.0.2.77],
  ports: [{port: 53, protocol: UDP, nodePort: 30053}]}";
        let slice = "metadata: {namespace: n, name: dns-1, labels: {kubernetes.io/service-name: dns}}
addressType: IPv4
ports: [{name: '', port: 5353, protocol: UDP}]
endpoints:
- {addresses: [10.244.1.2], nodeName: here}
- {addresses: [10.244.1.3], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.244.1.4], conditions: {ready: false}}";
        let snapshot = Snapshot {
            services: vec![Arc::new(serde_yaml_ng::from_str(service).unwrap())],
            slices: vec![Arc::new(serde_yaml_ng::from_str(slice).unwrap())],
            zone: None,
        };
        UdpServices::of(&resolve(&snapshot, "here"), "here", None)
    }

    #[test]
    fn stale_is_what_goes_through_us_to_no_endpoint() {
        let ip = |last: u8| Ipv4Addr::new(10, 244, 1, last);
        let (cluster, external, node) =
            ([10, 96, 0, 10].into(), [192, 0, 2, 77].into(), Ipv4Addr::from([192, 0, 2, 1]));
        let cases = [
            ("to an endpoint", (cluster, 53), (ip(2), 5353), false),
            ("to one that terminates and serves", (cluster, 53), (ip(3), 5353), false),
            ("to one that is not ready", (cluster, 53), (ip(4), 5353), true),
            ("to one that is gone", (cluster, 53), (ip(9), 5353), true),
            ("over an external address", (external, 53), (ip(9), 5353), true),
            ("untranslated, from when there was no endpoint", (cluster, 53), (cluster, 53), true),
            ("another port of the address", (cluster, 54), (ip(9), 5353), false),
            ("over a node port", (node, 30053), (ip(9), 5353), true),
            ("over a node port to an endpoint", (node, 30053), (ip(2), 5353), false),
            ("someone else's server on such a port", (node, 30053), (node, 30053), false),
            ("nothing to do with us", (node, 53), (ip(9), 53), false),
        ];
        for (what, to, answered_by, stale) in cases {
            let connection = Connection::made_up(Protocol::Udp, to, answered_by);
            assert_eq!(dns().is_stale(&connection), stale, "{what}");
        }
        let tcp = Connection::made_up(Protocol::Tcp, (cluster, 53), (ip(9), 5353));
        assert!(!dns().is_stale(&tcp), "TCP ends by itself");
    }
}
