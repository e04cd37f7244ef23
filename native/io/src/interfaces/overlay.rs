// SPDX-License-Identifier: MIT
//! Whether an address leads into our own overlay: a link over it would run inside another link.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipop_base::{Error, Result};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Netlink;
use super::{Interface, as_interface};

/// Whether `address` (text, IPv4 or IPv6, a zone is ignored) is assigned to one of `taps` or a bridge with one of them as port, or the route to
/// it leaves by such an interface, or by a VLAN or the like on top of one. No route at all: false. EINVAL: not an address. Taps
/// that do not exist are ignored.
pub fn address_is_overlay(address: &str, taps: &[String]) -> Result<bool> {
    let plain = address.split('%').next().unwrap_or(address);
    let wanted: IpAddr =
        plain.parse().map_err(|_| Error::new(libc::EINVAL, format!("'{address}' is not an IP address")))?;
    let wanted = wanted.to_canonical();
    let mut netlink = Netlink::open()?;
    let overlay = overlay_of(&interfaces(&mut netlink)?, taps);
    if overlay.is_empty() {
        return Ok(false);
    }
    let assigned = assigned_to(&mut netlink, wanted)?;
    if !assigned.is_empty() {
        return Ok(assigned.iter().any(|index| overlay.contains(index)));
    }
    Ok(leaves_by(&mut netlink, wanted)?.iter().any(|index| overlay.contains(index)))
}

/// The taps, their bridges, and what sits on top of those.
fn overlay_of(interfaces: &[Interface], taps: &[String]) -> BTreeSet<u32> {
    let mut overlay = BTreeSet::new();
    for tap in interfaces.iter().filter(|interface| taps.contains(&interface.name)) {
        overlay.insert(tap.index);
        overlay.extend(tap.controller);
    }
    // Each round adds at least one interface or is the last.
    loop {
        let before = overlay.len();
        for interface in interfaces {
            if interface.below.is_some_and(|below| overlay.contains(&below)) {
                overlay.insert(interface.index);
            }
        }
        if overlay.len() == before {
            return overlay;
        }
    }
}

fn interfaces(netlink: &mut Netlink) -> Result<Vec<Interface>> {
    let mut ask = LinkMessage::default();
    // Statistics are most of a dump's bytes.
    ask.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = netlink.dump(RouteNetlinkMessage::GetLink(ask), "cannot read interfaces")?;
    Ok(answers.iter().filter_map(as_interface).collect())
}

/// Indices of the interfaces that have this address; several for link-local ones.
fn assigned_to(netlink: &mut Netlink, wanted: IpAddr) -> Result<Vec<u32>> {
    let mut ask = AddressMessage::default();
    ask.header.family = family(wanted);
    let answers = netlink.dump(RouteNetlinkMessage::GetAddress(ask), "cannot read addresses")?;
    let mut indices = Vec::new();
    for answer in answers {
        let RouteNetlinkMessage::NewAddress(found) = answer else { continue };
        // On a point-to-point interface `Address` is the other end's; `Local` is missing on most IPv6 ones.
        let local = found.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let own = local.or_else(|| {
            found.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(ip) => Some(*ip),
                _ => None,
            })
        });
        if own == Some(wanted) {
            indices.push(found.header.index);
        }
    }
    Ok(indices)
}

/// Where the kernel would send a packet for this address; none when there is no way, or the address is our own.
fn leaves_by(netlink: &mut Netlink, wanted: IpAddr) -> Result<Option<u32>> {
    let mut ask = RouteMessage::default();
    ask.header = RouteHeader {
        address_family: family(wanted),
        destination_prefix_length: if wanted.is_ipv4() { 32 } else { 128 },
        ..RouteHeader::default()
    };
    ask.attributes.push(RouteAttribute::Destination(RouteAddress::from(wanted)));
    let answers = match netlink.request(RouteNetlinkMessage::GetRoute(ask), "cannot read the route") {
        Ok(answers) => answers,
        Err(error) if is_no_route(error.errno) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(answers.iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) if route.header.kind != RouteType::Local => {
            route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            })
        }
        _ => None,
    }))
}

/// No route, or one of type unreachable, prohibit or blackhole.
fn is_no_route(errno: i32) -> bool {
    matches!(errno, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, controller: Option<u32>, below: Option<u32>) -> Interface {
        Interface { index, name: name.to_owned(), controller, below, bridge: false, mtu: 1500 }
    }

    #[test]
    fn the_overlay_is_the_tap_its_bridge_and_what_sits_on_them_but_no_other_port() {
        let all = [
            interface(1, "lo", None, None),
            interface(2, "eth0", Some(4), None),
            interface(3, "ipop0", Some(4), None),
            interface(4, "br-lan", None, None),
            interface(7, "macvlan0", None, Some(6)),
            interface(6, "br-lan.10", None, Some(4)),
            interface(8, "eth0.2", None, Some(2)),
        ];
        let overlay = overlay_of(&all, &["ipop0".to_owned()]);
        assert_eq!(overlay.into_iter().collect::<Vec<_>>(), [3, 4, 6, 7]);
    }
}
