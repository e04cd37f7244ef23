// SPDX-License-Identifier: MIT
//! Both ends of a link over a network that loses, doubles and reorders packets: each frame comes once and as it was sent, or not at all.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::collections::{HashMap, HashSet};

use ipop_base::{Drop, DropCounters, Frame};
use ipop_fuzz::Choices;
use ipop_link_parts::carriage::{ROOM, Received, Receiver, Sender};

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut sender = Sender::new(|| 7, true);
    let (mut receiver, drops) = (Receiver::new(0), DropCounters::default());
    let (mut now, mut wire) = (0, Vec::new());
    let (mut sent, mut nonces): (HashMap<Vec<u8>, usize>, _) = (HashMap::new(), HashSet::new());
    for _ in 0..60 {
        if choices.done() {
            break;
        }
        let frame = frame(&mut choices);
        let before = wire.len();
        let mut output = |packet: &[u8]| {
            assert!(packet.len() <= 1184, "with its SRTP tag it has to fit into 1200 bytes");
            assert!(nonces.insert((packet[2..4].to_vec(), packet[8..12].to_vec())), "SRTP would repeat a nonce");
            wire.push(packet.to_vec());
            Ok(())
        };
        match sender.frame(&Frame::plain(&frame), now, &mut output) {
            Ok(packets) => {
                assert_eq!(packets as usize, wire.len() - before);
                assert_eq!(packets == 1, frame.len() <= ROOM);
                *sent.entry(frame).or_default() += 1;
            }
            Err(why) => {
                assert_eq!(wire.len(), before, "half a frame is on its way");
                assert_eq!(why, if frame.len() < 14 { Drop::Malformed } else { Drop::Oversize });
            }
        }
        disturb(&mut choices, &mut wire);
        now += u64::from(choices.byte() % 8) * 10;
        let deliver = choices.up_to(wire.len());
        let rest = wire.split_off(deliver);
        for mut packet in std::mem::replace(&mut wire, rest) {
            take(&mut receiver, &mut packet, now, &drops, &mut sent);
        }
        if receiver.report_due(now) {
            sender.reported(&receiver.report(now));
        }
    }
    assert_eq!(drops.get(Drop::CarriageMalformed), 0, "our own packets are of our own form");
}

/// Whole packets may come twice, as UDP may double them (SRTP's replay check is below); joined frames never do.
fn take(
    receiver: &mut Receiver,
    packet: &mut [u8],
    now: u64,
    drops: &DropCounters,
    sent: &mut HashMap<Vec<u8>, usize>,
) {
    match receiver.packet(packet, now, drops).0 {
        Received::Frame(mark, bytes) => {
            assert!(mark.is_none(), "a checksum is open that was not");
            assert!(sent.contains_key(bytes), "a frame that was not sent");
        }
        Received::Joined(bytes) => {
            let left = sent.get_mut(&bytes).expect("a frame that was not sent");
            *left = left.checked_sub(1).expect("a frame that came more often than it was sent");
            receiver.recycle(bytes);
        }
        Received::Report(_) | Received::Nothing => {}
    }
}

fn frame(choices: &mut Choices<'_>) -> Vec<u8> {
    let length = match choices.byte() {
        0..=15 => choices.up_to(64),
        16..=99 => choices.up_to(1600),
        100..=199 => 1171 + choices.up_to(1200),
        200..=250 => choices.up_to(9018),
        _ => choices.up_to(80_000),
    };
    let (start, step) = (choices.byte(), choices.byte() | 1);
    (0..length).map(|at| start.wrapping_add(step.wrapping_mul((at ^ at >> 8) as u8))).collect()
}

fn disturb(choices: &mut Choices<'_>, wire: &mut Vec<Vec<u8>>) {
    for _ in 0..choices.up_to(4) {
        if wire.is_empty() {
            return;
        }
        let (at, to) = (choices.up_to(wire.len() - 1), choices.up_to(wire.len() - 1));
        match choices.up_to(3) {
            0 => drop(wire.remove(at)),
            1 => wire.insert(to, wire[at].clone()),
            _ => wire.swap(at, to),
        }
    }
}
