// SPDX-License-Identifier: MIT
//! Ethernet: addresses, VLAN and what is inside.

/// A MAC address.
pub type Address = [u8; 6];

/// Destination, source, type.
pub const ETHERNET_HEADER: usize = 14;
/// What tap, carriage and `u16` lengths can hold.
pub const MAX_FRAME: usize = 65_535;
/// The longest IP packet, behind an Ethernet header and two tags.
pub const MAX_SUPER_FRAME: usize = 65_535 + ETHERNET_HEADER + 8;

const TPID_CUSTOMER: u16 = 0x8100;
const TPID_SERVICE: u16 = 0x88a8;
/// The service tag before IEEE 802.1ad.
const TPID_OLD_SERVICE: u16 = 0x9100;
/// Up to here the field is not a type (IEEE 802.3 3.2.6 begins types at 1536), so LLC may follow.
const MAX_LENGTH_FIELD: u16 = 1535;

/// What the switch reads of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    pub destination: Address,
    pub source: Address,
    /// VLAN id of the outer tag (IEEE 802.1Q or 802.1ad); 0 without a tag or with a priority tag.
    pub vlan: u16,
    /// The innermost type, behind all tags and SNAP headers; 0 where the frame ends before it.
    pub ethertype: u16,
    /// Where that type's payload begins.
    pub payload: usize,
}

impl Headers {
    /// Reads the headers; none of a frame that is shorter than its Ethernet header, tag included.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let destination = *bytes.first_chunk::<6>()?;
        let source = *bytes.get(6..)?.first_chunk::<6>()?;
        let vlan = match be16(bytes, 12)? {
            TPID_CUSTOMER | TPID_SERVICE => {
                be16(bytes, 16)?;
                be16(bytes, 14)? & 0x0fff
            }
            _ => 0,
        };
        let (ethertype, payload) = innermost(bytes);
        Some(Self { destination, source, vlan, ethertype, payload })
    }

    /// To 01:80:c2:00:00:00-0f, which no bridge forwards (IEEE 802.1Q 8.6.3).
    pub fn is_reserved(&self) -> bool {
        self.destination[..5] == [0x01, 0x80, 0xc2, 0x00, 0x00] && self.destination[5] <= 0x0f
    }

    /// From a group address, which nobody can have.
    pub fn is_from_group(&self) -> bool {
        self.source[0] & 1 != 0
    }

    /// From 00:00:00:00:00:00.
    pub fn is_from_zero(&self) -> bool {
        self.source == [0; 6]
    }
}

/// Goes through any number of tags and SNAP headers: hosts do so too, and what a guard does not follow goes past it. Each step
/// moves on by 4 bytes at least, so the frame's end bounds it.
fn innermost(bytes: &[u8]) -> (u16, usize) {
    let mut at = 12;
    while let Some(kind) = be16(bytes, at) {
        match kind {
            TPID_CUSTOMER | TPID_SERVICE | TPID_OLD_SERVICE => at += 4,
            0..=MAX_LENGTH_FIELD if is_snap(bytes, at + 2) => at += 8,
            _ => return (kind, at + 2),
        }
    }
    (0, bytes.len())
}

/// LLC with SNAP, and an EtherType after it (RFC 1042, IEEE 802.1H).
fn is_snap(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(at..at + 6), Some([0xaa, 0xaa, 0x03, 0x00, 0x00, 0x00 | 0xf8]))
}

/// A big-endian number, if the bytes are there.
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(after_addresses: &[u8]) -> Vec<u8> {
        [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], after_addresses].concat()
    }

    fn parsed(after_addresses: &[u8]) -> Option<(u16, u16, usize)> {
        Headers::parse(&frame(after_addresses)).map(|h| (h.vlan, h.ethertype, h.payload))
    }

    #[test]
    fn an_untagged_frame_has_vlan_0_and_its_type() {
        assert_eq!(parsed(&[0x08, 0x00, 0x45]), Some((0, 0x0800, 14)));
        let headers = Headers::parse(&frame(&[0x08, 0x00])).unwrap();
        assert_eq!((headers.destination, headers.source), ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn the_outer_tag_gives_the_vlan_without_priority_bits() {
        assert_eq!(parsed(&[0x81, 0x00, 0xe0, 0x64, 0x08, 0x00]), Some((100, 0x0800, 18)));
        assert_eq!(parsed(&[0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00, 0x08, 0x86, 0xdd]), Some((7, 0x86dd, 22)));
    }

    #[test]
    fn a_priority_tag_is_untagged() {
        assert_eq!(parsed(&[0x81, 0x00, 0xa0, 0x00, 0x08, 0x06]), Some((0, 0x0806, 18)));
    }

    #[test]
    fn a_type_behind_snap_is_found_and_other_llc_is_left_alone() {
        assert_eq!(parsed(&[0x00, 0x40, 0xaa, 0xaa, 0x03, 0, 0, 0, 0x86, 0xdd]), Some((0, 0x86dd, 22)));
        assert_eq!(parsed(&[0x00, 0x40, 0x42, 0x42, 0x03, 0, 0, 0, 0x86, 0xdd]), Some((0, 0x0040, 14)));
    }

    #[test]
    fn a_frame_cut_in_its_header_or_tag_is_none() {
        assert_eq!(parsed(&[0x08]), None);
        assert_eq!(parsed(&[0x81, 0x00, 0x00, 0x01, 0x08]), None);
        assert_eq!(Headers::parse(&[]), None);
    }

    #[test]
    fn a_frame_that_ends_inside_an_inner_tag_has_no_type() {
        assert_eq!(parsed(&[0x88, 0xa8, 0x00, 0x07, 0x81, 0x00, 0x00]), Some((7, 0, 19)));
    }

    #[test]
    fn reserved_addresses_are_sixteen() {
        let to =
            |last| Headers { destination: [1, 0x80, 0xc2, 0, 0, last], ..Headers::parse(&frame(&[8, 0])).unwrap() };
        assert!(to(0).is_reserved() && to(0x0f).is_reserved() && !to(0x10).is_reserved());
    }
}
