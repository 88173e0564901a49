//! Ports that containers have of the node itself, and which of them cannot be had side by side. One reading for all who
//! ask: validation, the scheduler, the kubelet. Upstream counterpart: the scheduler's `HostPortInfo`, which compares
//! addresses as text and takes `::` for one address of many.

use std::collections::HashMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::ContainerPort;

use crate::address::canonical;

/// A port on a node's own addresses. Two are equal if they say the same, however it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    port: i32,
    protocol: String,
    address: Address,
}

/// As it is written in `hostIP`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Address {
    /// In canonical form.
    Ip(IpAddr),
    /// Nothing, which is all addresses, or what is no address.
    Text(String),
}

impl Address {
    fn read(text: &str) -> Self {
        match text.parse() {
            Ok(ip) => Self::Ip(canonical(ip)),
            Err(_) => Self::Text(text.to_owned()),
        }
    }

    /// Whether it stands for all of the node's.
    fn is_everywhere(&self) -> bool {
        match self {
            Self::Ip(ip) => ip.is_unspecified(),
            Self::Text(text) => text.is_empty(),
        }
    }
}

impl HostPort {
    /// What a container's port asks of the node, if anything.
    pub fn of(port: &ContainerPort) -> Option<Self> {
        Some(Self {
            port: port.host_port.filter(|number| *number != 0)?,
            protocol: port.protocol.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "TCP".into()),
            address: Address::read(port.host_ip.as_deref().unwrap_or_default()),
        })
    }
}

/// The ports taken on a node. What is added twice has to be removed twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPorts(HashMap<(i32, String), Taken>);

/// How often a port is taken, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Taken {
    everywhere: usize,
    at: HashMap<Address, usize>,
}

impl HostPorts {
    /// Whether a port cannot be had beside these.
    pub fn conflict(&self, with: &HostPort) -> bool {
        let taken = self.0.get(&(with.port, with.protocol.clone()));
        taken.is_some_and(|taken| {
            with.address.is_everywhere() || taken.everywhere > 0 || taken.at.contains_key(&with.address)
        })
    }

    /// Takes a port.
    pub fn add(&mut self, port: HostPort) {
        let taken = self.0.entry((port.port, port.protocol)).or_default();
        match port.address.is_everywhere() {
            true => taken.everywhere += 1,
            false => *taken.at.entry(port.address).or_default() += 1,
        }
    }

    /// Gives a port back; one that is not taken is as good.
    pub fn remove(&mut self, port: &HostPort) {
        let key = (port.port, port.protocol.clone());
        let Some(taken) = self.0.get_mut(&key) else { return };
        if port.address.is_everywhere() {
            taken.everywhere = taken.everywhere.saturating_sub(1);
        } else if let Some(count) = taken.at.get_mut(&port.address) {
            *count -= 1;
            if *count == 0 {
                taken.at.remove(&port.address);
            }
        }
        if *taken == Taken::default() {
            self.0.remove(&key);
        }
    }

    /// How many are taken.
    pub fn len(&self) -> usize {
        self.0.values().map(|taken| taken.everywhere + taken.at.values().sum::<usize>()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<HostPort> for HostPorts {
    fn from_iter<T: IntoIterator<Item = HostPort>>(ports: T) -> Self {
        let mut taken = Self::default();
        ports.into_iter().for_each(|port| taken.add(port));
        taken
    }
}

#[cfg(test)]
mod tests;
