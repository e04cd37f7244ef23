// SPDX-License-Identifier: MIT
//! What a virtio header says (`struct virtio_net_hdr`, virtio 1.2, section 5.1.6), as a tap has it.

use ipop_base::{Drop, VnetHeader};

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// Of what a super-frame is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gso {
    /// TCP segments on IPv4.
    Tcp4,
    /// TCP segments on IPv6.
    Tcp6,
    /// UDP datagrams on either.
    Udp,
}

/// A virtio header, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// A super-frame, and of what.
    pub gso: Option<Gso>,
    /// Length of all its headers; a hint for the kernel.
    pub headers: u16,
    /// Payload of each of its frames.
    pub size: u16,
    /// The open checksum: where its header starts, and where in that the field is.
    pub open: Option<(u16, u16)>,
}

impl Offload {
    /// Reads a header. [`Drop::Malformed`]: a kind of super-frame that was never asked for, or one of size 0.
    #[inline]
    pub fn read(vnet: &VnetHeader) -> Result<Self, Drop> {
        let [flags, gso, h0, h1, s0, s1, start0, start1, offset0, offset1] = vnet.0;
        let gso = match gso & !GSO_ECN {
            0 => None,
            GSO_TCPV4 => Some(Gso::Tcp4),
            GSO_TCPV6 => Some(Gso::Tcp6),
            GSO_UDP_L4 => Some(Gso::Udp),
            _ => return Err(Drop::Malformed),
        };
        let size = u16::from_ne_bytes([s0, s1]);
        if gso.is_some() && size == 0 {
            return Err(Drop::Malformed);
        }
        let open = (u16::from_ne_bytes([start0, start1]), u16::from_ne_bytes([offset0, offset1]));
        let open = (flags & NEEDS_CSUM != 0).then_some(open);
        Ok(Self { gso, headers: u16::from_ne_bytes([h0, h1]), size, open })
    }

    /// As a tap takes it.
    #[inline]
    pub fn vnet(&self) -> VnetHeader {
        let gso = match self.gso {
            None => 0,
            Some(Gso::Tcp4) => GSO_TCPV4,
            Some(Gso::Tcp6) => GSO_TCPV6,
            Some(Gso::Udp) => GSO_UDP_L4,
        };
        let (start, offset) = self.open.unwrap_or_default();
        let ([h0, h1], [s0, s1]) = (self.headers.to_ne_bytes(), self.size.to_ne_bytes());
        let ([start0, start1], [offset0, offset1]) = (start.to_ne_bytes(), offset.to_ne_bytes());
        let flags = if self.open.is_some() { NEEDS_CSUM } else { 0 };
        VnetHeader([flags, gso, h0, h1, s0, s1, start0, start1, offset0, offset1])
    }
}
