// SPDX-License-Identifier: MIT
//! What the switch costs a frame, in nanoseconds: all checks and a rule hit, through an ingress that remembers, through one that has
//! to look up each frame anew, and through `FrameSink::input`; beside a copy of the frame. `cargo bench -p ipop-datapath`.
#![allow(missing_docs, reason = "a program")]

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ipop_base::{Drop, DropCounters, Frame, FrameSink, Handle, PortTransmit, RecordQueue, VnetHeader, next_handle};
use ipop_datapath::{PortKind, Switch};

const FRAMES: u32 = 200_000;
const ROUNDS: usize = 15;

#[derive(Default)]
struct Sink(AtomicU64);

impl PortTransmit for Sink {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        self.0.store(black_box(frame.len() as u64), Ordering::Relaxed);
        Ok(())
    }
}

fn port(switch: &Switch, kind: PortKind, hosts: std::ops::Range<u16>) -> Handle {
    let port = next_handle();
    switch.add_port(port, kind, Arc::new(Sink::default()), Arc::new(DropCounters::default()));
    switch.enable_port(port, true).expect("the port was just added");
    for n in hosts {
        switch.rule_set(host(n), 0, port).expect("there is room for this rule");
    }
    port
}

fn host(n: u16) -> [u8; 6] {
    let [high, low] = n.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

/// A TCP segment on IPv4.
fn segment(to: u16, from: u16, length: usize) -> Vec<u8> {
    let mut frame = vec![0; length];
    frame[..6].copy_from_slice(&host(to));
    frame[6..12].copy_from_slice(&host(from));
    frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    frame[23] = 6;
    frame[46] = 0x50;
    frame
}

/// Nanoseconds a frame: the median of the rounds.
fn measure(mut body: impl FnMut(u32)) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..FRAMES).for_each(&mut body);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(FRAMES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() -> std::io::Result<()> {
    let switch = Switch::open(Arc::new(RecordQueue::new().expect("a queue")));
    let lan = port(&switch, PortKind::Lan, 0..1);
    port(&switch, PortKind::Link, 1..1000);
    let mut out = std::io::stdout();
    writeln!(out, "{:>8} {:>8} {:>10} {:>12} {:>10}", "bytes", "copy", "remembered", "not (miss)", "input")?;
    for (length, segments) in [(60, 1), (1514, 1), (65_000, 45)] {
        let frames: Vec<Vec<u8>> = (1..1000).map(|to| segment(to, 0, length)).collect();
        let vnet = VnetHeader([1, u8::from(segments > 1), 54, 0, 168, 5, 34, 0, 16, 0]);
        let frame = |n: u32| Frame { vnet, bytes: &frames[n as usize], tail: &[], segments };
        let mut buf = vec![0; length];
        let copy = measure(|_| black_box(&mut buf).copy_from_slice(black_box(&frames[0])));
        let mut ingress = switch.clone().ingress(lan);
        let hit = measure(|_| ingress.input(&frame(0)));
        // Two conversations that share a slot take it from each other each time.
        let mut ingress = switch.clone().ingress(lan);
        let miss = measure(|n| ingress.input(&frame(n % 999)));
        let input = measure(|_| switch.input(lan, &frame(0)));
        writeln!(out, "{length:>8} {copy:>8.1} {hit:>10.1} {miss:>12.1} {input:>10.1}")?;
    }
    switch.close();
    Ok(())
}
