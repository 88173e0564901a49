//! Network namespaces for tests, and the CNI plugin in them.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Needs root; says so and skips without.
macro_rules! need_root {
    () => {
        if !machinery::testing::may_run_as_root() {
            return;
        }
    };
}

pub(crate) use need_root;

/// A network namespace that is removed with this value.
pub struct Namespace(pub String);

impl Namespace {
    /// Makes one; the role is part of its name.
    pub fn new(role: &str) -> Namespace {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("podnet-{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        sh(&format!("ip netns add {name}"));
        Namespace(name)
    }

    /// Where it can be entered.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    /// Runs a command inside and returns what it prints.
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

    /// Answers each connection with `answer` and the caller's address, for as long as the test runs.
    pub fn serve(&self, port: u16, answer: &'static str) {
        let listener = self.run(move || TcpListener::bind(("0.0.0.0", port)).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let from = stream.peer_addr().unwrap().ip();
                let _ = write!(stream, "{answer} {from}");
            }
        });
    }

    /// What is answered.
    pub fn ask(&self, ip: Ipv4Addr, port: u16) -> Result<String, std::io::Error> {
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

/// Runs a command and returns what it prints.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Calls the plugin in a node's namespace; the answer, or the error as the plugin printed it.
pub fn call(node: &Namespace, command: &str, id: &str, netns: &Path, config: &Value) -> Result<Value, Value> {
    let mut child = Command::new("nsenter")
        .arg(format!("--net={}", node.path().display()))
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
    let answer =
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).unwrap() };
    if output.status.success() { Ok(answer) } else { Err(answer) }
}

/// The address that ADD gave.
pub fn address(answer: &Value) -> Ipv4Addr {
    let address = answer["ips"][0]["address"].as_str().unwrap();
    address.split('/').next().unwrap().parse().unwrap()
}
