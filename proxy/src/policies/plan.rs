//! From NetworkPolicies to the chains of this node. Pure.
//!
//! A connection is asked about twice: whether the policies of the pod that makes it let it go, and whether those of the
//! pod that answers let it come, each on that pod's node. The rules look at what connection tracking knows of the
//! connection, not at the packet. So the caller is the real one, however it is masqueraded, the one who answers is the
//! pod behind a service's address, answers get the verdict of what they answer, and a change of policies holds for
//! connections that stand as well. What the node itself sends is not forwarded, so nothing here is about it; nor about
//! pods on the node's network, which have no address of their own. Upstream: the comments in `networking/v1`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::pod::{is_finished, lasting_containers};
use api::selector::LabelSelector;
use api::validation::range;
use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::PartialObjectMeta;

use super::table::{Chain, Set, Table};
use crate::names::hashed;

/// The cluster's state as far as policies are concerned.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The node whose pods are looked after.
    pub node: String,
    /// The range of its pods' addresses.
    pub pod_range: Option<Ipv4Net>,
    /// All policies.
    pub policies: Vec<Arc<NetworkPolicy>>,
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All namespaces.
    pub namespaces: Vec<Arc<PartialObjectMeta<Namespace>>>,
}

const CALLER: &str = "ct original ip saddr";
const ANSWERER: &str = "ct reply ip saddr";

/// Traffic to pods or from pods, as rules see it.
struct Direction {
    name: &'static str,
    /// The type that says so in a policy.
    policy_type: &'static str,
    /// The pod that policies are about.
    pod: &'static str,
    /// Whom it talks to.
    peer: &'static str,
    /// The pod in a packet that belongs to no connection.
    untracked: &'static str,
    /// What leads packets here. What leaves a pod is asked about before what arrives at one.
    hook: &'static str,
}

const DIRECTIONS: [Direction; 2] = [
    Direction {
        name: "ingress",
        policy_type: "Ingress",
        pod: ANSWERER,
        peer: CALLER,
        untracked: "ip daddr",
        hook: " { type filter hook forward priority -149; }",
    },
    Direction {
        name: "egress",
        policy_type: "Egress",
        pod: CALLER,
        peer: ANSWERER,
        untracked: "ip saddr",
        hook: " { type filter hook forward priority -150; }",
    },
];

type Labels = BTreeMap<String, String>;

/// A pod with a network of its own that has not ended.
struct Netted<'a> {
    name: String,
    labels: &'a Labels,
    /// None as long as it has none, or is of another family.
    ip: Option<Ipv4Addr>,
    here: bool,
    pod: &'a Pod,
}

/// The table for a snapshot.
pub fn plan(snapshot: &Snapshot) -> Table {
    let mut planner = Planner::new(snapshot);
    for policy in &snapshot.policies {
        planner.policy(policy);
    }
    planner.finish(snapshot)
}

