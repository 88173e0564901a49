//! Where a node is reached from inside of the cluster: one reading for all who lead packets there.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Node;

/// What a node says its addresses inside of the cluster are.
pub fn internal_addresses(node: &Node) -> impl Iterator<Item = &str> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.filter(|address| address.type_ == "InternalIP").map(|address| address.address.as_str())
}

/// The address at which a node is reached over IPv4: the first of its own inside of the cluster.
pub fn internal_ipv4(node: &Node) -> Option<Ipv4Addr> {
    internal_addresses(node).find_map(|address| address.parse().ok())
}

#[cfg(test)]
mod tests;
