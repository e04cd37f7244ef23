// SPDX-License-Identifier: MIT
//! What parsing, cutting and joining cost, beside copying the same bytes. `cargo bench -p ipop-offload`; medians of many rounds, one thread.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::Instant;

use common::{PSH, Packet, TCP, UDP};
use ipop_base::Frame;
use ipop_offload::{Cut, Join, Layout, Mark, checksum};

const ROUNDS: usize = 201;
const ROOM: usize = 1444;

/// Median time in ns of one call, over rounds of at least 200 us each.
fn time(mut call: impl FnMut()) -> f64 {
    let mut calls = 1;
    loop {
        let started = Instant::now();
        (0..calls).for_each(|_| call());
        if started.elapsed().as_micros() >= 200 {
            break;
        }
        calls *= 2;
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            (0..calls).for_each(|_| call());
            started.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn report(what: &str, frames: usize, bytes: usize, call: impl FnMut()) {
    let ns = time(call);
    let (frame, byte) = (ns / frames as f64, ns / bytes as f64);
    let _ = writeln!(stdout(), "{what:<52} {ns:>9.1} ns  {frame:>7.1} ns/frame  {byte:>7.4} ns/byte");
}

/// Cuts the frame and returns the frames with their marks, and where they lie in one buffer.
fn cut_into(frame: &Frame<'_>, out: &mut [u8]) -> usize {
    let mut cut = Cut::new(frame, ROOM).expect("a good frame");
    let mut at = 0;
    while let Some(length) = cut.next_len() {
        black_box(cut.write_next(&mut out[at..]));
        at += length;
    }
    at
}

fn join_all(frames: &mut [(Mark, Vec<u8>)], expected: usize) {
    let mut results = 0;
    let mut join = Join::new(true);
    let mut sink = |frame: &Frame<'_>| {
        black_box(frame);
        results += 1;
    };
    for (mark, frame) in frames.iter_mut() {
        join.add(*mark, frame, &mut sink).expect("a good mark");
    }
    join.flush(&mut sink);
    assert_eq!(results, expected);
}

fn cutting(what: &str, packet: &Packet, size: u16) {
    let (vnet, bytes) = packet.super_frame(size);
    let frame = Frame { vnet, ..Frame::plain(&bytes) };
    let mut out = vec![0; 100_000];
    let count = common::cut(&frame, ROOM).expect("a good frame").len();
    let total = bytes.len();
    report(what, count, total, || {
        black_box(cut_into(black_box(&frame), &mut out));
    });
}

/// Segments with payload in a row. Joining writes into the first one's headers, so they are restored for each round.
fn joining(what: &str, packet: &Packet, size: u16, complete: bool) {
    let (vnet, bytes) = packet.super_frame(size);
    let mut frames = common::cut(&Frame { vnet, ..Frame::plain(&bytes) }, ROOM).expect("a good frame");
    if complete {
        frames.iter_mut().for_each(|frame| *frame = (Mark::none(), common::completed(frame)));
    }
    let (count, total) = (frames.len(), frames.iter().map(|(_, frame)| frame.len()).sum());
    let headers = frames[0].1[..packet.headers()].to_vec();
    report(what, count, total, || {
        frames[0].1[..headers.len()].copy_from_slice(&headers);
        join_all(black_box(&mut frames), 1);
    });
}

fn main() {
    let tcp = |v6, length| Packet { flags: 16 | PSH, df: true, ..Packet::new(TCP, v6, length) };
    for (what, packet) in [
        ("parse, IPv4", tcp(false, 1000)),
        ("parse, VLAN tag and IPv6", Packet { tags: vec![0x8100], ..tcp(true, 1000) }),
    ] {
        let bytes = packet.bytes();
        report(what, 1, bytes.len(), || {
            black_box(Layout::of(black_box(&bytes)));
        });
    }
    let bytes = tcp(false, 1448).payload;
    report("checksum of 1448 bytes", 1, bytes.len(), || {
        black_box(checksum::sum(black_box(&bytes)));
    });
    report("the same, two bytes at a time", 1, bytes.len(), || {
        black_box(common::slow_sum(black_box(&bytes)));
    });

    let (from, mut to) = (vec![1u8; 65_226], vec![0u8; 100_000]);
    report("copy of 64 KB by 1444 bytes", from.len().div_ceil(ROOM), from.len(), || {
        for (from, to) in black_box(&from).chunks(ROOM).zip(to.chunks_mut(ROOM)) {
            to[..from.len()].copy_from_slice(from);
        }
        black_box(&mut to);
    });
    cutting("cut of 64 KB, IPv4, 1448 to what fits (1378)", &tcp(false, 65_160), 1448);
    cutting("cut of 64 KB, IPv6, 1428 to what fits (1358)", &tcp(true, 65_160), 1428);
    cutting("cut of 64 KB of UDP by 1400", &Packet::new(UDP, false, 65_160), 1400);

    joining("join of 46 segments, checksums open, IPv4", &tcp(false, 1378 * 46), 1378, false);
    joining("join of 46 segments, checksums open, IPv6", &tcp(true, 1358 * 46), 1358, false);
    joining("join of 46 segments, checksums complete, IPv4", &tcp(false, 1378 * 46), 1378, true);
    joining("join of 64 datagrams of 64 bytes, checksums open", &Packet::new(UDP, false, 64 * 64), 64, false);

    let small = Packet::new(UDP, false, 22);
    let (bytes, vnet) = (small.open_bytes(), small.open_vnet());
    let frame = Frame { vnet, ..Frame::plain(&bytes) };
    let mut out = vec![0; 2000];
    report("cut of one frame of 64 bytes", 1, 64, || {
        black_box(cut_into(black_box(&frame), &mut out));
    });
    let mut one = [(small.mark(), bytes.clone())];
    report("join of one frame of 64 bytes", 1, 64, || join_all(black_box(&mut one), 1));
    let mut arp = [(Mark::none(), vec![8u8; 64])];
    report("join of one frame of no known kind", 1, 64, || join_all(black_box(&mut arp), 1));
}
