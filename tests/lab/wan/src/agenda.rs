// SPDX-License-Identifier: MIT
//! Frames under way, by departure. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::line::Nanos;

/// So many frames may be under way in a direction: half a second of full frames at 1 Gbit/s, about 130 MB.
pub const MAX_UNDER_WAY: usize = 1 << 16;

/// A frame that is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When.
    pub at: Nanos,
    /// Of equal times the one that came first leaves first.
    serial: u64,
    /// Where its bytes are.
    pub slot: u32,
    /// How often it is sent.
    pub copies: u8,
}

/// The frames of one direction.
#[derive(Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    serial: u64,
}

impl Agenda {
    /// Adds a frame.
    pub fn push(&mut self, at: Nanos, slot: u32, copies: u8) {
        self.serial += 1;
        self.heap.push(Reverse(Entry { at, serial: self.serial, slot, copies }));
    }

    /// When the next frame leaves.
    pub fn next(&self) -> Option<Nanos> {
        self.heap.peek().map(|entry| entry.0.at)
    }

    /// Takes the next frame if it leaves by `now`.
    pub fn pop(&mut self, now: Nanos) -> Option<Entry> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.0)
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}
