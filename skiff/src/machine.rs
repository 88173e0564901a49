//! What this machine must have for a cluster, and how to say all that is missing at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cluster::Store;
use crate::processes;

/// A program, Debian's package that has it, and what it is for.
struct Program {
    name: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const fn program(name: &'static str, package: &'static str, purpose: &'static str) -> Program {
    Program { name, package, purpose }
}

const PROGRAMS: [Program; 8] = [
    program("containerd", "containerd", "runs the nodes' containers"),
    program("containerd-shim-runc-v2", "containerd", "holds containers for containerd"),
    program("ctr", "containerd", "loads images into containerd"),
    program("runc", "runc", "starts containers"),
    program("ip", "iproute2", "makes network namespaces"),
    program("nsenter", "util-linux", "starts daemons in network namespaces"),
    program("iptables", "iptables", "carries services"),
    program("iptables-restore", "iptables", "carries services"),
];
const ETCD: Program =
    program("etcd", "etcd-server", "keeps the cluster's objects; --store file or memory do without");
/// Capabilities: name and bit.
const CAPABILITIES: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_CHROOT", 18), ("CAP_SYS_ADMIN", 21)];
/// Our own programs, beside `skiff`.
const OWN: [&str; 8] =
    ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "cni", "pause", "dns"];
/// Those of them that run in images of their own.
const IN_IMAGES: [&str; 2] = ["pause", "dns"];

/// What was found on this machine.
#[derive(Debug, Default)]
pub struct Machine {
    /// Programs in `$PATH`.
    pub programs: BTreeSet<String>,
    /// Our own programs in the folder that daemons are started from.
    pub own: BTreeSet<String>,
    /// Whether this process is root's.
    pub root: bool,
    /// The effective capabilities, as a set of bits.
    pub capabilities: u64,
    /// Whether a cgroup hierarchy is mounted.
    pub cgroups: bool,
}

fn in_path(name: &str, path: &str) -> bool {
    path.split(':').filter(|dir| !dir.is_empty()).any(|dir| Path::new(dir).join(name).is_file())
}

/// Looks at this machine.
pub fn observe(bin_dir: &Path) -> Result<Machine> {
    let path = std::env::var("PATH").unwrap_or_default();
    let names = PROGRAMS.iter().chain([&ETCD]).map(|program| program.name);
    let status = fs::read_to_string("/proc/self/status")?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(Machine {
        programs: names.filter(|name| in_path(name, &path)).map(String::from).collect(),
        own: OWN.into_iter().filter(|name| own_program(bin_dir, name).is_some()).map(String::from).collect(),
        root: nix::unistd::geteuid().is_root(),
        capabilities: capabilities
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or_default(),
        cgroups: !crate::cgroups::hierarchies(&processes::mountinfo()?).is_empty(),
    })
}

/// The machine's resolver configuration as far as nothing is known of it.
pub fn plain_resolver() -> PathBuf {
    "/etc/resolv.conf".into()
}

/// The resolver configuration that pods can use: where the machine asks only itself, that is systemd-resolved, and the
/// servers that this asks stand in a file of its own.
pub fn resolver() -> PathBuf {
    let behind = Path::new("/run/systemd/resolve/resolv.conf");
    let asks_itself = fs::read_to_string(plain_resolver()).is_ok_and(|text| asks_itself(&text));
    if asks_itself && behind.exists() { behind.to_owned() } else { plain_resolver() }
}

fn asks_itself(text: &str) -> bool {
    let mut servers =
        text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(str::trim).peekable();
    servers.peek().is_some()
        && servers.all(|server| server.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()))
}

/// The path of one of our own programs. Those that run in images of their own must be static.
pub fn own_program(bin_dir: &Path, name: &str) -> Option<PathBuf> {
    let path = match IN_IMAGES.contains(&name) {
        true => [bin_dir.join("static").join(name), bin_dir.join(name)]
            .into_iter()
            .find(|path| is_static(path))?,
        false => bin_dir.join(name),
    };
    path.is_file().then_some(path)
}

/// Whether a file is a program that needs no loader: an ELF file without an interpreter.
pub fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF") && !has_interpreter(&bytes))
}

fn has_interpreter(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, size: usize| {
        elf.get(at..at + size)
            .map(|bytes| bytes.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    // 64-bit little-endian is all that Skiff is built for.
    let (Some(table), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2)) else {
        return true;
    };
    (0..count).any(|entry| number(table + entry * size, 4).is_none_or(|kind| kind == PT_INTERP as usize))
}

/// Says everything that is missing, each with what to do about it.
pub fn missing(machine: &Machine, store: &Store) -> Vec<String> {
    let mut list = Vec::new();
    let needed = PROGRAMS.iter().chain((*store == Store::Etcd).then_some(&ETCD));
    let absent: Vec<&Program> = needed.filter(|program| !machine.programs.contains(program.name)).collect();
    for program in &absent {
        list.push(format!("the program {} ({})", program.name, program.purpose));
    }
    let own: Vec<&str> = OWN.into_iter().filter(|name| !machine.own.contains(*name)).collect();
    if !own.is_empty() {
        list.push(format!(
            "our own programs {}: build them with `make build`, or name their folder in SKIFF_BIN_DIR",
            own.join(", ")
        ));
    }
    if !machine.root {
        list.push("root: network namespaces and containers need it, so put sudo in front".into());
    } else {
        for (name, bit) in CAPABILITIES {
            if machine.capabilities >> bit & 1 == 0 {
                list.push(format!("the capability {name}: start this container or session with it"));
            }
        }
    }
    if !machine.cgroups {
        list.push("cgroups: mount them below /sys/fs/cgroup".into());
    }
    let packages: BTreeSet<&str> = absent.iter().map(|program| program.package).collect();
    if !packages.is_empty() {
        let packages: Vec<&str> = packages.into_iter().collect();
        list.push(format!("to install on Debian or Ubuntu: apt-get install {}", packages.join(" ")));
    }
    list
}

/// Fails with the whole list if something is missing.
pub fn check(machine: &Machine, store: &Store) -> Result<()> {
    let list = missing(machine, store);
    if !list.is_empty() {
        bail!("this machine lacks something that a cluster needs:\n  - {}", list.join("\n  - "));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
