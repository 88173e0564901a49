//! What this machine must have for a cluster, and how to say all that is missing at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

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

const PROGRAMS: [Program; 9] = [
    program("containerd", "containerd", "runs the nodes' containers"),
    program("containerd-shim-runc-v2", "containerd", "holds containers for containerd"),
    program("ctr", "containerd", "loads images into containerd"),
    program("runc", "runc", "starts containers"),
    program("ip", "iproute2", "makes network namespaces"),
    program("nsenter", "util-linux", "starts daemons in network namespaces"),
    program("iptables", "iptables", "carries services"),
    program("iptables-restore", "iptables", "carries services"),
    program("nft", "nftables", "carries network policies"),
];
const ETCD: Program =
    program("etcd", "etcd-server", "keeps the cluster's objects; --store file or memory do without");
/// Capabilities: name and bit.
const CAPABILITIES: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_CHROOT", 18), ("CAP_SYS_ADMIN", 21)];
/// Our own programs, beside `skiff`.
const OWN: [&str; 10] = [
    "apiserver",
    "scheduler",
    "controller-manager",
    "kubelet",
    "proxy",
    "cni",
    "pause",
    "dns",
    "ingress",
    "metrics-server",
];

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

/// The path of a program in `$PATH`.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs = std::env::split_paths(&path).filter(|dir| !dir.as_os_str().is_empty());
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Looks at this machine.
pub fn observe(bin_dir: &Path) -> Result<Machine> {
    let names = PROGRAMS.iter().chain([&ETCD]).map(|program| program.name);
    let status = fs::read_to_string("/proc/self/status")?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(Machine {
        programs: names.filter(|name| in_path(name).is_some()).map(String::from).collect(),
        own: OWN.into_iter().filter(|name| program_path(bin_dir, name).is_some()).map(String::from).collect(),
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

/// The path of a program, one of our own or another.
pub fn program_path(bin_dir: &Path, name: &str) -> Option<PathBuf> {
    if !OWN.contains(&name) {
        return in_path(name);
    }
    Some(bin_dir.join(name)).filter(|path| path.is_file())
}

/// The libraries that a program is linked with, its loader among them.
pub fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = crate::program::command("ldd").arg(program).output().context("cannot start ldd")?;
    Ok(linked(&String::from_utf8_lossy(&output.stdout)))
}

/// The paths that `ldd` tells; what the kernel brings has none, and a static program needs nothing.
fn linked(text: &str) -> Vec<PathBuf> {
    let words = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
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

/// Fails for whoever may neither start nor end what a cluster is made of.
pub fn must_be_root() -> Result<()> {
    anyhow::ensure!(nix::unistd::geteuid().is_root(), "this needs root: put sudo in front");
    Ok(())
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
