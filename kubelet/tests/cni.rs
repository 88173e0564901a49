//! The CNI plugin as a runtime calls it, in network namespaces of the test's own.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Needs root; says so and skips without.
macro_rules! need_root {
    () => {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return;
        }
    };
}

/// A network namespace that is removed with this value.
struct Namespace(String);

impl Namespace {
    fn new(role: &str) -> Namespace {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("cnitest-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        sh(&format!("ip netns add {name}"));
        Namespace(name)
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    /// Runs a command inside and returns what it prints.
    fn sh(&self, command: &str) -> String {
        sh(&format!("nsenter --net={} {command}", self.path().display()))
    }

    /// Runs `work` on a thread inside.
    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::setns(file.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Answers each connection with `answer` and the caller's address, for as long as the test runs.
    fn serve(&self, port: u16, answer: &'static str) {
        let listener = self.run(move || TcpListener::bind(("0.0.0.0", port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let from = stream.peer_addr().unwrap().ip();
                let _ = write!(stream, "{answer} {from}");
            }
        });
    }

    fn ask(&self, ip: Ipv4Addr, port: u16) -> Result<String, std::io::Error> {
        self.run(move || {
            let to = SocketAddr::from((ip, port));
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

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

    /// Calls the plugin; the answer, or the error as the plugin printed it.
    fn call(&self, command: &str, id: &str, netns: &Path, config: &Value) -> Result<Value, Value> {
        let mut child = Command::new("nsenter")
            .arg(format!("--net={}", self.namespace.path().display()))
            .arg(env!("CARGO_BIN_EXE_cni"))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", netns)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let answer = if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout).unwrap()
        };
        if output.status.success() { Ok(answer) } else { Err(answer) }
    }

    fn add(&self, pod: &Namespace, more: Value) -> Ipv4Addr {
        let answer = self.call("ADD", &pod.0, &pod.path(), &self.config(more)).unwrap();
        let address = answer["ips"][0]["address"].as_str().unwrap();
        address.strip_suffix("/24").unwrap().parse().unwrap()
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
    let error = node.call("ADD", "gone", Path::new("/run/netns/cnitest-no-such"), &config).unwrap_err();
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
