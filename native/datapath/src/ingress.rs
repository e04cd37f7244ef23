// SPDX-License-Identifier: MIT
//! The fast way into a switch: an exact-match cache in front of the rules, as Open vSwitch has one. It belongs to one reader, so a frame
//! of a conversation that it knows takes no lock and no memory.

use std::sync::Arc;

use ipop_base::{Frame, Handle, Ingress};

use crate::parse::Headers;
use crate::port::{Port, PortKind, Ports, find};
use crate::rules::{Key, Rule};
use crate::switch::{Switch, admit, flush, forward};

/// Conversations that are remembered: those of a busy LAN at an instant. 14 KB.
const WAYS: usize = 256;

/// What the rules said about frames from one address to another.
struct Way {
    source: Key,
    destination: Key,
    from: Arc<Rule>,
    to: Arc<Rule>,
    /// The port the rule leads to, if it leads to one and that is there.
    egress: Option<Arc<Port>>,
}

/// The way in for one reader of one port.
pub struct SwitchIngress {
    /// None when the switch had no such port any more.
    port: Option<Arc<Port>>,
    known: Known,
}

impl SwitchIngress {
    pub fn new(switch: Arc<Switch>, port: Handle) -> Self {
        let known = Known::new(switch);
        Self { port: find(&known.ports, port).cloned(), known }
    }
}

impl Ingress for SwitchIngress {
    fn input(&mut self, frame: &Frame<'_>) {
        let Some(port) = &self.port else { return };
        match admit(port, frame) {
            Ok(headers) => self.known.route(port, &headers, frame),
            Err(why) => port.drop_frame(why, frame.segments),
        }
    }

    fn flush(&mut self) {
        flush(&self.known.ports);
    }

    fn takes_uso(&mut self) -> bool {
        self.known.refresh();
        self.known.take_uso
    }
}

/// What is known of the switch.
struct Known {
    switch: Arc<Switch>,
    /// When all below was read.
    generation: u64,
    /// Every port that a frame may have gone to since the last flush is in it: it is renewed before a frame only, and what has left it
    /// has nothing to send any more.
    ports: Ports,
    take_uso: bool,
    ways: Box<[Option<Way>]>,
}

impl Known {
    fn new(switch: Arc<Switch>) -> Self {
        let generation = switch.generation().now();
        let ports = switch.ports();
        let take_uso = all_take_uso(&ports);
        Self { switch, generation, ports, take_uso, ways: (0..WAYS).map(|_| None).collect() }
    }

    /// Forgets everything when rules or ports have changed.
    fn refresh(&mut self) {
        let now = self.switch.generation().now();
        if now != self.generation {
            self.generation = now;
            self.ports = self.switch.ports();
            self.take_uso = all_take_uso(&self.ports);
            self.ways.fill_with(|| None);
        }
    }

    fn route(&mut self, ingress: &Arc<Port>, headers: &Headers, frame: &Frame<'_>) {
        self.refresh();
        let (vlan, now_ms) = (headers.vlan, self.switch.now_ms());
        let (source, destination) = (Key::new(vlan, headers.source), Key::new(vlan, headers.destination));
        let slot = &mut self.ways[slot(source, destination)];
        if let Some(way) = slot.as_ref().filter(|way| way.source == source && way.destination == destination) {
            way.from.hit_as_source(now_ms);
            way.to.hit_as_destination(now_ms);
            return forward(&self.ports, ingress, way.to.out, way.egress.as_ref(), frame);
        }
        match self.switch.rules().judge(headers, || ingress.bound_as(), now_ms, |from, to| (from.clone(), to.clone())) {
            Ok((from, to)) => {
                let egress = find(&self.ports, to.out).cloned();
                forward(&self.ports, ingress, to.out, egress.as_ref(), frame);
                *slot = Some(Way { source, destination, from, to, egress });
            }
            Err(miss) => self.switch.missed(ingress, headers, frame, miss, 0),
        }
    }
}

/// Links make of them what they like; who joins frames does it for the LAN.
fn all_take_uso(ports: &[Arc<Port>]) -> bool {
    ports.iter().filter(|port| port.kind == PortKind::Lan).all(|port| port.takes_uso())
}

/// Strangers choose addresses; the worst that a bad choice does is that two conversations share a slot and look up their rules.
fn slot(source: Key, destination: Key) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (source.bits().rotate_left(29) ^ destination.bits()).wrapping_mul(GOLDEN);
    (mixed >> 32) as usize % WAYS
}
