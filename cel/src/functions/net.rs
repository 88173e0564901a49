//! What Kubernetes adds for single texts: addresses, networks, URLs, quantities, versions, named formats.

use std::{cmp::Ordering, net::IpAddr, rc::Rc};

use api::quantity::Quantity;
use ipnet::IpNet;

use super::{semver, url::Url};
use crate::{
    library::FORMATS,
    value::{Evaluated, Failure, Opaque, Value},
};

pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    if let Some(format) = name.strip_prefix("format.")
        && args.is_empty()
    {
        let known = FORMATS.iter().find(|known| **known == format)?;
        return Some(Ok(opaque(Opaque::Format(known))));
    }
    let (Value::String(text), rest) = args.split_first()? else { return None };
    let lenient = match rest {
        [] => false,
        [Value::Bool(lenient)] if name.ends_with("emver") => *lenient,
        _ => return None,
    };
    Some(match name {
        "url" => Url::parse(text).map(|url| opaque(Opaque::Url(url))).ok_or_else(|| {
            Failure::error(format!(
                "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
            ))
        }),
        "isURL" => Ok(Value::Bool(Url::parse(text).is_some())),
        "ip" => ip(text).map(|ip| opaque(Opaque::Ip(ip))),
        "isIP" => Ok(Value::Bool(ip(text).is_ok())),
        "ip.isCanonical" => ip(text).map(|ip| Value::Bool(ip.to_string().as_str() == &**text)),
        "cidr" => cidr(text).map(|cidr| opaque(Opaque::Cidr(cidr))),
        "isCIDR" => Ok(Value::Bool(cidr(text).is_ok())),
        "quantity" => text
            .parse()
            .map(|quantity| opaque(Opaque::Quantity(quantity)))
            .map_err(|e: api::quantity::ParseError| Failure::error(e.to_string())),
        "isQuantity" => Ok(Value::Bool(text.parse::<Quantity>().is_ok())),
        "semver" => semver::Version::parse(text, lenient)
            .map(semver::value)
            .ok_or_else(|| Failure::error(format!("semver parse error: {text:?} is no semantic version"))),
        "isSemver" => Ok(Value::Bool(semver::Version::parse(text, lenient).is_some())),
        "format.named" => {
            let known = FORMATS.iter().find(|known| *known == &&**text);
            Ok(known.map_or(Value::Optional(None), |known| Value::some(opaque(Opaque::Format(known)))))
        }
        _ => return None,
    })
}

fn opaque<'a>(value: Opaque) -> Value<'a> {
    Value::Opaque(Rc::new(value))
}

fn ip(text: &str) -> Result<IpAddr, Failure> {
    let address: IpAddr = text.parse().map_err(|_| {
        Failure::error(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"))
    })?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(Failure::error(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        other => Ok(other),
    }
}

fn cidr(text: &str) -> Result<IpNet, Failure> {
    let net: IpNet = text.parse().map_err(|_| {
        Failure::error(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'"
        ))
    })?;
    match net {
        IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some() => {
            Err(Failure::error(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        other => Ok(other),
    }
}

pub(super) fn ip_call<'a>(ip: &IpAddr, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    if !args.is_empty() {
        return None;
    }
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    Some(Ok(match name {
        "family" => Value::Int(if ip.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Value::Bool(ip.is_unspecified()),
        "isLoopback" => Value::Bool(ip.is_loopback()),
        "isLinkLocalMulticast" => Value::Bool(link_local_multicast),
        "isLinkLocalUnicast" => Value::Bool(link_local),
        "isGlobalUnicast" => Value::Bool(
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local || broadcast),
        ),
        _ => return None,
    }))
}

pub(super) fn cidr_call<'a>(net: &IpNet, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let other = |value: &Value<'a>| -> Option<Result<IpNet, Failure>> {
        match value {
            Value::String(text) if name == "containsIP" => Some(ip(text).map(IpNet::from)),
            Value::String(text) => Some(cidr(text)),
            Value::Opaque(opaque) => match &**opaque {
                Opaque::Ip(ip) => Some(Ok(IpNet::from(*ip))),
                Opaque::Cidr(net) => Some(Ok(*net)),
                _ => None,
            },
            _ => None,
        }
    };
    Some(match (name, args) {
        ("containsIP" | "containsCIDR", [value]) => {
            other(value)?.map(|other| Value::Bool(net.trunc().contains(&other)))
        }
        ("ip", []) => Ok(opaque(Opaque::Ip(net.addr()))),
        ("masked", []) => Ok(opaque(Opaque::Cidr(net.trunc()))),
        ("prefixLength", []) => Ok(Value::Int(net.prefix_len().into())),
        _ => return None,
    })
}

pub(super) fn quantity_call<'a>(
    quantity: &Quantity,
    name: &str,
    args: &[Value<'a>],
) -> Option<Evaluated<'a>> {
    let other = match args {
        [] => Quantity::default(),
        [Value::Int(n)] if matches!(name, "add" | "sub") => Quantity::whole(*n),
        [Value::Opaque(other)] => match &**other {
            Opaque::Quantity(other) => *other,
            _ => return None,
        },
        _ => return None,
    };
    Some(Ok(match (name, args.len()) {
        ("sign", 0) => Value::Int(quantity.cmp(&Quantity::default()) as i64),
        ("isInteger", 0) => Value::Bool(quantity.is_whole()),
        ("asInteger", 0) if quantity.is_whole() => Value::Int(quantity.value()),
        ("asInteger", 0) => return Some(Err(Failure::error("cannot convert value to integer"))),
        ("asApproximateFloat", 0) => Value::Double(quantity.as_f64()),
        ("add", 1) => opaque(Opaque::Quantity(*quantity + other)),
        ("sub", 1) => opaque(Opaque::Quantity(*quantity - other)),
        ("isGreaterThan", 1) => Value::Bool(quantity.cmp(&other) == Ordering::Greater),
        ("isLessThan", 1) => Value::Bool(quantity.cmp(&other) == Ordering::Less),
        ("compareTo", 1) => Value::Int(quantity.cmp(&other) as i64),
        _ => return None,
    }))
}
