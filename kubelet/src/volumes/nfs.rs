//! Folders of NFS servers, mounted by the kernel alone.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::make_private;

const PORT: u16 = 2049;
/// What is tried when no option says which version it is to be.
const VERSIONS: [&str; 4] = ["4.2", "4.1", "4.0", "3"];
/// Options that are the kernel's own and none of the file system's.
const FLAGS: [(&str, MsFlags); 7] = [
    ("ro", MsFlags::MS_RDONLY),
    ("noexec", MsFlags::MS_NOEXEC),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("sync", MsFlags::MS_SYNCHRONOUS),
];

/// Mounts a folder of a server.
pub(super) fn mount_at(
    target: &Path,
    server: &str,
    path: &str,
    options: &[String],
    read_only: bool,
) -> io::Result<()> {
    let failed = |why: String| io::Error::other(format!("mount failed: {server}:{path}: {why}"));
    let address = resolve(server).map_err(|error| failed(format!("cannot find the server: {error}")))?;
    let own = own_address(address).map_err(|error| failed(format!("no way to the server: {error}")))?;
    make_private(target)?;
    let (flags, options) = split(options, read_only);
    let source = source(server, path);
    let mut last = Errno::EPROTONOSUPPORT;
    for version in versions(&options) {
        let options = format!("{}addr={address},clientaddr={own}{version}", options);
        match mount(Some(source.as_str()), target, Some("nfs"), flags, Some(options.as_str())) {
            Ok(()) => return Ok(()),
            Err(Errno::ENODEV) => {
                return Err(failed(
                    "the kernel of this node has no NFS client (file system \"nfs\")".to_owned(),
                ));
            }
            // The server, or the kernel, does not speak this one.
            Err(error @ (Errno::EPROTONOSUPPORT | Errno::EINVAL)) => last = error,
            Err(error) => return Err(failed(error.desc().to_owned())),
        }
    }
    Err(failed(last.desc().to_owned()))
}

/// The folder as the kernel knows it.
fn source(server: &str, path: &str) -> String {
    let is_bare = server.contains(':') && !server.starts_with('[');
    if is_bare { format!("[{server}]:{path}") } else { format!("{server}:{path}") }
}

fn resolve(server: &str) -> io::Result<IpAddr> {
    let mut found = (server.trim_matches(['[', ']']), PORT).to_socket_addrs()?;
    found.next().map(|address| address.ip()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The address that the server sees this node under; it calls back there. Nothing is sent.
fn own_address(server: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if server.is_ipv6() { [0_u16; 8].into() } else { [0_u8; 4].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, PORT))?;
    Ok(socket.local_addr()?.ip())
}

/// Flags for the kernel, and what remains for the file system, each with a comma behind it.
fn split(options: &[String], read_only: bool) -> (MsFlags, String) {
    let mut flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    let mut rest = String::new();
    for option in options.iter().flat_map(|options| options.split(',')).filter(|option| !option.is_empty()) {
        match FLAGS.iter().find(|(name, _)| *name == option) {
            Some((_, flag)) => flags |= *flag,
            None => rest.extend([option, ","]),
        }
    }
    (flags, rest)
}

/// The options, one after the other, that say which version of the protocol is to be spoken.
fn versions(options: &str) -> Vec<String> {
    if options.split(',').any(|option| option.starts_with("vers=") || option.starts_with("nfsvers=")) {
        return vec![String::new()];
    }
    // Without a daemon that watches over locks, those of version 3 are the node's own.
    let locks = |version: &str| if version == "3" { ",nolock" } else { "" };
    VERSIONS.iter().map(|version| format!(",vers={version}{}", locks(version))).collect()
}

#[cfg(test)]
mod tests;
