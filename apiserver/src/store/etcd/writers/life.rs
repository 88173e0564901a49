//! Whether another server on this machine lives: the kernel knows, long before a lease ends.
//!
//! A server holds a name among the abstract Unix sockets, which the kernel takes back with the process. The name says
//! nothing to other machines and network namespaces, so an entry tells its place.

use std::{
    fs, io,
    os::{
        linux::{fs::MetadataExt as _, net::SocketAddrExt as _},
        unix::net::{SocketAddr, UnixListener},
    },
};

/// The place of servers whose death nobody can see.
const NOWHERE: &str = "nowhere";

/// Shows that a server lives, for as long as it is kept.
pub(super) struct Life(Option<UnixListener>);

impl Life {
    /// Begins to show life under a name that nobody else has.
    pub(super) fn show(name: &str) -> Self {
        Self(hold(name).ok())
    }

    /// Where it can be seen.
    pub(super) fn place(&self) -> String {
        self.0.as_ref().and_then(|_| place()).unwrap_or_else(|| NOWHERE.to_owned())
    }
}

/// Whether the server of this place and name certainly does not live any more.
pub(super) fn is_gone(other: &str, name: &str) -> bool {
    place().is_some_and(|place| place == other) && hold(name).is_ok()
}

/// What all processes share that see each other's names: this boot of this machine, and the network namespace.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::metadata("/proc/self/ns/net").ok()?;
    Some(format!("{}.{}", boot.trim(), network.st_ino()))
}

fn hold(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("skiff-apiserver-{name}"))?)
}
