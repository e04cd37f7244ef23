// SPDX-License-Identifier: MIT
//! The Internet checksum (RFC 1071).

use ipop_base::Drop;

use crate::headers::{ETHERNET_HEADER, Layout, Protocol, be16, put16};
use crate::mark::Mark;

/// One's complement sum of big-endian 16-bit words, not complemented; an odd byte at the end counts as if a zero followed.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    // The order of bytes does not matter to the sum but for a swap at the end (RFC 1071, section 2), so machine words do.
    let mut total = 0u64;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0; 4];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    total += u64::from(u32::from_ne_bytes(last));
    let total = (total & 0xffff_ffff) + (total >> 32);
    u16::from_be(fold((total & 0xffff) as u32 + (total >> 16 & 0xffff) as u32 + (total >> 32) as u32))
}

/// Brings the carries of a sum back into 16 bits.
#[inline]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Completes the checksum that the mark says is open: it covers all from that header to the frame's end, as Linux has it.
/// [`Drop::CarriageMalformed`] when the field does not lie in the frame, behind the Ethernet header; nothing is changed then.
pub fn complete(frame: &mut [u8], mark: Mark) -> Result<(), Drop> {
    let Some((protocol, start)) = mark.start() else { return Ok(()) };
    complete_at(frame, start, protocol.checksum_offset()).ok_or(Drop::CarriageMalformed)
}

/// The same for any field: `offset` bytes after `start`. None when it does not lie in the frame.
pub(crate) fn complete_at(frame: &mut [u8], start: usize, offset: usize) -> Option<()> {
    if !lies_in(frame, start, offset) {
        return None;
    }
    let sum = !sum(&frame[start..]);
    // 0 would say that a UDP datagram has none; for the others both mean the same.
    put16(frame, start + offset, if sum == 0 { 0xffff } else { sum });
    Some(())
}

/// Whether the 2 bytes of a checksum lie in the frame, behind its Ethernet header.
#[inline]
pub(crate) fn lies_in(frame: &[u8], start: usize, offset: usize) -> bool {
    start >= ETHERNET_HEADER && start + offset + 2 <= frame.len()
}

/// Whether the checksum of the TCP segment or UDP datagram in this frame is complete and right. It must fill the frame ([`Layout::fills`]).
/// Not so of a UDP datagram that has none, nor behind a routing header, which hides an address of the sum.
#[inline]
pub fn verify(frame: &[u8], layout: &Layout) -> bool {
    let none = layout.protocol == Protocol::Udp && be16(frame, layout.checksum()) == Some(0);
    let length = (frame.len() - layout.transport) as u32;
    !none
        && !layout.routed
        && fold(layout.pseudo(frame) + length + u32::from(sum(&frame[layout.transport..]))) == 0xffff
}

/// Whether the IPv4 header has its right checksum. IPv6 has none.
#[inline]
pub(crate) fn ip_is_right(frame: &[u8], layout: &Layout) -> bool {
    layout.v6 || sum(&frame[layout.l3..layout.transport]) == 0xffff
}
