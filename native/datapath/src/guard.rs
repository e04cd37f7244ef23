// SPDX-License-Identifier: MIT
//! What never crosses: DHCP, DHCPv6 and router advertisements. Each site keeps its own servers and its own way out. Judged before
//! any rule look-up, so that no rule can let one through (RFC 6105, RFC 7610; evasions: RFC 7113).

use ipop_base::Drop;

use crate::parse::{Headers, be16};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

const HOP_BY_HOP: u8 = 0;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

const ROUTER_ADVERTISEMENT: u8 = 134;
const UDP_HEADER: usize = 8;
const ICMPV6_HEADER: usize = 4;

/// Says why a frame must not pass, if so.
pub fn check(headers: &Headers, bytes: &[u8]) -> Result<(), Drop> {
    let packet = bytes.get(headers.payload..).unwrap_or_default();
    match headers.ethertype {
        IPV4 => check_ipv4(packet),
        IPV6 => check_ipv6(packet),
        _ => Ok(()),
    }
}

/// Fragments but the first have no ports and pass: without the first they never become a datagram. A first one always holds the ports,
/// because fragments are cut at multiples of 8 bytes.
fn check_ipv4(packet: &[u8]) -> Result<(), Drop> {
    let (Some(&first), Some(fragment), Some(&protocol)) = (packet.first(), be16(packet, 6), packet.get(9)) else {
        return Ok(());
    };
    let header = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header < 20 || fragment & 0x1fff != 0 || protocol != UDP {
        return Ok(());
    }
    match be16(packet, header + 2) {
        Some(67 | 68) => Err(Drop::GuardDhcp),
        _ => Ok(()),
    }
}

/// Follows the header chain. Bytes after the packet's own length are padding, which must not pass for headers.
fn check_ipv6(packet: &[u8]) -> Result<(), Drop> {
    let (Some(&first), Some(length), Some(&next)) = (packet.first(), be16(packet, 4), packet.get(6)) else {
        return Ok(());
    };
    if first >> 4 != 6 {
        return Ok(());
    }
    let end = match usize::from(length) {
        0 => packet.len(), // jumbogram (RFC 2675): the length is in an option
        length => packet.len().min(40 + length),
    };
    let mut chain = Chain { packet: &packet[..end], at: 40, next, fragment: false };
    loop {
        match chain.step() {
            Some(Step::Header) => {}
            Some(Step::Pass) => return Ok(()),
            Some(Step::Stop(why)) => return Err(why),
            // A whole packet that is cut short is refused by every host; a fragment gets its rest from others (RFC 7113 section 3).
            None if chain.fragment => return Err(Drop::GuardUnparsed),
            None => return Ok(()),
        }
    }
}

/// A walk along an IPv6 header chain (RFC 8200 section 4).
struct Chain<'a> {
    packet: &'a [u8],
    at: usize,
    next: u8,
    /// In the first fragment of a packet.
    fragment: bool,
}

enum Step {
    Header,
    Pass,
    Stop(Drop),
}

impl Chain<'_> {
    /// Looks at one header; none when the packet ends inside it. Each extension header is 8 bytes at least, so this ends.
    fn step(&mut self) -> Option<Step> {
        let here = self.packet.get(self.at..)?;
        match self.next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 => {
                self.skip(*here.first()?, 8 + usize::from(*here.get(1)?) * 8)
            }
            AUTHENTICATION => self.skip(*here.first()?, 8 + usize::from(*here.get(1)?) * 4),
            FRAGMENT if be16(here, 2)? & 0xfff8 != 0 => Some(Step::Pass),
            FRAGMENT => {
                self.fragment = true;
                self.skip(*here.first()?, 8)
            }
            UDP => match *here.first_chunk::<UDP_HEADER>()? {
                [_, _, 0x02, 0x22 | 0x23, ..] => Some(Step::Stop(Drop::GuardDhcp)), // port 546 or 547
                _ => Some(Step::Pass),
            },
            ICMPV6 => match *here.first_chunk::<ICMPV6_HEADER>()? {
                [ROUTER_ADVERTISEMENT, ..] => Some(Step::Stop(Drop::GuardRa)),
                _ => Some(Step::Pass),
            },
            _ => Some(Step::Pass),
        }
    }

    fn skip(&mut self, next: u8, length: usize) -> Option<Step> {
        self.next = next;
        self.at += length;
        (self.at <= self.packet.len()).then_some(Step::Header)
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
