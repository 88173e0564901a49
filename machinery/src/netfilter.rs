//! The kernel's netfilter by netlink: connections it tracks, named counters, and whether rules changed.
//!
//! Three of netfilter's subsystems in the little we need of them, so that no `conntrack` or `nfacct`
//! program has to be installed and no list is parsed from text. rtnetlink and its relatives do
//! not cover them. Calls block; a socket belongs to the namespace of the thread that opens it.
//! Upstream: `vishvananda/netlink` `ConntrackTableList`, `pkg/proxy/util/nfacct`.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const CONNTRACK_GET: u16 = 1 << 8 | 1;
const CONNTRACK_DELETE: u16 = 1 << 8 | 2;
const COUNTER_NEW: u16 = 7 << 8;
const COUNTER_GET: u16 = 7 << 8 | 1;
const COUNTER_DELETE: u16 = 7 << 8 | 3;
const GENERATION_GET: u16 = 10 << 8 | 16;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As iptables writes it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// Reads a name as the API or a container runtime writes it.
    pub fn parse(name: &str) -> Option<Protocol> {
        [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .find(|protocol| name.eq_ignore_ascii_case(protocol.name()))
    }
}

/// A tracked connection: who called whom, and who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Where the first packet came from.
    pub from: (Ipv4Addr, u16),
    /// Where it was sent to.
    pub to: (Ipv4Addr, u16),
    /// Where answers come from: the endpoint, if the destination was translated.
    pub answered_by: (Ipv4Addr, u16),
    /// The original direction as the kernel gave it, which names the connection in a delete.
    key: Vec<u8>,
}

impl Connection {
    /// One that no kernel knows, for tests of what reads connections.
    pub fn made_up(protocol: Protocol, to: (Ipv4Addr, u16), answered_by: (Ipv4Addr, u16)) -> Connection {
        Connection { protocol, from: (Ipv4Addr::new(192, 0, 2, 9), 5555), to, answered_by, key: Vec::new() }
    }
}

/// A socket to netfilter.
pub struct Netfilter {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netfilter {
    /// Opens a socket to the current thread's namespace.
    pub fn open() -> io::Result<Netfilter> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        Ok(Netfilter { socket, buffer: vec![0; 64 * 1024] })
    }

    /// All tracked IPv4 connections of a protocol.
    pub fn connections(&mut self, protocol: Protocol) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        self.call(CONNTRACK_GET, DUMP, &[], |body| {
            found.extend(connection(body).filter(|connection| connection.protocol == protocol));
        })?;
        Ok(found)
    }

    /// Has a connection forgotten; false when it was already.
    pub fn forget(&mut self, connection: &Connection) -> io::Result<bool> {
        // CTA_TUPLE_ORIG
        let body = attribute(1 | NESTED, &connection.key);
        match self.call(CONNTRACK_DELETE, ACK, &body, |_| {}) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Makes a counter, unless it is there.
    pub fn add_counter(&mut self, name: &str) -> io::Result<()> {
        match self.call(COUNTER_NEW, ACK | CREATE, &counter_name(name), |_| {}) {
            Err(error) if matches!(error.raw_os_error(), Some(e) if e == Errno::EBUSY as i32 || e == Errno::EEXIST as i32) => {
                Ok(())
            }
            other => other,
        }
    }

    /// Packets that a counter has counted.
    pub fn counter(&mut self, name: &str) -> io::Result<u64> {
        let mut packets = 0;
        self.call(COUNTER_GET, ACK, &counter_name(name), |body| {
            // NFACCT_PKTS
            if let Some(value) = attributes(body).find(|(kind, _)| *kind == 2).map(|(_, value)| value) {
                packets = value.try_into().map(u64::from_be_bytes).unwrap_or_default();
            }
        })?;
        Ok(packets)
    }

    /// Removes a counter; a missing one is fine.
    pub fn delete_counter(&mut self, name: &str) -> io::Result<()> {
        match self.call(COUNTER_DELETE, ACK, &counter_name(name), |_| {}) {
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(()),
            other => other,
        }
    }

    /// How often the rules of nftables have been changed, all tables together.
    pub fn generation(&mut self) -> io::Result<u32> {
        let mut generation = None;
        self.call(GENERATION_GET, ACK, &[], |body| {
            // NFTA_GEN_ID
            let found =
                attributes(body).find(|(kind, _)| *kind == 1).and_then(|(_, value)| value.try_into().ok());
            generation = found.map(u32::from_be_bytes);
        })?;
        generation.ok_or_else(|| io::Error::other("the kernel told no generation"))
    }

    /// One request; `answer` is called with the attributes of each message that comes back.
    fn call(
        &mut self,
        kind: u16,
        flags: u16,
        attributes: &[u8],
        mut answer: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        // nlmsghdr: length, type, flags, sequence, port; nfgenmsg: family, version, resource.
        let length = 20 + attributes.len();
        let mut request = Vec::with_capacity(length);
        request.extend((length as u32).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((REQUEST | flags).to_ne_bytes());
        request.extend([0; 8]);
        request.extend([AddressFamily::Inet as u8, 0, 0, 0]);
        request.extend(attributes);
        sendto(self.socket.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        loop {
            let size = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            let mut rest = &self.buffer[..size];
            while let Some((kind, body, next)) = message(rest) {
                rest = next;
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    // Behind nfgenmsg.
                    _ => answer(body.get(4..).unwrap_or_default()),
                }
            }
        }
    }
}

/// Type and body of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let body = bytes.get(16..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// Type and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

fn counter_name(name: &str) -> Vec<u8> {
    // NFACCT_NAME, with the closing zero.
    attribute(1, &[name.as_bytes(), &[0]].concat())
}

fn connection(body: &[u8]) -> Option<Connection> {
    // CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
    let tuple = |wanted: u16| attributes(body).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let key = tuple(1)?;
    let (protocol, from, to) = endpoints(key)?;
    let (_, answered_by, _) = endpoints(tuple(2)?)?;
    Some(Connection { protocol, from, to, answered_by, key: key.to_vec() })
}

type Ends = (Protocol, (Ipv4Addr, u16), (Ipv4Addr, u16));

/// Protocol, source and destination of one direction.
fn endpoints(tuple: &[u8]) -> Option<Ends> {
    let nested = |wanted: u16| attributes(tuple).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let address = |wanted: u16| {
        let bytes: [u8; 4] = attributes(nested(1)?).find(|(kind, _)| *kind == wanted)?.1.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let number = |wanted: u16| Some(attributes(nested(2)?).find(|(kind, _)| *kind == wanted)?.1);
    let port = |wanted: u16| Some(u16::from_be_bytes(number(wanted)?.try_into().ok()?));
    let protocol = match number(1)?.first()? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    Some((protocol, (address(1)?, port(2)?), (address(2)?, port(3)?)))
}

#[cfg(test)]
mod tests;
