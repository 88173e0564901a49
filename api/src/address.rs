//! What an address is, however it is written, and whether anything may be dialled at it on somebody's behalf.
//!
//! Objects say where pods, nodes and endpoints are, and those who write objects shall not send a daemon to itself, to its
//! machine's other daemons, or to its network's own affairs. Addresses are compared in canonical form. Upstream
//! counterpart: `net.IP`, whose methods see through IPv4 in IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is that does not stand for one machine of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// None at all, such as `0.0.0.0`: systems take it for themselves.
    Unspecified,
    /// The machine itself.
    Loopback,
    /// Neighbours only; clouds keep their machines' secrets there.
    LinkLocal,
    /// Many machines of the same link.
    LinkLocalMulticast,
    /// Many machines.
    Multicast,
    /// All machines of a network.
    Broadcast,
}

/// An address in its shortest form: IPv4 inside IPv6 (`::ffff:127.0.0.1`) is IPv4.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What is special about an address.
pub fn special(address: IpAddr) -> Option<Special> {
    match canonical(address) {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    let [first, second, third, _] = address.octets();
    match (first, second, third) {
        _ if address.is_unspecified() => Some(Special::Unspecified),
        (127, ..) => Some(Special::Loopback),
        (169, 254, _) => Some(Special::LinkLocal),
        (224, 0, 0) => Some(Special::LinkLocalMulticast),
        (224..=239, ..) => Some(Special::Multicast),
        _ if address.is_broadcast() => Some(Special::Broadcast),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    let first = address.segments()[0];
    match () {
        () if address.is_unspecified() => Some(Special::Unspecified),
        () if address.is_loopback() => Some(Special::Loopback),
        () if first & 0xffc0 == 0xfe80 => Some(Special::LinkLocal),
        () if first & 0xff0f == 0xff02 => Some(Special::LinkLocalMulticast),
        () if first & 0xff00 == 0xff00 => Some(Special::Multicast),
        () => None,
    }
}

/// The IPv4 address to which a network's translator, or an old system, takes an IPv6 one: `::a.b.c.d` and
/// `64:ff9b::a.b.c.d`.
fn translated(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let prefix = [a, b, c, d, e, f];
    let known = prefix == [0; 6] || prefix == [0x64, 0xff9b, 0, 0, 0, 0];
    known.then(|| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// An address that may be dialled because an object says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialable(IpAddr);

/// An address that may not be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAllowed;

impl fmt::Display for NotAllowed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("address not allowed")
    }
}

impl std::error::Error for NotAllowed {}

impl Dialable {
    /// The address, in canonical form.
    ///
    /// # Errors
    /// When it is special, or is translated to one that is.
    pub fn new(address: IpAddr) -> Result<Self, NotAllowed> {
        let address = canonical(address);
        // Nobody's: IPv4 of this network, of which only 0.0.0.0 is special.
        let nobodys = |v4: Ipv4Addr| v4.octets()[0] == 0;
        let inner = match address {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(_) => translated(address),
        };
        let allowed =
            special(address).is_none() && inner.is_none_or(|v4| special_v4(v4).is_none() && !nobodys(v4));
        if allowed { Ok(Self(address)) } else { Err(NotAllowed) }
    }

    /// Reads an address as objects have it.
    ///
    /// # Errors
    /// As [`Self::new`], and for what is no address.
    pub fn parse(text: &str) -> Result<Self, NotAllowed> {
        Self::new(text.parse().map_err(|_| NotAllowed)?)
    }

    /// The address.
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests;
