//! From service ports to iptables chains.
//!
//! Pure, whole and in one order: the same snapshot gives the same text. The layout, the names and
//! the comments are kube-proxy's, so that what people know about debugging it holds; the words
//! around the rules below say what each chain is for. Upstream: `pkg/proxy/iptables/proxier.go`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::endpoints::{Choice, choose};
use crate::names;
use crate::ruleset::{CANARY, Ruleset, Table};
use crate::services::{Endpoint, ServicePort};

/// What of the node and of the flags goes into the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// This node's name.
    pub node: String,
    /// This node's address.
    pub node_ip: Option<Ipv4Addr>,
    /// Where pods live: who is not in there is masqueraded.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Masquerade everything that goes to services.
    pub masquerade_all: bool,
    /// The kernel has the counters that some rules feed.
    pub counters: bool,
    /// Packets that connection tracking takes for invalid are let through.
    pub liberal_tcp: bool,
}

/// Counts packets dropped as invalid.
pub const INVALID_COUNTER: &str = "ct_state_invalid_dropped_pkts";
/// Counts packets to a NodePort on 127.0.0.1.
pub const LOCALHOST_COUNTER: &str = "localhost_nps_accepted_pkts";

const MARK: &str = "0x4000";

/// Renders all chains.
pub fn render(ports: &[ServicePort], zone: Option<&str>, rules: &Rules) -> Ruleset {
    let mut set = Ruleset::default();
    for table in Table::ALL {
        set.chain(table, CANARY);
    }
    fixed_chains(&mut set, rules);
    for port in ports {
        let choice = choose(port, &rules.node, zone);
        Renderer { set: &mut set, rules, port, choice: &choice }.port();
    }
    set.chain(Table::Nat, "KUBE-SERVICES").push(
        "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this \
         chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
            .to_owned(),
    );
    set
}

/// Chains that do not depend on services.
fn fixed_chains(set: &mut Ruleset, rules: &Rules) {
    for chain in ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"] {
        set.chain(Table::Filter, chain);
    }
    set.chain(Table::Nat, "KUBE-NODEPORTS");
    // NodePorts on 127.0.0.1 need route_localnet, which would let neighbours on the network
    // reach what listens on this node's loopback.
    set.chain(Table::Filter, "KUBE-FIREWALL").push(
        "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" \
         -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
            .to_owned(),
    );
    let forward = set.chain(Table::Filter, "KUBE-FORWARD");
    if !rules.liberal_tcp {
        // An invalid packet is not translated back; the peer would answer it with a reset.
        let counter = if rules.counters {
            format!("-m nfacct --nfacct-name {INVALID_COUNTER} ")
        } else {
            String::new()
        };
        forward.push(format!("-m conntrack --ctstate INVALID {counter}-j DROP"));
    }
    forward.push(format!(
        "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark {MARK}/{MARK} -j ACCEPT"
    ));
    forward.push(
        "-m comment --comment \"kubernetes forwarding conntrack rule\" \
         -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
            .to_owned(),
    );
    set.chain(Table::Nat, "KUBE-MARK-MASQ").push(format!("-j MARK --set-xmark {MARK}/{MARK}"));
    set.chain(Table::Nat, "KUBE-POSTROUTING").extend([
        format!("-m mark ! --mark {MARK}/{MARK} -j RETURN"),
        // The mark is taken off: a packet in a tunnel passes here a second time.
        format!("-j MARK --set-xmark {MARK}/0x0"),
        "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully"
            .to_owned(),
    ]);
}

struct Renderer<'a> {
    set: &'a mut Ruleset,
    rules: &'a Rules,
    port: &'a ServicePort,
    choice: &'a Choice<'a>,
}

