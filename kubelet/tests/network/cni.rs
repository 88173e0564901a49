//! The CNI plugin as a runtime calls it, in network namespaces of the test's own.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::namespaces::{Namespace, address, call, need_root};

struct Node {
    namespace: Namespace,
    data: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        let namespace = Namespace::new("node");
        namespace.sh("ip link set lo up");
        Node { namespace, data: tempfile::tempdir().unwrap() }
    }

    fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "skiff-cni", "bridge": "cni0",
            "podCIDR": "10.99.7.0/24", "mtu": 1400, "dataDir": self.data.path(),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    fn call(&self, command: &str, id: &str, netns: &Path, config: &Value) -> Result<Value, Value> {
        call(&self.namespace, command, id, netns, config)
    }

    fn add(&self, pod: &Namespace, more: Value) -> Ipv4Addr {
        let answer = self.call("ADD", &pod.0, &pod.path(), &self.config(more)).unwrap();
        address(&answer)
    }

    fn veths(&self) -> usize {
        self.namespace.sh("ip -o link show type veth").lines().count()
    }
}

#[test]
fn pods_reach_each_other_and_the_node_and_are_unwired() {
    need_root!();
    let node = Node::new();
    let (one, two) = (Namespace::new("one"), Namespace::new("two"));
    let started = Instant::now();
    let first = node.add(&one, json!({}));
    println!("first ADD took {:?}", started.elapsed());
    let started = Instant::now();
    let second = node.add(&two, json!({}));
    println!("second ADD took {:?}", started.elapsed());
    assert_eq!([first, second], [Ipv4Addr::new(10, 99, 7, 2), Ipv4Addr::new(10, 99, 7, 3)]);

    two.serve(80, "two");
    assert_eq!(one.ask(second, 80).unwrap(), format!("two {first}"), "pod to pod, without NAT");
    assert_eq!(node.namespace.ask(second, 80).unwrap(), "two 10.99.7.1", "node to pod");
    node.namespace.serve(81, "node");
    assert_eq!(two.ask(Ipv4Addr::new(10, 99, 7, 1), 81).unwrap(), format!("node {second}"));
    assert_eq!(two.ask(Ipv4Addr::LOCALHOST, 80).unwrap(), "two 127.0.0.1", "lo is up");

    let config = node.config(json!({}));
    node.call("CHECK", &two.0, &two.path(), &config).unwrap();
    two.sh("ip route del default");
    let error = node.call("CHECK", &two.0, &two.path(), &config).unwrap_err();
    assert_eq!((&error["code"], &error["cniVersion"]), (&json!(103), &json!("1.0.0")), "{error}");

    for _ in 0..2 {
        node.call("DEL", &two.0, Path::new(""), &config).unwrap();
        assert_eq!(node.veths(), 1);
    }
    assert!(two.sh("ip -o link").lines().all(|line| !line.contains("eth0")));
    let three = Namespace::new("three");
    assert_eq!(node.add(&three, json!({})), Ipv4Addr::new(10, 99, 7, 4), "a freed address rests");
}

