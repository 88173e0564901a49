//! Host ports: ports of the node that lead to pods, as iptables rules.
//!
//! The rules of all pods are rendered from the address table and replaced in one transaction,
//! so nothing of a pod that went away can stay behind. iptables is called only when a pod with
//! host ports comes or goes. Upstream: the `portmap` plugin of `containernetworking/plugins`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use machinery::iptables::{self, IptablesError, Jump};
use machinery::logging::chain;
use machinery::netfilter::{Connection, Netfilter, Protocol};

use super::CniError;
use super::PortMapping;
use super::allocation::{Holding, Table};

const PORTS: &str = "SKIFF-HOSTPORTS";
const MASQUERADE: &str = "SKIFF-HOSTPORTS-MASQ";

/// Where built-in chains lead into ours.
const JUMPS: [Jump; 3] = [
    jump("PREROUTING", "-m addrtype --dst-type LOCAL -j SKIFF-HOSTPORTS"),
    jump("OUTPUT", "-m addrtype --dst-type LOCAL -j SKIFF-HOSTPORTS"),
    jump("POSTROUTING", "-j SKIFF-HOSTPORTS-MASQ"),
];

const fn jump(from: &'static str, rule: &'static str) -> Jump {
    Jump { table: "nat", from, rule }
}

/// The input of `iptables-restore --noflush` that makes our chains say what the table says;
/// `jumps` are those missing.
fn render(table: &Table, jumps: &[Jump]) -> String {
    let mut text = format!("*nat\n:{PORTS} - [0:0]\n:{MASQUERADE} - [0:0]\n");
    let mut line = |args: std::fmt::Arguments| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "-A {args}");
    };
    for (key, holding) in &table.holdings {
        let ip = holding.ip;
        let id: String = key.chars().take(12).collect();
        for port in holding.ports.iter().filter(|port| port.host_port != 0) {
            let protocol = port.protocol.to_ascii_lowercase();
            let to = match port.on() {
                Ok(None) => String::new(),
                Ok(Some(address)) => format!("-d {address}/32 "),
                // Written by a version that took such ports; one of them must not break all others.
                Err(_) => continue,
            };
            line(format_args!(
                "{PORTS} {to}-p {protocol} -m comment --comment \"host port of {id}\" -m {protocol} \
                 --dport {} -j DNAT --to-destination {ip}:{}",
                port.host_port, port.container_port,
            ));
            // The pod itself and the node's loopback would get an answer from nowhere.
            for from in [format!("{ip}/32"), "127.0.0.0/8".to_owned()] {
                line(format_args!(
                    "{MASQUERADE} -s {from} -d {ip}/32 -p {protocol} -m {protocol} --dport {} -j MASQUERADE",
                    port.container_port,
                ));
            }
        }
    }
    for jump in jumps {
        line(format_args!("{} {}", jump.from, jump.rule));
    }
    text.push_str("COMMIT\n");
    text
}

/// Makes the node's rules those of the table.
pub fn apply(table: &Table, bridge: &str) -> Result<(), CniError> {
    let refused =
        |why: String| CniError::new(CniError::HOST_PORTS, "cannot write the rules of host ports", why);
    let failed = |error: IptablesError| refused(chain(&error));
    if table.has_ports() {
        // Lets 127.0.0.1:PORT leave through the bridge once it is translated.
        machinery::sysctl::set(&format!("ipv4/conf/{bridge}/route_localnet"), "1")
            .map_err(|error| refused(error.to_string()))?;
    }
    let missing = iptables::missing(&JUMPS).map_err(failed)?;
    iptables::restore(&render(table, &missing)).map_err(failed)
}

/// Has the kernel forget UDP connections to a holding's ports that began before its rules were
/// there (`locals` are the node's addresses) or that go to the holding itself, when it goes away:
/// a client that keeps its port would otherwise keep its destination.
pub fn forget_connections(holding: &Holding, locals: &[Ipv4Addr]) -> Result<(), CniError> {
    let is_udp = |port: &PortMapping| Protocol::parse(&port.protocol) == Some(Protocol::Udp);
    if !holding.ports.iter().any(is_udp) {
        return Ok(());
    }
    let failed = |source: std::io::Error| {
        CniError::new(CniError::HOST_PORTS, "cannot remove stale UDP connections", source)
    };
    let mut netfilter = Netfilter::open().map_err(failed)?;
    for connection in netfilter.connections(Protocol::Udp).map_err(failed)? {
        if holding.ports.iter().any(|port| is_udp(port) && is_stale(&connection, holding.ip, port, locals)) {
            netfilter.forget(&connection).map_err(failed)?;
        }
    }
    Ok(())
}

fn is_stale(connection: &Connection, ip: Ipv4Addr, port: &PortMapping, locals: &[Ipv4Addr]) -> bool {
    let untranslated = connection.answered_by == connection.to && locals.contains(&connection.to.0);
    let translated = connection.answered_by == (ip, port.container_port);
    connection.to.1 == port.host_port && (untranslated || translated)
}

#[cfg(test)]
mod tests;
