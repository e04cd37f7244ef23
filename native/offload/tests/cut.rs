// SPDX-License-Identifier: MIT
//! What a frame of a tap is cut into.

mod common;

use std::io::IoSlice;

use common::*;
use ipop_base::{Drop, Frame, VnetHeader};
use ipop_offload::{Mark, behead};

fn frame(vnet: VnetHeader, bytes: &[u8]) -> Frame<'_> {
    Frame { vnet, ..Frame::plain(bytes) }
}

/// Cut, completed, and taken by a receiver.
fn received(vnet: VnetHeader, bytes: &[u8], room: usize) -> Vec<Received> {
    let frames = cut(&frame(vnet, bytes), room).unwrap();
    frames.iter().map(|frame| receive(&completed(frame)).unwrap()).collect()
}

#[test]
fn a_frame_that_fits_goes_as_it_is_and_its_mark_says_what_is_open() {
    for (protocol, v6) in [(TCP, false), (TCP, true), (UDP, false), (UDP, true)] {
        let packet = Packet::new(protocol, v6, 100);
        let (open, whole) = (packet.open_bytes(), packet.bytes());
        assert_eq!(cut(&frame(packet.open_vnet(), &open), 1444), Ok(vec![(packet.mark(), open)]));
        assert_eq!(cut(&Frame::plain(&whole), 1444), Ok(vec![(Mark::none(), whole.clone())]));
        let valid = vnet(2, 0, 0, 0, 0, 0);
        assert_eq!(cut(&frame(valid, &whole), 1444), Ok(vec![(Mark::none(), whole)]));
    }
}

#[test]
fn a_tcp_super_frame_is_cut_by_its_size_if_that_fits() {
    for v6 in [false, true] {
        let packet = Packet { flags: ACK | PSH | FIN | CWR, ..Packet::new(TCP, v6, 1300 * 45 + 7) };
        let (vnet, bytes) = packet.super_frame(1300);
        let frames = cut(&frame(vnet, &bytes), 1444).unwrap();
        let wire: Vec<_> = frames.iter().map(completed).collect();
        assert_eq!(wire, on_the_wire(&frame(vnet, &bytes)));
        let got: Vec<_> = wire.iter().map(|frame| receive(frame).unwrap()).collect();
        assert_eq!(got.len(), 46);
        assert_eq!(got.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<u8>>(), packet.payload);
        assert!(got.iter().enumerate().all(|(n, s)| s.sequence == packet.sequence.wrapping_add(1300 * n as u32)));
        assert_eq!(got[0].flags, ACK | CWR);
        assert!(got[1..45].iter().all(|segment| segment.flags == ACK));
        assert_eq!(got[45].flags, ACK | PSH | FIN);
        assert!(frames.iter().all(|(mark, _)| *mark == packet.mark()));
    }
}

#[test]
fn tcp_is_cut_to_what_fits_also_below_the_hosts_own_size() {
    let packet = Packet { tags: vec![0x88a8, 0x8100], flags: ACK | PSH, ..Packet::new(TCP, true, 1440 * 8) };
    let (vnet, bytes) = packet.super_frame(1440);
    let got = received(vnet, &bytes, 1444);
    assert_eq!(got[0].payload.len(), 1444 - packet.headers());
    assert_eq!(got.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<u8>>(), packet.payload);
    assert_eq!(got.iter().filter(|segment| segment.flags == ACK | PSH).count(), 1);
}

#[test]
fn a_long_tcp_segment_becomes_pieces_of_one_length_whether_its_checksum_is_open_or_complete() {
    for v6 in [false, true] {
        let packet = Packet { flags: ACK | PSH, ip_options: 2, extensions: vec![60], ..Packet::new(TCP, v6, 1400) };
        for (vnet, bytes) in [(packet.open_vnet(), packet.open_bytes()), (VnetHeader::default(), packet.bytes())] {
            let got = received(vnet, &bytes, 1444);
            assert_eq!(got.iter().map(|segment| segment.payload.len()).collect::<Vec<_>>(), [700, 700]);
            assert_eq!([&got[0].payload[..], &got[1].payload].concat(), packet.payload);
            assert_eq!((got[0].flags, got[1].flags), (ACK, ACK | PSH));
            assert_eq!(got[1].sequence, packet.sequence.wrapping_add(700));
        }
    }
}

#[test]
fn a_long_tcp_segment_stays_whole_if_cutting_it_would_mend_or_change_it() {
    let packet = Packet::new(TCP, false, 1460);
    let mut wrong = packet.bytes();
    wrong[1000] ^= 1;
    let syn = Packet { flags: SYN, ..packet.clone() }.bytes();
    let urgent = Packet { flags: ACK | 0x20, ..packet.clone() }.bytes();
    let mut padded = packet.bytes();
    padded.push(0);
    let open = [packet.open_bytes(), vec![0]].concat();
    let frames = cut(&frame(packet.open_vnet(), &open), 1444).unwrap();
    assert_eq!(frames.iter().map(completed).collect::<Vec<_>>(), on_the_wire(&frame(packet.open_vnet(), &open)));
    let routed = Packet { extensions: vec![43], v6: true, ..packet }.bytes();
    let mut wrong_ip = Packet::new(TCP, false, 1460).bytes();
    wrong_ip[22] ^= 1;
    for bytes in [wrong, wrong_ip, syn, urgent, padded, routed] {
        assert_eq!(cut(&Frame::plain(&bytes), 1444), Ok(vec![(Mark::none(), bytes)]));
    }
}