struct Planner<'a> {
    pods: BTreeMap<&'a str, Vec<Netted<'a>>>,
    namespaces: BTreeMap<&'a str, &'a Labels>,
    table: Table,
    /// For each direction the isolated pods of this node, and the chains of their policies.
    isolated: [BTreeMap<Ipv4Addr, (String, Vec<String>)>; 2],
    /// Some isolated pod of this node has no address yet.
    awaited: bool,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot) -> Planner<'a> {
        static NO_LABELS: Labels = Labels::new();
        let mut pods: BTreeMap<&str, Vec<Netted>> = BTreeMap::new();
        for pod in &snapshot.pods {
            let Some(spec) = &pod.spec else { continue };
            if spec.host_network == Some(true) || is_finished(pod) {
                continue;
            }
            let of = &pod.metadata;
            let namespace = of.namespace.as_deref().unwrap_or_default();
            let ips = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
            pods.entry(namespace).or_default().push(Netted {
                name: format!("{namespace}/{}", of.name.as_deref().unwrap_or_default()),
                labels: of.labels.as_ref().unwrap_or(&NO_LABELS),
                ip: ips.filter_map(|ip| ip.ip.parse().ok()).next(),
                here: spec.node_name.as_ref() == Some(&snapshot.node),
                pod,
            });
        }
        let namespaces = snapshot.namespaces.iter().filter_map(|namespace| {
            let of = &namespace.metadata;
            Some((of.name.as_deref()?, of.labels.as_ref().unwrap_or(&NO_LABELS)))
        });
        Planner {
            pods,
            namespaces: namespaces.collect(),
            table: Table::default(),
            isolated: Default::default(),
            awaited: false,
        }
    }

    /// A policy that selects pods of this node makes a chain for each direction that it is about.
    fn policy(&mut self, policy: &NetworkPolicy) {
        let (Some(spec), Some(namespace)) = (&policy.spec, &policy.metadata.namespace) else { return };
        let wanted = selector(spec.pod_selector.as_ref().unwrap_or(&meta::LabelSelector::default()));
        let here = self.pods.get(namespace.as_str()).into_iter().flatten();
        let here: Vec<_> = here
            .filter(|pod| pod.here && wanted.matches(pod.labels))
            .map(|pod| (pod.ip, pod.name.clone()))
            .collect();
        if here.is_empty() {
            return;
        }
        let name = format!("{namespace}/{}", policy.metadata.name.as_deref().unwrap_or_default());
        for (n, direction) in DIRECTIONS.iter().enumerate() {
            if !spec.policy_types.iter().flatten().any(|of| of == direction.policy_type) {
                continue;
            }
            let chain = chain_name(direction, &name);
            for (ip, pod) in &here {
                match ip {
                    Some(ip) => {
                        let entry = self.isolated[n].entry(*ip).or_insert_with(|| (pod.clone(), Vec::new()));
                        entry.1.push(chain.clone());
                    }
                    None => self.awaited = true,
                }
            }
            let mut rules = Vec::new();
            for (peers, ports) in allowed(spec, direction) {
                let ports = self.ports(ports);
                for peer in self.peers(namespace, direction, peers) {
                    rules.extend(ports.iter().map(|port| format!("{peer}{port}accept")));
                }
            }
            self.table.chains.insert(chain, Chain { hook: "", rules });
        }
    }

    /// Matches for each of the peers; one for everybody when none is named.
    fn peers(&mut self, namespace: &str, direction: &Direction, peers: &[NetworkPolicyPeer]) -> Vec<String> {
        if peers.is_empty() {
            return vec![String::new()];
        }
        let mut matches = Vec::new();
        for peer in peers {
            matches.extend(match &peer.ip_block {
                Some(block) => addresses(direction, block),
                None => Some(format!("{} @{} ", direction.peer, self.pods_like(namespace, peer))),
            });
        }
        matches
    }

    /// The set of the pods that a peer selects.
    fn pods_like(&mut self, namespace: &str, peer: &NetworkPolicyPeer) -> String {
        let pods = peer.pod_selector.as_ref().map_or_else(LabelSelector::everything, selector);
        let namespaces = peer.namespace_selector.as_ref().map(selector);
        let scope = match &namespaces {
            Some(selector) => format!("in namespaces {selector:?}"),
            None => format!("in namespace {namespace}"),
        };
        let name = hashed("pods-", &[&format!("{pods:?}"), &scope]);
        if !self.table.sets.contains_key(&name) {
            let spaces = self.pods.iter().filter(|(name, _)| match &namespaces {
                Some(selector) => self.namespaces.get(*name).is_some_and(|labels| selector.matches(*labels)),
                None => **name == namespace,
            });
            let found = spaces.flat_map(|(_, found)| found).filter(|pod| pods.matches(pod.labels));
            let elements = found.filter_map(|pod| Some(pod.ip?.to_string())).collect();
            self.table.sets.insert(name.clone(), Set { kind: ("set", "type ipv4_addr"), elements });
        }
        name
    }

    /// Matches for each of the ports; one for every port and protocol when none is named.
    fn ports(&mut self, ports: &[NetworkPolicyPort]) -> Vec<String> {
        if ports.is_empty() {
            return vec![String::new()];
        }
        let matched = |port: &NetworkPolicyPort| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
            let number = match (&port.port, port.end_port) {
                (None, _) => String::new(),
                (Some(IntOrString::Int(first)), None) => format!("ct reply proto-src {first} "),
                (Some(IntOrString::Int(first)), Some(last)) => format!("ct reply proto-src {first}-{last} "),
                (Some(IntOrString::String(name)), _) => {
                    format!("{ANSWERER} . ct reply proto-src @{} ", self.ports_called(&protocol, name))
                }
            };
            format!("ct original protocol {protocol} {number}")
        };
        ports.iter().map(matched).collect()
    }

    /// The set of the addresses and ports that pods have given a name.
    fn ports_called(&mut self, protocol: &str, name: &str) -> String {
        let set = format!("port-{protocol}/{name}");
        if !self.table.sets.contains_key(&set) {
            let mut elements = BTreeSet::new();
            for pod in self.pods.values().flatten() {
                let containers = pod.pod.spec.iter().flat_map(lasting_containers);
                let ports = containers.flat_map(|container| container.ports.iter().flatten());
                let called = ports.filter(|port| {
                    let its = port.protocol.as_deref().unwrap_or("TCP");
                    port.name.as_deref() == Some(name) && its.eq_ignore_ascii_case(protocol)
                });
                elements
                    .extend(called.filter_map(|port| Some(format!("{} . {}", pod.ip?, port.container_port))));
            }
            self.table
                .sets
                .insert(set.clone(), Set { kind: ("set", "type ipv4_addr . inet_service"), elements });
        }
        set
    }

    /// The way into the policies' chains.
    fn finish(self, snapshot: &Snapshot) -> Table {
        let Planner { pods, mut table, isolated, awaited, .. } = self;
        if !awaited && isolated.iter().all(BTreeMap::is_empty) {
            return Table::default();
        }
        let mut chain = |name: String, hook, rules| table.chains.insert(name, Chain { hook, rules });
        // Whoever is cut off in the middle of a conversation is told.
        let reset = "ct state established meta l4proto tcp reject with tcp reset";
        chain("forbidden".into(), "", vec![reset.into(), "drop".into()]);
        for (direction, isolated) in DIRECTIONS.iter().zip(isolated) {
            let Direction { name, pod, peer, untracked, hook, .. } = direction;
            let mut elements = BTreeSet::new();
            for (ip, (pod, policies)) in isolated {
                let itself = format!("{peer} {ip} accept comment \"{:.100} itself\"", pod);
                let policies = policies.iter().map(|policy| format!("jump {policy}"));
                let rules = std::iter::once(itself).chain(policies).chain(["goto forbidden".into()]);
                chain(format!("{name}-{ip}"), "", rules.collect());
                elements.insert(format!("{ip} : goto {name}-{ip}"));
            }
            // A pod is isolated before it starts, though its address is told a moment later: until then those
            // that may be its own have no connections.
            let unknown = snapshot.pod_range.filter(|_| awaited);
            let unknown = unknown.map(|range| format!("{pod} {range} {pod} != @known drop"));
            let verdicts = [
                format!("ct state invalid,untracked {untracked} vmap @isolated-{name}"),
                format!("{pod} vmap @isolated-{name}"),
            ];
            chain(format!("check-{name}"), hook, unknown.into_iter().chain(verdicts).collect());
            let kind = ("map", "type ipv4_addr : verdict");
            table.sets.insert(format!("isolated-{name}"), Set { kind, elements });
        }
        if awaited {
            let here = pods.values().flatten().filter(|pod| pod.here);
            let elements = here.filter_map(|pod| Some(pod.ip?.to_string())).collect();
            table.sets.insert("known".into(), Set { kind: ("set", "type ipv4_addr"), elements });
        }
        table
    }
}

