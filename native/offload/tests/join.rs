// SPDX-License-Identifier: MIT
//! What frames in a row are joined into.

mod common;

use common::*;
use ipop_base::{Drop, Frame, VnetHeader};
use ipop_offload::{Join, Mark};

/// Segments of a flow with these payload lengths, as a sender without offload makes them.
fn train(first: &Packet, lengths: &[usize]) -> Vec<Packet> {
    let mut next = first.clone();
    let mut packets = Vec::new();
    for length in lengths {
        next.payload = Packet::new(TCP, false, *length).payload;
        packets.push(next.clone());
        next.sequence = next.sequence.wrapping_add(*length as u32);
        next.id = next.id.wrapping_add(1);
    }
    packets
}

fn open(packets: &[Packet]) -> Vec<(Mark, Vec<u8>)> {
    packets.iter().map(|packet| (packet.mark(), packet.open_bytes())).collect()
}

fn closed(packets: &[Packet]) -> Vec<(Mark, Vec<u8>)> {
    packets.iter().map(|packet| (Mark::none(), packet.bytes())).collect()
}

fn segments(joined: &[Joined]) -> Vec<u16> {
    joined.iter().map(|frame| frame.segments).collect()
}

fn wire(joined: &[Joined]) -> Vec<Vec<u8>> {
    joined.iter().flat_map(Joined::on_the_wire).collect()
}

/// Joins, sees that nothing is lost or changed on the wire, and says how many frames each result is made of.
fn joins(packets: &[Packet]) -> Vec<u16> {
    let expected: Vec<_> = packets.iter().map(Packet::bytes).collect();
    let (of_open, of_closed) = (join(&open(packets), true), join(&closed(packets), true));
    assert_eq!(wire(&of_open), expected);
    assert_eq!(wire(&of_closed), expected);
    assert_eq!(segments(&of_open), segments(&of_closed));
    segments(&of_open)
}

#[test]
fn segments_in_a_row_become_one_super_frame_with_its_virtio_header() {
    for v6 in [false, true] {
        for tags in [vec![], vec![0x8100], vec![0x88a8, 0x8100]] {
            let first = Packet { tags, ..Packet::new(TCP, v6, 0) };
            let mut packets = train(&first, &[1378; 46]);
            packets[45].flags |= PSH | FIN;
            let out = join(&open(&packets), false);
            assert_eq!(segments(&out), [46]);
            let whole = Packet { flags: ACK | PSH | FIN, ..first };
            let payload = packets.iter().flat_map(|packet| packet.payload.clone()).collect();
            let (vnet, bytes) = Packet { payload, ..whole }.super_frame(1378);
            assert_eq!((out[0].vnet, &out[0].bytes), (vnet, &bytes));
            assert_eq!(joins(&packets), [46]);
        }
    }
}

#[test]
fn equal_datagrams_become_one_super_frame_if_the_tap_takes_it() {
    for v6 in [false, true] {
        let packets = train(&Packet::new(UDP, v6, 0), &[200, 200, 200, 7]);
        let out = join(&open(&packets), true);
        let payload = packets.iter().flat_map(|packet| packet.payload.clone()).collect();
        let (vnet, bytes) = Packet { payload, ..packets[0].clone() }.super_frame(200);
        assert_eq!(out, [Joined { vnet, segments: 4, bytes }]);
        assert_eq!(joins(&packets), [4]);
        assert_eq!(segments(&join(&open(&packets), false)), [1, 1, 1, 1]);
    }
}

#[test]
fn what_is_not_joined_goes_on_as_it_came() {
    let packet = Packet::new(TCP, false, 300);
    let (marked, plain) = (packet.open_bytes(), packet.bytes());
    assert_eq!(
        join(&[(packet.mark(), marked.clone())], true),
        [Joined { vnet: packet.open_vnet(), segments: 1, bytes: marked }]
    );
    for bytes in [plain, vec![0xff; 60], vec![], vec![1; 13]] {
        assert_eq!(
            join(&[(Mark::none(), bytes.clone())], true),
            [Joined { vnet: VnetHeader::default(), segments: 1, bytes }]
        );
    }
}

#[test]
fn a_shorter_frame_a_push_and_a_fin_end_a_super_frame() {
    let first = Packet::new(TCP, true, 0);
    assert_eq!(joins(&train(&first, &[500, 500, 400, 500, 500])), [3, 2]);
    assert_eq!(joins(&train(&first, &[500, 600, 600])), [1, 2]);
    for flag in [PSH, FIN] {
        let mut packets = train(&first, &[500; 5]);
        packets[1].flags |= flag;
        assert_eq!(joins(&packets), [2, 3]);
        packets[0].flags |= flag;
        assert_eq!(joins(&packets), [1, 1, 3]);
    }
}

