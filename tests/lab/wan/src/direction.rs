// SPDX-License-Identifier: MIT
//! One direction at work: frames in, through the line, on the agenda, out; and what was counted.

use crate::agenda::{Agenda, MAX_UNDER_WAY};
use crate::line::{Drop, Line, Nanos};
use crate::wire::{BATCH, Slot, Wire};

/// What is due so soon leaves now.
const EARLY: Nanos = 20_000;
/// A frame that leaves so long after its time is counted as late.
const LATE: Nanos = 500_000;

/// Frames, by what became of them. arrived = delivered + under way + every drop, duplicates apart.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counters {
    arrived: u64,
    arrived_bytes: u64,
    delivered: u64,
    delivered_bytes: u64,
    duplicated: u64,
    reordered: u64,
    drop_loss: u64,
    drop_burst: u64,
    drop_queue: u64,
    // From here on: failures of this program, none of the line.
    drop_under_way: u64,
    drop_oversize: u64,
    drop_receive: u64,
    drop_send: u64,
    late: u64,
    late_max_ns: u64,
}

/// See the module.
pub struct Direction {
    /// What it does to frames.
    pub line: Line,
    agenda: Agenda,
    slots: Vec<Slot>,
    free: Vec<u32>,
    incoming: Vec<Slot>,
    counters: Counters,
}

impl Direction {
    /// A direction with nothing under way.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            agenda: Agenda::default(),
            slots: Vec::new(),
            free: Vec::new(),
            incoming: (0..BATCH).map(|_| Slot::new()).collect(),
            counters: Counters::default(),
        }
    }

    /// Takes one batch from the wire. Returns how many frames came.
    pub fn fetch(&mut self, from: &mut Wire, now: Nanos) -> usize {
        let ages = from.receive(&mut self.incoming);
        for (at, age) in ages.iter().enumerate() {
            self.counters.arrived += 1;
            match age {
                Some(age) => self.arrive(at, now - age),
                None => self.counters.drop_oversize += 1,
            }
        }
        ages.len()
    }

    fn arrive(&mut self, at: usize, when: Nanos) {
        let bytes = self.incoming[at].frame_len();
        let counters = &mut self.counters;
        counters.arrived_bytes += bytes;
        match self.line.arrive(when, bytes) {
            Err(Drop::Loss) => counters.drop_loss += 1,
            Err(Drop::Burst) => counters.drop_burst += 1,
            Err(Drop::Queue) => counters.drop_queue += 1,
            Ok(_) if self.agenda.len() == MAX_UNDER_WAY => counters.drop_under_way += 1,
            Ok(fate) => {
                counters.reordered += u64::from(fate.reordered);
                counters.duplicated += u64::from(fate.copies - 1);
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(Slot::new());
                    (self.slots.len() - 1) as u32
                });
                std::mem::swap(&mut self.slots[slot as usize], &mut self.incoming[at]);
                self.agenda.push(fate.at, slot, fate.copies);
            }
        }
    }

    /// Sends what is due.
    pub fn depart(&mut self, to: &Wire, now: Nanos) {
        loop {
            let mut batch: Vec<&Slot> = Vec::new();
            let freed = self.free.len();
            let counters = &mut self.counters;
            while batch.len() < BATCH {
                let Some(entry) = self.agenda.pop(now + EARLY) else { break };
                let late = now.saturating_sub(entry.at);
                counters.late += u64::from(late > LATE);
                counters.late_max_ns = counters.late_max_ns.max(late);
                let slot = &self.slots[entry.slot as usize];
                for _ in 0..entry.copies {
                    counters.delivered_bytes += slot.frame_len();
                    batch.push(slot);
                }
                self.free.push(entry.slot);
            }
            if self.free.len() == freed {
                return;
            }
            let failed = to.send(&batch);
            counters.delivered += batch.len() as u64 - failed;
            counters.drop_send += failed;
        }
    }

    /// When there is something to send.
    pub fn next(&self) -> Option<Nanos> {
        self.agenda.next().map(|at| at.saturating_sub(EARLY))
    }

    /// All that was counted, as JSON.
    pub fn report(&mut self, from: &Wire) -> String {
        let counters = &mut self.counters;
        let overflows = from.overflows();
        // Those came to the interface, too.
        counters.arrived += overflows;
        counters.drop_receive += overflows;
        let c = counters.clone();
        let fields = [
            ("arrived", c.arrived),
            ("arrivedBytes", c.arrived_bytes),
            ("delivered", c.delivered),
            ("deliveredBytes", c.delivered_bytes),
            ("underWay", self.agenda.len() as u64),
            ("duplicated", c.duplicated),
            ("reordered", c.reordered),
            ("late", c.late),
            ("lateMaxUs", c.late_max_ns / 1_000),
        ];
        let drops = [
            ("loss", c.drop_loss),
            ("burst", c.drop_burst),
            ("queue", c.drop_queue),
            ("underWay", c.drop_under_way),
            ("oversize", c.drop_oversize),
            ("receive", c.drop_receive),
            ("send", c.drop_send),
        ];
        format!("{{{},\"drops\":{{{}}}}}", json(&fields), json(&drops))
    }
}

fn json(fields: &[(&str, u64)]) -> String {
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    pairs.join(",")
}
