// SPDX-License-Identifier: MIT
//! Frames of every kind, whole and broken, through cut and join: each arrives as it would on a wire, or is refused.

mod common;

use common::*;
use ipop_base::{Frame, VnetHeader};
use ipop_offload::{Layout, Mark, checksum};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn packet() -> impl Strategy<Value = Packet> {
    let tags = select(vec![vec![], vec![0x8100], vec![0x88a8, 0x8100], vec![0x9100]]);
    let ip = (any::<bool>(), select(vec![0usize, 0, 0, 1, 10]), select(vec![vec![], vec![], vec![0], vec![60, 43]]));
    let flags = select(vec![ACK, ACK, ACK | PSH, ACK | FIN, ACK | ECE, ACK | CWR, SYN, 0x3f]);
    let tcp = (0..=10usize, flags, any::<u32>());
    let other = (select(vec![TCP, TCP, UDP]), 0..4u8, any::<bool>(), any::<u16>());
    (tags, ip, tcp, other, 0..6000usize).prop_map(|(tags, ip, tcp, (protocol, tos, df, id), length)| Packet {
        tags,
        v6: ip.0,
        ip_options: ip.1,
        extensions: ip.2,
        tos,
        df,
        id,
        tcp_options: tcp.0,
        flags: tcp.1,
        sequence: tcp.2,
        ..Packet::new(protocol, ip.0, length)
    })
}

/// A frame in LLC with SNAP, ARP, or nothing known.
fn other_frame() -> impl Strategy<Value = Vec<u8>> {
    let begin = select(vec![
        vec![8, 6, 0, 1, 8, 0, 6, 4],
        vec![0, 64, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 0x45],
        vec![0x81, 0, 0, 1, 0, 64, 0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd, 0x60],
        vec![8, 0, 0x45],
        vec![0x86, 0xdd, 0x60],
        vec![],
    ]);
    (begin, vec(any::<u8>(), 2..3000)).prop_map(|(begin, rest)| [&[2; 12], &begin[..], &rest].concat())
}

/// As on a wire, less what means nothing: IPv4's identification where fragmenting is forbidden (RFC 6864), and the checksum over it.
fn comparable(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(layout) = Layout::of(&frame).filter(|layout| !layout.v6 && frame[layout.l3 + 6] & 0x40 != 0) {
        if slow_sum(&frame[layout.l3..layout.transport]) == 0xffff {
            put(&mut frame, layout.l3 + 4, 0);
            put(&mut frame, layout.l3 + 10, 0);
        }
    }
    frame
}

fn wire(frames: &[(Mark, Vec<u8>)]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| comparable(&completed(frame))).collect()
}

/// What comes out of a join of these frames, cut again as a kernel would.
fn joined_wire(frames: &[(Mark, Vec<u8>)], uso: bool) -> Vec<Vec<u8>> {
    join(frames, uso).iter().flat_map(Joined::on_the_wire).map(|frame| comparable(&frame)).collect()
}

/// The frames whose marks lie in them.
fn taken(frames: &[(Mark, Vec<u8>)]) -> Vec<(Mark, Vec<u8>)> {
    let lies = |(mark, frame): &&(Mark, Vec<u8>)| {
        mark.start().is_none_or(|(protocol, at)| at >= 14 && at + protocol.checksum_offset() + 2 <= frame.len())
    };
    frames.iter().filter(lies).cloned().collect()
}

/// A change to one frame of a train.
#[derive(Debug, Clone)]
enum Fault {
    None,
    Flip(usize),
    Truncate(usize),
    Mark(u16),
    Pad(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => (0..800usize).prop_map(Fault::Flip),
        1 => (0..1500usize).prop_map(Fault::Truncate),
        1 => any::<u16>().prop_map(Fault::Mark),
        1 => (0..50usize).prop_map(Fault::Pad),
    ]
}

