// SPDX-License-Identifier: MIT
//! Super-frames: cutting, joining, checksums.

use std::hint::black_box;

use ipop_base::Frame;
use ipop_offload::{Cut, Join, Layout, Mark, checksum};

use crate::measure::Stage;
use crate::packets::{self, PSH, Packet, TCP, UDP};

/// What a datagram of 1472 bytes has for a frame.
const ROOM: usize = 1444;

pub fn stages() -> Vec<Stage> {
    let tcp = |v6, length| Packet { flags: 16 | PSH, df: true, ..Packet::new(TCP, v6, length) };
    vec![
        layout("offload: headers, TCP on IPv4", &tcp(false, 1000)),
        sum(),
        cutting("cut, 64 KB of TCP on IPv4", &tcp(false, 65_160), 1448),
        cutting("cut, 64 KB of TCP on IPv6", &tcp(true, 65_160), 1428),
        cutting("cut, 64 KB of UDP", &Packet::new(UDP, false, 65_160), 1400),
        joining("join, 46 segments with open checksums", &tcp(false, 1378 * 46), 1378, false),
        joining("join, 46 segments with complete checksums", &tcp(false, 1378 * 46), 1378, true),
        joining("join, 64 datagrams of 64 bytes", &Packet::new(UDP, false, 64 * 64), 64, false),
        joining_one(),
    ]
}

fn layout(name: &str, packet: &Packet) -> Stage {
    let bytes = packet.bytes();
    Stage::new(name, 1, bytes.len(), move || {
        black_box(Layout::of(black_box(&bytes)));
    })
}

fn sum() -> Stage {
    let bytes = Packet::new(TCP, false, 1448).payload;
    Stage::new("checksum", 1, bytes.len(), move || {
        black_box(checksum::sum(black_box(&bytes)));
    })
}

fn cutting(name: &str, packet: &Packet, size: u16) -> Stage {
    let (vnet, bytes) = packet.super_frame(size);
    let count = packets::cut(&Frame { vnet, ..Frame::plain(&bytes) }, ROOM).expect("a good frame").len();
    let mut out = vec![0; 100_000];
    Stage::new(name, count, bytes.len(), move || {
        let frame = Frame { vnet, ..Frame::plain(&bytes) };
        let mut cut = Cut::new(black_box(&frame), ROOM).expect("a good frame");
        let mut at = 0;
        while let Some(length) = cut.next_len() {
            black_box(cut.write_next(&mut out[at..]));
            at += length;
        }
    })
}

/// Joining writes into the first frame's headers, so they are restored for each call.
fn joining(name: &str, packet: &Packet, size: u16, complete: bool) -> Stage {
    let (vnet, bytes) = packet.super_frame(size);
    let mut frames = packets::cut(&Frame { vnet, ..Frame::plain(&bytes) }, ROOM).expect("a good frame");
    if complete {
        frames.iter_mut().for_each(|frame| *frame = (Mark::none(), packets::completed(frame)));
    }
    let (count, total) = (frames.len(), frames.iter().map(|(_, frame)| frame.len()).sum());
    let headers = frames[0].1[..packet.headers()].to_vec();
    Stage::new(name, count, total, move || {
        frames[0].1[..headers.len()].copy_from_slice(&headers);
        join(&mut frames);
    })
}

fn joining_one() -> Stage {
    let small = Packet::new(UDP, false, 22);
    let mut one = [(small.mark(), small.open_bytes())];
    Stage::new("join, one frame of 64 bytes", 1, 64, move || join(&mut one))
}

/// All become one.
fn join(frames: &mut [(Mark, Vec<u8>)]) {
    let mut results = 0;
    let mut join = Join::new(true);
    let mut sink = |frame: &Frame<'_>| {
        black_box(frame);
        results += 1;
    };
    for (mark, frame) in black_box(frames).iter_mut() {
        join.add(*mark, frame, &mut sink).expect("a good mark");
    }
    join.flush(&mut sink);
    assert_eq!(results, 1);
}
