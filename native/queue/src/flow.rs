// SPDX-License-Identifier: MIT
//! Which flow a frame belongs to.

use std::hash::{BuildHasher, Hasher};

use crate::ecn::Ip;

const TCP: u8 = 6;
/// IPv6 extension headers gone through (RFC 8200 names fewer).
const MAX_EXTENSIONS: usize = 8;

/// A number for the flow of a frame: addresses, protocol and ports of an IP packet, addresses and type of what is none. `key` must be random, so
/// that nobody can make flows meet.
pub fn flow_of(bytes: &[u8], key: &impl BuildHasher) -> u64 {
    let mut hash = key.build_hasher();
    match Packet::of(bytes) {
        Some(packet) => {
            hash.write(packet.addresses);
            hash.write_u8(packet.protocol);
            hash.write(packet.ports);
        }
        None => hash.write(&bytes[..bytes.len().min(14)]),
    }
    hash.finish()
}

/// Whether a frame carries TCP, in a fragment or whole.
pub fn is_tcp(bytes: &[u8]) -> bool {
    Packet::of(bytes).is_some_and(|packet| packet.protocol == TCP)
}

struct Packet<'a> {
    addresses: &'a [u8],
    protocol: u8,
    /// Empty where there are none: a later fragment, or another protocol.
    ports: &'a [u8],
}

impl<'a> Packet<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let Ip { at, v6 } = Ip::of(bytes)?;
        let ip = &bytes[at..];
        if v6 {
            return Self::v6(ip);
        }
        let header = ip.first_chunk::<20>()?;
        // Fragments of one packet stay together: none of them shows its ports.
        let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        let payload = ip.get(usize::from(header[0] & 15) * 4..).filter(|_| !is_fragment);
        Some(Self { addresses: &ip[12..20], protocol: header[9], ports: ports(header[9], payload) })
    }

    fn v6(ip: &'a [u8]) -> Option<Self> {
        ip.first_chunk::<40>()?;
        let (mut next, mut at, mut whole) = (ip[6], 40, true);
        for _ in 0..MAX_EXTENSIONS {
            let extension = ip.get(at..).and_then(|rest| rest.first_chunk::<8>());
            match (next, extension) {
                (0 | 43 | 60, Some(extension)) => {
                    next = extension[0];
                    at += (usize::from(extension[1]) + 1) * 8;
                }
                (44, Some(extension)) => {
                    whole = false;
                    next = extension[0];
                    at += 8;
                }
                _ => break,
            }
        }
        Some(Self { addresses: &ip[8..40], protocol: next, ports: ports(next, ip.get(at..).filter(|_| whole)) })
    }
}

/// TCP, UDP, DCCP, SCTP, UDP-Lite: all begin with two ports.
fn ports(protocol: u8, payload: Option<&[u8]>) -> &[u8] {
    match (protocol, payload.and_then(|payload| payload.get(..4))) {
        (TCP | 17 | 33 | 132 | 136, Some(ports)) => ports,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        flow_of(bytes, &BuildHasherDefault::<DefaultHasher>::default())
    }

    fn ipv4(protocol: u8, port: u8, fragment: u16) -> Vec<u8> {
        let mut ip =
            vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, port, 9, 9];
        ip[6..8].copy_from_slice(&fragment.to_be_bytes());
        [&[2; 12][..], &[8, 0], &ip].concat()
    }

    fn ipv6(extensions: &[u8], first: u8, port: u8) -> Vec<u8> {
        let ip = [&[0x60, 0, 0, 0, 0, 0, first, 64][..], &[5; 32], extensions, &[0, 1, 0, port]].concat();
        [&[2; 12][..], &[0x86, 0xdd], &ip].concat()
    }

    #[test]
    fn a_flow_is_told_by_addresses_protocol_and_ports() {
        let base = hash(&ipv4(6, 1, 0));
        let mut later = ipv4(6, 1, 0);
        *later.last_mut().unwrap() = 77;
        assert_eq!(hash(&later), base);
        let mut other = ipv4(6, 1, 0);
        other[14 + 19] = 3;
        for frame in [ipv4(6, 2, 0), ipv4(17, 1, 0), other, ipv6(&[], 6, 1)] {
            assert_ne!(hash(&frame), base);
        }
        assert_eq!(hash(&ipv4(17, 1, 0x2000)), hash(&ipv4(17, 2, 0x0010)), "fragments of one packet");
    }

    #[test]
    fn extension_headers_are_gone_through() {
        let options = [6, 0, 0, 0, 0, 0, 0, 0];
        assert!(is_tcp(&ipv6(&options, 0, 1)) && is_tcp(&ipv6(&[], 6, 1)) && !is_tcp(&ipv6(&[], 17, 1)));
        assert_eq!(hash(&ipv6(&options, 60, 1)), hash(&ipv6(&[], 6, 1)));
        assert_eq!(hash(&ipv6(&options, 44, 1)), hash(&ipv6(&options, 44, 2)), "fragments");
        assert!(is_tcp(&ipv6(&options, 44, 1)) && is_tcp(&ipv4(6, 1, 0x0010)));
    }

    #[test]
    fn garbage_has_a_flow_and_is_not_tcp() {
        let whole = ipv6(&[6, 9, 0, 0, 0, 0, 0, 0], 0, 1);
        for length in 0..=whole.len() {
            hash(&whole[..length]);
        }
        assert!(!is_tcp(&[]) && !is_tcp(&[2; 60]));
    }
}
