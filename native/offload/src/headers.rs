// SPDX-License-Identifier: MIT
//! Where the headers of a TCP or UDP frame are.

use crate::checksum;

/// A protocol whose checksum and segmentation can be offloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// Its number in IP.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }

    /// Offset of the checksum in its header.
    pub const fn checksum_offset(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
pub(crate) const ETHERNET_HEADER: usize = 14;
pub(crate) const IPV4_HEADER: usize = 20;
pub(crate) const IPV6_HEADER: usize = 40;
/// VLAN tags gone through; more is rarer than garbage.
const MAX_TAGS: usize = 4;
/// IPv6 extension headers gone through (RFC 8200 names fewer).
const MAX_EXTENSIONS: usize = 8;

/// Offsets of the headers of a TCP segment or UDP datagram in its frame, through VLAN tags, IPv4 options and IPv6 extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Of the IP header.
    pub l3: usize,
    /// IPv6, else IPv4.
    pub v6: bool,
    /// Options (IPv4) or extension headers (IPv6) follow the IP header.
    pub extended: bool,
    /// A routing header is there, so that the IP header has not the destination that the checksum covers (RFC 8200, 8.1).
    pub routed: bool,
    /// Of the TCP or UDP header.
    pub transport: usize,
    /// Which of them.
    pub protocol: Protocol,
    /// Of what follows that header, options included.
    pub payload: usize,
}

impl Layout {
    /// Finds the headers in `bytes`, a frame or its beginning with all headers. None when it is neither TCP nor UDP, a fragment,
    /// or when the headers do not lie whole in `bytes`. Lengths in the headers are not looked at: see [`Self::fills`].
    #[inline]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut at = ETHERNET_HEADER - 2;
        for _ in 0..=MAX_TAGS {
            match be16(bytes, at)? {
                0x0800 => return ipv4(bytes, at + 2),
                0x86dd => return ipv6(bytes, at + 2),
                0x8100 | 0x88a8 | 0x9100 => at += 4,
                _ => return None,
            }
        }
        None
    }

    /// Whether by their lengths the IP packet and the UDP datagram in it end where the frame does: `len` bytes, tail included, that begin with the
    /// `bytes` in which this was found.
    #[inline]
    pub fn fills(&self, bytes: &[u8], len: usize) -> bool {
        let (field, header) = if self.v6 { (4, IPV6_HEADER) } else { (2, 0) };
        let ip = be16(bytes, self.l3 + field).map(|length| usize::from(length) + header);
        let udp = || be16(bytes, self.transport + 4).map(usize::from) == Some(len - self.transport);
        ip == Some(len - self.l3) && (self.protocol == Protocol::Tcp || udp())
    }

    /// Sum of the pseudo-header without the length: addresses and protocol. Wrong when `routed`.
    #[inline]
    pub(crate) fn pseudo(&self, bytes: &[u8]) -> u32 {
        let addresses = if self.v6 { 8..IPV6_HEADER } else { 12..IPV4_HEADER };
        let addresses = &bytes[self.l3 + addresses.start..self.l3 + addresses.end];
        u32::from(checksum::sum(addresses)) + u32::from(self.protocol.number())
    }

    /// Offset of the checksum of TCP or UDP.
    #[inline]
    pub(crate) fn checksum(&self) -> usize {
        self.transport + self.protocol.checksum_offset()
    }
}

#[inline]
fn ipv4(bytes: &[u8], l3: usize) -> Option<Layout> {
    let header = bytes.get(l3..)?.first_chunk::<IPV4_HEADER>()?;
    let length = usize::from(header[0] & 0x0f) * 4;
    // More fragments, or an offset.
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if header[0] >> 4 != 4 || length < IPV4_HEADER || fragment {
        return None;
    }
    let found =
        Found { l3, v6: false, extended: length > IPV4_HEADER, routed: false, next: header[9], transport: l3 + length };
    found.layout(bytes)
}

#[inline]
fn ipv6(bytes: &[u8], l3: usize) -> Option<Layout> {
    let header = bytes.get(l3..)?.first_chunk::<IPV6_HEADER>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let mut found =
        Found { l3, v6: true, extended: false, routed: false, next: header[6], transport: l3 + IPV6_HEADER };
    for _ in 0..MAX_EXTENSIONS {
        match found.next {
            TCP | UDP => break,
            // Hop-by-hop options, routing, destination options (RFC 8200, section 4). Not a fragment, nor what authentication protects.
            0 | 43 | 60 => {
                let [next, length] = *bytes.get(found.transport..)?.first_chunk()?;
                found.extended = true;
                found.routed |= found.next == 43;
                found.next = next;
                found.transport += (usize::from(length) + 1) * 8;
            }
            _ => return None,
        }
    }
    found.layout(bytes)
}

/// The IP header of a frame and what follows it.
struct Found {
    l3: usize,
    v6: bool,
    extended: bool,
    routed: bool,
    next: u8,
    transport: usize,
}

impl Found {
    #[inline]
    fn layout(self, bytes: &[u8]) -> Option<Layout> {
        let Self { l3, v6, extended, routed, next, transport } = self;
        let (protocol, header) = match next {
            TCP => (Protocol::Tcp, usize::from(bytes.get(transport + 12)? >> 4) * 4),
            UDP => (Protocol::Udp, UDP_HEADER),
            _ => return None,
        };
        let payload = transport + header;
        let whole = header >= if next == TCP { TCP_HEADER } else { UDP_HEADER } && payload <= bytes.len();
        whole.then_some(Layout { l3, v6, extended, routed, transport, protocol, payload })
    }
}

/// A big-endian number, if the bytes are there.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A big-endian number, if the bytes are there.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Writes a big-endian number where there is room for it.
#[inline]
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
