// SPDX-License-Identifier: MIT
//! Frames made to measure for the guard.

use super::*;

const TCP: u8 = 6;
const NO_NEXT: u8 = 59;

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[0xff; 6][..], &[2, 0, 0, 0, 0, 2], &ethertype.to_be_bytes(), payload].concat()
}

fn tagged(tpids: &[u16], frame: &[u8]) -> Vec<u8> {
    let tags: Vec<u8> = tpids.iter().flat_map(|tpid| [(tpid >> 8) as u8, *tpid as u8, 0, 9]).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

fn snap(frame: &[u8]) -> Vec<u8> {
    let length = (frame.len() - 12 + 6) as u16;
    [&frame[..12], &length.to_be_bytes(), &[0xaa, 0xaa, 3, 0, 0, 0], &frame[12..]].concat()
}

fn udp(destination: u16) -> Vec<u8> {
    [&[0x30, 0x39][..], &destination.to_be_bytes(), &[0, 12, 0, 0], &[1, 2, 3, 4]].concat()
}

fn icmpv6(kind: u8) -> Vec<u8> {
    vec![kind, 0, 0, 0, 64, 0, 0, 0]
}

/// `options` must be a multiple of 4 bytes.
fn ipv4(protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let ihl = (5 + options.len() / 4) as u8;
    let length = (20 + options.len() + payload.len()) as u16;
    let [f0, f1] = fragment.to_be_bytes();
    let [l0, l1] = length.to_be_bytes();
    let header = [0x40 | ihl, 0, l0, l1, 0, 1, f0, f1, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ethernet(IPV4, &[&header, options, payload].concat())
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [l0, l1] = (payload.len() as u16).to_be_bytes();
    let header = [&[0x60, 0, 0, 0, l0, l1, next, 255][..], &[0xfe; 32]].concat();
    ethernet(IPV6, &[&header, payload].concat())
}

/// An extension header of `8 * (1 + units)` bytes.
fn extension(next: u8, units: u8) -> Vec<u8> {
    let mut header = vec![0; 8 + usize::from(units) * 8];
    header[0] = next;
    header[1] = units;
    header
}

fn fragment(next: u8, offset_units: u16, more: bool) -> Vec<u8> {
    let [o0, o1] = (offset_units << 3 | u16::from(more)).to_be_bytes();
    vec![next, 0, o0, o1, 0, 0, 0, 1]
}

/// Authentication header with 12 bytes of check value.
fn authentication(next: u8) -> Vec<u8> {
    let mut header = vec![0; 24];
    header[0] = next;
    header[1] = 4;
    header
}

fn judge(frame: &[u8]) -> Result<(), Drop> {
    check(&Headers::parse(frame).unwrap(), frame)
}

fn advertisement() -> Vec<u8> {
    ipv6(ICMPV6, &icmpv6(134))
}

#[test]
fn dhcp_to_server_and_client_ports_is_stopped_and_neighbouring_ports_pass() {
    for port in [67, 68] {
        assert_eq!(judge(&ipv4(UDP, 0, &[], &udp(port))), Err(Drop::GuardDhcp));
    }
    for port in [66, 69, 53, 546, 547] {
        assert_eq!(judge(&ipv4(UDP, 0, &[], &udp(port))), Ok(()));
    }
    assert_eq!(judge(&ipv4(TCP, 0, &[], &udp(67))), Ok(()));
}

#[test]
fn dhcpv6_to_server_and_client_ports_is_stopped_and_neighbouring_ports_pass() {
    for port in [546, 547] {
        assert_eq!(judge(&ipv6(UDP, &udp(port))), Err(Drop::GuardDhcp));
    }
    for port in [545, 548, 67, 68] {
        assert_eq!(judge(&ipv6(UDP, &udp(port))), Ok(()));
    }
}

#[test]
fn router_advertisements_are_stopped_and_other_neighbour_discovery_passes() {
    assert_eq!(judge(&advertisement()), Err(Drop::GuardRa));
    for kind in [128, 133, 135, 136, 143] {
        assert_eq!(judge(&ipv6(ICMPV6, &icmpv6(kind))), Ok(()));
    }
}

#[test]
fn tags_of_any_kind_and_number_hide_nothing() {
    for tpids in [&[0x8100][..], &[0x88a8, 0x8100], &[0x8100, 0x8100], &[0x9100, 0x8100], &[0x8100; 5]] {
        assert_eq!(judge(&tagged(tpids, &advertisement())), Err(Drop::GuardRa), "{tpids:x?}");
        assert_eq!(judge(&tagged(tpids, &ipv4(UDP, 0, &[], &udp(68)))), Err(Drop::GuardDhcp), "{tpids:x?}");
        assert_eq!(judge(&tagged(tpids, &ipv4(UDP, 0, &[], &udp(53)))), Ok(()), "{tpids:x?}");
    }
}

#[test]
fn snap_hides_nothing_before_or_behind_a_tag() {
    assert_eq!(judge(&snap(&advertisement())), Err(Drop::GuardRa));
    assert_eq!(judge(&snap(&tagged(&[0x8100], &advertisement()))), Err(Drop::GuardRa));
    assert_eq!(judge(&tagged(&[0x8100], &snap(&ipv4(UDP, 0, &[], &udp(67))))), Err(Drop::GuardDhcp));
}

/// A Wi-Fi access point passes such a frame on without its length field, whatever that says, and stations read the type behind SNAP.
#[test]
fn no_value_of_the_length_field_hides_what_is_behind_snap() {
    for length in [0u16, 60, 1500, 1501, 1535] {
        let mut frame = snap(&advertisement());
        frame[12..14].copy_from_slice(&length.to_be_bytes());
        assert_eq!(judge(&frame), Err(Drop::GuardRa), "{length}");
    }
}

#[test]
fn ipv4_options_hide_nothing() {
    for words in 1..=10 {
        let options = vec![1; words * 4];
        assert_eq!(judge(&ipv4(UDP, 0, &options, &udp(67))), Err(Drop::GuardDhcp), "{words} words");
        assert_eq!(judge(&ipv4(UDP, 0, &options, &udp(53))), Ok(()), "{words} words");
    }
}

#[test]
fn of_a_fragmented_ipv4_datagram_the_first_fragment_is_judged_and_the_rest_pass() {
    assert_eq!(judge(&ipv4(UDP, 0x2000, &[], &udp(67))), Err(Drop::GuardDhcp));
    assert_eq!(judge(&ipv4(UDP, 0x2001, &[], &udp(67))), Ok(()));
    assert_eq!(judge(&ipv4(UDP, 0x0001, &[], &udp(67))), Ok(()));
}

#[test]
fn each_extension_header_and_all_of_them_together_hide_nothing() {
    for kind in [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, MOBILITY, HIP, SHIM6] {
        for units in [0, 1, 31] {
            let payload = [extension(ICMPV6, units), icmpv6(134)].concat();
            assert_eq!(judge(&ipv6(kind, &payload)), Err(Drop::GuardRa), "header {kind}, {units} units");
        }
    }
    assert_eq!(judge(&ipv6(AUTHENTICATION, &[authentication(UDP), udp(547)].concat())), Err(Drop::GuardDhcp));
    let all = [
        extension(DESTINATION_OPTIONS, 0),
        extension(ROUTING, 2),
        extension(FRAGMENT, 0),
        fragment(AUTHENTICATION, 0, false),
        authentication(DESTINATION_OPTIONS),
        extension(ICMPV6, 1),
        icmpv6(134),
    ];
    assert_eq!(judge(&ipv6(HOP_BY_HOP, &all.concat())), Err(Drop::GuardRa));
}

#[test]
fn extension_headers_before_harmless_packets_pass() {
    assert_eq!(judge(&ipv6(HOP_BY_HOP, &[extension(ICMPV6, 0), icmpv6(143)].concat())), Ok(()));
    assert_eq!(judge(&ipv6(DESTINATION_OPTIONS, &[extension(TCP, 0), vec![0; 20]].concat())), Ok(()));
    assert_eq!(judge(&ipv6(NO_NEXT, &icmpv6(134))), Ok(()));
}

#[test]
fn a_first_fragment_that_holds_its_chain_is_judged_by_it() {
    let first = |next, rest: Vec<u8>| ipv6(FRAGMENT, &[fragment(next, 0, true), rest].concat());
    assert_eq!(judge(&first(ICMPV6, icmpv6(134))), Err(Drop::GuardRa));
    assert_eq!(judge(&first(UDP, udp(546))), Err(Drop::GuardDhcp));
    assert_eq!(judge(&first(UDP, udp(53))), Ok(()));
    assert_eq!(judge(&first(TCP, vec![0; 8])), Ok(()));
    assert_eq!(judge(&first(DESTINATION_OPTIONS, [extension(ICMPV6, 0), icmpv6(134)].concat())), Err(Drop::GuardRa));
}

#[test]
fn a_first_fragment_without_its_whole_chain_is_stopped() {
    let first = |next, rest: &[u8]| ipv6(FRAGMENT, &[&fragment(next, 0, true), rest].concat());
    // The attack of RFC 7113 section 2.1: the upper layer begins in the second fragment.
    assert_eq!(judge(&first(DESTINATION_OPTIONS, &extension(ICMPV6, 0))), Err(Drop::GuardUnparsed));
    assert_eq!(judge(&first(DESTINATION_OPTIONS, &extension(ICMPV6, 9)[..16])), Err(Drop::GuardUnparsed));
    assert_eq!(judge(&first(DESTINATION_OPTIONS, &extension(TCP, 9)[..16])), Err(Drop::GuardUnparsed));
    assert_eq!(judge(&first(UDP, &[])), Err(Drop::GuardUnparsed));
    assert_eq!(judge(&first(UDP, &udp(53)[..7])), Err(Drop::GuardUnparsed));
    assert_eq!(judge(&first(ICMPV6, &[134, 0, 0])), Err(Drop::GuardUnparsed));
    assert_eq!(judge(&first(AUTHENTICATION, &authentication(UDP)[..23])), Err(Drop::GuardUnparsed));
}

#[test]
fn padding_behind_the_packet_does_not_pass_for_its_chain() {
    let mut frame = ipv6(FRAGMENT, &[fragment(DESTINATION_OPTIONS, 0, true), extension(UDP, 0)].concat());
    frame.extend_from_slice(&udp(53));
    assert_eq!(judge(&frame), Err(Drop::GuardUnparsed));
}

#[test]
fn fragments_but_the_first_pass_whatever_they_look_like() {
    for offset in [1, 8, 0x1fff] {
        assert_eq!(judge(&ipv6(FRAGMENT, &[fragment(ICMPV6, offset, true), icmpv6(134)].concat())), Ok(()));
    }
}

#[test]
fn packets_that_no_host_takes_pass_without_harm() {
    assert_eq!(judge(&ethernet(IPV4, &[])), Ok(()));
    assert_eq!(judge(&ethernet(IPV6, &[0x60, 0, 0])), Ok(()));
    assert_eq!(judge(&ethernet(0x88b5, &[0; 46])), Ok(()));
    assert_eq!(judge(&ipv6(DESTINATION_OPTIONS, &extension(ICMPV6, 9)[..16])), Ok(()));
    let mut wrong_version = advertisement();
    wrong_version[14] = 0x40;
    assert_eq!(judge(&wrong_version), Ok(()));
}

#[test]
fn a_jumbogram_is_judged_to_the_frames_end() {
    let mut frame = ipv6(HOP_BY_HOP, &[extension(ICMPV6, 0), icmpv6(134)].concat());
    frame[18..20].copy_from_slice(&[0, 0]);
    assert_eq!(judge(&frame), Err(Drop::GuardRa));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(headers) = Headers::parse(&bytes) {
                prop_assert!(headers.payload <= bytes.len());
                let _ = check(&headers, &bytes);
            }
        }

        #[test]
        fn any_ip_packet_is_judged_without_panic(six: bool, packet in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frame = ethernet(if six { IPV6 } else { IPV4 }, &packet);
            if let Some(first) = frame.get_mut(14) {
                *first = *first & 0x0f | if six { 0x60 } else { 0x40 };
            }
            let _ = judge(&frame);
        }

        /// No chain of known headers, however tagged, gets an advertisement through.
        #[test]
        fn no_chain_hides_an_advertisement(
            kinds in prop::collection::vec((prop::sample::select(vec![HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT, AUTHENTICATION]), 0u8..4), 0..8),
            tags in 0usize..3,
        ) {
            let mut next = ICMPV6;
            let mut payload = icmpv6(134);
            for (kind, units) in kinds {
                let header = match kind {
                    FRAGMENT => fragment(next, 0, true),
                    AUTHENTICATION => authentication(next),
                    _ => extension(next, units),
                };
                payload = [header, payload].concat();
                next = kind;
            }
            prop_assert_eq!(judge(&tagged(&[0x8100, 0x8100][..tags.min(2)], &ipv6(next, &payload))), Err(Drop::GuardRa));
        }
    }
}
