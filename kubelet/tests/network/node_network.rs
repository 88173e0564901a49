//! Three nodes, two on one network and one behind a router: their pods reach each other.

use std::net::Ipv4Addr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service};
use kubelet::node_network::{Config, run};
use machinery::CancellationToken;
use machinery::cache::Cache;
use serde_json::{Value, json};

use crate::namespaces::{Namespace, address, call, need_root};

struct Machine {
    name: &'static str,
    namespace: Namespace,
    dir: tempfile::TempDir,
}

impl Machine {
    /// A machine whose only cable leads to the router.
    fn new(name: &'static str, router: &Namespace, address: &str, gateway: &str) -> Machine {
        let namespace = Namespace::new(name);
        namespace.sh("ip link set lo up");
        router.sh(&format!("ip link add to-{name} type veth peer name eth0 netns {}", namespace.0));
        router.sh(&format!("ip link set to-{name} up"));
        namespace.sh(&format!("ip addr add {address} dev eth0"));
        namespace.sh("ip link set eth0 up");
        namespace.sh(&format!("ip route add default via {gateway}"));
        Machine { name, namespace, dir: tempfile::tempdir().unwrap() }
    }

    /// Runs the node's network until its configuration says `expected`, and returns it.
    fn run_network(&self, nodes: &[Node], expected: impl Fn(&Value) -> bool + Send + Sync) -> Value {
        self.run_balanced(nodes, None, expected)
    }

    /// The same where the first address of load balancers is given to a node.
    fn run_balanced(
        &self,
        nodes: &[Node],
        answers: Option<&str>,
        expected: impl Fn(&Value) -> bool + Send + Sync,
    ) -> Value {
        let config = Config {
            node: self.name.into(),
            cluster_cidr: "10.244.0.0/16".parse().ok(),
            load_balancers: "192.0.2.128/26".parse().ok(),
            conf_dir: self.dir.path().join("net.d"),
            data_dir: self.dir.path().join("data"),
        };
        let path = config.conf_dir.join("10-skiff.conflist");
        // It is written last.
        drop(std::fs::remove_file(&path));
        let nodes = Cache::fixed(nodes.to_vec());
        let service = answers.map(|node| {
            json!({
                "metadata": {"annotations": {"skiff.local/load-balancer-node": node}},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.129", "ipMode": "VIP"}]}},
            })
        });
        let services = service.into_iter().map(|service| serde_json::from_value::<Service>(service).unwrap());
        let services = Cache::fixed(services);
        let read = async || {
            for _ in 0..500 {
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                if let Some(list) = serde_json::from_str::<Value>(&text).ok().filter(&expected) {
                    return list;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("no configuration as expected");
        };
        self.namespace.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let stop = CancellationToken::new();
                tokio::select! {
                    list = read() => list,
                    end = run(config, nodes, services, stop) => panic!("ended: {end:?}"),
                }
            })
        })
    }

    /// Wires a pod by the configuration list, as a runtime does.
    fn add_pod(&self, list: &Value) -> (Namespace, Ipv4Addr) {
        let pod = Namespace::new("pod");
        let mut config = list["plugins"][0].clone();
        config["name"] = list["name"].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        let answer = call(&self.namespace, "ADD", &pod.0, &pod.path(), &config).unwrap();
        pod.serve(80, self.name);
        (pod, address(&answer))
    }
}

fn node(name: &str, ip: &str, pods: &str) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"podCIDR": pods},
        "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
    }))
    .unwrap()
}