#[test]
fn a_super_frame_has_at_most_64_frames_and_65535_bytes() {
    let first = Packet::new(TCP, false, 0);
    assert_eq!(joins(&train(&first, &[100; 130])), [64, 64, 2]);
    assert_eq!(joins(&train(&first, &[1448; 46])), [45, 1]);
    let left = 65_535 - first.headers() - 9_000 * 7;
    let seven = [9_000; 7];
    assert_eq!(joins(&train(&first, &[&seven[..], &[left]].concat())), [8]);
    assert_eq!(joins(&train(&first, &[&seven[..], &[left + 1]].concat())), [7, 1]);
    assert_eq!(joins(&train(&first, &[9_001, 9_001])), [1, 1]);
}

#[test]
fn segments_that_tell_a_receiver_something_of_their_own_stay_apart() {
    type Change = fn(&mut Packet);
    let changes: [Change; 13] = [
        |packet| packet.ttl = 63,
        |packet| packet.flags |= SYN,
        |packet| packet.flags |= 4,
        |packet| packet.flags |= 0x20,
        |packet| packet.flags |= CWR,
        |packet| packet.flags |= ECE,
        |packet| packet.flags = 0,
        |packet| packet.tos = 3,
        |packet| packet.sequence = packet.sequence.wrapping_add(1),
        |packet| packet.sequence = packet.sequence.wrapping_sub(500),
        |packet| packet.tcp_options = 4,
        |packet| packet.payload.clear(),
        |packet| packet.tags = vec![0x8100],
    ];
    for v6 in [false, true] {
        for (n, change) in changes.iter().enumerate() {
            let mut packets = train(&Packet { df: true, ..Packet::new(TCP, v6, 0) }, &[500; 5]);
            change(&mut packets[2]);
            assert_eq!(joins(&packets), [2, 1, 2], "change {n}");
        }
    }
    // The same in all is no hindrance, but for CWR.
    for (flags, expected) in [(ACK | ECE, vec![3]), (ACK | CWR, vec![1, 1, 1])] {
        assert_eq!(joins(&train(&Packet { flags, tos: 3, ..Packet::new(TCP, true, 0) }, &[500; 3])), expected);
    }
}

#[test]
fn every_bit_of_the_headers_counts() {
    for (protocol, v6) in [(TCP, false), (TCP, true), (UDP, false), (UDP, true)] {
        let packets = train(&Packet { df: true, ..Packet::new(protocol, v6, 0) }, &[64; 2]);
        assert_eq!(joins(&packets), [2]);
        for bit in 0..packets[1].headers() * 8 {
            let mut frames = open(&packets);
            frames[1].1[bit / 8] ^= 1 << (bit % 8);
            let expected: Vec<_> = frames.iter().map(completed).collect();
            let out = join(&frames, true);
            assert_eq!(wire(&out), expected, "protocol {protocol}, bit {bit}");
            // Only the ends that are flags of their own may be joined.
            let pushed = protocol == TCP && matches!(bit / 8 - packets[1].transport().min(bit / 8), 13);
            assert!(segments(&out) == [1, 1] || pushed, "protocol {protocol}, bit {bit}");
        }
    }
}

#[test]
fn the_identification_must_count_on_unless_fragmenting_is_forbidden() {
    let mut packets = train(&Packet::new(TCP, false, 0), &[500; 3]);
    packets[1].id = 7;
    assert_eq!(joins(&packets), [1, 1, 1]);
    let mut packets = train(&Packet::new(TCP, false, 0), &[500; 3]);
    packets[1].df = true;
    assert_eq!(joins(&packets), [1, 1, 1]);
    packets.iter_mut().for_each(|packet| (packet.df, packet.id) = (true, 0));
    assert_eq!(segments(&join(&open(&packets), true)), [3]);
}

#[test]
fn options_and_extension_headers_of_ip_stay_apart() {
    assert_eq!(joins(&train(&Packet { ip_options: 1, ..Packet::new(TCP, false, 0) }, &[500; 2])), [1, 1]);
    assert_eq!(joins(&train(&Packet { extensions: vec![60], ..Packet::new(TCP, true, 0) }, &[500; 2])), [1, 1]);
}

