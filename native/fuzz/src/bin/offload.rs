// SPDX-License-Identifier: MIT
//! Frames cut for a datagram and joined again: under any virtio header and any marks, what reaches a host is what was sent, or is refused.
#![cfg_attr(feature = "libfuzzer", no_main)]

#[path = "../../../offload/tests/common/mod.rs"]
mod common;

use common::{ACK, Joined, PSH, Packet, TCP, UDP, completed, cut, join, put, slow_sum};
use ipop_base::{Frame, VnetHeader};
use ipop_fuzz::Choices;
use ipop_offload::{Layout, Mark};

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.byte() % 3 {
        0 => of_tap(&mut choices),
        1 => train(&mut choices),
        _ => {
            let frames = vec![(mark(&mut choices), choices.rest().to_vec())];
            assert_eq!(joined_wire(&frames, true), wire(&taken(&frames)));
        }
    }
}

/// A virtio header of any kind on a frame of any kind.
fn of_tap(choices: &mut Choices<'_>) {
    let (good, mut bytes) = packet(choices).super_frame(1 + choices.word() % 2000);
    bytes.truncate(choices.up_to(bytes.len()));
    let vnet = VnetHeader(good.0.map(|byte| if choices.byte() & 7 == 0 { choices.byte() } else { byte }));
    spoil(choices, &mut bytes);
    let room = choices.up_to(3000);
    let Ok(frames) = cut(&Frame { vnet, ..Frame::plain(&bytes) }, room) else { return };
    assert!(!frames.is_empty() && frames.len() <= bytes.len());
    assert_eq!(joined_wire(&frames, true), wire(&frames));
}

/// Frames of one flow as a peer may send them.
fn train(choices: &mut Choices<'_>) {
    let mut next = packet(choices);
    let uso = choices.byte() & 1 == 0;
    let mut frames = Vec::new();
    while !choices.done() && frames.len() < 70 {
        let length = choices.one_of(&[300, 300, 300, 20, 301, 0, 1]);
        next.payload = vec![choices.byte(); length];
        let (mark, mut bytes) = match choices.byte() % 8 {
            0 => (mark(choices), next.bytes()),
            1..4 => (Mark::none(), next.bytes()),
            _ => (next.mark(), next.open_bytes()),
        };
        spoil(choices, &mut bytes);
        frames.push((mark, bytes));
        next.sequence = next.sequence.wrapping_add(length as u32 + u32::from(choices.byte() & 15 == 1));
        next.id = next.id.wrapping_add(1);
    }
    let taken = taken(&frames);
    assert_eq!(joined_wire(&frames, uso), wire(&taken));
    let segments: usize = join(&frames, uso).iter().map(|frame| usize::from(frame.segments)).sum();
    assert_eq!(segments, taken.len());
}

fn packet(choices: &mut Choices<'_>) -> Packet {
    let v6 = choices.byte() & 1 == 0;
    let tags = choices.one_of(&[&[][..], &[], &[0x8100], &[0x88a8, 0x8100], &[0x9100]]);
    let extensions = choices.one_of(&[&[][..], &[], &[0], &[60, 43]]);
    let length = choices.up_to(4000);
    Packet {
        tags: tags.to_vec(),
        extensions: if v6 { extensions.to_vec() } else { vec![] },
        ip_options: if v6 { 0 } else { choices.one_of(&[0, 0, 1, 10]) },
        tos: choices.byte(),
        df: choices.byte() & 1 == 0,
        id: choices.word(),
        tcp_options: choices.up_to(10),
        flags: choices.one_of(&[ACK, ACK, ACK | PSH, 0x50, 0x90, 0x11, 2, 0x3f]),
        sequence: u32::from_be_bytes(choices.filled()),
        ..Packet::new(choices.one_of(&[TCP, TCP, UDP]), v6, length)
    }
}

fn spoil(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    match choices.byte() {
        0..8 if !bytes.is_empty() => {
            let at = choices.up_to(bytes.len().min(120) - 1);
            bytes[at] ^= choices.byte();
        }
        8..12 => bytes.truncate(choices.up_to(1500)),
        12..16 => bytes.resize(bytes.len() + choices.up_to(50), 0),
        _ => {}
    }
}

fn mark(choices: &mut Choices<'_>) -> Mark {
    Mark::parse(choices.word().to_be_bytes()).unwrap_or_default()
}

/// As on a wire, less what means nothing: IPv4's identification where fragmenting is forbidden (RFC 6864), and the checksum over it.
fn comparable(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let settled = |layout: &Layout| {
        !layout.v6 && frame[layout.l3 + 6] & 0x40 != 0 && slow_sum(&frame[layout.l3..layout.transport]) == 0xffff
    };
    if let Some(layout) = Layout::of(&frame).filter(settled) {
        put(&mut frame, layout.l3 + 4, 0);
        put(&mut frame, layout.l3 + 10, 0);
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
