//! The ranges that addresses of services are drawn from: the one on the command line, which the ServiceCIDR
//! `kubernetes` shows, and those of all other ServiceCIDRs that are ready.
//!
//! Counterpart of upstream's `MetaAllocator` (KEP-1880).

use std::net::Ipv4Addr;

use api::{conditions, object::ObjectExt as _};
use ipnet::Ipv4Net;
use rand::RngExt as _;
use serde_json::Value;

use crate::{context::Ctx, forms::value, resources::SERVICE_CIDRS, watch_cache::Scope};

/// The ServiceCIDR of the command line's range.
const DEFAULT: &str = "kubernetes";

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range(pub Ipv4Net);

impl Range {
    /// Whether a service can have the address.
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        self.0.contains(&ip) && ip != self.0.network() && ip != self.0.broadcast()
    }

    /// Addresses up to this offset are left to those who ask for one by hand (KEP-3070).
    fn static_band(self) -> u32 {
        let size = self.size();
        (size / 16).clamp(16, 256).min(size / 2)
    }

    fn size(self) -> u32 {
        u32::from(self.0.broadcast()) - u32::from(self.0.network())
    }

    fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0.network()) + offset)
    }

    /// An address by chance.
    pub fn random(self) -> Ipv4Addr {
        let (low, high) = (self.static_band().max(1), self.size().max(2));
        self.at(if low < high { rand::rng().random_range(low..high) } else { 1 })
    }

    /// All addresses, those that are kept for requests by hand last.
    pub fn all(self) -> impl Iterator<Item = Ipv4Addr> {
        let band = self.static_band();
        (band..self.size()).chain(1..band).map(move |offset| self.at(offset))
    }
}

/// The ranges that a service may draw from now, that of the command line first.
pub fn ready(ctx: &Ctx) -> Vec<Range> {
    let own = ctx.api.config.ranges.addresses;
    let known = ctx.api.objects(SERVICE_CIDRS);
    // Before the cluster's first objects are there, the range of the command line is ready.
    let mut ranges: Vec<Range> = known.get(DEFAULT).is_none().then_some(Range(own)).into_iter().collect();
    for object in known.scan(&Scope::All, None) {
        let Ok(object) = value(object) else { continue };
        if object.is_deleting() || !(conditions::holds(&object, "Ready") || object.name() == DEFAULT) {
            continue;
        }
        let nets = object.at(&["spec", "cidrs"]).and_then(Value::as_array);
        let nets = nets.into_iter().flatten().filter_map(|net| net.as_str()?.parse::<Ipv4Net>().ok());
        ranges.extend(nets.map(|net| Range(net.trunc())));
    }
    ranges.sort_by_key(|range| range.0 != own);
    ranges
}