impl Renderer<'_> {
    fn nat(&mut self, chain: &str, rule: String) {
        self.set.chain(Table::Nat, chain).push(rule);
    }

    fn filter(&mut self, chain: &str, rule: String) {
        self.set.chain(Table::Filter, chain).push(rule);
    }

    /// The matches for packets to this port: `-d ADDRESS -p tcp … --dport PORT`.
    fn to(&self, address: Option<Ipv4Addr>, port: u16, comment: &str, more: &str) -> String {
        let protocol = self.port.protocol.name();
        let address = address.map(|ip| format!("-d {ip}/32 ")).unwrap_or_default();
        let name = &self.port.name;
        format!(
            "{address}-p {protocol} -m comment --comment \"{name}{comment}\" {more}-m {protocol} --dport {port}"
        )
    }

    fn port(&mut self) {
        let port = self.port;
        let (name, protocol) = (&port.name, port.protocol);
        let cluster = names::cluster(name, protocol);
        let local = names::local(name, protocol);
        let external = names::external(name, protocol);
        let inside = !self.choice.under(port.internal_local).is_empty();
        let outside = !self.choice.under(port.external_local).is_empty();

        // The cluster IP.
        let internal = if port.internal_local { &local } else { &cluster };
        if inside {
            let to = self.to(Some(port.cluster_ip), port.port, " cluster IP", "");
            self.nat("KUBE-SERVICES", format!("{to} -j {internal}"));
            if self.rules.masquerade_all {
                self.nat(internal, format!("{to} -j KUBE-MARK-MASQ"));
            } else if let Some(pods) = self.rules.cluster_cidr {
                self.nat(internal, format!("! -s {pods} {to} -j KUBE-MARK-MASQ"));
            }
        } else {
            let refuse = self.refuse(Some(port.cluster_ip), port.port, "");
            self.filter("KUBE-SERVICES", refuse);
        }

        self.entries_from_outside(&external, outside);
        if port.externally_accessible() && self.choice.any {
            self.external_chain(&external, &cluster, &local, outside);
        }
        if port.uses_cluster_endpoints() && !self.choice.cluster.is_empty() {
            self.balance(&cluster, &self.choice.cluster);
        }
        if port.uses_local_endpoints() && !self.choice.local.is_empty() {
            self.balance(&local, &self.choice.local);
        }
        for endpoint in &self.choice.all {
            self.endpoint(endpoint);
        }
    }

    /// The rule for an address that cannot be served: refused when nobody could, dropped (so that
    /// a load balancer tries another node) when only this node cannot.
    fn refuse(&self, address: Option<Ipv4Addr>, port: u16, more: &str) -> String {
        if self.choice.any {
            format!("{} -j DROP", self.to(address, port, " has no local endpoints", more))
        } else {
            let to = self.to(address, port, " has no endpoints", more);
            format!("{to} -j REJECT --reject-with icmp-port-unreachable")
        }
    }

    /// External addresses, load balancer addresses, the node port and the health check port.
    fn entries_from_outside(&mut self, external: &str, served: bool) {
        let port = self.port;
        for ip in &port.external_ips {
            if self.choice.any {
                let to = self.to(Some(*ip), port.port, " external IP", "");
                self.nat("KUBE-SERVICES", format!("{to} -j {external}"));
            }
            if !served {
                let refuse = self.refuse(Some(*ip), port.port, "");
                self.filter("KUBE-EXTERNAL-SERVICES", refuse);
            }
        }
        let firewall = names::firewall(&port.name, port.protocol);
        let guarded = self.choice.any && !port.load_balancer_ips.is_empty() && !port.source_ranges.is_empty();
        for ip in &port.load_balancer_ips {
            if self.choice.any {
                let to = self.to(Some(*ip), port.port, " loadbalancer IP", "");
                let target = if guarded { &firewall } else { external };
                self.nat("KUBE-SERVICES", format!("{to} -j {target}"));
            }
            if guarded {
                let comment = format!(" traffic not accepted by {firewall}");
                let drop = format!("{} -j DROP", self.to(Some(*ip), port.port, &comment, ""));
                self.filter("KUBE-PROXY-FIREWALL", drop);
            }
            if !served {
                let refuse = self.refuse(Some(*ip), port.port, "");
                self.filter("KUBE-EXTERNAL-SERVICES", refuse);
            }
        }
        if guarded {
            self.firewall_chain(&firewall, external);
        }
        if let Some(node_port) = port.node_port {
            if self.choice.any {
                let to = self.to(None, node_port, "", "");
                if self.rules.counters {
                    let counted = format!(
                        "-d 127.0.0.0/8 {to} -m nfacct --nfacct-name {LOCALHOST_COUNTER} -j {external}"
                    );
                    self.nat("KUBE-NODEPORTS", counted);
                }
                self.nat("KUBE-NODEPORTS", format!("{to} -j {external}"));
            }
            if !served {
                let refuse = self.refuse(None, node_port, "-m addrtype --dst-type LOCAL ");
                self.filter("KUBE-EXTERNAL-SERVICES", refuse);
            }
        }
        if let Some(health_check_port) = port.health_check_port {
            // It answers for the service, so for TCP whatever the port's own protocol.
            let rule = format!(
                "-p tcp -m comment --comment \"{} health check node port\" -m tcp --dport {health_check_port} \
                 -j ACCEPT",
                port.name,
            );
            self.filter("KUBE-NODEPORTS", rule);
        }
    }

    /// Lets the source ranges through; what falls off the end is dropped by KUBE-PROXY-FIREWALL.
    fn firewall_chain(&mut self, firewall: &str, external: &str) {
        let (port, name) = (self.port, &self.port.name);
        let from = |range: &dyn std::fmt::Display| {
            format!("-s {range} -m comment --comment \"{name} loadbalancer IP\" -j {external}")
        };
        for range in &port.source_ranges {
            self.nat(firewall, from(range));
        }
        // Where the load balancer's address is one of the node's own, the node calls with that.
        let node_allowed =
            self.rules.node_ip.is_some_and(|ip| port.source_ranges.iter().any(|range| range.contains(&ip)));
        if node_allowed {
            for ip in &port.load_balancer_ips {
                self.nat(firewall, from(&Ipv4Net::from(*ip)));
            }
        }
        self.nat(
            firewall,
            format!(
                "-m comment --comment \"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL\""
            ),
        );
    }

    /// Traffic from outside: masqueraded when it may leave this node again, so that answers come
    /// back this way; with its own address when it stays.
    fn external_chain(&mut self, external: &str, cluster: &str, local: &str, served: bool) {
        let name = &self.port.name;
        if !self.port.external_local {
            self.nat(
                external,
                format!(
                    "-m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ"
                ),
            );
        } else {
            // Pods and the node itself are inside: for them the policy is not meant.
            if let Some(pods) = self.rules.cluster_cidr {
                self.nat(
                    external,
                    format!(
                        "-s {pods} -m comment --comment \"pod traffic for {name} external destinations\" -j {cluster}"
                    ),
                );
            }
            for (what, target) in [("masquerade", "KUBE-MARK-MASQ"), ("route", cluster)] {
                self.nat(
                    external,
                    format!(
                        "-m comment --comment \"{what} LOCAL traffic for {name} external destinations\" \
                         -m addrtype --src-type LOCAL -j {target}"
                    ),
                );
            }
        }
        if served {
            let target = if self.port.external_local { local } else { cluster };
            self.nat(external, format!("-j {target}"));
        }
    }

    /// Spreads a chain's traffic over endpoints: who was here before goes where they went.
    fn balance(&mut self, chain: &str, endpoints: &[&Endpoint]) {
        let (name, protocol) = (&self.port.name, self.port.protocol);
        let targets: Vec<(String, String)> = endpoints
            .iter()
            .map(|endpoint| {
                let address = endpoint.address();
                let target = names::endpoint(name, protocol, &address);
                (format!("-m comment --comment \"{name} -> {address}\""), target)
            })
            .collect();
        if let Some(seconds) = self.port.affinity {
            for (comment, target) in &targets {
                self.nat(
                    chain,
                    format!(
                        "{comment} -m recent --rcheck --seconds {seconds} --reap --name {target} \
                         --mask 255.255.255.255 --rsource -j {target}"
                    ),
                );
            }
        }
        let count = targets.len();
        for (n, (comment, target)) in targets.iter().enumerate() {
            let rule = match count - n {
                1 => format!("{comment} -j {target}"),
                left => format!(
                    "{comment} -m statistic --mode random --probability {} -j {target}",
                    probability(left)
                ),
            };
            self.nat(chain, rule);
        }
    }

    /// One endpoint's own chain.
    fn endpoint(&mut self, endpoint: &Endpoint) {
        let (name, protocol) = (&self.port.name, self.port.protocol.name());
        let address = endpoint.address();
        let chain = names::endpoint(name, self.port.protocol, &address);
        let comment = format!("-m comment --comment \"{name}\"");
        // A pod that reaches itself through a service must not see its own address as the caller.
        self.nat(&chain, format!("-s {}/32 {comment} -j KUBE-MARK-MASQ", endpoint.ip));
        let remember = match self.port.affinity {
            Some(_) => format!("-m recent --set --name {chain} --mask 255.255.255.255 --rsource "),
            None => String::new(),
        };
        self.nat(
            &chain,
            format!("-p {protocol} {comment} {remember}-m {protocol} -j DNAT --to-destination {address}"),
        );
    }
}

/// One in `left`, as the kernel keeps it (in steps of 2⁻³¹) and iptables prints it.
fn probability(left: usize) -> String {
    let steps = (f64::from(1u32 << 31) / left as f64).round();
    format!("{:.11}", steps / f64::from(1u32 << 31))
}
