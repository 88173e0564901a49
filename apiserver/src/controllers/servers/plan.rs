//! Who is listed: what follows from the Leases, from what is remembered of them, and from the time.
//!
//! Invariant: no Lease is judged by a time in which this server could not see whether it was renewed.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use api::{Message, message, object::ObjectExt as _, validation::not_special_ip};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::store::Revision;

/// How long a server is listed at most after it was last heard of, whatever its Lease says.
pub const LASTS_AT_MOST: Duration = Duration::from_secs(60);

/// A server's Lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// What it is called, which follows from the address.
    pub name: String,
    /// When it was last changed.
    pub revision: Revision,
    /// Where the server is reached.
    pub address: SocketAddr,
    /// How long the server is listed after it was last heard of.
    pub lasts: Duration,
}

/// This server.
#[derive(Debug)]
pub struct Own {
    /// Where it is reached.
    pub address: SocketAddr,
    /// What its Lease is called.
    pub name: String,
    /// How long it is listed after it was last heard of.
    pub lasts: Duration,
}

/// What is remembered between two looks.
#[derive(Default)]
pub struct Memory {
    /// When this server's Lease was last renewed.
    pub renewed: Option<Instant>,
    /// The Leases of others, and since when they are as they are by this machine's clock: other machines have others.
    seen: HashMap<String, (Revision, Instant)>,
}

/// What is to become of the servers' Leases and the list.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The Leases that have run out.
    pub remove: Vec<Held>,
    /// The addresses of all other servers, and this one's.
    pub stay: Vec<SocketAddr>,
    /// When the next Lease will have run out.
    pub next: Option<Instant>,
}

impl Own {
    /// The server at an address.
    pub fn new(address: SocketAddr, lasts: Duration) -> Self {
        Self { address, name: lease_name(address), lasts: lasts.min(LASTS_AT_MOST) }
    }

    /// How often the Lease is renewed.
    pub fn every(&self) -> Duration {
        self.lasts * 2 / 3
    }
}

impl Memory {
    /// Whether this server's Lease is to be renewed: when it is time, or when the Lease is not there.
    pub fn is_due(&self, own: &Own, leases: &[Held], now: Instant) -> bool {
        let is_there = leases.iter().any(|lease| lease.name == own.name);
        !is_there || self.renewed.is_none_or(|renewed| renewed + own.every() <= now)
    }

    /// Remembers which Leases there are and since when. Whoever could not renew its own in time does not judge those of
    /// others by what it missed.
    pub fn observe(&mut self, own: &Own, leases: &[Held], now: Instant) {
        if self.renewed.is_none_or(|renewed| renewed + own.lasts < now) {
            self.seen.clear();
        }
        self.seen.retain(|name, _| leases.iter().any(|lease| lease.name == *name));
        for lease in leases.iter().filter(|lease| lease.name != own.name) {
            let (revision, since) = self.seen.entry(lease.name.clone()).or_insert((lease.revision, now));
            if *revision != lease.revision {
                (*revision, *since) = (lease.revision, now);
            }
        }
    }

    /// What is to be done about Leases that were [observed](Self::observe).
    pub fn plan(&self, own: &Own, leases: &[Held], now: Instant) -> Plan {
        let mut plan = Plan { stay: vec![own.address], ..Plan::default() };
        for lease in leases.iter().filter(|lease| lease.name != own.name) {
            let end = self.seen.get(&lease.name).map_or(now, |(_, since)| *since) + lease.lasts;
            if end <= now {
                plan.remove.push(lease.clone());
            } else {
                plan.stay.push(lease.address);
                plan.next = Some(plan.next.map_or(end, |next| next.min(end)));
            }
        }
        plan
    }
}

/// Those of some addresses that are listed together: an EndpointSlice has one family of addresses and one port.
pub fn listed(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = addresses.into_iter().collect();
    addresses.sort_unstable();
    addresses.dedup();
    if let Some(first) = addresses.first().copied() {
        addresses.retain(|a| a.port() == first.port() && a.is_ipv4() == first.is_ipv4());
    }
    addresses
}

/// The address, unless no endpoint may have it, such as a loopback address: why not, then.
pub fn publishable(address: IpAddr) -> Result<IpAddr, Message> {
    let wrong = not_special_ip(&address.to_string());
    if wrong.is_empty() { Ok(address) } else { Err(message!("{address}: {}", wrong.join(", "))) }
}

/// What the Lease of a server at an address is called.
fn lease_name(address: SocketAddr) -> String {
    let digest = Sha256::digest(address.to_string());
    let hash: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("apiserver-{hash}")
}

/// Reads a Lease of a server; `None` for what no server can have written, whoever labelled it.
pub fn held(name: &str, revision: Revision, lease: &Value) -> Option<Held> {
    let address: SocketAddr = lease.str_at(&["spec", "holderIdentity"]).parse().ok()?;
    // Without an IPv6 zone, which endpoints have not either.
    let address = SocketAddr::new(publishable(address.ip()).ok()?, address.port());
    if name != lease_name(address) || address.port() == 0 {
        return None;
    }
    let seconds = lease.at(&["spec", "leaseDurationSeconds"]).and_then(Value::as_u64)?;
    let lasts = Duration::from_secs(seconds).min(LASTS_AT_MOST);
    Some(Held { name: name.to_owned(), revision, address, lasts })
}

#[cfg(test)]
mod tests;
