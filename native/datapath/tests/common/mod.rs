// SPDX-License-Identifier: MIT
//! A switch on a table: memory ports, hands of a clock, and the questions it asks.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod net;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipop_base::{Drop, Handle, RecordQueue};
use ipop_datapath::{Clock, MemoryPort, OUT_FLOOD, OUT_RULES, Switch};

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];
pub const MULTICAST: Mac = [1, 0, 0x5e, 0, 0, 0xfb];

/// The n-th host.
pub const fn host(n: u16) -> Mac {
    [2, 0, 0, 0, (n >> 8) as u8, n as u8]
}

/// An Ethernet frame of a local experimental type (IEEE 802 9.2.3).
pub fn frame(destination: Mac, source: Mac, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &[0x88, 0xb5], payload].concat()
}

pub fn tagged(vlan: u16, frame: &[u8]) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    [&frame[..12], &[0x81, 0x00, high, low], &frame[12..]].concat()
}

/// An UPCALL record, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub switch: Handle,
    pub id: u32,
    pub port: Handle,
    pub vlan: u16,
    pub frame_length: u16,
    pub miss: u8,
    pub head: Vec<u8>,
}

impl Asked {
    pub fn destination(&self) -> Mac {
        self.head[..6].try_into().unwrap()
    }

    pub fn source(&self) -> Mac {
        self.head[6..12].try_into().unwrap()
    }
}

pub const SOURCE: u8 = 1;
pub const MOVED: u8 = 2;
pub const DESTINATION: u8 = 3;

/// All records that wait: (type, handle, payload).
pub fn records(queue: &RecordQueue) -> Vec<(u16, Handle, Vec<u8>)> {
    let mut buf = vec![0; 65_536 + 16];
    let mut records = Vec::new();
    loop {
        let length = queue.poll(&mut buf);
        let mut rest = &buf[..length];
        if rest.is_empty() {
            return records;
        }
        while !rest.is_empty() {
            let size = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
            let handle = i32::from_le_bytes(rest[12..16].try_into().unwrap());
            records.push((u16::from_le_bytes([rest[0], rest[1]]), handle, rest[16..16 + size].to_vec()));
            rest = &rest[16 + size..];
        }
    }
}

fn asked((kind, switch, payload): (u16, Handle, Vec<u8>)) -> Asked {
    assert_eq!(kind, 1, "only upcalls are expected here");
    let u16_at = |at: usize| u16::from_le_bytes([payload[at], payload[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
    let head = payload[16..].to_vec();
    assert_eq!(usize::from(u16_at(14)), head.len());
    let (vlan, frame_length) = (u16_at(8), u16_at(10));
    Asked { switch, id: u32_at(0), port: u32_at(4) as Handle, vlan, frame_length, miss: payload[12], head }
}

/// A switch with a clock of its own.
pub struct Table {
    pub switch: Arc<Switch>,
    pub queue: Arc<RecordQueue>,
    hands: Arc<AtomicU64>,
}

impl Table {
    pub fn new() -> Self {
        let queue = Arc::new(RecordQueue::new().unwrap());
        let hands = Arc::new(AtomicU64::new(1_000_000));
        let switch = Switch::open_with_clock(queue.clone(), Clock::Manual(hands.clone()));
        Self { switch, queue, hands }
    }

    pub fn lan(&self) -> Arc<MemoryPort> {
        self.enabled(false)
    }

    pub fn link(&self) -> Arc<MemoryPort> {
        self.enabled(true)
    }

    fn enabled(&self, is_link: bool) -> Arc<MemoryPort> {
        let port = MemoryPort::open(&self.switch, is_link);
        self.switch.enable_port(port.port(), true).unwrap();
        port
    }

    pub fn pass_ms(&self, span: u64) {
        self.hands.fetch_add(span, Ordering::Relaxed);
    }

    pub fn upcalls(&self) -> Vec<Asked> {
        records(&self.queue).into_iter().map(asked).collect()
    }

    /// The only upcall that waits.
    pub fn upcall(&self) -> Asked {
        let mut upcalls = self.upcalls();
        assert_eq!(upcalls.len(), 1, "{upcalls:?}");
        upcalls.remove(0)
    }

    pub fn bind(&self, mac: Mac, port: &MemoryPort) {
        self.switch.rule_set(mac, 0, port.port()).unwrap();
    }

    pub fn finish(&self, asked: &Asked, out: i32) {
        self.switch.upcall_finish(asked.id, out).unwrap();
    }

    /// What TypeScript's switch does: binds each source to where it was seen, floods what it does not know. Returns how often it was asked.
    pub fn decide(&self) -> usize {
        let mut count = 0;
        loop {
            let upcalls = self.upcalls();
            if upcalls.is_empty() {
                return count;
            }
            count += upcalls.len();
            for asked in upcalls {
                let (mac, out) = match asked.miss {
                    DESTINATION => (asked.destination(), OUT_FLOOD),
                    _ => (asked.source(), asked.port),
                };
                self.switch.rule_set(mac, asked.vlan, out).unwrap();
                self.finish(&asked, OUT_RULES);
            }
        }
    }

    pub fn drops(&self, port: &MemoryPort, why: Drop) -> u64 {
        self.switch.port_counters(port.port()).unwrap().drops[why as usize]
    }

    /// Every drop at this port, of all reasons.
    pub fn all_drops(&self, port: &MemoryPort) -> u64 {
        self.switch.port_counters(port.port()).unwrap().drops.iter().sum()
    }

    /// (mac, vlan, out, source idle, destination idle, hits) of each rule, sorted.
    pub fn rules(&self) -> Vec<(Mac, u16, i32, u32, u32, u64)> {
        let mut buf = vec![0; 28 * 8192];
        let count = self.switch.rules_dump(0, &mut buf);
        let u32_at = |rule: &[u8], at: usize| u32::from_le_bytes(rule[at..at + 4].try_into().unwrap());
        let parse = |rule: &[u8]| {
            let hits = u64::from_le_bytes(rule[20..28].try_into().unwrap());
            let vlan = u16::from_le_bytes([rule[6], rule[7]]);
            (rule[..6].try_into().unwrap(), vlan, u32_at(rule, 8) as i32, u32_at(rule, 12), u32_at(rule, 16), hits)
        };
        let mut rules: Vec<_> = buf.chunks_exact(28).take(count).map(parse).collect();
        rules.sort_unstable();
        rules
    }
}

/// The frames that wait at a port.
pub fn taken(port: &MemoryPort) -> Vec<Vec<u8>> {
    let mut buf = vec![0; 65_535];
    std::iter::from_fn(|| match port.read(&mut buf).unwrap() {
        0 => None,
        length => Some(buf[..length].to_vec()),
    })
    .collect()
}
