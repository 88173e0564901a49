//! The pod's network interface: bridge, veth pair, address, routes.
//!
//! The pod has its whole range's prefix on its address but reaches everything, its neighbours on
//! the same node too, through the gateway. So each packet passes the node's IP layer, and service
//! addresses work between pods of one node whether or not bridges call iptables. Hardware
//! addresses follow from IP addresses, so a re-used address needs no ARP to time out.
//! Upstream: the `bridge` plugin of `containernetworking/plugins`.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteScope};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use sha2::{Digest, Sha256};

use super::result::{Interface, Wired};
use super::{Attachment, CniError, Network};
use crate::netlink::{Link, Netlink, errno, in_namespace};

/// Name of the node's end of an attachment's pair.
pub fn host_name(attachment: &Attachment) -> String {
    let hash = Sha256::digest(attachment.key());
    format!("veth{}", hash[..5].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The locally administered hardware address that goes with an IP address.
pub fn mac_for(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

fn refused(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> CniError {
    let what = what.into();
    move |error| match errno(&error) {
        Some(errno) => CniError::new(CniError::NETLINK, what, errno.desc()),
        None => CniError::new(CniError::NETLINK, what, error),
    }
}

/// Opens the connection to the node's namespace.
pub fn connect() -> Result<Netlink, CniError> {
    Netlink::open().map_err(|e| CniError::new(CniError::NETLINK, "cannot open a netlink socket", e))
}

/// The node's own IPv4 addresses.
pub async fn addresses(node: &Netlink) -> Result<Vec<Ipv4Addr>, CniError> {
    let mut dump = node.address().get().execute();
    let mut found = Vec::new();
    while let Some(message) = dump.try_next().await.map_err(refused("cannot list the node's addresses"))? {
        found.extend(message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        }));
    }
    Ok(found)
}

/// Sees to the bridge and its address; what is there already is left as it is.
pub async fn ensure_bridge(node: &Netlink, network: &Network) -> Result<Link, CniError> {
    let name = &network.bridge;
    let gateway = network.gateway()?;
    let find = || async { node.find_link(name).await.map_err(refused(format!("cannot look for {name}"))) };
    let bridge = match find().await? {
        Some(bridge) => bridge,
        None => {
            let mut link = LinkBridge::new(name).address(mac_for(gateway).to_vec()).up();
            if network.mtu > 0 {
                link = link.mtu(network.mtu);
            }
            node.link().add(link.build()).execute().await.map_err(refused(format!("cannot add {name}")))?;
            for (setting, value) in [
                ("ipv4/ip_forward".to_owned(), "1"),
                // Packets between pods of this node leave where they came in, on purpose.
                ("ipv4/conf/all/send_redirects".to_owned(), "0"),
                (format!("ipv4/conf/{name}/send_redirects"), "0"),
            ] {
                machinery::sysctl::set(&setting, value)
                    .map_err(|e| CniError::new(CniError::IO, "cannot prepare the node for forwarding", e))?;
            }
            find().await?.ok_or_else(|| {
                CniError::new(CniError::NETLINK, format!("cannot add {name}"), "it vanished at once")
            })?
        }
    };
    // Adding an address that is there is refused with EEXIST, cheaper than asking first.
    match node.address().add(bridge.index, gateway.into(), network.range()?.prefix_len()).execute().await {
        Err(error) if errno(&error) == Some(Errno::EEXIST) => {}
        other => other.map_err(refused(format!("cannot give {gateway} to {name}")))?,
    }
    Ok(bridge)
}

/// Makes the pair and configures the pod's end.
pub async fn wire(
    node: &Netlink,
    network: &Network,
    bridge: &Link,
    attachment: &Attachment,
    netns: &Path,
    ip: Ipv4Addr,
) -> Result<Wired, CniError> {
    let host = host_name(attachment);
    let cannot = || format!("cannot add {} to {}", attachment.if_name, netns.display());
    let namespace = File::open(netns).map_err(|e| CniError::io("open", netns, &e))?;
    // A pair left by an ADD that was killed half-way.
    node.delete_link(&host).await.map_err(refused(cannot()))?;
    add_pair(node, network, bridge, &host, &attachment.if_name, &namespace, ip)
        .await
        .map_err(refused(cannot()))?;
    let host_link = node
        .find_link(&host)
        .await
        .map_err(refused(cannot()))?
        .ok_or_else(|| CniError::new(CniError::NETLINK, cannot(), format!("{host} is gone")))?;
    let hairpin = LinkBridgePort::new(host_link.index).hairpin(true).build();
    node.link().set_port(hairpin).execute().await.map_err(refused(cannot()))?;

    let (gateway, range) = (network.gateway()?, network.range()?);
    let address = Ipv4Net::new(ip, range.prefix_len())
        .map_err(|e| CniError::new(CniError::INVALID_CONFIG, cannot(), e))?;
    in_namespace(netns, async || configure(&attachment.if_name, address, gateway).await)
        .map_err(|e| CniError::io("enter", netns, &e))?
        .map_err(refused(format!("cannot configure {} in {}", attachment.if_name, netns.display())))?;
    Ok(Wired {
        bridge: Interface { name: network.bridge.clone(), mac: bridge.mac },
        host: Interface { name: host, mac: host_link.mac },
        pod: Interface { name: attachment.if_name.clone(), mac: mac_for(ip) },
        address,
        gateway,
        mtu: network.mtu,
    })
}

/// One request makes both ends, each where it belongs. (A peer cannot be up before its pair is.)
async fn add_pair(
    node: &Netlink,
    network: &Network,
    bridge: &Link,
    host: &str,
    if_name: &str,
    namespace: &File,
    ip: Ipv4Addr,
) -> Result<(), rtnetlink::Error> {
    let mut inside = LinkMessageBuilder::<LinkUnspec>::new()
        .name(if_name)
        .address(mac_for(ip).to_vec())
        .setns_by_fd(namespace.as_raw_fd());
    let mut outside = LinkVeth::new(host, if_name).controller(bridge.index).up();
    if network.mtu > 0 {
        inside = inside.mtu(network.mtu);
        outside = outside.mtu(network.mtu);
    }
    let pair = outside.set_info_data(InfoData::Veth(InfoVeth::Peer(inside.build()))).build();
    node.link().add(pair).execute().await
}

async fn configure(if_name: &str, address: Ipv4Net, gateway: Ipv4Addr) -> Result<(), rtnetlink::Error> {
    let pod = Netlink::open().map_err(|e| rtnetlink::Error::NamespaceError(e.to_string()))?;
    if let Some(lo) = pod.find_link("lo").await? {
        pod.link().set(LinkUnspec::new_with_index(lo.index).up().build()).execute().await?;
    }
    let index = match pod.find_link(if_name).await? {
        Some(link) => link.index,
        None => return Err(rtnetlink::Error::NamespaceError(format!("{if_name} is gone"))),
    };
    pod.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await?;
    let mut add = pod.address().add(index, IpAddr::V4(address.addr()), address.prefix_len());
    add.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
    add.execute().await?;
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(index)
        .scope(RouteScope::Link);
    pod.route().add(to_gateway.build()).execute().await?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index);
    pod.route().add(default.build()).execute().await
}

/// Takes an attachment's pair away, whichever of it is left.
pub async fn unwire(node: &Netlink, attachment: &Attachment) -> Result<(), CniError> {
    let host = host_name(attachment);
    node.delete_link(&host).await.map(drop).map_err(refused(format!("cannot remove {host}")))
}

/// Says what of an attachment is not as `wire` left it.
pub async fn check(
    node: &Netlink,
    network: &Network,
    attachment: &Attachment,
    netns: &Path,
    ip: Ipv4Addr,
) -> Result<(), CniError> {
    let broken = |why: String| CniError::new(CniError::CHECK_FAILED, "the pod's network is damaged", why);
    let look = "cannot look at the node's interfaces";
    let bridge = node.find_link(&network.bridge).await.map_err(refused(look))?;
    let bridge = bridge.ok_or_else(|| broken(format!("{} is missing", network.bridge)))?;
    let host = host_name(attachment);
    let link = node.find_link(&host).await.map_err(refused(look))?;
    let link = link.ok_or_else(|| broken(format!("{host} is missing")))?;
    if link.controller != Some(bridge.index) {
        return Err(broken(format!("{host} is no port of {}", network.bridge)));
    }
    let gateway = network.gateway()?;
    let found = in_namespace(netns, async || inspect(&attachment.if_name).await)
        .map_err(|e| CniError::io("enter", netns, &e))?
        .map_err(refused("cannot look at the pod's interfaces"))?;
    let Some((addresses, gateways)) = found else {
        return Err(broken(format!("{} is missing", attachment.if_name)));
    };
    if !addresses.contains(&ip) {
        return Err(broken(format!("{} does not have {ip}", attachment.if_name)));
    }
    if !gateways.contains(&gateway) {
        return Err(broken(format!("there is no default route over {gateway}")));
    }
    Ok(())
}

type Inside = (Vec<Ipv4Addr>, Vec<Ipv4Addr>);

async fn inspect(if_name: &str) -> Result<Option<Inside>, rtnetlink::Error> {
    let pod = Netlink::open().map_err(|e| rtnetlink::Error::NamespaceError(e.to_string()))?;
    let Some(link) = pod.find_link(if_name).await? else { return Ok(None) };
    let mut addresses = Vec::new();
    let mut dump = pod.address().get().set_link_index_filter(link.index).execute();
    while let Some(message) = dump.try_next().await? {
        addresses.extend(message.attributes.iter().filter_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(ip)) => Some(*ip),
            _ => None,
        }));
    }
    let mut gateways = Vec::new();
    let mut dump = pod.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(message) = dump.try_next().await? {
        if message.header.destination_prefix_length == 0 {
            gateways.extend(message.attributes.iter().filter_map(|attribute| match attribute {
                RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(*ip),
                _ => None,
            }));
        }
    }
    Ok(Some((addresses, gateways)))
}
