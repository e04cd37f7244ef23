// SPDX-License-Identifier: MIT
//! The switch: headers and guard, and the way of a frame from port to port.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipop_base::{Drop, DropCounters, Frame, FrameSink, Handle, PortTransmit, RecordQueue, next_handle};
use ipop_datapath::{PortKind, Switch};

use crate::measure::Stage;
use crate::packets::{Packet, TCP, UDP};
use crate::{guard, parse};

/// A LAN that is full, and far more conversations than an ingress remembers.
const HOSTS: u16 = 1000;

pub fn stages() -> Vec<Stage> {
    let tcp = |v6| Packet::new(TCP, v6, 1448);
    let extended = Packet { tags: vec![0x8100], extensions: vec![0, 60], ..Packet::new(UDP, true, 1400) };
    vec![
        guarding("parse and guard, TCP on IPv4", &tcp(false)),
        guarding("parse and guard, TCP on IPv6", &tcp(true)),
        guarding("parse and guard, VLAN tag and IPv6 extensions", &extended),
        remembered(),
        looked_up(),
        through_locks(),
    ]
}

fn guarding(name: &str, packet: &Packet) -> Stage {
    let bytes = packet.bytes();
    Stage::new(name, 1, bytes.len(), move || {
        let headers = parse::Headers::parse(black_box(&bytes)).expect("a whole frame");
        black_box(guard::check(&headers, &bytes)).expect("a frame that may pass");
    })
}

#[derive(Default)]
struct Sink(AtomicU64);

impl PortTransmit for Sink {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        self.0.store(black_box(frame.len() as u64), Ordering::Relaxed);
        Ok(())
    }
}

/// A switch with one host at its LAN port and all others behind a link.
fn site() -> (Arc<Switch>, Handle) {
    let switch = Switch::open(Arc::new(RecordQueue::new().expect("a queue")));
    let lan = port(&switch, PortKind::Lan, 0..1);
    port(&switch, PortKind::Link, 1..HOSTS);
    (switch, lan)
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

fn segment(to: u16) -> Vec<u8> {
    let mut bytes = Packet::new(TCP, false, 1448).bytes();
    bytes[..6].copy_from_slice(&host(to));
    bytes[6..12].copy_from_slice(&host(0));
    bytes
}

fn remembered() -> Stage {
    let (switch, lan) = site();
    let mut ingress = switch.ingress(lan);
    let bytes = segment(1);
    Stage::new("forward, remembered", 1, bytes.len(), move || ingress.input(black_box(&Frame::plain(&bytes))))
}

fn looked_up() -> Stage {
    let (switch, lan) = site();
    let mut ingress = switch.ingress(lan);
    let frames: Vec<Vec<u8>> = (1..HOSTS).map(segment).collect();
    let mut next = 0;
    Stage::new("forward, rules looked up", 1, frames[0].len(), move || {
        // Conversations that share a place in the memory take it from each other each time.
        ingress.input(black_box(&Frame::plain(&frames[next])));
        next = (next + 1) % frames.len();
    })
}

fn through_locks() -> Stage {
    let (switch, lan) = site();
    let bytes = segment(1);
    Stage::new("forward, no memory (SRTP)", 1, bytes.len(), move || switch.input(lan, black_box(&Frame::plain(&bytes))))
}
