//! Network policies: what they let through, together with services.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use proxy::policies::{Snapshot, Writer, plan};
use serde_yaml_ng::{Value, from_str, from_value};

use crate::fixture::ports;
use crate::need_root;
use crate::net::{NODE, Namespace, Net};
use crate::services::syncer;

const CLUSTER: &str = "
{kind: Namespace, metadata: {name: shop, labels: {team: a}}}
---
{kind: Pod, metadata: {namespace: shop, name: web, labels: {app: web}},
  spec: {nodeName: here, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}, status: {podIPs: [{ip: 10.244.1.2}]}}
---
{kind: Pod, metadata: {namespace: shop, name: client, labels: {app: client}},
  spec: {nodeName: here, containers: []}, status: {podIPs: [{ip: 10.244.1.3}]}}
";
const SERVICE: &str = "metadata: {namespace: shop, name: web}
spec: {type: NodePort, clusterIP: 10.96.0.20, ports: [{port: 80, nodePort: 30080}]}
---
addressType: IPv4
ports: [{name: '', port: 8080, protocol: TCP}, {name: udp, port: 8080, protocol: UDP}]
endpoints: [{addresses: [10.244.1.2], nodeName: here}]
service: web";

const WEB: [u8; 4] = [10, 244, 1, 2];
const CLIENT: [u8; 4] = [10, 244, 1, 3];
const CLUSTER_IP: [u8; 4] = [10, 96, 0, 20];

/// Has the node enforce policies of the namespace, given by their specs.
fn enforce(net: &Net, writer: &mut Writer, specs: &[&str]) {
    let mut snapshot =
        Snapshot { node: "here".into(), pod_range: "10.244.1.0/24".parse().ok(), ..Snapshot::default() };
    for document in CLUSTER.split("\n---\n") {
        let value: Value = from_str(document).unwrap();
        match value["kind"].as_str() {
            Some("Pod") => snapshot.pods.push(Arc::new(from_value(value).unwrap())),
            _ => snapshot.namespaces.push(Arc::new(from_value(value).unwrap())),
        }
    }
    for (n, spec) in specs.iter().enumerate() {
        let policy = format!("metadata: {{namespace: shop, name: p{n}}}\nspec: {spec}");
        snapshot.policies.push(Arc::new(from_str(&policy).unwrap()));
    }
    net.node.run_async(async || writer.write(plan(&snapshot)).await).unwrap();
}

/// A node with the service `web` in front of its first pod.
fn net() -> Net {
    let net = Net::new();
    net.node.run_async(async || syncer().sync(&ports(SERVICE), None).await).unwrap();
    net
}

/// Whether a connection comes about. What is dropped is not waited for long.
fn reaches(from: &Namespace, ip: [u8; 4], port: u16) -> bool {
    let connect = || TcpStream::connect_timeout(&SocketAddr::from((ip, port)), Duration::from_millis(500));
    match from.run(connect) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{} to {ip:?}:{port}", from.0);
            false
        }
    }
}