#[test]
fn udp_super_frames_are_cut_into_their_datagrams_and_never_further() {
    for v6 in [false, true] {
        let packet = Packet::new(UDP, v6, 1400 * 7 + 3);
        let (vnet, bytes) = packet.super_frame(1400);
        for room in [1500, 1200] {
            let frames = cut(&frame(vnet, &bytes), room).unwrap();
            assert_eq!(frames.iter().map(completed).collect::<Vec<_>>(), on_the_wire(&frame(vnet, &bytes)));
            let got = received(vnet, &bytes, room);
            assert_eq!(got.iter().map(|datagram| datagram.payload.clone()).collect::<Vec<_>>(), {
                packet.payload.chunks(1400).map(<[u8]>::to_vec).collect::<Vec<_>>()
            });
            // What must go in pieces has its checksum complete, what fits has it open.
            assert!(frames.iter().all(|(mark, frame)| mark.is_none() == (frame.len() > room)));
        }
    }
}

#[test]
fn a_frame_too_long_to_go_whole_comes_with_its_checksum_complete() {
    let packet = Packet::new(UDP, false, 1472);
    let bytes = packet.open_bytes();
    assert_eq!(cut(&frame(packet.open_vnet(), &bytes), 1444), Ok(vec![(Mark::none(), packet.bytes())]));
}

#[test]
fn an_open_checksum_that_no_mark_can_say_is_completed() {
    // Of another protocol (the field 2 bytes into the header), and too far behind.
    let bytes = Packet::new(UDP, false, 100).bytes();
    let mut expected = bytes.clone();
    complete(&mut expected, 34, 2);
    assert_eq!(cut(&frame(vnet(1, 0, 0, 0, 34, 2), &bytes), 1444), Ok(vec![(Mark::none(), expected)]));
    let long = vec![7; 20_000];
    let mut expected = long.clone();
    complete(&mut expected, 16_384, 16);
    assert_eq!(cut(&frame(vnet(1, 0, 0, 0, 16_384, 16), &long), 20_000), Ok(vec![(Mark::none(), expected)]));
}

#[test]
fn a_checksum_that_becomes_zero_is_sent_as_its_other_zero() {
    let packet = Packet::new(UDP, true, 40).with_zero_checksum();
    let (vnet, bytes) = packet.super_frame(40);
    // No room: completed here.
    let frames = cut(&frame(vnet, &bytes), 20).unwrap();
    assert_eq!(get(&frames[0].1, packet.transport() + 6), 0xffff);
    receive(&frames[0].1).unwrap();
}

#[test]
fn payload_may_lie_in_the_tail() {
    let packet = Packet { flags: ACK | PSH, ..Packet::new(TCP, false, 9_000) };
    let (vnet, bytes) = packet.super_frame(1300);
    let whole = cut(&frame(vnet, &bytes), 1444).unwrap();
    for at in [packet.headers(), packet.headers() + 1, 1500, 9_000] {
        let parts: Vec<_> = bytes[at..].chunks(777).flat_map(|part| [IoSlice::new(part), IoSlice::new(&[])]).collect();
        let gathered = Frame { vnet, bytes: &bytes[..at], tail: &parts, segments: 7 };
        assert_eq!(cut(&gathered, 1444).unwrap(), whole);
    }
    let (vnet, open) = (packet.open_vnet(), packet.open_bytes());
    let tail = [IoSlice::new(&open[100..])];
    let gathered = Frame { vnet, bytes: &open[..100], tail: &tail, segments: 1 };
    assert_eq!(cut(&gathered, 10_000), Ok(vec![(packet.mark(), open.clone())]));
    assert_eq!(cut(&gathered, 5_000), cut(&frame(vnet, &open), 5_000));
    // A complete checksum across pieces is not verified: such a frame stays whole.
    let complete = packet.bytes();
    let tail = [IoSlice::new(&complete[100..])];
    let gathered = Frame { tail: &tail, ..Frame::plain(&complete[..100]) };
    assert_eq!(cut(&gathered, 5_000), Ok(vec![(Mark::none(), complete.clone())]));
}

