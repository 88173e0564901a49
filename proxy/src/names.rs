//! Names of the chains that belong to services and endpoints.
//!
//! They are kube-proxy's: a prefix and 16 characters of the SHA-256 of what the chain is for, in
//! base 32; iptables allows 28 characters. Upstream: `pkg/proxy/iptables` `servicePortChainName`.

use machinery::netfilter::Protocol;
use sha2::{Digest, Sha256};

/// A prefix and 16 characters of a hash.
pub fn hashed(prefix: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut name = String::with_capacity(prefix.len() + 16);
    name.push_str(prefix);
    // Ten bytes are sixteen groups of five bits.
    for five in hash.finalize()[..10].chunks_exact(5) {
        let bits = five.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        for group in (0..8).rev() {
            let value = (bits >> (5 * group) & 31) as usize;
            name.push(char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value]));
        }
    }
    name
}

/// Traffic that may use endpoints on every node.
pub fn cluster(port: &str, protocol: Protocol) -> String {
    hashed("KUBE-SVC-", &[port, protocol.name()])
}

/// Traffic that may use endpoints on this node only.
pub fn local(port: &str, protocol: Protocol) -> String {
    hashed("KUBE-SVL-", &[port, protocol.name()])
}

/// Traffic from outside the cluster.
pub fn external(port: &str, protocol: Protocol) -> String {
    hashed("KUBE-EXT-", &[port, protocol.name()])
}

/// Source ranges of a load balancer.
pub fn firewall(port: &str, protocol: Protocol) -> String {
    hashed("KUBE-FW-", &[port, protocol.name()])
}

/// One endpoint of a service port.
pub fn endpoint(port: &str, protocol: Protocol, address: &str) -> String {
    hashed("KUBE-SEP-", &[port, protocol.name(), address])
}

#[cfg(test)]
mod tests;
