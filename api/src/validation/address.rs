//! The forms of IP addresses and of ranges of them.
//!
//! What programs read differently is refused: leading zeros, which many take for octal, IPv4 addresses mapped into IPv6,
//! and ranges with bits behind their prefix. So whoever parses an address that was validated has it in the one form in
//! which it can be compared. Counterpart of upstream's `util/validation/ip.go`, strict as since v1.36.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::address::{Special, special};
use crate::field::Path;

/// What is wrong with an IP address.
pub fn ip(text: &str) -> Vec<String> {
    let why = match (loose_ip(text), text.parse::<IpAddr>()) {
        (None, _) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        (_, Err(_)) => "must not have leading 0s",
        (_, Ok(address)) if is_mapped(address) => "must not be an IPv4-mapped IPv6 address",
        _ => return Vec::new(),
    };
    vec![why.into()]
}

/// What is wrong with an IP address that must be written in its shortest form.
pub fn canonical_ip(text: &str) -> Vec<String> {
    canonical(text, ip(text), loose_ip(text).map(|address| address.to_string()))
}

/// What is wrong with an address range such as `10.0.0.0/8`.
pub fn cidr(text: &str) -> Vec<String> {
    let why = match loose_cidr(text) {
        None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        Some(read) if read.has_zeros => "must not have leading 0s in IP or prefix length",
        Some(read) if is_mapped(read.range.addr()) => "must not have an IPv4-mapped IPv6 address",
        Some(read) if read.range.trunc() != read.range => "must not have bits set beyond the prefix length",
        _ => return Vec::new(),
    };
    vec![why.into()]
}

/// What is wrong with an address range that must be written in its shortest form.
pub fn canonical_cidr(text: &str) -> Vec<String> {
    canonical(text, cidr(text), range(text).map(|range| range.to_string()))
}

fn canonical(text: &str, wrong: Vec<String>, canonical: Option<String>) -> Vec<String> {
    match canonical.filter(|canonical| wrong.is_empty() && canonical != text) {
        Some(canonical) => vec![format!("must be in canonical form ({canonical:?})")],
        None => wrong,
    }
}

/// What an address is that stands for one machine of the network, as endpoints must, besides.
pub fn not_special_ip(text: &str) -> Vec<String> {
    let Some(address) = loose_ip(text) else { return vec!["must be a valid IP address".into()] };
    // What else is special about addresses upstream lets pass.
    let wrong = match special(address) {
        Some(Special::Unspecified) => format!("may not be unspecified ({text})"),
        Some(Special::Loopback) => "may not be in the loopback range (127.0.0.0/8, ::1/128)".into(),
        Some(Special::LinkLocal) => "may not be in the link-local range (169.254.0.0/16, fe80::/10)".into(),
        Some(Special::LinkLocalMulticast) => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".into()
        }
        Some(Special::Multicast | Special::Broadcast) | None => return Vec::new(),
    };
    vec![wrong]
}

/// What is unwise about the form of an address that is taken all the same.
pub fn ip_warning(text: &str, at: &Path) -> Option<String> {
    let address = loose_ip(text)?;
    let canonical = address.to_canonical().to_string();
    if !ip(text).is_empty() {
        return Some(format!("{at}: non-standard IP address {text:?} is invalid: use {canonical:?}"));
    }
    let is_other = address.is_ipv6() && canonical != text;
    is_other.then(|| {
        format!("{at}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}

/// What is unwise about the form of a range that is taken.
pub fn cidr_warning(text: &str, at: &Path) -> Option<String> {
    let range = range(text).filter(|range| range.addr().is_ipv6() && cidr(text).is_empty())?;
    let canonical = range.to_string();
    (canonical != text).then(|| {
        format!("{at}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({canonical:?})")
    })
}

/// The range that a text means, be it well written or not, without bits behind its prefix.
pub fn range(text: &str) -> Option<IpNet> {
    let range = loose_cidr(text)?.range.trunc();
    // One of mapped addresses is one of those that are mapped.
    let inner = range.prefix_len().checked_sub(96).filter(|_| is_mapped(range.addr()));
    let inner = inner.and_then(|prefix| IpNet::new(range.addr().to_canonical(), prefix).ok());
    Some(inner.unwrap_or(range))
}

/// The longest text that may mean an address: the longest one has 45 bytes, and a few zeros may be too many.
const LONGEST: usize = 64;

/// The address that a text means, be it well written or not: leading zeros are passed over, as Go did for long, if there are
/// not very many of them.
pub fn loose_ip(text: &str) -> Option<IpAddr> {
    if text.len() > LONGEST {
        return None;
    }
    text.parse().ok().or_else(|| without_zeros(text)?.parse().ok())
}

/// An address without the zeros before its numbers, if it has no more than those in excess.
fn without_zeros(text: &str) -> Option<String> {
    let short = |number: &str| -> Option<String> {
        let short = number.trim_start_matches('0');
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_hexdigit());
        is_number.then(|| if short.is_empty() { "0".to_owned() } else { short.to_owned() })
    };
    let quad = |text: &str| -> Option<String> {
        Some(text.split('.').map(short).collect::<Option<Vec<_>>>()?.join("."))
    };
    let Some((groups, last)) = text.rsplit_once(':') else { return quad(text) };
    // Two colons have nothing between them.
    let group = |group: &str| if group.is_empty() { Some(String::new()) } else { short(group) };
    let groups = groups.split(':').map(group).collect::<Option<Vec<_>>>()?.join(":");
    let last = if last.contains('.') { quad(last)? } else { group(last)? };
    Some(format!("{groups}:{last}"))
}

struct Read {
    /// With the bits behind its prefix.
    range: IpNet,
    has_zeros: bool,
}

fn loose_cidr(text: &str) -> Option<Read> {
    let (address, prefix) = text.split_once('/')?;
    if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let has_zeros = address.parse::<IpAddr>().is_err() || (prefix.len() > 1 && prefix.starts_with('0'));
    let range = IpNet::new(loose_ip(address)?, prefix.parse().ok()?).ok()?;
    Some(Read { range, has_zeros })
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if Ipv6Addr::to_ipv4_mapped(&v6).is_some())
}

#[cfg(test)]
mod tests;
