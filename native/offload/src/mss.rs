// SPDX-License-Identifier: MIT
//! Lowers what TCP hosts tell each other about the segments they take (RFC 9293, 3.7.1), so that a full segment is one datagram.
//!
//! Longer segments are cut, but then the loss of one datagram costs two segments of the sender, or a lone segment is two datagrams that may
//! be lost: on a path of 50 ms that loses 1 % that took a third of the rate.

use crate::headers::{Layout, Protocol, be16, put16};

const TCP_HEADER: usize = 20;
const SYN: u8 = 0x02;

/// True when the frame is a TCP SYN, with or without ACK.
#[inline]
pub fn is_syn(bytes: &[u8]) -> bool {
    tcp_syn(bytes).is_some()
}

/// Lowers the MSS option of a SYN if full segments would not fit frames of `room` bytes. As hosts do, IP options and those of TCP are not
/// counted (RFC 6691). The checksum follows (RFC 1624) unless it is `open`. True when something changed.
pub fn clamp(frame: &mut [u8], open: bool, room: usize) -> bool {
    let Some(layout) = tcp_syn(frame) else { return false };
    let Some(option) = find_mss(frame, &layout) else { return false };
    let headers = layout.l3 + if layout.v6 { 40 } else { 20 } + TCP_HEADER;
    let limit = u16::try_from(room.saturating_sub(headers)).unwrap_or(u16::MAX);
    let Some(old) = be16(frame, option).filter(|&old| old > limit) else { return false };
    put16(frame, option, limit);
    if !open {
        let odd = (option - layout.transport) % 2 == 1;
        let (old, new) = if odd { (old.swap_bytes(), limit.swap_bytes()) } else { (old, limit) };
        let at = layout.checksum();
        let checksum = be16(frame, at).expect("a whole TCP header");
        put16(frame, at, updated(checksum, old, new));
    }
    true
}

#[inline]
fn tcp_syn(bytes: &[u8]) -> Option<Layout> {
    let layout = Layout::of(bytes)?;
    (layout.protocol == Protocol::Tcp && bytes[layout.transport + 13] & SYN != 0).then_some(layout)
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// Offset of the MSS option's value (RFC 9293, 3.2).
fn find_mss(frame: &[u8], layout: &Layout) -> Option<usize> {
    let options = &frame[..layout.payload];
    let mut at = layout.transport + TCP_HEADER;
    loop {
        match *options.get(at)? {
            0 => return None,
            1 => at += 1,
            kind => {
                let length = usize::from(*options.get(at + 1)?);
                if length < 2 || at + length > options.len() {
                    return None;
                }
                if kind == 2 {
                    return (length == 4).then_some(at + 2);
                }
                at += length;
            }
        }
    }
}

#[cfg(test)]
#[path = "mss_tests.rs"]
mod tests;
