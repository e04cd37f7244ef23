// SPDX-License-Identifier: MIT
//! The seam between the switch and its ports. Every stage takes a frame with its virtio header and segment count, so that
//! segmentation offload is a change inside stages, not between them.

use std::io::IoSlice;
use std::sync::Arc;

use crate::{Drop, Handle};

/// `struct virtio_net_hdr` (virtio 1.2, section 5.1.6) as IFF_VNET_HDR gives it: 10 bytes, native endianness.
/// All zero: no offload, checksums complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VnetHeader(pub [u8; 10]);

impl VnetHeader {
    /// Bytes before each frame on a tap.
    pub const LEN: usize = 10;
}

/// One Ethernet frame, without FCS, on its way between ports.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Offload state of `bytes`.
    pub vnet: VnetHeader,
    /// From the destination address on. All headers lie in here.
    pub bytes: &'a [u8],
    /// What follows `bytes`, in at most `MAX_TAIL` pieces: payload of a super-frame that was joined from received frames, where they lie.
    pub tail: &'a [IoSlice<'a>],
    /// How many frames this is on the wire: 1, or more for a super-frame that still must be cut.
    pub segments: u16,
}

impl<'a> Frame<'a> {
    /// Pieces of `tail`.
    pub const MAX_TAIL: usize = 64;

    /// A plain frame: nothing left to offload.
    pub fn plain(bytes: &'a [u8]) -> Self {
        Self { vnet: VnetHeader::default(), bytes, tail: &[], segments: 1 }
    }

    /// Length in bytes, tail included.
    #[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.tail.iter().map(|piece| piece.len()).sum::<usize>()
    }

    /// A copy in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        whole.extend_from_slice(self.bytes);
        self.tail.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole
    }
}

/// What the switch asks of a port. Called from any native thread, several at once; never blocks.
pub trait PortTransmit: Send + Sync {
    /// Sends one frame out of this port, or says why not. It may be kept, to go with others, until `flush`.
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop>;

    /// Sends what was kept: no more frames wait where the last ones came from. Called after a `transmit`, by the thread that called that or by
    /// another; both take the lock of what is kept.
    fn flush(&self) {}

    /// True when it takes UDP super-frames as they are; else the port cuts them itself.
    fn takes_uso(&self) -> bool {
        false
    }
}

/// What a port asks of the switch it belongs to. Called from the port's own threads; never blocks.
pub trait FrameSink: Send + Sync {
    /// A frame came in at this port: it is forwarded, parked or dropped before this returns; where
    /// it was forwarded to may keep it until `flush`.
    fn input(&self, port: Handle, frame: &Frame<'_>);

    /// The caller has no more frames at the moment: every port sends what it kept. To be called after each batch of `input`.
    fn flush(&self);

    /// A faster way in than `input`, for who reads many frames of one port.
    fn ingress(self: Arc<Self>, port: Handle) -> Box<dyn Ingress>;

    /// The port carries nothing any more: disables it and deletes the rules that lead to it, at once.
    fn port_lost(&self, port: Handle);
}

/// A way into the switch for the frames of one port. It remembers where the last conversations went, so that their frames take no lock.
///
/// It belongs to what reads the port (a worker's `Source`), never to what the switch holds (a `PortTransmit`): it holds the switch.
pub trait Ingress: Send {
    /// As `FrameSink::input`.
    fn input(&mut self, frame: &Frame<'_>);

    /// As `FrameSink::flush`.
    fn flush(&mut self);

    /// True when UDP super-frames (VIRTIO_NET_HDR_GSO_UDP_L4) are taken as they are behind this; else they are cut there, so it is no use to
    /// make them. Those of TCP are taken everywhere.
    fn takes_uso(&mut self) -> bool;
}
