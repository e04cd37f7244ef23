// SPDX-License-Identifier: MIT
//! Whether an address leads into our own overlay: a link over it would run inside another link.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipop_base::{Error, Result};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Netlink;
use super::{Interface, find, find_index};

/// Interfaces on top of each other; two are unusual. A pair of veths sits on each other without end.
const MAX_DEPTH: usize = 8;

/// Whether `address` (text, IPv4 or IPv6, a zone is ignored) is assigned to one of `taps` or a bridge with one of them as port, or the route to
/// it leaves by such an interface, or by a VLAN or the like on top of one. No route at all: false. EINVAL: not an address. Taps
/// that do not exist are ignored.
pub fn address_is_overlay(address: &str, taps: &[String]) -> Result<bool> {
    let plain = address.split('%').next().unwrap_or(address);
    let wanted: IpAddr =
        plain.parse().map_err(|_| Error::new(libc::EINVAL, format!("'{address}' is not an IP address")))?;
    let wanted = wanted.to_canonical();
    let mut netlink = Netlink::open()?;
    let overlay = overlay_of(&mut netlink, taps)?;
    if overlay.is_empty() {
        return Ok(false);
    }
    let mut candidates = assigned_to(&mut netlink, wanted)?;
    if candidates.is_empty() {
        candidates.extend(leaves_by(&mut netlink, wanted)?);
    }
    for index in candidates {
        if rests_on(index, &overlay, |index| find_index(&mut netlink, index))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Indices of the taps and their bridges.
fn overlay_of(netlink: &mut Netlink, taps: &[String]) -> Result<BTreeSet<u32>> {
    let mut overlay = BTreeSet::new();
    for tap in taps {
        match find(netlink, tap) {
            Ok(found) => {
                overlay.insert(found.index);
                overlay.extend(found.controller);
            }
            Err(error) if error.errno == libc::ENODEV => {}
            Err(error) => return Err(error),
        }
    }
    Ok(overlay)
}

/// Whether an interface is one of `overlay` or sits on top of one. One that vanishes meanwhile does not.
fn rests_on(index: u32, overlay: &BTreeSet<u32>, mut find: impl FnMut(u32) -> Result<Interface>) -> Result<bool> {
    let mut next = Some(index);
    for _ in 0..MAX_DEPTH {
        let Some(index) = next else { return Ok(false) };
        if overlay.contains(&index) {
            return Ok(true);
        }
        next = match find(index) {
            Ok(interface) => interface.below,
            Err(error) if error.errno == libc::ENODEV => None,
            Err(error) => return Err(error),
        };
    }
    Ok(false)
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

    #[test]
    fn what_sits_on_the_bridge_rests_on_the_overlay_and_what_sits_on_another_of_its_ports_does_not() {
        // 2: a port, 3: our tap, 4: their bridge, 6: VLAN on 4, 7: macvlan on 6, 8: VLAN on 2, 10 and 11: a pair of veths.
        let below = |index| match index {
            6 => Ok(Some(4)),
            7 => Ok(Some(6)),
            8 => Ok(Some(2)),
            10 => Ok(Some(11)),
            11 => Ok(Some(10)),
            1 | 2 => Ok(None),
            other => Err(Error::new(libc::ENODEV, format!("there is no interface {other}"))),
        };
        let find = |index| {
            below(index).map(|below| Interface {
                index,
                name: String::new(),
                controller: None,
                below,
                bridge: false,
                mtu: 1500,
            })
        };
        let overlay = BTreeSet::from([3, 4]);
        for index in [3, 4, 6, 7] {
            assert!(rests_on(index, &overlay, find).unwrap(), "{index}");
        }
        for index in [1, 2, 8, 10, 99] {
            assert!(!rests_on(index, &overlay, find).unwrap(), "{index}");
        }
    }
}
