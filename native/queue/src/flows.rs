// SPDX-License-Identifier: MIT
//! FQ-CoDel (RFC 8290): a CoDel queue for each flow, served in turn.

use crate::Waiting;
use crate::codel::{Codel, CodelParams};
use crate::rounds::Rounds;

/// Flows that are told apart. Those that meet share a queue.
const FLOWS: usize = 256;
/// Bytes of a flow in a round: a full frame.
pub const QUANTUM: usize = 1514;
/// Frames dropped at once from a queue that is too long (RFC 8290, 5.2.5 has 64).
const DROP_BATCH: usize = 64;

/// The frames of one link that wait.
#[derive(Debug)]
pub struct Flows<T> {
    queues: Vec<Codel<T>>,
    rounds: Rounds,
    bytes: usize,
}

impl<T: Waiting> Flows<T> {
    /// None wait. Takes no memory until one does.
    pub fn new() -> Self {
        Self { queues: Vec::new(), rounds: Rounds::new(QUANTUM), bytes: 0 }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one to its flow.
    pub fn push(&mut self, flow: u64, item: T, now_us: u64) {
        if self.queues.is_empty() {
            self.queues.resize_with(FLOWS, Codel::default);
        }
        let at = flow as usize % FLOWS;
        self.bytes += item.bytes();
        self.queues[at].push(item, now_us);
        self.rounds.activate(at);
    }

    /// The next to send; what CoDel drops goes to `dropped`.
    pub fn pop(&mut self, now_us: u64, params: &CodelParams, dropped: &mut dyn FnMut(T)) -> Option<T> {
        while let Some(at) = self.rounds.turn() {
            let queue = &mut self.queues[at];
            let before = queue.bytes();
            let next = queue.pop(now_us, params, dropped);
            self.bytes -= before - queue.bytes();
            match next {
                Some(item) => {
                    self.rounds.charge(at, item.bytes());
                    return Some(item);
                }
                None => self.rounds.pass(),
            }
        }
        None
    }

    /// Drops the oldest frames of the longest queue: half of it, but at most 64.
    pub fn drop_longest(&mut self, dropped: &mut dyn FnMut(T)) {
        let Some(queue) = self.queues.iter_mut().max_by_key(|queue| queue.bytes()) else { return };
        for _ in 0..queue.len().div_ceil(2).min(DROP_BATCH) {
            let Some((_, item)) = queue.take() else { return };
            self.bytes -= item.bytes();
            dropped(item);
        }
    }
}
