// SPDX-License-Identifier: MIT
//! Frames that tell what they must be: each is made from a number it carries, so that whoever has one frame can make it anew and compare.

use ipop_base::{Frame, VnetHeader};
use ipop_offload::{Gso, Offload, Protocol};

use std::sync::LazyLock;

/// Numbers fit the places that frames have for them.
pub const MAX_NUMBER: u64 = 1 << 32;
const POOL: usize = 1 << 18;
/// Random bytes that all payloads are parts of.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| (0..POOL as u64 / 8).flat_map(|n| mix(n).to_ne_bytes()).collect());

/// SplitMix64: a number whose bits depend on all bits of `n`.
pub fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// What a frame is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No protocol that offload knows: number, then payload.
    Plain,
    Ip {
        protocol: Protocol,
        v6: bool,
        /// Given with its checksum open.
        open: bool,
        /// Payload of each frame of a super-frame.
        gso: Option<u16>,
    },
}

/// A frame by its number.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    pub number: u64,
    /// Whose it is: 0 or 1.
    pub side: u8,
    pub kind: Kind,
    pub tagged: bool,
    /// Bytes of payload.
    pub payload: usize,
}

/// Of UDP: the number of the datagram within its super-frame.
pub const UDP_INDEX: usize = 4;
pub const VLAN: u16 = 7;

pub fn mac(side: u8) -> [u8; 6] {
    [2, 0x1a, 0, 0, 0, side]
}

impl Made {
    /// The frame of this number: random of kind and length, mostly as on a LAN.
    pub fn of(number: u64, side: u8) -> Self {
        assert!(number < MAX_NUMBER);
        let dice = mix(number * 2 + u64::from(side));
        let (protocol, v6, open) =
            (if dice & 1 == 0 { Protocol::Tcp } else { Protocol::Udp }, dice & 2 != 0, dice & 4 != 0);
        let tagged = (dice >> 3) & 7 == 0;
        let length = (dice >> 16) as usize;
        let (gso, payload) = match (dice >> 8) as u8 {
            // One in 40 is a super-frame.
            0..=5 => {
                let size = 200 + length % 1260;
                (Some(size as u16), size + 1 + (length >> 12) % (50_000 - size))
            }
            // One in 100 is longer than any datagram.
            6..=8 => (None, 1500 + length % 20_000),
            9..=100 => (None, length % 100),
            _ => (None, length % 1401),
        };
        let kind = match (dice >> 40) as u8 {
            0..=63 => Kind::Plain,
            // What is longer is cut, if TCP; UDP that long would be a jumbo frame.
            _ => Kind::Ip { protocol, v6, open: open || gso.is_some(), gso },
        };
        let is_udp = matches!(kind, Kind::Ip { protocol: Protocol::Udp, .. });
        // Each of its datagrams has room for an index.
        let last = gso.map_or(payload, |size| payload % usize::from(size));
        let payload = if is_udp && last < UDP_INDEX { payload + UDP_INDEX } else { payload };
        Self { number, side, kind, tagged, payload }
    }

    /// Where in `BYTES` the payload begins.
    fn at(&self) -> usize {
        mix(self.number ^ 0x5555_0000_0000) as usize % (POOL - (1 << 16))
    }

