//! Which kernel settings pods may have: those that the kernel keeps apart for each pod and that do no harm to
//! others, and those that the node's owner allows besides. Pure. Corresponds to upstream's `kubelet/sysctl`.

use api::{Message, message};
use std::fmt;

/// Settings that do no harm to others, and the first Linux that keeps them apart.
const SAFE: [(&str, (u32, u32)); 12] = [
    ("kernel.shm_rmid_forced", (0, 0)),
    ("net.ipv4.ip_local_port_range", (0, 0)),
    ("net.ipv4.tcp_syncookies", (0, 0)),
    ("net.ipv4.ping_group_range", (0, 0)),
    ("net.ipv4.ip_unprivileged_port_start", (0, 0)),
    ("net.ipv4.ip_local_reserved_ports", (3, 16)),
    ("net.ipv4.tcp_keepalive_time", (4, 5)),
    ("net.ipv4.tcp_fin_timeout", (4, 6)),
    ("net.ipv4.tcp_keepalive_intvl", (4, 5)),
    ("net.ipv4.tcp_keepalive_probes", (4, 5)),
    ("net.ipv4.tcp_rmem", (4, 15)),
    ("net.ipv4.tcp_wmem", (4, 15)),
];

/// The namespace that keeps a setting apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Ipc,
    Net,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipc => "IPC",
            Self::Net => "Net",
        })
    }
}

/// The namespace of a setting, or of all that begin so; none when the whole machine has it in common.
fn space_of(name: &str) -> Option<Space> {
    const IPC: [&str; 10] = [
        "kernel.sem",
        "kernel.shm",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.msg",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
    ];
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        return Some(Space::Ipc);
    }
    name.starts_with("net.").then_some(Space::Net)
}

/// A setting's name with dots between its parts, however it was written: `net/ipv4/conf/eno2.100/rp_filter` is
/// `net.ipv4.conf.eno2/100.rp_filter`.
pub fn dotted(name: &str) -> String {
    if name.find(['.', '/']).is_none_or(|at| name.as_bytes()[at] == b'.') {
        return name.to_owned();
    }
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    name: String,
    /// All that begin with the name.
    prefix: bool,
    space: Space,
}

/// The settings that pods may have on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sysctls(Vec<Allowed>);

impl Sysctls {
    /// The harmless settings of a kernel (`6.18.3-…`), and others by name or as `name.*`.
    ///
    /// # Errors
    /// When one of the others is not kept apart for each pod.
    pub fn new(kernel: &str, others: &[String]) -> Result<Self, Message> {
        let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let kernel = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let safe = SAFE.iter().filter(|(_, since)| *since <= kernel).map(|(name, _)| *name);
        let all = safe.chain(others.iter().map(String::as_str)).map(|pattern| {
            let name = dotted(pattern);
            let (name, prefix) = match name.split_once('*') {
                Some((prefix, "")) => (prefix.to_owned(), true),
                Some(_) => return Err(message!("the sysctl {pattern:?} may have a * at its end only")),
                None => (name, false),
            };
            let space = space_of(&name);
            let space =
                space.ok_or_else(|| format!("the sysctls {name:?} are not known to be namespaced"))?;
            Ok(Allowed { name, prefix, space })
        });
        all.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a pod that shares these namespaces with its node may have a setting; else why not.
    pub(super) fn check(&self, name: &str, host_network: bool, host_ipc: bool) -> Result<(), Message> {
        let name = dotted(name);
        let matches = |allowed: &&Allowed| match allowed.prefix {
            true => name.starts_with(&allowed.name),
            false => name == allowed.name,
        };
        let Some(Allowed { space, .. }) = self.0.iter().find(matches) else {
            return Err(message!("{name:?} not allowlisted"));
        };
        let shared = match space {
            Space::Ipc => host_ipc,
            Space::Net => host_network,
        };
        if shared { Err(message!("{name:?} not allowed with host {space} enabled")) } else { Ok(()) }
    }
}