#[test]
fn pods_reach_pods_on_every_node_and_the_world() {
    need_root!();
    let router = Namespace::new("router");
    router.sh("sysctl -qw net.ipv4.ip_forward=1");
    let a = Machine::new("a", &router, "192.0.2.1/24", "192.0.2.254");
    let b = Machine::new("b", &router, "192.0.2.2/24", "192.0.2.254");
    let c = Machine::new("c", &router, "198.51.100.3/24", "198.51.100.254");
    router.sh("ip link add lan type bridge");
    router.sh("ip link set to-a master lan");
    router.sh("ip link set to-b master lan");
    router.sh("ip link set lan up");
    router.sh("ip addr add 192.0.2.254/24 dev lan");
    router.sh("ip addr add 198.51.100.254/24 dev to-c");
    router.serve(80, "router");

    let nodes = [
        node("a", "192.0.2.1", "10.244.0.0/24"),
        node("b", "192.0.2.2", "10.244.1.0/24"),
        node("c", "198.51.100.3", "10.244.2.0/24"),
    ];
    // First the two neighbours, then the far node joins: pods get less room for the tunnel.
    let mtu = |mtu: u32| move |list: &Value| list["plugins"][0]["mtu"] == mtu;
    a.run_network(&nodes[..2], mtu(1500));
    assert!(!a.namespace.sh("ip link").contains("skiff.1"));
    let lists: Vec<Value> = [&a, &b, &c].map(|machine| machine.run_network(&nodes, mtu(1450))).into();

    let (pod_a, ip_a) = a.add_pod(&lists[0]);
    let (_pod_b, ip_b) = b.add_pod(&lists[1]);
    let (pod_c, ip_c) = c.add_pod(&lists[2]);
    assert_eq!(pod_a.ask(ip_b, 80).unwrap(), format!("b {ip_a}"), "to a neighbour, without NAT");
    assert_eq!(pod_a.ask(ip_c, 80).unwrap(), format!("c {ip_a}"), "through the tunnel, without NAT");
    assert_eq!(pod_c.ask(ip_b, 80).unwrap(), format!("b {ip_c}"));
    let outside = Ipv4Addr::new(192, 0, 2, 254);
    assert_eq!(pod_a.ask(outside, 80).unwrap(), "router 192.0.2.1", "masqueraded on the way out");
    assert_eq!(a.namespace.ask(ip_b, 80).unwrap(), "b 192.0.2.1", "node to a pod elsewhere");
    assert_eq!(a.namespace.ask(ip_c, 80).unwrap(), "c 10.244.0.0", "node to a far pod");

    // The far node goes: its routes and the tunnel go too, what is someone else's stays.
    a.namespace.sh("ip route add 203.0.113.0/24 via 192.0.2.254");
    a.run_network(&nodes[..2], mtu(1500));
    let routes = a.namespace.sh("ip route");
    assert!(routes.contains("10.244.1.0/24") && routes.contains("203.0.113.0/24"), "{routes}");
    assert!(!routes.contains("10.244.2.0/24"), "{routes}");
    assert!(!a.namespace.sh("ip link").contains("skiff.1"));
    let jumps =
        a.namespace.sh("iptables-save").lines().filter(|line| line.starts_with("-A POSTROUTING")).count();
    assert_eq!(jumps, 1, "the jump is there once");
    assert_eq!(pod_a.ask(ip_b, 80).unwrap(), format!("b {ip_a}"));

    // The node is given another range; the one it had goes to a neighbour.
    let swapped = [node("a", "192.0.2.1", "10.244.7.0/24"), node("b", "192.0.2.2", "10.244.0.0/24")];
    let list = a.run_network(&swapped, |list: &Value| list["plugins"][0]["podCIDR"] == "10.244.7.0/24");
    let (pod, ip) = a.add_pod(&list);
    assert_eq!(
        pod.ask(Ipv4Addr::new(10, 244, 7, 1), 9).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    assert_eq!(ip, Ipv4Addr::new(10, 244, 7, 2));
    let routes = a.namespace.sh("ip route get 10.244.0.2");
    assert!(routes.contains("via 192.0.2.2"), "{routes}");
}

#[test]
fn a_node_that_cannot_be_reached_stands_in_the_way_of_no_other() {
    need_root!();
    let router = Namespace::new("router2");
    let a = Machine::new("a", &router, "192.0.2.1/24", "192.0.2.254");
    router.sh("ip addr add 192.0.2.254/24 dev to-a");
    // Whoever lies behind a cable that is not plugged in gets no route: the kernel refuses it.
    a.namespace.sh("ip link add dead type veth peer name end");
    a.namespace.sh("ip addr add 100.64.0.1/24 dev dead");
    let nodes = [
        node("a", "192.0.2.1", "10.244.0.0/24"),
        node("b", "100.64.0.2", "10.244.1.0/24"),
        node("c", "192.0.2.3", "10.244.2.0/24"),
        node("elsewhere", "192.0.2.4", "203.0.113.0/24"),
    ];
    a.run_network(&nodes, |list| list["plugins"][0]["podCIDR"] == "10.244.0.0/24");
    let routes = a.namespace.sh("ip route");
    assert!(routes.contains("10.244.2.0/24 via 192.0.2.3"), "{routes}");
    assert!(!routes.contains("10.244.1.0/24") && !routes.contains("203.0.113.0/24"), "{routes}");
}

#[test]
fn a_load_balancer_answers_at_the_node_that_it_is_given_to() {
    need_root!();
    let lan = Namespace::new("lan");
    lan.sh("ip link add lan type bridge");
    lan.sh("ip link set lan up");
    lan.sh("ip addr add 192.0.2.254/24 dev lan");
    let machines = [("a", "192.0.2.1/24"), ("b", "192.0.2.2/24")].map(|(name, address)| {
        let machine = Machine::new(name, &lan, address, "192.0.2.254");
        lan.sh(&format!("ip link set to-{name} master lan"));
        machine.namespace.serve(80, machine.name);
        machine
    });
    let nodes = [node("a", "192.0.2.1", "10.244.0.0/24"), node("b", "192.0.2.2", "10.244.1.0/24")];
    let give = |to: Option<&str>, order: [usize; 2]| {
        for at in order {
            machines[at].run_balanced(&nodes, to, |_| true);
        }
    };
    let asked = || lan.ask(Ipv4Addr::new(192, 0, 2, 129), 80);
    let first = "a 192.0.2.254";
    give(Some("a"), [0, 1]);
    assert_eq!(asked().unwrap(), first);
    // Who has asked before finds the way to the next one at once; also while the first does not know yet.
    machines[1].run_balanced(&nodes, Some("b"), |_| true);
    assert_eq!(asked().unwrap(), first.replace('a', "b"));
    give(Some("b"), [0, 1]);
    assert!(!machines[0].namespace.sh("ip route show table all").contains("192.0.2.129"));
    assert!(!machines[1].namespace.sh("ip addr").contains("192.0.2.129"));
    give(None, [0, 1]);
    assert!(asked().is_err());
}
