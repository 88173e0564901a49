//! Makes the kernel's routes and tunnel those of a plan.
//!
//! Routes of ours carry a protocol number of their own, so that exactly they are compared and
//! removed; the tunnel's entries are all ours. What is right already is not touched.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Error, LinkUnspec, LinkVxlan, RouteMessageBuilder};

use super::plan::{Peer, Plan, Uplink, Via};
use super::{BRIDGE, TUNNEL, announce};
use crate::netlink::{Netlink, errno};

/// Marks our routes (`ip route` shows `proto 83`).
const PROTOCOL: RouteProtocol = RouteProtocol::Other(83);
/// The table of what is at the node itself (RT_TABLE_LOCAL).
const LOCAL_TABLE: u32 = 255;
/// The number of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;
const TUNNEL_ID: u32 = 1;
const TUNNEL_PORT: u16 = 8472;

/// This node's addresses on networks that other nodes may be on.
pub async fn uplinks(kernel: &Netlink) -> Result<Vec<Uplink>, Error> {
    let mut links = BTreeMap::new();
    let mut dump = kernel.link().get().execute();
    while let Some(message) = dump.try_next().await? {
        let link = crate::netlink::Link::from(message);
        if link.name != "lo" && link.name != BRIDGE && link.name != TUNNEL {
            links.insert(link.index, (link.mtu, link.mac));
        }
    }
    let mut uplinks = Vec::new();
    let mut dump = kernel.address().get().execute();
    while let Some(message) = dump.try_next().await? {
        let index = message.header.index;
        let local = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        });
        if let (Some(&(mtu, mac)), Some(ip)) = (links.get(&index), local)
            && let Ok(address) = Ipv4Net::new(ip, message.header.prefix_len)
        {
            uplinks.push(Uplink { index, mac, address, mtu });
        }
    }
    Ok(uplinks)
}

/// What could not be set, of which none stands in the way of the rest.
#[derive(Debug, Default, thiserror::Error)]
#[error("{}", .0.iter().map(|(what, error)| format!("{what}: {error}")).collect::<Vec<_>>().join("; "))]
pub struct Failures(Vec<(String, Error)>);

impl Failures {
    /// Takes note of one outcome.
    fn note(&mut self, what: impl FnOnce() -> String, outcome: Result<(), Error>) {
        self.0.extend(outcome.err().map(|error| (what(), error)));
    }
}

/// Makes the kernel's part of the network that of the plan, as far as it can be made, and says on the network which
/// load balancers' addresses are here.
pub async fn apply(kernel: &Netlink, plan: &Plan) -> Result<(), Failures> {
    let mut failures = Failures::default();
    failures.note(|| "former gateways".to_owned(), former_gateways(kernel, plan).await);
    let tunnel = match plan.tunnel.is_empty() {
        true => None,
        false => match ensure_tunnel(kernel, plan).await {
            Ok(index) => {
                let entries = tunnel_entries(kernel, index, &plan.tunnel, &mut failures).await;
                failures.note(|| "the tunnel's entries".to_owned(), entries);
                Some(index)
            }
            Err(error) => {
                failures.note(|| "the tunnel".to_owned(), Err(error));
                None
            }
        },
    };
    let listed = routes(kernel, plan, tunnel, &mut failures).await;
    for (address, uplink) in &plan.answers {
        // Also when it was this node's before: somebody may have heard another one.
        if let Some(Err(error)) = uplink.as_ref().map(|uplink| announce::announce(*address, uplink)) {
            tracing::warn!(%address, %error, "Cannot say on the network where a load balancer is");
        }
    }
    failures.note(|| "routes".to_owned(), listed);
    if plan.tunnel.is_empty() {
        failures.note(|| "the former tunnel".to_owned(), kernel.delete_link(TUNNEL).await.map(drop));
    }
    if failures.0.is_empty() { Ok(()) } else { Err(failures) }
}

/// A node that was given another range must not keep the old one on its bridge: by now it may be
/// another node's.
async fn former_gateways(kernel: &Netlink, plan: &Plan) -> Result<(), Error> {
    let Some(bridge) = kernel.find_link(BRIDGE).await? else { return Ok(()) };
    let mut dump = kernel.address().get().set_link_index_filter(bridge.index).execute();
    let mut former = Vec::new();
    while let Some(message) = dump.try_next().await? {
        let foreign = message.attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Local(IpAddr::V4(ip)) if !plan.own.pods.contains(ip))
        });
        if foreign {
            former.push(message);
        }
    }
    for message in former {
        kernel.address().del(message).execute().await?;
    }
    Ok(())
}

/// What a route says, as far as we make them.
type Way = (Option<Ipv4Addr>, Option<u32>);

