// SPDX-License-Identifier: MIT
//! Explicit congestion notification of IP packets in frames, and through a tunnel (RFC 3168, RFC 6040).

/// What the two low bits of the DS field say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not know ECN; also what is no IP packet.
    #[default]
    NotEct = 0,
    /// ECT(1).
    Ect1 = 1,
    /// ECT(0).
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

impl Ecn {
    /// Of a DS field.
    pub fn of_tos(tos: u8) -> Self {
        match tos & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Of a frame. In RFC 6040's normal mode (4.1) it is also what the outer header says.
    #[inline]
    pub fn of_frame(bytes: &[u8]) -> Self {
        match Ip::of(bytes) {
            Some(Ip { at, v6: false }) => bytes.get(at + 1).map_or(Self::NotEct, |tos| Self::of_tos(*tos)),
            Some(Ip { at, v6: true }) => bytes.get(at + 1).map_or(Self::NotEct, |byte| Self::of_tos(byte >> 4)),
            None => Self::NotEct,
        }
    }

    /// What an inner header says after the outer one was taken off (RFC 6040, figure 4); None: the packet must be dropped.
    pub fn decapsulate(self, outer: Self) -> Option<Self> {
        match (self, outer) {
            (Self::NotEct, Self::Ce) => None,
            (Self::NotEct, _) => Some(Self::NotEct),
            (_, Self::Ce) => Some(Self::Ce),
            (Self::Ect0, Self::Ect1) => Some(Self::Ect1),
            (inner, _) => Some(inner),
        }
    }

    /// Writes it into the IP header of a frame, with the checksum of IPv4; false when that is not there.
    pub fn set(self, bytes: &mut [u8]) -> bool {
        let Some(Ip { at, v6 }) = Ip::of(bytes) else { return false };
        let length = if v6 { 40 } else { 20 };
        let Some(header) = bytes.get_mut(at..at + length) else { return false };
        if v6 {
            header[1] = header[1] & 0xcf | (self as u8) << 4;
            return true;
        }
        let was = u16::from_be_bytes([header[0], header[1]]);
        header[1] = header[1] & 0xfc | self as u8;
        let is = u16::from_be_bytes([header[0], header[1]]);
        // RFC 1624, equation 3.
        let sum = u16::from_be_bytes([header[10], header[11]]);
        let sum = u32::from(!sum) + u32::from(!was) + u32::from(is);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        true
    }

    /// Marks a frame whose sender knows ECN as having met congestion; false: it does not know.
    pub fn congested(bytes: &mut [u8]) -> bool {
        match Self::of_frame(bytes) {
            Self::NotEct => false,
            Self::Ce => true,
            Self::Ect0 | Self::Ect1 => Self::Ce.set(bytes),
        }
    }
}

/// A frame came in a datagram whose header said `outer`. False: it must be dropped (RFC 6040, 4.2).
#[inline]
pub fn receive(bytes: &mut [u8], outer: Ecn) -> bool {
    if matches!(outer, Ecn::NotEct | Ecn::Ect0) {
        // These change nothing.
        return true;
    }
    let inner = Ecn::of_frame(bytes);
    match inner.decapsulate(outer) {
        None => false,
        Some(ecn) => ecn == inner || ecn.set(bytes),
    }
}

/// Where a frame's IP header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip {
    pub at: usize,
    pub v6: bool,
}

/// VLAN tags gone through; more is rarer than garbage.
const MAX_TAGS: usize = 4;

impl Ip {
    /// Finds it through VLAN tags. None: no IP, or not a version that fits the type.
    #[inline]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let mut at = 12;
        for _ in 0..=MAX_TAGS {
            let kind = u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
            let version = || bytes.get(at + 2).map(|byte| byte >> 4);
            match kind {
                0x0800 if version() == Some(4) => return Some(Self { at: at + 2, v6: false }),
                0x86dd if version() == Some(6) => return Some(Self { at: at + 2, v6: true }),
                0x8100 | 0x88a8 | 0x9100 => at += 4,
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Ecn::{Ce, Ect0, Ect1, NotEct};
    use super::*;

    fn sum_of(header: &[u8]) -> u16 {
        let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }

    fn ipv4(tos: u8, tag: bool) -> Vec<u8> {
        let mut ip = [0x45, tos, 0, 40, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7];
        let sum = !sum_of(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let tag: &[u8] = if tag { &[0x81, 0, 0, 5] } else { &[] };
        [&[2; 12], tag, &[8, 0], &ip, &[0; 20]].concat()
    }

    fn ipv6(tos: u8) -> Vec<u8> {
        let ip = [0x60 | tos >> 4, tos << 4 | 0x0a, 0xbb, 0xcc, 0, 0, 6, 64];
        [&[2; 12], &[0x86, 0xdd][..], &ip, &[1; 32], &[0; 20]].concat()
    }

    #[test]
    fn what_comes_out_of_a_tunnel_is_what_the_table_of_rfc_6040_says() {
        // Figure 4: a row for each inner header, a column for each outer one.
        let outer = [NotEct, Ect0, Ect1, Ce];
        let table = [
            (NotEct, [Some(NotEct), Some(NotEct), Some(NotEct), None]),
            (Ect0, [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)]),
            (Ect1, [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)]),
            (Ce, [Some(Ce), Some(Ce), Some(Ce), Some(Ce)]),
        ];
        for (inner, row) in table {
            for (outer, expected) in outer.into_iter().zip(row) {
                assert_eq!(inner.decapsulate(outer), expected, "{inner:?} in {outer:?}");
                for mut frame in [ipv4(inner as u8 | 0xb8, false), ipv4(inner as u8, true), ipv6(inner as u8 | 0xb8)] {
                    assert_eq!(receive(&mut frame, outer), expected.is_some());
                    assert_eq!(Ecn::of_frame(&frame), expected.unwrap_or(inner));
                }
            }
        }
    }

    #[test]
    fn a_mark_changes_two_bits_and_keeps_the_header_checksum_right() {
        for tos in 0..=255 {
            let mut frame = ipv4(tos, false);
            assert!(Ce.set(&mut frame));
            assert_eq!((frame[15], sum_of(&frame[14..34])), (tos | 3, 0xffff));
            let (before, mut frame) = (ipv6(tos), ipv6(tos));
            assert!(Ce.set(&mut frame));
            assert_eq!((frame[14], frame[15]), (before[14], before[15] | 0x30));
            assert_eq!(frame[16..], before[16..]);
        }
    }

    #[test]
    fn what_is_no_ip_packet_knows_no_ecn() {
        let mut arp = [&[2; 12][..], &[8, 6], &[0; 28]].concat();
        assert_eq!(Ecn::of_frame(&arp), NotEct);
        assert!(!Ecn::congested(&mut arp) && !receive(&mut arp, Ce) && receive(&mut arp, Ect1));
        for length in 0..14 + 19 {
            let mut cut = ipv4(1, false);
            cut.truncate(length);
            assert!(!Ecn::congested(&mut cut) && cut == ipv4(1, false)[..length]);
        }
    }
}
