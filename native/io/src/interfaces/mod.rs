// SPDX-License-Identifier: MIT
//! Network interfaces by rtnetlink, in the calling thread's network namespace: bridges of taps, which addresses are our own overlay's,
//! and a watch that tells when something changed.

mod netlink;
mod overlay;
mod watch;

use ipop_base::{Error, Result};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use netlink::Netlink;
pub use overlay::address_is_overlay;
pub use watch::InterfaceWatch;

/// Linux: IFNAMSIZ without its NUL.
const MAX_NAME: usize = 15;

/// What is of interest of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    index: u32,
    name: String,
    /// Index of the bridge (or bond...) it is a port of.
    controller: Option<u32>,
    /// Index of the interface it sits on (VLAN, macvlan), in the same namespace.
    below: Option<u32>,
    bridge: bool,
    mtu: u32,
}

/// Puts `tap` into `bridge`; nothing happens when it is there already. ENODEV: no such interface; EINVAL: not a bridge; EBUSY: in another
/// one; EPERM. The bridge keeps its MTU: where the kernel would lower it to the tap's, it is set back.
pub fn bridge_join(tap: &str, bridge: &str) -> Result<()> {
    let mut netlink = Netlink::open()?;
    let port = find(&mut netlink, tap)?;
    let target = find(&mut netlink, bridge)?;
    if !target.bridge {
        return Err(Error::new(libc::EINVAL, format!("'{bridge}' is not a bridge")));
    }
    match port.controller {
        Some(index) if index == target.index => return Ok(()),
        Some(index) => {
            let other = find_index(&mut netlink, index)
                .map_or_else(|_| format!("interface {index}"), |it| format!("'{}'", it.name));
            return Err(Error::new(libc::EBUSY, format!("'{tap}' is in {other} already, not in '{bridge}'")));
        }
        None => {}
    }
    let what = format!("cannot put '{tap}' into bridge '{bridge}'");
    netlink.acknowledged(set_link(port.index, LinkAttribute::Controller(target.index)), &what)?;
    if find(&mut netlink, bridge)?.mtu != target.mtu {
        let what = format!("cannot keep the MTU of bridge '{bridge}' at {}", target.mtu);
        netlink.acknowledged(set_link(target.index, LinkAttribute::Mtu(target.mtu)), &what)?;
    }
    Ok(())
}

/// Name of the bridge that `tap` is a port of. ENODEV: no such interface.
pub fn bridge_of(tap: &str) -> Result<Option<String>> {
    let mut netlink = Netlink::open()?;
    match find(&mut netlink, tap)?.controller {
        None => Ok(None),
        Some(index) => find_index(&mut netlink, index).map(|bridge| Some(bridge.name)),
    }
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Interface> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::new(libc::ENODEV, format!("there is no interface '{name}'")));
    }
    let mut ask = LinkMessage::default();
    ask.attributes.push(LinkAttribute::IfName(name.to_owned()));
    one_link(netlink, ask, &format!("there is no interface '{name}'"))
}

fn find_index(netlink: &mut Netlink, index: u32) -> Result<Interface> {
    let mut ask = LinkMessage::default();
    ask.header.index = index;
    one_link(netlink, ask, &format!("there is no interface {index}"))
}

fn one_link(netlink: &mut Netlink, ask: LinkMessage, missing: &str) -> Result<Interface> {
    let answers = netlink
        .request(RouteNetlinkMessage::GetLink(ask), "cannot read interfaces")
        .map_err(|error| if error.errno == libc::ENODEV { Error::new(libc::ENODEV, missing) } else { error })?;
    let found = answers.iter().find_map(as_interface);
    found.ok_or_else(|| Error::new(libc::ENODEV, missing))
}

fn set_link(index: u32, attribute: LinkAttribute) -> RouteNetlinkMessage {
    let mut set = LinkMessage::default();
    set.header.index = index;
    set.attributes.push(attribute);
    RouteNetlinkMessage::SetLink(set)
}

fn as_interface(message: &RouteNetlinkMessage) -> Option<Interface> {
    let RouteNetlinkMessage::NewLink(link) = message else { return None };
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        controller: None,
        below: None,
        bridge: false,
        mtu: 0,
    };
    let mut elsewhere = false;
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            // Some kernels tell 0 for "none".
            LinkAttribute::Controller(index) => interface.controller = Some(*index).filter(|&index| index != 0),
            LinkAttribute::Link(index) => {
                interface.below = Some(*index).filter(|&below| below != 0 && below != interface.index)
            }
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => interface.bridge = infos.contains(&LinkInfo::Kind(InfoKind::Bridge)),
            _ => {}
        }
    }
    if elsewhere {
        interface.below = None;
    }
    Some(interface)
}