fn apply(fault: &Fault, (mark, frame): &mut (Mark, Vec<u8>)) {
    match fault {
        Fault::None => {}
        Fault::Flip(bit) if bit / 8 < frame.len() => frame[bit / 8] ^= 1 << (bit % 8),
        Fault::Flip(_) => {}
        Fault::Truncate(length) => frame.truncate(*length),
        Fault::Mark(raw) => *mark = Mark::parse(raw.to_be_bytes()).unwrap_or_default(),
        Fault::Pad(length) => frame.resize(frame.len() + length, 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn super_frames_arrive_as_the_kernel_would_have_sent_them(
        packet in packet(), size in 1..3000u16, room in 0..3000usize, uso in any::<bool>(), gathered in 0..3000usize,
    ) {
        prop_assume!(!packet.payload.is_empty());
        let (vnet, bytes) = packet.super_frame(size);
        let at = (packet.headers() + gathered).min(bytes.len());
        let tail: Vec<_> = bytes[at..].chunks(997).map(std::io::IoSlice::new).collect();
        let frames = cut(&Frame { vnet, bytes: &bytes[..at], tail: &tail, segments: 1 }, room).unwrap();
        let tcp_fits = packet.protocol == TCP && room > packet.headers();
        let size = if tcp_fits { size.min((room - packet.headers()) as u16) } else { size };
        let (vnet, _) = packet.super_frame(size);
        let expected = on_the_wire(&Frame { vnet, ..Frame::plain(&bytes) });
        prop_assert_eq!(frames.iter().map(completed).collect::<Vec<_>>(), expected);
        prop_assert_eq!(joined_wire(&frames, uso), wire(&frames));
        let got: Result<Vec<_>, _> = frames.iter().map(|frame| receive(&completed(frame))).collect();
        // With a routing header the receiver would count with another address, which this one does not know.
        if let Ok(got) = got {
            prop_assert_eq!(got.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<u8>>(), packet.payload);
        } else {
            prop_assert!(packet.v6 && packet.extensions.contains(&43), "{:?}", got);
        }
    }

    #[test]
    fn single_frames_arrive_whole_or_as_segments_of_the_same_bytes(
        packet in packet(), open in any::<bool>(), room in 0..3000usize, fault in fault(),
    ) {
        let bytes = if open { packet.open_bytes() } else { packet.bytes() };
        let vnet = if open { packet.open_vnet() } else { VnetHeader::default() };
        let mut sent = (Mark::none(), bytes);
        apply(&fault, &mut sent);
        let frame = Frame { vnet, ..Frame::plain(&sent.1) };
        let Ok(frames) = cut(&frame, room) else {
            let end = packet.transport() + packet.field() + 2;
            prop_assert!(sent.1.len() < 14 || (open && sent.1.len() < end));
            return Ok(());
        };
        prop_assert_eq!(joined_wire(&frames, true), wire(&frames));
        if frames.len() == 1 {
            prop_assert_eq!(vec![completed(&frames[0])], on_the_wire(&frame));
            return Ok(());
        }
        let whole = receive(&on_the_wire(&frame)[0]);
        let got: Result<Vec<_>, _> = frames.iter().map(|frame| receive(&completed(frame))).collect();
        if let (Ok(whole), Ok(got)) = (whole, got) {
            prop_assert_eq!(got.iter().flat_map(|segment| segment.payload.clone()).collect::<Vec<u8>>(), whole.payload);
            prop_assert_eq!(got[0].sequence, whole.sequence);
            prop_assert_eq!(got.iter().fold(0, |flags, segment| flags | segment.flags), whole.flags);
        } else {
            // Bits of an open frame may be flipped before it has a checksum; a complete one is never cut if it is wrong.
            prop_assert!(open);
        }
    }

    #[test]
    fn trains_with_faults_arrive_frame_by_frame(
        first in packet(), lengths in vec(select(vec![300usize, 300, 300, 300, 20, 301, 0]), 1..30),
        faults in vec(fault(), 30), open in vec(any::<bool>(), 30), gaps in vec(select(vec![0u32, 0, 0, 0, 0, 1]), 30),
        uso in any::<bool>(),
    ) {
        let mut next = first;
        let mut frames = Vec::new();
        for (n, length) in lengths.iter().enumerate() {
            next.payload = Packet::new(TCP, false, *length).payload;
            let mut frame = if open[n] { (next.mark(), next.open_bytes()) } else { (Mark::none(), next.bytes()) };
            apply(&faults[n], &mut frame);
            frames.push(frame);
            next.sequence = next.sequence.wrapping_add(*length as u32 + gaps[n]);
            next.id = next.id.wrapping_add(1);
        }
        let taken = taken(&frames);
        prop_assert_eq!(joined_wire(&frames, uso), wire(&taken));
        prop_assert!(join(&frames, uso).iter().map(|frame| usize::from(frame.segments)).sum::<usize>() == taken.len());
    }

    #[test]
    fn frames_of_no_known_kind_go_through_unchanged(bytes in other_frame(), room in 14..3000usize, mark in any::<u16>()) {
        let frames = cut(&Frame::plain(&bytes), room).unwrap();
        prop_assert_eq!(wire(&frames), vec![comparable(&bytes)]);
        let marked = [(Mark::parse(mark.to_be_bytes()).unwrap_or_default(), bytes)];
        prop_assert_eq!(joined_wire(&marked, true), wire(&taken(&marked)));
    }

    #[test]
    fn hostile_virtio_headers_are_refused_or_cut_within_bounds(
        packet in packet(), header in any::<[u8; 10]>(), keep in vec(any::<bool>(), 10), room in 0..3000usize, length in 0..7000usize,
    ) {
        let (good, mut bytes) = packet.super_frame(1000);
        bytes.truncate(length);
        let header = std::array::from_fn(|n| if keep[n] { good.0[n] } else { header[n] });
        if let Ok(frames) = cut(&Frame { vnet: VnetHeader(header), ..Frame::plain(&bytes) }, room) {
            prop_assert!(!frames.is_empty() && frames.len() <= bytes.len());
            prop_assert_eq!(joined_wire(&frames, true), wire(&frames));
        }
    }

    #[test]
    fn sums_are_those_of_the_reference(bytes in vec(any::<u8>(), 0..3000), fill in select(vec![None, Some(0u8), Some(0xff)])) {
        let bytes = fill.map_or(bytes.clone(), |fill| vec![fill; bytes.len()]);
        prop_assert_eq!(checksum::sum(&bytes), slow_sum(&bytes));
    }
}

#[test]
fn frames_truncated_at_each_byte_break_nothing() {
    for (protocol, v6) in [(TCP, false), (TCP, true), (UDP, false), (UDP, true)] {
        let extended =
            Packet { tags: vec![0x8100], ip_options: 2, extensions: vec![0, 60], ..Packet::new(protocol, v6, 40) };
        for packet in [Packet::new(protocol, v6, 40), extended] {
            let (vnet, bytes) = packet.super_frame(16);
            for length in 0..bytes.len() {
                let short = &bytes[..length];
                let refused = cut(&Frame { vnet, ..Frame::plain(short) }, 1444).is_err();
                assert_eq!(refused, length <= packet.headers(), "length {length}");
                for mark in [Mark::none(), packet.mark()] {
                    let frames = [(mark, short.to_vec())];
                    assert_eq!(joined_wire(&frames, true), wire(&taken(&frames)), "length {length}");
                }
            }
        }
    }
}
