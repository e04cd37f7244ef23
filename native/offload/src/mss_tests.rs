// SPDX-License-Identifier: MIT

use super::*;
use proptest::prelude::*;

/// Of a full datagram over Ethernet and IPv4.
const ROOM: usize = 1444;
const TCP: u8 = 6;
const V4: usize = 4;
const V6: usize = 6;

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Sum over pseudo-header and segment; 0xffff when the checksum is right.
fn verify(frame: &[u8], l3: usize, version: usize, tcp: usize) -> u16 {
    let addresses = if version == V4 { &frame[l3 + 12..l3 + 20] } else { &frame[l3 + 8..l3 + 40] };
    let len = frame.len() - tcp;
    fold(sum(addresses) + u32::from(TCP) + len as u32 + sum(&frame[tcp..]))
}

struct Syn {
    frame: Vec<u8>,
    l3: usize,
    tcp: usize,
}

/// A SYN with these options, before it `tags` VLAN tags and (IPv6) these extension headers: (number, bytes after the next-header byte).
fn syn(version: usize, tags: usize, extensions: &[(u8, &[u8])], flags: u8, options: &[u8]) -> Syn {
    let mut frame = vec![2u8; 12];
    for _ in 0..tags {
        frame.extend_from_slice(&[0x81, 0, 0, 5]);
    }
    frame.extend_from_slice(if version == V4 { &[0x08, 0] } else { &[0x86, 0xdd] });
    let l3 = frame.len();
    if version == V4 {
        frame.extend_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, TCP, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    } else {
        let first = extensions.first().map_or(TCP, |&(number, _)| number);
        frame.extend_from_slice(&[0x60, 0, 0, 0, 0, 0, first, 64]);
        frame.extend(1..=32u8);
        for (i, (_, rest)) in extensions.iter().enumerate() {
            frame.push(extensions.get(i + 1).map_or(TCP, |&(number, _)| number));
            frame.extend_from_slice(rest);
        }
    }
    let tcp = frame.len();
    frame.extend_from_slice(&[0x30, 0x39, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0]);
    frame.extend_from_slice(&[((20 + options.len()) as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend_from_slice(options);
    let checksum = !verify(&frame, l3, version, tcp);
    frame[tcp + 16..tcp + 18].copy_from_slice(&checksum.to_be_bytes());
    Syn { frame, l3, tcp }
}

fn mss_of(frame: &[u8], tcp: usize) -> u16 {
    let layout = tcp_syn(frame).unwrap();
    assert_eq!(layout.transport, tcp);
    be16(frame, find_mss(frame, &layout).unwrap()).unwrap()
}

#[test]
fn a_full_segment_of_the_clamped_size_travels_whole() {
    for (version, tags, header) in [(V4, 0, 54), (V4, 1, 58), (V4, 2, 62), (V6, 0, 74), (V6, 1, 78)] {
        for flags in [SYN, SYN | 0x10] {
            let mut syn = syn(version, tags, &[], flags, &[2, 4, 0x05, 0xb4]);
            assert!(clamp(&mut syn.frame, false, ROOM));
            assert_eq!(usize::from(mss_of(&syn.frame, syn.tcp)) + header, ROOM);
            assert_eq!(verify(&syn.frame, syn.l3, version, syn.tcp), 0xffff);
            assert!(!clamp(&mut syn.frame, false, ROOM), "a second time there is nothing to do");
        }
    }
}

#[test]
fn an_option_at_an_odd_place_keeps_its_checksum_right() {
    let mut syn = syn(V4, 0, &[], SYN, &[1, 2, 4, 0x05, 0xb4, 1, 1, 0]);
    assert!(clamp(&mut syn.frame, false, ROOM));
    assert_eq!(verify(&syn.frame, syn.l3, V4, syn.tcp), 0xffff);
}

#[test]
fn ipv6_extension_headers_are_looked_through_and_not_counted_as_the_hosts_do() {
    let options: &[u8] = &[0, 1, 4, 0, 0, 0, 0];
    let mut syn = syn(V6, 0, &[(0, options), (60, options)], SYN, &[2, 4, 0x05, 0xa0]);
    assert!(clamp(&mut syn.frame, false, ROOM));
    assert_eq!(usize::from(mss_of(&syn.frame, syn.tcp)), ROOM - 14 - 60);
    assert_eq!(verify(&syn.frame, syn.l3, V6, syn.tcp), 0xffff);
}

#[test]
fn an_open_checksum_covers_the_option_later_and_stays() {
    let mut syn = syn(V4, 0, &[], SYN, &[2, 4, 0x05, 0xb4]);
    syn.frame[syn.tcp + 16..syn.tcp + 18].copy_from_slice(&[0x12, 0x34]);
    assert!(clamp(&mut syn.frame, true, ROOM));
    assert_eq!(be16(&syn.frame, syn.tcp + 16), Some(0x1234));
    assert_eq!(usize::from(mss_of(&syn.frame, syn.tcp)), ROOM - 54);
}

#[test]
fn what_must_not_change_does_not() {
    let fragment: &[u8] = &[0, 0, 1, 0, 0, 0, 9];
    let authentication: &[u8] = &[4, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9];
    let mut v4_later = syn(V4, 0, &[], SYN, &[2, 4, 0x05, 0xb4]);
    v4_later.frame[v4_later.l3 + 7] = 0x10;
    let cases = [
        ("smaller already", syn(V4, 0, &[], SYN, &[2, 4, 0x02, 0x18])),
        ("not a SYN", syn(V4, 0, &[], 0x10, &[2, 4, 0x05, 0xb4])),
        ("no MSS option", syn(V4, 0, &[], SYN, &[1, 1, 1, 0])),
        ("broken option", syn(V4, 0, &[], SYN, &[3, 0, 2, 4])),
        ("IPv6 fragment", syn(V6, 0, &[(44, fragment)], SYN, &[2, 4, 0x05, 0xb4])),
        ("authentication header", syn(V6, 0, &[(51, authentication)], SYN, &[2, 4, 0x05, 0xb4])),
        ("later IPv4 fragment", v4_later),
        ("five tags", syn(V4, 5, &[], SYN, &[2, 4, 0x05, 0xb4])),
    ];
    for (name, mut syn) in cases {
        let before = syn.frame.clone();
        assert!(!clamp(&mut syn.frame, false, ROOM), "{name}");
        assert_eq!(syn.frame, before, "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail_and_only_the_option_and_checksum_change(bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool, flip in 0usize..200) {
        let mut frame = syn(if v6 { V6 } else { V4 }, 0, &[], SYN, &[2, 4, 0x05, 0xb4]).frame;
        frame.extend_from_slice(&bytes);
        let at = flip % frame.len();
        frame[at] = bytes.first().copied().unwrap_or(0);
        let before = frame.clone();
        clamp(&mut frame, false, ROOM);
        prop_assert!(frame.iter().zip(&before).filter(|(a, b)| a != b).count() <= 4);
        let mut short = before[..flip.min(before.len())].to_vec();
        clamp(&mut short, false, ROOM);
    }
}