#[test]
fn policies_hold_together_with_services() {
    need_root!();
    let net = net();
    let [web, client] = &net.pods[..] else { panic!("two pods") };
    let mut writer = Writer::default();
    let to_web = |rules: &str| {
        format!("{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Ingress], ingress: {rules}}}")
    };
    let from_client = |rules: &str| {
        format!("{{podSelector: {{matchLabels: {{app: client}}}}, policyTypes: [Egress], egress: {rules}}}")
    };
    // Ways to the pod: the pod beside it directly and through the service, the neighbour through the node port.
    let ways = [(client, WEB, 8080), (client, CLUSTER_IP, 80), (&net.outside, NODE, 30080)];
    let none = String::new;
    let cases = [
        ("no policy", none(), none(), [true, true, true]),
        ("nobody may come", to_web("[]"), none(), [false, false, false]),
        ("anybody may", to_web("[{}]"), none(), [true, true, true]),
        (
            "by label",
            to_web("[{from: [{podSelector: {matchLabels: {app: client}}}]}]"),
            none(),
            [true, true, false],
        ),
        (
            "by namespace",
            to_web("[{from: [{namespaceSelector: {matchLabels: {team: a}}}]}]"),
            none(),
            [true, true, false],
        ),
        (
            "another namespace",
            to_web("[{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]"),
            none(),
            [false; 3],
        ),
        (
            "by real address",
            to_web("[{from: [{ipBlock: {cidr: 192.0.2.9/32}}]}]"),
            none(),
            [false, false, true],
        ),
        (
            "all but one",
            to_web("[{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [192.0.2.0/24, 192.0.2.9/32]}}]}]"),
            none(),
            [true, true, false],
        ),
        ("the pod's port", to_web("[{ports: [{port: 8080}]}]"), none(), [true; 3]),
        ("not the service's", to_web("[{ports: [{port: 80}, {port: 30080}]}]"), none(), [false; 3]),
        ("a named port", to_web("[{ports: [{port: http}]}]"), none(), [true; 3]),
        ("in a range", to_web("[{ports: [{port: 8000, endPort: 9000}]}]"), none(), [true; 3]),
        ("a range of one", to_web("[{ports: [{port: 8081, endPort: 8081}]}]"), none(), [false; 3]),
        (
            "another protocol",
            to_web("[{ports: [{protocol: UDP}, {protocol: SCTP, port: 8080}]}]"),
            none(),
            [false; 3],
        ),
        ("nothing may leave", none(), from_client("[]"), [false, false, true]),
        (
            "to the pod",
            none(),
            from_client("[{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]"),
            [true; 3],
        ),
        ("out and in", to_web("[]"), from_client("[{}]"), [false; 3]),
        ("out but not in", to_web("[{}]"), from_client("[]"), [false, false, true]),
    ];
    for (what, first, second, expected) in &cases {
        let specs: Vec<&str> =
            [first, second].into_iter().map(String::as_str).filter(|spec| !spec.is_empty()).collect();
        enforce(&net, &mut writer, &specs);
        assert_eq!(ways.map(|(from, ip, port)| reaches(from, ip, port)), *expected, "{what}");
        assert!(reaches(&net.node, WEB, 8080), "the node itself, {what}");
        assert!(reaches(web, CLUSTER_IP, 80), "the pod itself, {what}");
        assert!(reaches(web, CLIENT, 8080), "the other way, {what}");
    }
    enforce(&net, &mut writer, &[]);
    assert!(!net.node.sh("nft list ruleset").contains("skiff"));
}

#[test]
fn connections_end_with_what_allowed_them() {
    need_root!();
    let net = net();
    let [web, client] = &net.pods[..] else { panic!("two pods") };
    let mut writer = Writer::default();
    let allow = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}";
    let deny = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}";
    enforce(&net, &mut writer, &[allow]);

    let listener = web.run(|| TcpListener::bind("0.0.0.0:7000")).unwrap();
    let mut calling = client.run(|| TcpStream::connect("10.244.1.2:7000")).unwrap();
    let (mut answering, _) = listener.accept().unwrap();
    let patience = Some(Duration::from_millis(700));
    let udp = client.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    for socket in [&calling, &answering] {
        socket.set_read_timeout(patience).unwrap();
    }
    udp.set_read_timeout(patience).unwrap();
    let ask = || {
        udp.send_to(b"who", "10.244.1.2:8080").unwrap();
        udp.recv(&mut [0; 64]).is_ok()
    };
    answering.write_all(b"x").unwrap();
    calling.read_exact(&mut [0]).unwrap();
    assert!(ask());

    // Nobody can go on, not even the one who was called: both are told as soon as they say something.
    enforce(&net, &mut writer, &[deny]);
    answering.write_all(b"x").unwrap();
    let error = answering.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    assert!(!matches!(calling.read(&mut [0]), Ok(1)));
    let told = calling.write_all(b"x").and_then(|()| calling.read(&mut [0]).map(drop)).unwrap_err();
    assert!(matches!(told.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{told}");
    assert!(!ask());

    enforce(&net, &mut writer, &[allow]);
    assert!(ask() && reaches(client, WEB, 8080));
}

#[test]
fn policies_come_back_after_a_flush() {
    need_root!();
    let net = net();
    let deny = "{podSelector: {}, policyTypes: [Ingress, Egress]}";
    let mut writer = Writer::default();
    enforce(&net, &mut writer, &[deny]);
    assert!(!net.node.run_async(async || writer.is_lost().await));
    net.node.sh("nft flush ruleset");
    assert!(net.node.run_async(async || writer.is_lost().await));
    // One that starts again writes over what is there.
    for _ in 0..2 {
        enforce(&net, &mut Writer::default(), &[deny]);
        assert!(!reaches(&net.pods[1], WEB, 8080));
    }
    net.node.run_async(async || proxy::cleanup().await).unwrap();
    assert!(reaches(&net.pods[1], WEB, 8080));
}
