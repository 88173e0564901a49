//! A node, its pods and a neighbour, each a network namespace of the real kernel.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use machinery::netfilter::Protocol;

/// A network namespace that is removed with this value.
pub struct Namespace(pub String);

impl Namespace {
    pub fn new(role: &str) -> Namespace {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("proxytest-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        sh(&format!("ip netns add {name}"));
        let namespace = Namespace(name);
        namespace.sh("ip link set lo up");
        namespace
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    pub fn sh(&self, command: &str) -> String {
        sh(&format!("nsenter --net={} {command}", self.path().display()))
    }

    /// Runs `work` on a thread inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::setns(file.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }

    /// Runs `work` inside, on a thread with a runtime.
    pub fn run_async<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        self.run(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work())
        })
    }

    /// Answers TCP and UDP with its own address, which is its name, and the caller's address.
    pub fn serve(&self, port: u16, name: String) {
        let address = (name.parse::<Ipv4Addr>().unwrap(), port);
        let (tcp, udp) =
            self.run(|| (TcpListener::bind(address).unwrap(), UdpSocket::bind(address).unwrap()));
        let udp_name = name.clone();
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let from = stream.peer_addr().unwrap().ip();
                let _ = write!(stream, "{name} {from}");
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                let _ = udp.send_to(format!("{udp_name} {}", from.ip()).as_bytes(), from);
            }
        });
    }

    /// Who answers, and whom it saw.
    pub fn ask(&self, ip: [u8; 4], port: u16) -> std::io::Result<(String, Ipv4Addr)> {
        self.ask_over(Protocol::Tcp, ip, port, Duration::from_secs(3))
    }

    /// Who answers within a time, and whom it saw.
    pub fn ask_over(
        &self,
        protocol: Protocol,
        ip: [u8; 4],
        port: u16,
        patience: Duration,
    ) -> std::io::Result<(String, Ipv4Addr)> {
        self.run(move || {
            let (to, mut text) = (SocketAddr::from((ip, port)), String::new());
            if protocol == Protocol::Udp {
                let socket = UdpSocket::bind("0.0.0.0:0")?;
                socket.connect(to)?;
                socket.set_read_timeout(Some(patience))?;
                match socket.send(b"who") {
                    // A node is not let send what it drops or refuses itself; why, the next call tells.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                    other => drop(other?),
                }
                let mut buffer = [0; 64];
                let length = socket.recv(&mut buffer)?;
                text.push_str(&String::from_utf8_lossy(&buffer[..length]));
            } else {
                TcpStream::connect_timeout(&to, patience)?.read_to_string(&mut text)?;
            }
            let (name, from) = text.split_once(' ').unwrap();
            Ok((name.to_owned(), from.parse().unwrap()))
        })
    }

    /// Who answers, asked many times.
    pub fn survey(&self, ip: [u8; 4], port: u16) -> HashMap<String, usize> {
        let mut found = HashMap::new();
        for _ in 0..40 {
            *found.entry(self.ask(ip, port).unwrap().0).or_default() += 1;
        }
        found
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A node 192.0.2.1 with two pods, 10.244.1.2 and .3, a second node 192.0.2.2 that answers for a pod 10.244.2.2, and a
/// neighbour 192.0.2.9 outside.
pub struct Net {
    pub node: Namespace,
    pub pods: Vec<Namespace>,
    pub outside: Namespace,
    _other: Namespace,
}

pub const NODE: [u8; 4] = [192, 0, 2, 1];

impl Net {
    pub fn new() -> Net {
        let net = Net {
            node: Namespace::new("node"),
            pods: (0..2).map(|_| Namespace::new("pod")).collect(),
            outside: Namespace::new("outside"),
            _other: Namespace::new("other"),
        };
        let node = &net.node;
        node.sh("sysctl -qw net.ipv4.ip_forward=1");
        let ends = net.pods.iter().enumerate().map(|(n, pod)| {
            (pod, format!("pod{n}"), "10.244.1.1/32".to_owned(), format!("10.244.1.{}", n + 2))
        });
        for (pod, link, gateway, ip) in ends {
            node.sh(&format!("ip link add {link} type veth peer name eth0 netns {}", pod.0));
            node.sh(&format!("ip addr add {gateway} dev {link}"));
            node.sh(&format!("ip link set {link} up"));
            node.sh(&format!("ip route add {ip} dev {link}"));
            pod.sh(&format!("ip addr add {ip}/32 dev eth0"));
            pod.sh("ip link set eth0 up");
            pod.sh("ip route add 10.244.1.1 dev eth0");
            pod.sh("ip route add default via 10.244.1.1");
            pod.serve(8080, ip.clone());
        }
        let (outside, other) = (&net.outside, &net._other);
        outside.sh("ip link add eth0 type bridge");
        for (node, port, ip) in [(node, "here", "192.0.2.1/24"), (other, "there", "192.0.2.2/24")] {
            node.sh(&format!("ip link add up0 type veth peer name {port} netns {}", outside.0));
            node.sh(&format!("ip addr add {ip} dev up0"));
            node.sh("ip link set up0 up");
            outside.sh(&format!("ip link set {port} master eth0 up"));
        }
        outside.sh("ip addr add 192.0.2.9/24 dev eth0");
        outside.sh("ip link set eth0 up");
        for range in ["10.96.0.0/16", "203.0.113.0/24", "192.0.2.64/26"] {
            outside.sh(&format!("ip route add {range} via 192.0.2.1"));
        }
        node.sh("ip route add 10.244.2.0/24 via 192.0.2.2");
        other.sh("ip addr add 10.244.2.2/32 dev lo");
        other.sh("ip route add 10.244.1.0/24 via 192.0.2.1");
        other.serve(8080, "10.244.2.2".into());
        // Every refusal is told, not one a second.
        node.sh("sysctl -qw net.ipv4.icmp_ratelimit=0");
        // What comes from the neighbour and goes nowhere leaves towards it again; redirects about
        // that would use up what the kernel allows in errors to one address.
        node.sh("sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.up0.send_redirects=0");
        // A node sends what it has no other route for to its gateway.
        node.sh("ip route add default via 192.0.2.9");
        net
    }

    pub fn saved(&self) -> String {
        self.node.sh("iptables-save")
    }
}
