// SPDX-License-Identifier: MIT
//! Lowers the MSS option of TCP SYN segments, so that full segments travel as one packet instead of two pieces (PROTOCOL 4.2).

/// Longest frame that travels whole.
pub const MAX_WHOLE: usize = crate::rtp::MAX_PAYLOAD - 2;
/// Tags a frame may carry before it is left alone.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers looked through (RFC 8200 names fewer).
const MAX_EXTENSIONS: usize = 8;
const TCP_HEADER: usize = 20;
const TCP: u8 = 6;
const SYN: u8 = 0x02;

/// Lowers the MSS option if the frame is a TCP SYN whose full segments would not travel whole. `head` is the frame or its first
/// bytes, headers included. True when it changed something; the TCP checksum then follows (RFC 1624).
pub fn clamp(head: &mut [u8]) -> bool {
    let Some((tcp, ip_header)) = find_tcp(head) else { return false };
    let Some(option) = find_mss(head, tcp) else { return false };
    let Some(l3) = l3_offset(head).map(|(offset, _)| offset) else { return false };
    let limit = (MAX_WHOLE - l3 - ip_header - TCP_HEADER) as u16;
    let old = u16::from_be_bytes([head[option], head[option + 1]]);
    if old <= limit {
        return false;
    }
    head[option..option + 2].copy_from_slice(&limit.to_be_bytes());
    let odd = (option - tcp) % 2 == 1;
    let (old, new) = if odd { (old.swap_bytes(), limit.swap_bytes()) } else { (old, limit) };
    let checksum = u16::from_be_bytes([head[tcp + 16], head[tcp + 17]]);
    head[tcp + 16..tcp + 18].copy_from_slice(&updated_checksum(checksum, old, new).to_be_bytes());
    true
}

/// RFC 1624, equation 3: HC' = ~(~HC + ~m + m').
fn updated_checksum(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Where the network header starts, and its ethertype.
fn l3_offset(head: &[u8]) -> Option<(usize, u16)> {
    let mut at = 12;
    for _ in 0..=MAX_TAGS {
        match be16(head, at)? {
            0x8100 | 0x88a8 => at += 4,
            ethertype => return Some((at + 2, ethertype)),
        }
    }
    None
}

/// Offset of the TCP header of an unfragmented or first-fragment packet, and the length of a plain IP header of that version.
fn find_tcp(head: &[u8]) -> Option<(usize, usize)> {
    match l3_offset(head)? {
        (at, 0x0800) => Some((find_tcp_ipv4(head, at)?, 20)),
        (at, 0x86dd) => Some((find_tcp_ipv6(head, at)?, 40)),
        _ => None,
    }
}

fn find_tcp_ipv4(head: &[u8], at: usize) -> Option<usize> {
    let version_ihl = *head.get(at)?;
    let ihl = usize::from(version_ihl & 0x0f) * 4;
    let first = be16(head, at + 6)? & 0x1fff == 0;
    (version_ihl >> 4 == 4 && ihl >= 20 && first && *head.get(at + 9)? == TCP).then_some(at + ihl)
}

fn find_tcp_ipv6(head: &[u8], at: usize) -> Option<usize> {
    if *head.get(at)? >> 4 != 6 {
        return None;
    }
    let mut next = *head.get(at + 6)?;
    let mut offset = at + 40;
    for _ in 0..=MAX_EXTENSIONS {
        match next {
            TCP => return Some(offset),
            // Hop-by-hop, routing, destination options (RFC 8200, section 4).
            0 | 43 | 60 => {
                next = *head.get(offset)?;
                offset += (usize::from(*head.get(offset + 1)?) + 1) * 8;
            }
            // Fragment: only the first has the TCP header.
            44 if be16(head, offset + 2)? & 0xfff8 == 0 => {
                next = *head.get(offset)?;
                offset += 8;
            }
            // An authentication header (51) would no longer match a changed segment.
            _ => return None,
        }
    }
    None
}

/// Offset of the MSS option's value (RFC 9293, section 3.1), in a SYN whose options lie whole within `head`.
fn find_mss(head: &[u8], tcp: usize) -> Option<usize> {
    let end = tcp + usize::from(*head.get(tcp + 12)? >> 4) * 4;
    if head.get(tcp + 13)? & SYN == 0 || end > head.len() {
        return None;
    }
    let mut at = tcp + TCP_HEADER;
    while at < end {
        match head[at] {
            0 => return None,
            1 => at += 1,
            kind => {
                let len = usize::from(*head[..end].get(at + 1)?);
                if len < 2 || at + len > end {
                    return None;
                }
                if kind == 2 {
                    return (len == 4).then_some(at + 2);
                }
                at += len;
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "mss_tests.rs"]
mod tests;
