//! The cluster's names, as the Kubernetes DNS specification 1.1.0 has them: `index` holds what services, slices and
//! pods say, `records` makes answers of it. Upstream counterpart: CoreDNS' plugin `kubernetes`.

mod index;
mod records;

use std::net::IpAddr;

use hickory_proto::rr::Name;

pub use index::{Feeds, Index};

use crate::corefile::Fallthrough;

/// Whether pods have names made of their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodNames {
    /// They have none.
    Disabled,
    /// Every address has, in every namespace that there is.
    Insecure,
    /// Those of pods that there are.
    Verified,
}

/// What the Corefile says about the cluster's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Zones that are answered for, reverse ones too.
    pub zones: Vec<Name>,
    /// The zone that answers about addresses name.
    pub primary: Name,
    /// Which names pods have.
    pub pods: PodNames,
    /// Whether endpoints without a host name are named after their pods, not their addresses.
    pub endpoint_pod_names: bool,
    /// The namespaces whose names are known; all if empty.
    pub namespaces: Vec<String>,
    /// Seconds that answers live.
    pub ttl: u32,
    /// The address under which this server is an endpoint of its own service.
    pub own_address: Option<IpAddr>,
    /// What goes on when there is no such name.
    pub fallthrough: Fallthrough,
}

impl Settings {
    /// As the plugin has them unless told otherwise.
    pub fn new(zones: Vec<Name>, primary: Name) -> Self {
        Self {
            zones,
            primary,
            pods: PodNames::Disabled,
            endpoint_pod_names: false,
            namespaces: Vec::new(),
            ttl: 5,
            own_address: None,
            fallthrough: Fallthrough::default(),
        }
    }
}

#[cfg(test)]
mod tests;
