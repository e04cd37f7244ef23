// SPDX-License-Identifier: MIT
//! RTP headers (RFC 3550, section 5.1) of the carriage: one payload type, nothing optional.

/// Bytes of a header without contributing sources and extension.
pub const HEADER_LEN: usize = 12;
/// Longest payload: with header and SRTP tag it is a datagram of 1200 bytes (PROTOCOL 4.2).
pub const MAX_PAYLOAD: usize = 1172;
/// The payload type both sides name in their descriptions.
pub const PAYLOAD_TYPE: u8 = 96;

/// One received packet.
#[derive(Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Sequence number.
    pub sequence: u16,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// Reads a packet. None for anything our senders never make: another version or payload type, padding, extension, sources.
pub fn parse(packet: &[u8]) -> Option<Packet<'_>> {
    let (head, payload) = packet.split_at_checked(HEADER_LEN)?;
    if head[0] != 0x80 || head[1] & 0x7f != PAYLOAD_TYPE || payload.len() > MAX_PAYLOAD {
        return None;
    }
    let sequence = u16::from_be_bytes([head[2], head[3]]);
    let ssrc = u32::from_be_bytes(head[8..12].try_into().ok()?);
    Some(Packet { ssrc, sequence, payload })
}

/// The source of any RTP or RTCP packet, also of one that `parse` refuses (told apart as in RFC 5761, section 4). None when it is cut short.
pub fn source(packet: &[u8]) -> Option<u32> {
    let at = if (64..=95).contains(&(packet.get(1)? & 0x7f)) { 4 } else { 8 };
    Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

/// Writes a header into the first 12 bytes. `timestamp` runs at 90 kHz, the clock rate of the payload type.
pub fn write(packet: &mut [u8], ssrc: u32, sequence: u16, timestamp: u32) {
    packet[0] = 0x80;
    packet[1] = PAYLOAD_TYPE;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_header_reads_back() {
        let mut packet = [7u8; 20];
        write(&mut packet, 0x0102_0304, 65535, 90_000);
        assert_eq!(parse(&packet), Some(Packet { ssrc: 0x0102_0304, sequence: 65535, payload: &[7; 8] }));
    }

    #[test]
    fn every_packet_with_a_source_has_it_read() {
        let mut packet = [7u8; 12];
        write(&mut packet, 0x0102_0304, 1, 0);
        assert_eq!(source(&packet), Some(0x0102_0304));
        packet[0] = 0xb1;
        assert_eq!(source(&packet), Some(0x0102_0304), "one that is refused");
        assert_eq!(source(&packet[..11]), None);
        let rtcp = [0x80, 201, 0, 1, 9, 8, 7, 6];
        assert_eq!(source(&rtcp), Some(0x0908_0706));
        assert_eq!(source(&rtcp[..7]), None);
    }

    #[test]
    fn what_our_senders_never_make_is_refused() {
        let mut good = [0u8; 20];
        write(&mut good, 1, 1, 0);
        for (byte, value) in [(0, 0x40), (0, 0xa0), (0, 0x90), (0, 0x81), (1, 97)] {
            let mut bad = good;
            bad[byte] = value;
            assert_eq!(parse(&bad), None, "byte {byte} = {value:#x}");
        }
        assert_eq!(parse(&good[..11]), None);
        let mut long = vec![0; HEADER_LEN + MAX_PAYLOAD + 1];
        write(&mut long, 1, 1, 0);
        assert_eq!(parse(&long), None);
    }
}
