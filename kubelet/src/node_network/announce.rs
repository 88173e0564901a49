//! Telling a network that an address is at this node now: an ARP request for it, from itself (RFC 5227, 1.2).
//! Whoever knew it elsewhere takes note; the kernel answers those who ask later.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, sendto, socket,
};

use super::plan::Uplink;

const EVERYBODY: [u8; 8] = [255, 255, 255, 255, 255, 255, 0, 0];

/// Tells those on an uplink's network.
pub fn announce(address: Ipv4Addr, uplink: &Uplink) -> io::Result<()> {
    let socket = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ARP as u16).to_be(),
        sll_ifindex: i32::try_from(uplink.index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: EVERYBODY,
    };
    let length = size_of_val(&to) as libc::socklen_t;
    // SAFETY: it points to a whole `sockaddr_ll` of the right family, which is copied.
    let to = unsafe { LinkAddr::from_raw((&raw const to).cast(), Some(length)) };
    let to = to.ok_or_else(|| io::Error::other("no address of a link"))?;
    sendto(socket.as_raw_fd(), &request(address, uplink.mac), &to, MsgFlags::empty())?;
    Ok(())
}

/// Ethernet, IPv4, a request; who asks; what for.
fn request(address: Ipv4Addr, mac: [u8; 6]) -> Vec<u8> {
    let address = address.octets();
    [&[0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &address, &[0; 6], &address].concat()
}