#[test]
fn behind_a_routing_header_the_open_checksum_counts_and_not_the_address() {
    let packet = Packet { extensions: vec![0, 43], ..Packet::new(TCP, true, 3000) };
    let (vnet, mut bytes) = packet.super_frame(1000);
    // The final destination differs from the one in the IP header.
    let sum = slow_sum(&[get(&bytes, packet.transport() + 16).to_be_bytes(), [0x12, 0x34]].concat());
    put(&mut bytes, packet.transport() + 16, sum);
    let frames = cut(&frame(vnet, &bytes), 1444).unwrap();
    assert_eq!(frames.iter().map(completed).collect::<Vec<_>>(), on_the_wire(&frame(vnet, &bytes)));
}

#[test]
fn a_virtio_header_that_does_not_describe_its_frame_is_malformed() {
    let tcp = Packet::new(TCP, false, 3000);
    let (good, bytes) = tcp.super_frame(1000);
    let at = tcp.transport();
    let bad = [
        vnet(1, 1, 66, 0, at, 16),
        vnet(1, 2, 66, 1000, at, 16),
        vnet(1, 3, 66, 1000, at, 6),
        vnet(1, 4, 66, 1000, at, 16),
        vnet(1, 5, 66, 1000, at, 6),
        vnet(1, 0x7f, 66, 1000, at, 16),
        vnet(1, 1, 66, 1000, at + 1, 16),
        vnet(1, 1, 66, 1000, at, 6),
        vnet(1, 1, 66, 1000, 0xffff, 16),
        vnet(1, 0, 0, 0, bytes.len() - 17, 16),
        vnet(1, 0, 0, 0, 13, 16),
        vnet(1, 0, 0, 0, 34, 0xffff),
    ];
    for vnet in bad {
        assert_eq!(cut(&frame(vnet, &bytes), 1444), Err(Drop::Malformed), "{vnet:?}");
    }
    assert_eq!(cut(&frame(good, &bytes[..tcp.headers()]), 1444), Err(Drop::Malformed), "no payload");
    assert_eq!(cut(&frame(good, &bytes[..tcp.headers() - 1]), 1444), Err(Drop::Malformed), "no headers");
    assert_eq!(cut(&Frame::plain(&bytes[..13]), 1444), Err(Drop::Malformed), "no Ethernet header");
    let mut fragment = bytes.clone();
    fragment[tcp.l3() + 6] |= 0x20;
    assert_eq!(cut(&frame(good, &fragment), 1444), Err(Drop::Malformed), "a fragment");
    let too_long = [&bytes[..], &vec![0; 65_536]].concat();
    assert_eq!(cut(&frame(good, &too_long), 1444), Err(Drop::Malformed), "longer than IP can say");
}

#[test]
fn a_super_frame_without_an_open_checksum_is_cut_as_if_it_had_one() {
    let packet = Packet::new(TCP, true, 3000);
    let (open, bytes) = packet.super_frame(1000);
    let mut closed = open;
    closed.0[0] = 0;
    assert_eq!(cut(&frame(closed, &packet.bytes()), 1444), cut(&frame(open, &bytes), 1444));
}

#[test]
fn what_fits_nowhere_is_left_to_the_caller() {
    let packet = Packet::new(TCP, false, 3000);
    let (vnet, bytes) = packet.super_frame(1000);
    for room in [0, packet.headers()] {
        let frames = cut(&frame(vnet, &bytes), room).unwrap();
        assert_eq!(
            frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>(),
            on_the_wire(&frame(vnet, &bytes))
        );
    }
    let whole = packet.bytes();
    assert_eq!(cut(&Frame::plain(&whole), packet.headers()), Ok(vec![(Mark::none(), whole.clone())]));
}

#[test]
fn a_super_frame_without_its_first_segment_is_cut_into_the_others() {
    for (v6, payload, size) in [(false, 1300 * 45 + 7, 1300), (true, 1301, 1300), (false, 100, 8), (true, 64_000, 1350)]
    {
        let packet = Packet { tags: vec![0x8100], flags: ACK | PSH | FIN, ..Packet::new(TCP, v6, payload) };
        let (vnet, mut bytes) = packet.super_frame(size);
        let mut all = cut(&frame(vnet, &bytes), 1444).unwrap();
        let from = behead(&vnet, &mut bytes).unwrap();
        all.remove(0);
        assert!(cut(&frame(vnet, &bytes[from..]), 1444) == Ok(all), "{payload} bytes by {size}");
    }
}

#[test]
fn what_cannot_lose_a_segment_is_left_as_it_is() {
    let (udp, one) = (Packet::new(UDP, false, 3000), Packet::new(TCP, false, 1000));
    let whole = (one.open_vnet(), one.open_bytes());
    for (vnet, mut bytes) in [udp.super_frame(1000), one.super_frame(1000), whole] {
        let before = bytes.clone();
        assert_eq!(behead(&vnet, &mut bytes), Err(Drop::Malformed));
        assert_eq!(bytes, before);
    }
    let (vnet, bytes) = Packet::new(TCP, true, 9000).super_frame(1000);
    for length in 0..bytes.len() {
        let mut cut = bytes[..length].to_vec();
        assert_eq!(behead(&vnet, &mut cut).is_ok(), length > bytes.len() - 8000, "{length} bytes");
    }
}
