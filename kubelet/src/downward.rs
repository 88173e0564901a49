//! What a pod may learn about itself: its fields and its resources, as variables and as files.
//! Corresponds to upstream's `fieldpath` and `api/v1/resource/helpers.go`.

use std::collections::BTreeMap;

use api::{Message, message, quantity::Quantity};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::pod_spec;

/// What pods may learn of their node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeFacts {
    /// Its addresses.
    pub host_ips: Vec<String>,
    /// What pods may use of it, by resource.
    pub allocatable: BTreeMap<String, Wire>,
}

/// One field as text.
pub fn field(pod: &Pod, pod_ips: &[String], node: &NodeFacts, path: &str) -> Result<String, Message> {
    let spec = pod_spec::spec(pod);
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    if let Some((list, key)) = subscript(path) {
        let map = match list {
            "metadata.labels" => &pod.metadata.labels,
            "metadata.annotations" => &pod.metadata.annotations,
            _ => return Err(message!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod_spec::name(pod).to_owned(),
        "metadata.namespace" => pod_spec::namespace(pod).to_owned(),
        "metadata.uid" => pod_spec::uid(pod).to_owned(),
        "metadata.labels" => map_as_text(pod.metadata.labels.as_ref()),
        "metadata.annotations" => map_as_text(pod.metadata.annotations.as_ref()),
        "spec.nodeName" => spec.node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => spec.service_account_name.clone().unwrap_or_default(),
        "status.hostIP" => first(&node.host_ips),
        "status.hostIPs" => node.host_ips.join(","),
        "status.podIP" => first(pod_ips),
        "status.podIPs" => pod_ips.join(","),
        _ => return Err(message!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['key']` in its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (list, rest) = path.split_once("['")?;
    Some((list, rest.strip_suffix("']")?))
}

/// A map as lines of `key="value"`.
fn map_as_text(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> =
        map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// A text in quotation marks, as Go's `%q` writes it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\0'..='\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            // Marks that join the letter before them can be printed behind one.
            _ if String::from_iter(['a', c]).escape_debug().count() == 2 => out.push(c),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out + "\""
}

/// One resource of a container in units of `divisor`, rounded up. A container without a limit may use
/// all that the node gives to pods.
pub fn resource(
    container: &Container,
    node: &NodeFacts,
    path: &str,
    divisor: Option<&Wire>,
) -> Result<String, Message> {
    let unsupported = || format!("unsupported container resource : {path}");
    let (list, name) = path.split_once('.').ok_or_else(unsupported)?;
    let of_node = || node.allocatable.get(name).map(Quantity::of);
    let amount = match list {
        "limits" => pod_spec::limit(container, name).or_else(of_node),
        "requests" => {
            let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
            requests.and_then(|r| r.get(name)).map(Quantity::of)
        }
        _ => return Err(unsupported().into()),
    };
    let amount = amount.unwrap_or_default();
    let divisor = divisor.map(Quantity::of).filter(|d| !d.is_zero()).unwrap_or_else(|| Quantity::whole(1));
    let (amount, divisor) = match name {
        "cpu" => (amount.milli_value(), divisor.milli_value()),
        _ => (amount.value(), divisor.value()),
    };
    let divisor = divisor.max(1);
    Ok((amount.div_euclid(divisor) + i64::from(amount.rem_euclid(divisor) > 0)).to_string())
}

#[cfg(test)]
mod tests;
