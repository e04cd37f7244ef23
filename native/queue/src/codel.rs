// SPDX-License-Identifier: MIT
//! CoDel (RFC 8289): a queue whose frames wait longer than a target for longer than an interval is told to be shorter.

use std::collections::VecDeque;

use crate::Waiting;

/// How short queues are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodelParams {
    /// Waiting that is all right, in us.
    pub target_us: u64,
    /// How long it may be longer, in us: a round trip of most connections.
    pub interval_us: u64,
}

/// A queue with so little in it is not judged: it must be able to hold one frame.
const LEAST_BYTES: usize = 1514;

impl Default for CodelParams {
    fn default() -> Self {
        Self { target_us: 5_000, interval_us: 100_000 }
    }
}

impl CodelParams {
    /// The usual ones; where one frame takes longer than the target, that (RFC 8290, 5.2.1).
    pub fn for_kbit(kbit: u64) -> Self {
        let usual = Self::default();
        let frame_us = LEAST_BYTES as u64 * 8 * 1000 / kbit.max(1);
        let target_us = usual.target_us.max(frame_us * 3 / 2);
        Self { target_us, interval_us: usual.interval_us.max(target_us * 2) }
    }
}

/// A queue that tells its flow when it is too long.
#[derive(Debug)]
pub struct Codel<T> {
    entries: VecDeque<(u64, T)>,
    bytes: usize,
    /// When it will have waited too long for an interval.
    above_until_us: Option<u64>,
    is_dropping: bool,
    next_us: u64,
    count: u32,
    last_count: u32,
}

impl<T> Default for Codel<T> {
    fn default() -> Self {
        let entries = VecDeque::new();
        Self { entries, bytes: 0, above_until_us: None, is_dropping: false, next_us: 0, count: 0, last_count: 0 }
    }
}

impl<T: Waiting> Codel<T> {
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds one at the end.
    pub fn push(&mut self, item: T, now_us: u64) {
        self.bytes += item.bytes();
        self.entries.push_back((now_us, item));
    }

    /// The oldest, whatever CoDel thinks of it.
    pub fn take(&mut self) -> Option<(u64, T)> {
        let (since, item) = self.entries.pop_front()?;
        self.bytes -= item.bytes();
        Some((since, item))
    }

    /// The next to send; what is dropped before it goes to `dropped`.
    pub fn pop(&mut self, now_us: u64, params: &CodelParams, dropped: &mut dyn FnMut(T)) -> Option<T> {
        let Some((mut item, mut is_long)) = self.judged(now_us, params) else {
            self.is_dropping = false;
            return None;
        };
        if !self.is_dropping {
            if is_long {
                self.begin(now_us, params);
                return if item.mark() { Some(item) } else { self.replace(item, now_us, params, dropped) };
            }
            return Some(item);
        }
        while is_long && now_us >= self.next_us {
            self.count = self.count.saturating_add(1);
            self.next_us += self.pause_us(params);
            if item.mark() {
                return Some(item);
            }
            dropped(item);
            let Some(next) = self.judged(now_us, params) else {
                self.is_dropping = false;
                return None;
            };
            (item, is_long) = next;
        }
        self.is_dropping = is_long;
        Some(item)
    }

    fn replace(&mut self, item: T, now_us: u64, params: &CodelParams, dropped: &mut dyn FnMut(T)) -> Option<T> {
        dropped(item);
        let next = self.judged(now_us, params);
        self.is_dropping = next.is_some();
        next.map(|(item, _)| item)
    }

    /// Goes on as often as it had to a while ago, if it is only a while.
    fn begin(&mut self, now_us: u64, params: &CodelParams) {
        self.is_dropping = true;
        let since = self.count.saturating_sub(self.last_count);
        let is_recent = now_us.saturating_sub(self.next_us) < 16 * params.interval_us;
        self.count = if since > 1 && is_recent { since } else { 1 };
        self.last_count = self.count;
        self.next_us = now_us + self.pause_us(params);
    }

    /// The more were told, the sooner the next: the square root makes a TCP's rate fall evenly.
    fn pause_us(&self, params: &CodelParams) -> u64 {
        (params.interval_us as f64 / f64::from(self.count.max(1)).sqrt()) as u64
    }

    /// The oldest, and whether the queue has been too long for an interval.
    fn judged(&mut self, now_us: u64, params: &CodelParams) -> Option<(T, bool)> {
        let Some((since, item)) = self.take() else {
            self.above_until_us = None;
            return None;
        };
        if now_us.saturating_sub(since) < params.target_us || self.bytes <= LEAST_BYTES {
            self.above_until_us = None;
            return Some((item, false));
        }
        let until = *self.above_until_us.get_or_insert(now_us + params.interval_us);
        Some((item, now_us >= until))
    }
}
