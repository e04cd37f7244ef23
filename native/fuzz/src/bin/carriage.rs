// SPDX-License-Identifier: MIT
//! What a peer sends inside SRTP (RTP, whole frames, fragments, reports): a frame comes out only of bytes that came in for it.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::collections::{HashMap, VecDeque};

use ipop_base::{Drop, DropCounters};
use ipop_fuzz::Choices;
use ipop_link_parts::carriage::{Received, Receiver};
use ipop_link_parts::fragment::PieceHeader;
use ipop_link_parts::report::{REPORT_LEN, Report};
use ipop_link_parts::rtp;

ipop_fuzz::target!(check);

/// Every piece that came, by frame number, count and index.
type Came = HashMap<(u32, u8, u8), Vec<Vec<u8>>>;

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (mut receiver, drops, mut now) = (Receiver::new(0), DropCounters::default(), 0);
    let (mut came, mut finished) = (Came::new(), VecDeque::new());
    let mut packets = 0;
    while !choices.done() && packets < 400 {
        packets += 1;
        // Mostly close together; now and then long enough for a frame to be given up.
        now += match choices.byte() {
            step @ 0..=239 => u64::from(step) / 8,
            step => u64::from(step - 239) * 100,
        };
        let packet = packet(&mut choices);
        let mut copy = packet.clone();
        let malformed = drops.get(Drop::CarriageMalformed);
        let (received, due) = receiver.packet(&mut copy, now, &drops);
        assert!(!due || receiver.report_due(now));
        let Some(parsed) = check_rtp(&packet) else {
            assert_eq!((received, drops.get(Drop::CarriageMalformed)), (Received::Nothing, malformed + 1));
            continue;
        };
        let piece = parsed.payload.starts_with(&[2, 0]).then(|| PieceHeader::parse(parsed.payload)).flatten();
        if let Some((header, piece)) = piece {
            came.entry((header.number, header.count, header.index)).or_default().push(piece.to_vec());
        }
        match received {
            Received::Frame(mark, frame) => {
                assert!(frame.len() >= 14);
                let head = if mark.is_none() { &[1, 0][..] } else { &[&[1, 1][..], &mark.bytes()].concat() };
                let plain = [head, frame].concat();
                let marked_as_none = [&[1, 1, 0, 0], &*frame].concat();
                assert!(
                    parsed.payload == plain || parsed.payload == marked_as_none,
                    "what follows kind, flags and mark"
                );
            }
            Received::Joined(frame) => {
                let (header, _) = PieceHeader::parse(parsed.payload).expect("the piece that was missing");
                assert!(was_sent(&frame, header, &came), "frame {} holds what nobody sent", header.number);
                assert!(!finished.contains(&header.number), "frame {} comes twice", header.number);
                finished.push_back(header.number);
                if finished.len() > 128 {
                    finished.pop_front();
                }
                receiver.recycle(frame);
            }
            Received::Report(report) => {
                let mut written = [3, 0].iter().chain(&[0; REPORT_LEN - 2]).copied().collect::<Vec<u8>>();
                report.write(&mut written);
                assert_eq!(parsed.payload[..REPORT_LEN], written);
            }
            Received::Nothing => {}
        }
        if receiver.report_due(now) {
            receiver.report(now);
            assert!(!receiver.report_due(now), "a report was given just now");
        }
    }
    receiver.expire(now + 1000, &drops);
}

/// The packet, if it is of our form; written anew it is the same but for the marker bit and the timestamp.
fn check_rtp(packet: &[u8]) -> Option<rtp::Packet<'_>> {
    let parsed = rtp::parse(packet)?;
    assert_eq!(rtp::source(packet), Some(parsed.ssrc));
    let mut written = packet.to_vec();
    rtp::write(&mut written, parsed.ssrc, parsed.sequence, u32::from_be_bytes(packet[4..8].try_into().unwrap()));
    written[1] |= packet[1] & 0x80;
    assert_eq!(written, packet);
    Some(parsed)
}

fn packet(choices: &mut Choices<'_>) -> Vec<u8> {
    let kind = choices.up_to(7);
    if kind == 0 {
        return choices.bytes(1400).to_vec();
    }
    let mut packet = vec![0; rtp::HEADER_LEN];
    rtp::write(&mut packet, u32::from(choices.byte()), choices.word(), 0);
    match kind {
        1 => packet.extend(choices.bytes(1200)),
        2 => {
            packet.extend([1, 0]);
            packet.extend(choices.bytes(1172));
        }
        3 => {
            let mut report = vec![3, 0];
            report.resize(REPORT_LEN, 0);
            let (ssrc, number) = (u32::from(choices.byte()), u32::from(choices.word()));
            Report { ssrc, received: number.into(), highest: choices.word(), number }.write(&mut report);
            packet.extend(report);
        }
        _ => {
            let mut head = vec![2, 0, 0, 0, 0, 0, 0, 0];
            let count = choices.one_of(&[2, 3, 3, 4, 64, 65]);
            let header =
                PieceHeader { number: u32::from(choices.byte() & 3), index: choices.byte() % count.min(5), count };
            header.write(&mut head);
            packet.extend(head);
            // Few lengths, so that pieces fit together, and contents that tell them apart.
            let length = choices.one_of(&[1, 2, 3, 700, 757, 1164, 1165]);
            packet.resize(packet.len() + length, choices.byte());
        }
    }
    packet
}

/// Whether the frame is pieces of this number and count, one of each index, all of one length but the last, which is no longer.
fn was_sent(frame: &[u8], header: PieceHeader, came: &Came) -> bool {
    let of = |index: u8| came.get(&(header.number, header.count, index)).map(Vec::as_slice).unwrap_or_default();
    let before = usize::from(header.count) - 1;
    of(header.count - 1).iter().any(|last| {
        let Some(rest) = frame.len().checked_sub(last.len()) else { return false };
        let length = rest / before;
        rest % before == 0
            && last.len() <= length
            && frame[rest..] == **last
            && (0..before).all(|i| of(i as u8).iter().any(|piece| **piece == frame[i * length..(i + 1) * length]))
    })
}
