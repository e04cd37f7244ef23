// SPDX-License-Identifier: MIT
//! The headers that all frames of a super-frame share, and what differs in them.

use crate::checksum::{fold, sum};
use crate::headers::{Layout, Protocol, be16, put16};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;
/// Offset of the flags in a TCP header.
pub(crate) const FLAGS: usize = 13;

/// Sums of what stays the same from frame to frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Template {
    pub layout: Layout,
    /// Of the IPv4 header without length, identification and checksum.
    ip: u32,
    /// Of the pseudo-header without the length.
    pseudo: u32,
    /// IPv4's identification of the first.
    id: u16,
}

impl Template {
    /// For frames with these headers; `pseudo` is the sum of their pseudo-header without the length.
    #[inline]
    pub fn new(bytes: &[u8], layout: Layout, pseudo: u32) -> Self {
        if layout.v6 {
            return Self { layout, ip: 0, pseudo, id: 0 };
        }
        let header = &bytes[layout.l3..layout.transport];
        let [length, id, checksum] = [2, 4, 10].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
        let ip = [length, id, checksum].iter().fold(u32::from(sum(header)), |ip, field| ip + u32::from(!field));
        Self { layout, ip: fold(ip).into(), pseudo, id }
    }

    /// What an open checksum's field holds if `length` bytes go from the transport header on.
    #[inline]
    pub fn open(&self, length: usize) -> u16 {
        fold(self.pseudo + length as u32)
    }

    /// Writes into headers all that depends on `payload` bytes and, on IPv4, on how many frames went before this one.
    /// The checksum of TCP or UDP becomes an open one.
    #[inline]
    pub fn write(&self, headers: &mut [u8], payload: usize, before: u16) {
        let Layout { l3, v6, transport, .. } = self.layout;
        let length = self.layout.payload - transport + payload;
        let ip_length = transport - l3 + length;
        if v6 {
            put16(headers, l3 + 4, (ip_length - crate::headers::IPV6_HEADER) as u16);
        } else {
            let id = self.id.wrapping_add(before);
            put16(headers, l3 + 2, ip_length as u16);
            put16(headers, l3 + 4, id);
            put16(headers, l3 + 10, !fold(self.ip + ip_length as u32 + u32::from(id)));
        }
        if self.layout.protocol == Protocol::Udp {
            put16(headers, transport + 4, length as u16);
        }
        put16(headers, self.layout.checksum(), self.open(length));
    }
}

/// The pseudo-header's sum without the length, from the field of an open checksum of `length` bytes. Also right behind a routing header.
#[inline]
pub(crate) fn pseudo_of_open(bytes: &[u8], layout: &Layout, length: usize) -> u32 {
    u32::from(be16(bytes, layout.checksum()).unwrap_or_default()) + u32::from(!(length as u16))
}
