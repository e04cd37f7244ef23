// SPDX-License-Identifier: MIT
//! What travels beside a frame: whether its checksum is open, and where (PROTOCOL, express carriage).

use ipop_base::VnetHeader;

use crate::headers::Protocol;
use crate::vnet::Offload;

const TCP: u16 = 1;
const UDP: u16 = 2;
const KIND_SHIFT: u32 = 14;

/// Which checksum of a frame is open. Two bits of kind (0: none; 1: TCP's; 2: UDP's), 14 bits of offset of that header in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mark(u16);

impl Mark {
    /// Bytes on the wire.
    pub const LEN: usize = 2;
    /// Largest offset of a transport header that it can say.
    pub const MAX_START: usize = (1 << KIND_SHIFT) - 1;

    /// All checksums are complete.
    pub const fn none() -> Self {
        Self(0)
    }

    /// The checksum of the TCP header at offset `at` is open. None beyond [`Self::MAX_START`].
    pub const fn tcp(at: usize) -> Option<Self> {
        Self::new(TCP, at)
    }

    /// The checksum of the UDP header at offset `at` is open. None beyond [`Self::MAX_START`].
    pub const fn udp(at: usize) -> Option<Self> {
        Self::new(UDP, at)
    }

    /// The checksum of this protocol's header at offset `at` is open. None beyond [`Self::MAX_START`].
    pub const fn open(protocol: Protocol, at: usize) -> Option<Self> {
        match protocol {
            Protocol::Tcp => Self::tcp(at),
            Protocol::Udp => Self::udp(at),
        }
    }

    const fn new(kind: u16, at: usize) -> Option<Self> {
        if at <= Self::MAX_START { Some(Self(kind << KIND_SHIFT | at as u16)) } else { None }
    }

    /// From its two bytes; none of kind 3, and of kind 0 with an offset.
    pub const fn parse(bytes: [u8; Self::LEN]) -> Option<Self> {
        let mark = Self(u16::from_be_bytes(bytes));
        match mark.0 >> KIND_SHIFT {
            TCP | UDP => Some(mark),
            _ if mark.0 == 0 => Some(mark),
            _ => None,
        }
    }

    /// As it is on the wire, big-endian.
    pub const fn bytes(self) -> [u8; Self::LEN] {
        self.0.to_be_bytes()
    }

    /// Whether all checksums are complete.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The protocol whose checksum is open and the offset of its header; none when all are complete.
    pub const fn start(self) -> Option<(Protocol, usize)> {
        let at = self.0 as usize & Self::MAX_START;
        match self.0 >> KIND_SHIFT {
            TCP => Some((Protocol::Tcp, at)),
            UDP => Some((Protocol::Udp, at)),
            _ => None,
        }
    }

    /// The same as a virtio header, for a frame that is no super-frame.
    #[inline]
    pub fn vnet(self) -> VnetHeader {
        let open = |(protocol, at): (Protocol, usize)| (at as u16, protocol.checksum_offset() as u16);
        Offload { open: self.start().map(open), ..Offload::default() }.vnet()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_that_can_be_made_is_read_back_and_no_other_is() {
        for raw in 0..=u16::MAX {
            let at = usize::from(raw & 0x3fff);
            let expected = match raw >> 14 {
                1 => Mark::tcp(at),
                2 => Mark::udp(at),
                _ if raw == 0 => Some(Mark::none()),
                _ => None,
            };
            assert_eq!(Mark::parse(raw.to_be_bytes()), expected);
            if let Some(mark) = expected {
                assert_eq!(mark.bytes(), raw.to_be_bytes());
                assert_eq!(mark.start().and_then(|(protocol, at)| Mark::open(protocol, at)).unwrap_or_default(), mark);
            }
        }
        assert_eq!((Mark::tcp(0x4000), Mark::udp(0x4000)), (None, None));
    }
}
