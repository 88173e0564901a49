//! Every way into a service: who asks × where × under which policy × where the endpoints are × over which protocol.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use machinery::netfilter::Protocol;

use crate::fixture::ports;
use crate::need_root;
use crate::net::{NODE, Namespace, Net};
use crate::services::syncer;

/// What becomes of a question.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Outcome {
    /// Answered by an endpoint that sees the caller's own address.
    Own,
    /// By one that sees the node's.
    Masq,
    /// The same, and only endpoints of this node answer.
    OwnHere,
    MasqHere,
    /// Refused at once, since there is no endpoint anywhere.
    Refused,
    /// Not answered, so that whoever balances tries another node.
    Dropped,
}
use Outcome::{Dropped, Masq, MasqHere, Own, OwnHere, Refused};

const HERE: &str = "{addresses: [10.244.1.2], nodeName: here}";
const THERE: &str = "{addresses: [10.244.2.2], nodeName: there}";
/// Where the endpoints are: here, there, both, none.
const ENDPOINTS: [(&str, &[&str]); 4] =
    [("here", &[HERE]), ("there", &[THERE]), ("both", &[HERE, THERE]), ("none", &[])];
const POLICIES: [&str; 2] = ["Cluster", "Local"];

/// For each way in, policy and place of the endpoints what a pod, the node itself and a neighbour find. Policies are of
/// the inside for the cluster IP, of the outside for the rest.
const TABLE: [(&str, &str, [[Outcome; 3]; 4]); 8] = [
    ("cluster IP", "Cluster", [[Own, Masq, Masq], [Own, Masq, Masq], [Own, Masq, Masq], [Refused; 3]]),
    ("cluster IP", "Local", [[Own, Masq, Masq], [Dropped; 3], [OwnHere, MasqHere, MasqHere], [Refused; 3]]),
    ("node port", "Cluster", [[Masq; 3], [Masq; 3], [Masq; 3], [Refused; 3]]),
    ("node port", "Local", [[Own, Masq, Own], [Own, Masq, Dropped], [Own, Masq, OwnHere], [Refused; 3]]),
    // Nothing refuses what the node itself sends to foreign addresses; as with kube-proxy, it goes to the gateway.
    ("load balancer", "Cluster", [[Masq; 3], [Masq; 3], [Masq; 3], [Refused, Dropped, Refused]]),
    (
        "load balancer",
        "Local",
        [[Own, Masq, Own], [Own, Masq, Dropped], [Own, Masq, OwnHere], [Refused, Dropped, Refused]],
    ),
    ("external IP", "Cluster", [[Masq; 3], [Masq; 3], [Masq; 3], [Refused, Dropped, Refused]]),
    (
        "external IP",
        "Local",
        [[Own, Masq, Own], [Own, Masq, Dropped], [Own, Masq, OwnHere], [Refused, Dropped, Refused]],
    ),
];

/// A service of each policy and place, each with all ways in.
fn services() -> String {
    let mut documents = Vec::new();
    for (n, (policy, (place, endpoints))) in
        POLICIES.iter().flat_map(|policy| ENDPOINTS.iter().map(move |place| (policy, place))).enumerate()
    {
        let name = format!("{}-{place}", policy.to_lowercase());
        documents.push(format!(
            "metadata: {{namespace: shop, name: {name}}}
spec: {{type: LoadBalancer, clusterIP: 10.96.0.{n}, externalIPs: [192.0.2.{}], internalTrafficPolicy: {policy},
  externalTrafficPolicy: {policy}, ports: [{{name: t, port: 80, nodePort: {port}}}, {{name: u, port: 80, protocol: UDP, nodePort: {port}}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.{n}}}]}}}}",
            64 + n,
            port = 30000 + n,
        ));
        documents.push(format!(
            "service: {name}\naddressType: IPv4\nports: [{{name: t, port: 8080, protocol: TCP}}, {{name: u, port: 8080, protocol: UDP}}]
endpoints: [{}]",
            endpoints.join(", ")
        ));
    }
    documents.join("\n---\n")
}

fn find(
    from: &Namespace,
    protocol: Protocol,
    to: ([u8; 4], u16),
    own: Ipv4Addr,
    expected: Outcome,
) -> (Outcome, String) {
    // What should be answered may take its time on a busy machine.
    let patience = Duration::from_millis(if expected == Dropped { 300 } else { 5000 });
    match from.ask_over(protocol, to.0, to.1, patience) {
        Ok((who, seen)) if seen == own => (Own, who),
        Ok((who, seen)) if [[10, 244, 1, 1], NODE].map(Ipv4Addr::from).contains(&seen) => (Masq, who),
        Ok((who, seen)) => panic!("{who} saw {seen}"),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => (Refused, String::new()),
        Err(error) if [ErrorKind::TimedOut, ErrorKind::WouldBlock].contains(&error.kind()) => {
            (Dropped, String::new())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_way_in() {
    need_root!();
    let net = Net::new();
    net.node.run_async(async || syncer().sync(&ports(&services()), None).await).unwrap();
    let clients = [
        ("a pod", &net.pods[1], [10, 244, 1, 3]),
        ("the node", &net.node, [0; 4]),
        ("a neighbour", &net.outside, [192, 0, 2, 9]),
    ];
    for (way, policy, places) in TABLE {
        for (m, ((place, endpoints), outcomes)) in ENDPOINTS.iter().zip(places).enumerate() {
            let n = m + if policy == "Local" { ENDPOINTS.len() } else { 0 };
            let low = u8::try_from(n).unwrap();
            let to = match way {
                "cluster IP" => ([10, 96, 0, low], 80),
                "node port" => (NODE, 30000 + u16::from(low)),
                "load balancer" => ([203, 0, 113, low], 80),
                _ => ([192, 0, 2, 64 + low], 80),
            };
            for ((who, from, own), expected) in clients.iter().zip(outcomes) {
                for protocol in [Protocol::Tcp, Protocol::Udp] {
                    let what =
                        format!("{who}, {} {way}, policy {policy}, endpoints {place}", protocol.name());
                    let (all, masked) = match expected {
                        OwnHere => (false, Own),
                        MasqHere => (false, Masq),
                        other => (true, other),
                    };
                    let ask = || {
                        let (found, answered) = find(from, protocol, to, (*own).into(), masked);
                        assert_eq!(found, masked, "{what}");
                        answered
                    };
                    let first = ask();
                    let answers = matches!(masked, Own | Masq);
                    assert!(
                        !answers || endpoints.iter().any(|endpoint| endpoint.contains(&first)),
                        "{what}: {first}"
                    );
                    if answers && endpoints.len() == 2 {
                        let near = (0..60).filter(|_| ask() == "10.244.1.2").count();
                        assert!(
                            if all { (12..=48).contains(&near) } else { near == 60 },
                            "{what}: {near} of 60"
                        );
                    }
                }
            }
        }
    }
}