#[test]
fn an_add_that_failed_leaves_nothing() {
    need_root!();
    let node = Node::new();
    let config = node.config(json!({}));
    let error = node.call("ADD", "gone", Path::new("/run/netns/podnet-no-such"), &config).unwrap_err();
    assert_eq!(error["code"], 5, "{error}");
    let text = std::fs::read_to_string(node.data.path().join("pods/addresses.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["holdings"], json!({}));
    assert_eq!(node.veths(), 0);
}

#[test]
fn many_pods_at_once_and_what_a_runtime_forgot_is_collected() {
    need_root!();
    let node = Node::new();
    let pods: Vec<Namespace> = (0..12).map(|_| Namespace::new("pod")).collect();
    let started = Instant::now();
    let ips: Vec<Ipv4Addr> = std::thread::scope(|scope| {
        let adds: Vec<_> = pods.iter().map(|pod| scope.spawn(|| node.add(pod, json!({})))).collect();
        adds.into_iter().map(|add| add.join().unwrap()).collect()
    });
    println!("{} ADDs at once took {:?}", pods.len(), started.elapsed());
    let different: std::collections::HashSet<_> = ips.iter().collect();
    assert_eq!(different.len(), pods.len());
    assert_eq!(node.veths(), pods.len());

    let kept: Vec<Value> =
        pods[..2].iter().map(|pod| json!({"containerID": pod.0, "ifname": "eth0"})).collect();
    let config = node.config(json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": kept}));
    node.call("STATUS", "", Path::new(""), &config).unwrap();
    node.call("GC", "", Path::new(""), &config).unwrap();
    assert_eq!(node.veths(), 2);
    pods[0].serve(80, "zero");
    assert_eq!(pods[1].ask(ips[0], 80).unwrap(), format!("zero {}", ips[1]));
}

#[test]
fn host_ports_lead_to_the_pod_from_everywhere() {
    need_root!();
    let node = Node::new();
    let outside = Namespace::new("outside");
    node.namespace.sh(&format!("ip link add up0 type veth peer name eth0 netns {}", outside.0));
    node.namespace.sh("ip addr add 192.0.2.1/24 dev up0");
    node.namespace.sh("ip link set up0 up");
    outside.sh("ip addr add 192.0.2.9/24 dev eth0");
    outside.sh("ip link set eth0 up");
    let (pod, other) = (Namespace::new("pod"), Namespace::new("other"));
    let mappings = json!({"runtimeConfig": {"portMappings": [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}});
    let ip = node.add(&pod, mappings.clone());
    let other_ip = node.add(&other, json!({}));
    pod.serve(80, "pod");
    let uplink = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(outside.ask(uplink, 8080).unwrap(), "pod 192.0.2.9", "from outside, address kept");
    assert_eq!(node.namespace.ask(Ipv4Addr::LOCALHOST, 8080).unwrap(), "pod 10.99.7.1", "from the node");
    assert_eq!(other.ask(uplink, 8080).unwrap(), format!("pod {other_ip}"), "from another pod");
    assert_eq!(pod.ask(uplink, 8080).unwrap(), "pod 10.99.7.1", "from the pod itself");

    node.call("DEL", &pod.0, &pod.path(), &node.config(mappings)).unwrap();
    assert!(outside.ask(uplink, 8080).is_err());
    let rules = node.namespace.sh("iptables-save -t nat");
    assert!(!rules.contains(&ip.to_string()), "{rules}");
}

#[test]
fn a_udp_client_that_was_there_first_reaches_the_pod() {
    need_root!();
    let node = Node::new();
    let outside = Namespace::new("outside");
    node.namespace.sh(&format!("ip link add up0 type veth peer name eth0 netns {}", outside.0));
    node.namespace.sh("ip addr add 192.0.2.1/24 dev up0");
    node.namespace.sh("ip link set up0 up");
    outside.sh("ip addr add 192.0.2.9/24 dev eth0");
    outside.sh("ip link set eth0 up");
    // Connections are tracked once some rule asks for it.
    node.namespace.sh("iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    let client = outside.run(|| UdpSocket::bind(("0.0.0.0", 5555)).unwrap());
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let ask = |question: &str| {
        let mut buffer = [0; 32];
        // What comes may be the refusal of what was sent before, or a late answer to it.
        (0..10).find_map(|_| {
            client.send_to(question.as_bytes(), ("192.0.2.1", 8053)).ok()?;
            let length = client.recv(&mut buffer).ok()?;
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            answer.strip_prefix(question).map(str::to_owned)
        })
    };
    assert_eq!(ask("nobody? "), None);
    let mappings = json!({"runtimeConfig": {"portMappings": [
        {"hostPort": 8053, "containerPort": 53, "protocol": "udp"}]}});
    for name in ["first", "second"] {
        let pod = Namespace::new(name);
        let server = pod.run(|| UdpSocket::bind(("0.0.0.0", 53)).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                let _ = server.send_to(&[&buffer[..length], name.as_bytes()].concat(), from);
            }
        });
        node.add(&pod, mappings.clone());
        assert_eq!(ask(&format!("{name}? ")).as_deref(), Some(name));
        node.call("DEL", &pod.0, &pod.path(), &node.config(mappings.clone())).unwrap();
    }
}