    /// Payload from `offset` on.
    pub fn bytes(&self, offset: usize, length: usize) -> &'static [u8] {
        &BYTES[self.at() + offset..][..length]
    }

    /// TCP's sequence number of the first byte of payload.
    pub fn sequence(&self) -> u32 {
        mix(self.number ^ 0xaaaa_0000_0000) as u32
    }

    /// Bytes before the payload.
    pub fn headers(&self) -> usize {
        let ethernet = if self.tagged { 18 } else { 14 };
        ethernet
            + match self.kind {
                Kind::Plain => 9,
                Kind::Ip { protocol, v6, .. } => {
                    (if v6 { 40 } else { 20 }) + if protocol == Protocol::Tcp { 20 } else { 8 }
                }
            }
    }

    /// Writes it into `into`, and hands it on as a tap would.
    pub fn give(&self, into: &mut Vec<u8>, to: &mut dyn FnMut(&Frame<'_>)) {
        into.clear();
        into.extend_from_slice(&mac(1 - self.side));
        into.extend_from_slice(&mac(self.side));
        if self.tagged {
            into.extend_from_slice(&[0x81, 0, 0, VLAN as u8]);
        }
        let (vnet, segments) = match self.kind {
            Kind::Plain => {
                into.extend_from_slice(&[0x88, 0xb5, self.side]);
                into.extend_from_slice(&self.number.to_be_bytes());
                into.extend_from_slice(self.bytes(0, self.payload));
                (VnetHeader::default(), 1)
            }
            Kind::Ip { protocol, v6, open, gso } => self.ip(into, protocol, v6, open, gso),
        };
        to(&Frame { vnet, bytes: into, tail: &[], segments });
    }

    fn ip(&self, into: &mut Vec<u8>, protocol: Protocol, v6: bool, open: bool, gso: Option<u16>) -> (VnetHeader, u16) {
        let header = if protocol == Protocol::Tcp { 20 } else { 8 };
        let length = header + self.payload;
        let number = (self.number as u32).to_be_bytes();
        into.extend_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
        let l3 = into.len();
        // The number is the source address, or its last bytes.
        if v6 {
            let [l0, l1] = (length as u16).to_be_bytes();
            into.extend_from_slice(&[0x60, 0, 0, 0, l0, l1, protocol.number(), 64]);
            into.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.side]);
            into.extend_from_slice(&number);
            into.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
        } else {
            let [l0, l1] = ((length + 20) as u16).to_be_bytes();
            into.extend_from_slice(&[0x45, 0, l0, l1, 0, 0, 0x40, 0, 64, protocol.number(), 0, 0]);
            into.extend_from_slice(&number);
            into.extend_from_slice(&[10, 0, 0, 1]);
            let sum = !sum(&into[l3..]);
            into[l3 + 10..l3 + 12].copy_from_slice(&sum.to_be_bytes());
        }
        let transport = into.len();
        into.extend_from_slice(&[0x4e, 0x20 + self.side, 0x9c, 0x40]);
        if protocol == Protocol::Tcp {
            into.extend_from_slice(&self.sequence().to_be_bytes());
            into.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x10, 0x10, 0, 0, 0, 0, 0]);
            into.extend_from_slice(self.bytes(0, self.payload));
        } else {
            into.extend_from_slice(&(length as u16).to_be_bytes());
            into.extend_from_slice(&[0, 0]);
            let size = gso.map_or(self.payload, usize::from);
            let mut done = 0;
            while done < self.payload {
                let here = size.min(self.payload - done);
                let index = ((done / size) as u32).to_be_bytes();
                into.extend_from_slice(&index[..here.min(UDP_INDEX)]);
                into.extend_from_slice(self.bytes(done, here.saturating_sub(UDP_INDEX)));
                done += here;
            }
        }
        let addresses = sum(&into[transport - if v6 { 32 } else { 8 }..transport]);
        let pseudo = fold(u32::from(addresses) + length as u32 + u32::from(protocol.number()));
        let field = transport + protocol.checksum_offset();
        into[field..field + 2].copy_from_slice(&pseudo.to_be_bytes());
        if !open {
            let whole = !sum(&into[transport..]);
            let whole = if whole == 0 { 0xffff } else { whole };
            into[field..field + 2].copy_from_slice(&whole.to_be_bytes());
            return (VnetHeader::default(), 1);
        }
        let kind = gso.map(|_| match (protocol, v6) {
            (Protocol::Udp, _) => Gso::Udp,
            (Protocol::Tcp, false) => Gso::Tcp4,
            (Protocol::Tcp, true) => Gso::Tcp6,
        });
        let offload = Offload {
            gso: kind,
            headers: (transport + header) as u16,
            size: gso.unwrap_or(0),
            open: Some((transport as u16, protocol.checksum_offset() as u16)),
        };
        let segments = gso.map_or(1, |size| self.payload.div_ceil(size.into()) as u16);
        (offload.vnet(), segments)
    }
}

/// RFC 1071, by the book.
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    fold(words.sum())
}

fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