#[test]
fn a_wrong_checksum_stays_wrong_and_alone() {
    for v6 in [false, true] {
        let packets = train(&Packet::new(TCP, v6, 0), &[500; 6]);
        for (bad, expected) in [(0, vec![1, 5]), (3, vec![3, 1, 2]), (5, vec![5, 1])] {
            let mut frames = closed(&packets);
            *frames[bad].1.last_mut().unwrap() ^= 1;
            let out = join(&frames, true);
            assert_eq!(wire(&out), frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
            assert_eq!(segments(&out), expected);
        }
    }
    // The IP header's own.
    let packets = train(&Packet::new(TCP, false, 0), &[500; 3]);
    let mut frames = open(&packets);
    frames[1].1[packets[1].l3() + 10] ^= 1;
    assert_eq!(segments(&join(&frames, true)), [1, 1, 1]);
}

#[test]
fn open_and_complete_checksums_of_a_flow_are_joined_together() {
    let packets = train(&Packet::new(TCP, false, 0), &[500; 4]);
    let (open, closed) = (open(&packets), closed(&packets));
    for first in [&open, &closed] {
        let frames = [first[0].clone(), closed[1].clone(), open[2].clone(), closed[3].clone()];
        let out = join(&frames, true);
        assert_eq!(segments(&out), [4]);
        assert_eq!(wire(&out), packets.iter().map(Packet::bytes).collect::<Vec<_>>());
    }
}

#[test]
fn a_udp_datagram_without_a_checksum_stays_without() {
    let packets = train(&Packet::new(UDP, false, 0), &[500; 2]);
    // Also if one would have come out as zero.
    let zero: Vec<_> = packets.iter().map(|packet| packet.clone().with_zero_checksum()).collect();
    for packets in [packets, zero] {
        let mut frames = closed(&packets);
        frames.iter_mut().for_each(|(_, frame)| put(frame, packets[0].transport() + 6, 0));
        let out = join(&frames, true);
        assert_eq!(wire(&out), frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
        assert_eq!(segments(&out), [1, 1]);
    }
}

#[test]
fn padding_is_not_payload() {
    let packets = train(&Packet::new(TCP, false, 0), &[2; 2]);
    let mut frames = closed(&packets);
    frames.iter_mut().for_each(|(_, frame)| frame.resize(80, 0));
    let out = join(&frames, true);
    assert_eq!(wire(&out), frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>());
    assert_eq!(segments(&out), [1, 1]);
}

#[test]
fn flows_that_alternate_keep_their_order() {
    let (one, other) = (Packet::new(TCP, false, 0), Packet::new(TCP, true, 0));
    let (one, other) = (train(&one, &[500; 3]), train(&other, &[500; 3]));
    let packets: Vec<_> = one.iter().zip(&other).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    assert_eq!(joins(&packets), [1; 6]);
    assert_eq!(joins(&[one, other].concat()), [3, 3]);
}

#[test]
fn a_mark_outside_of_its_frame_is_refused_and_leaves_the_others_alone() {
    let packets = train(&Packet::new(TCP, false, 0), &[500; 2]);
    let mut frames = open(&packets);
    let [first, second] = &mut frames[..] else { unreachable!() };
    let marks = [Mark::tcp(0), Mark::tcp(13), Mark::udp(0), Mark::udp(93), Mark::tcp(83), Mark::tcp(0x3fff)];
    let mut bad: Vec<_> = marks.iter().map(|mark| (mark.unwrap(), vec![8; 100])).collect();
    let mut out = Vec::new();
    let mut sink = |frame: &Frame<'_>| out.push(frame.segments);
    let mut join = Join::new(true);
    join.add(first.0, &mut first.1, &mut sink).unwrap();
    for (mark, frame) in &mut bad {
        assert_eq!(join.add(*mark, frame, &mut sink), Err(Drop::CarriageMalformed), "{mark:?}");
    }
    join.add(second.0, &mut second.1, &mut sink).unwrap();
    join.flush(&mut sink);
    assert_eq!(out, [2]);
    assert!(bad.iter().all(|(_, frame)| *frame == [8; 100]));
}

#[test]
fn a_mark_elsewhere_than_at_the_frames_own_header_is_completed_before_anybody_looks() {
    // TCP within a tunnel: the mark of a header that is not the outermost.
    let outer = Packet::new(UDP, false, 200);
    let mark = Mark::tcp(outer.headers() + 50).unwrap();
    let frame = outer.bytes();
    let expected = completed(&(mark, frame.clone()));
    assert_ne!(expected, frame);
    let out = join(&[(mark, frame)], true);
    assert_eq!(out, [Joined { vnet: VnetHeader::default(), segments: 1, bytes: expected }]);
}