/// What a policy allows in a direction: peers and ports.
fn allowed<'a>(
    spec: &'a NetworkPolicySpec,
    direction: &Direction,
) -> Vec<(&'a [NetworkPolicyPeer], &'a [NetworkPolicyPort])> {
    fn of<T>(list: &Option<Vec<T>>) -> &[T] {
        list.as_deref().unwrap_or_default()
    }
    match direction.policy_type {
        "Ingress" => of(&spec.ingress).iter().map(|rule| (of(&rule.from), of(&rule.ports))).collect(),
        _ => of(&spec.egress).iter().map(|rule| (of(&rule.to), of(&rule.ports))).collect(),
    }
}

/// The match for a block of addresses; none for one of another family.
fn addresses(direction: &Direction, block: &IPBlock) -> Option<String> {
    let v4 = |text: &String| match range(text) {
        Some(IpNet::V4(range)) => Some(range),
        _ => None,
    };
    let (peer, cidr) = (direction.peer, v4(&block.cidr)?);
    // `nft` wants ranges that do not overlap.
    let except = Ipv4Net::aggregate(&block.except.iter().flatten().filter_map(v4).collect());
    let except: Vec<String> = except.iter().map(Ipv4Net::to_string).collect();
    Some(match except.is_empty() {
        true => format!("{peer} {cidr} "),
        false => format!("{peer} {cidr} {peer} != {{ {} }} ", except.join(", ")),
    })
}

/// The API server has seen to it that selectors can be read; what it has not selects nothing.
fn selector(selector: &meta::LabelSelector) -> LabelSelector {
    LabelSelector::from_label_selector(Some(selector)).unwrap_or_else(|_| LabelSelector::nothing())
}

/// Readable, unless that is longer than the kernel takes.
fn chain_name(direction: &Direction, policy: &str) -> String {
    let name = format!("{}/{policy}", direction.name);
    if name.len() < 250 { name } else { hashed(&format!("{}/", direction.name), &[policy]) }
}

#[cfg(test)]
mod tests;
