//! What a CNI plugin answers, in the version of the specification that was asked for.
//!
//! The differences are small: before 1.0.0 an address says its IP version; `mtu` of an
//! interface came with 1.1.0. Upstream: `containernetworking/cni` `pkg/types/{040,100}`.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::config::SUPPORTED_VERSIONS;

/// An interface that ADD made or used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: [u8; 6],
}

/// What ADD did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wired {
    /// The bridge on the node.
    pub bridge: Interface,
    /// The node's end of the pair.
    pub host: Interface,
    /// The pod's end of the pair.
    pub pod: Interface,
    /// The pod's address with the prefix of the range.
    pub address: Ipv4Net,
    /// Where the pod's default route leads.
    pub gateway: Ipv4Addr,
    /// MTU of the pair.
    pub mtu: u32,
}

/// Hardware address as people write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The result of ADD.
pub fn render(version: &str, netns: &Path, wired: &Wired) -> Value {
    let interface = |of: &Interface, inside: bool| {
        let mut value = json!({"name": of.name, "mac": mac_text(of.mac)});
        if inside {
            value["sandbox"] = json!(netns);
        }
        if version == "1.1.0" && wired.mtu > 0 {
            value["mtu"] = json!(wired.mtu);
        }
        value
    };
    let mut ip = json!({"address": wired.address.to_string(), "gateway": wired.gateway, "interface": 2});
    if version.starts_with('0') {
        ip["version"] = json!("4");
    }
    json!({
        "cniVersion": version,
        "interfaces": [
            interface(&wired.bridge, false), interface(&wired.host, false), interface(&wired.pod, true)
        ],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": wired.gateway}],
        "dns": {},
    })
}

/// The result of VERSION.
pub fn versions() -> Value {
    json!({"cniVersion": "1.1.0", "supportedVersions": SUPPORTED_VERSIONS})
}

#[cfg(test)]
mod tests;