/// Sets the plan's routes and removes others of ours. Fails when they cannot be listed.
async fn routes(
    kernel: &Netlink,
    plan: &Plan,
    tunnel: Option<u32>,
    failures: &mut Failures,
) -> Result<(), Error> {
    let mut there: BTreeMap<Ipv4Net, (Way, RouteMessage)> = BTreeMap::new();
    let mut dump = kernel.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(message) = dump.try_next().await? {
        if message.header.protocol != PROTOCOL {
            continue;
        }
        let (mut destination, mut way) = (None, (None, None));
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(*ip),
                RouteAttribute::Gateway(RouteAddress::Inet(ip)) => way.0 = Some(*ip),
                RouteAttribute::Oif(index) => way.1 = Some(*index),
                _ => {}
            }
        }
        let prefix = message.header.destination_prefix_length;
        if let Some(range) = destination.and_then(|ip| Ipv4Net::new(ip, prefix).ok()) {
            there.insert(range, (way, message));
        }
    }
    for address in plan.answers.keys() {
        let range = Ipv4Net::from(*address);
        if there.remove(&range).is_some() {
            continue;
        }
        // A route instead of an address: nothing that asks for the node's addresses sees it.
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(*address, range.prefix_len())
            .output_interface(LOOPBACK)
            .table_id(LOCAL_TABLE)
            .scope(RouteScope::Host)
            .kind(RouteType::Local)
            .protocol(PROTOCOL);
        let set = kernel.route().add(route.build()).replace().execute().await;
        failures.note(|| format!("the load balancer's address {address}"), set);
    }
    for (range, via) in &plan.routes {
        let (gateway, index, onlink) = match (*via, tunnel) {
            (Via::Neighbour { gateway, index }, _) => (gateway, index, false),
            (Via::Tunnel { gateway }, Some(index)) => (gateway, index, true),
            (Via::Tunnel { .. }, None) => continue,
        };
        let same = there.remove(range).is_some_and(|(way, _)| way == (Some(gateway), Some(index)));
        if same {
            continue;
        }
        let mut route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(range.network(), range.prefix_len())
            .gateway(gateway)
            .output_interface(index)
            .protocol(PROTOCOL)
            .build();
        if onlink {
            route.header.flags |= RouteFlags::Onlink;
        }
        let set = kernel.route().add(route).replace().execute().await;
        failures.note(|| format!("the route to {range} by way of {gateway}"), set);
    }
    for (range, (_, message)) in there {
        let removed = gone_is_fine(kernel.route().del(message).execute().await);
        failures.note(|| format!("the former route to {range}"), removed);
    }
    Ok(())
}

/// The tunnel's device, made anew when it belongs to another address.
async fn ensure_tunnel(kernel: &Netlink, plan: &Plan) -> Result<u32, Error> {
    let mac = plan.own.tunnel_mac();
    if let Some(link) = kernel.find_link(TUNNEL).await? {
        if link.mac == mac {
            if link.mtu != plan.tunnel_mtu {
                let change = LinkUnspec::new_with_index(link.index).mtu(plan.tunnel_mtu).build();
                kernel.link().set(change).execute().await?;
            }
            return Ok(link.index);
        }
        kernel.delete_link(TUNNEL).await?;
    }
    let device = LinkVxlan::new(TUNNEL, TUNNEL_ID)
        .local(plan.own.ip)
        .port(TUNNEL_PORT)
        .learning(false)
        .address(mac.to_vec())
        .mtu(plan.tunnel_mtu)
        .up();
    kernel.link().add(device.build()).execute().await?;
    let link = kernel.find_link(TUNNEL).await?;
    let index = link.map(|link| link.index).ok_or(Error::RequestFailed)?;
    // What the node itself sends through the tunnel comes from an address that finds back.
    let address = kernel.address().add(index, plan.own.tunnel_ip().into(), 32);
    match address.execute().await {
        Err(error) if errno(&error) == Some(Errno::EEXIST) => {}
        other => other?,
    }
    Ok(index)
}

/// For each other end: its address inside has this hardware address, which is at that node.
/// Fails when they cannot be listed.
async fn tunnel_entries(
    kernel: &Netlink,
    index: u32,
    peers: &[Peer],
    failures: &mut Failures,
) -> Result<(), Error> {
    let neighbours = kernel.neighbours();
    let mut there = Vec::new();
    for bridge in [false, true] {
        let request = if bridge {
            neighbours.get().set_address_family(AddressFamily::Bridge)
        } else {
            neighbours.get().set_address_family(AddressFamily::Inet)
        };
        let mut dump = request.execute();
        while let Some(message) = dump.try_next().await? {
            let permanent = message.header.state == NeighbourState::Permanent;
            if message.header.ifindex == index && permanent {
                there.push(message);
            }
        }
    }
    let mut known: HashSet<(Ipv4Addr, Vec<u8>)> = HashSet::new();
    let wanted: HashSet<(Ipv4Addr, Vec<u8>)> = peers
        .iter()
        .flat_map(|peer| [peer.tunnel_ip(), peer.ip].map(|ip| (ip, peer.tunnel_mac().to_vec())))
        .collect();
    for message in there {
        match entry(&message) {
            Some(entry) if wanted.contains(&entry) => {
                known.insert(entry);
            }
            _ => {
                let removed = gone_is_fine(neighbours.del(message).execute().await);
                failures.note(|| "a former entry of the tunnel".to_owned(), removed);
            }
        }
    }
    for peer in peers {
        let mac = peer.tunnel_mac();
        if !known.contains(&(peer.tunnel_ip(), mac.to_vec())) {
            let add = neighbours.add(index, peer.tunnel_ip().into()).link_layer_address(&mac);
            let set = add.replace().execute().await;
            failures.note(|| format!("the tunnel's address of node {}", peer.name), set);
        }
        if !known.contains(&(peer.ip, mac.to_vec())) {
            let add = neighbours.add_bridge(index, &mac).destination(peer.ip.into());
            let set = add.flags(NeighbourFlags::Own).replace().execute().await;
            failures.note(|| format!("the tunnel's way to node {}", peer.name), set);
        }
    }
    Ok(())
}

fn entry(message: &NeighbourMessage) -> Option<(Ipv4Addr, Vec<u8>)> {
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => ip = Some(*found),
            NeighbourAttribute::LinkLayerAddress(found) => mac = Some(found.clone()),
            _ => {}
        }
    }
    Some((ip?, mac?))
}

fn gone_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(error) if matches!(errno(&error), Some(Errno::ESRCH | Errno::ENOENT)) => Ok(()),
        other => other,
    }
}
