// SPDX-License-Identifier: MIT
//! The queue in front of what several links share: fair between links, then between the flows of a link, and bounded in bytes.

use crate::Waiting;
use crate::codel::CodelParams;
use crate::flows::{Flows, QUANTUM};
use crate::rounds::Rounds;

/// Frames that wait, of several links.
#[derive(Debug)]
pub struct FairQueue<T> {
    links: Vec<Option<Entry<T>>>,
    rounds: Rounds,
    params: CodelParams,
    bytes: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<T> {
    key: u32,
    flows: Flows<T>,
    /// Nothing of it can be sent at the moment.
    is_blocked: bool,
}

impl<T: Waiting> FairQueue<T> {
    /// An empty one that holds `limit` bytes.
    pub fn new(limit: usize, params: CodelParams) -> Self {
        Self { links: Vec::new(), rounds: Rounds::new(QUANTUM), params, bytes: 0, limit }
    }

    /// Other bounds; what is too much is dropped with the next `push`.
    pub fn configure(&mut self, limit: usize, params: CodelParams) {
        (self.limit, self.params) = (limit, params);
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a frame of link `key` to its flow. When that is too much, the longest queues give way, to `dropped`.
    pub fn push(&mut self, key: u32, flow: u64, item: T, now_us: u64, dropped: &mut dyn FnMut(T)) {
        let at = self.find(key);
        let Some(entry) = &mut self.links[at] else { return };
        // Whatever it says of itself: a frame that counts for nothing would wait beyond all bounds.
        debug_assert!(item.bytes() > 0);
        self.bytes += item.bytes();
        entry.flows.push(flow, item, now_us);
        if !entry.is_blocked {
            self.rounds.activate(at);
        }
        while self.bytes > self.limit {
            let longest = self.links.iter_mut().flatten().max_by_key(|entry| entry.flows.bytes());
            let Some(entry) = longest.filter(|entry| entry.flows.bytes() > 0) else { return };
            let before = entry.flows.bytes();
            entry.flows.drop_longest(dropped);
            self.bytes -= before - entry.flows.bytes();
        }
    }

    /// The next frame to send. What waited too long goes to `dropped`.
    pub fn pop(&mut self, now_us: u64, dropped: &mut dyn FnMut(T)) -> Option<T> {
        while let Some(at) = self.rounds.turn() {
            let Some(entry) = self.links[at].as_mut().filter(|entry| !entry.is_blocked) else {
                self.rounds.pass();
                continue;
            };
            let before = entry.flows.bytes();
            let next = entry.flows.pop(now_us, &self.params, dropped);
            self.bytes -= before - entry.flows.bytes();
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

    /// Nothing of this link is given out until it is unblocked.
    pub fn block(&mut self, key: u32, is_blocked: bool) {
        let at = self.find(key);
        let Some(entry) = &mut self.links[at] else { return };
        entry.is_blocked = is_blocked;
        if !is_blocked && entry.flows.bytes() > 0 {
            self.rounds.activate(at);
        }
    }

    /// True while nothing of this link is given out.
    pub fn is_blocked(&self, key: u32) -> bool {
        self.links.iter().flatten().any(|entry| entry.key == key && entry.is_blocked)
    }

    /// Forgets a link and what waits of it.
    pub fn forget(&mut self, key: u32) {
        for link in &mut self.links {
            if let Some(entry) = link.take_if(|entry| entry.key == key) {
                self.bytes -= entry.flows.bytes();
            }
        }
    }

    fn find(&mut self, key: u32) -> usize {
        let is_it = |link: &Option<Entry<T>>| link.as_ref().is_some_and(|entry| entry.key == key);
        if let Some(at) = self.links.iter().position(is_it) {
            return at;
        }
        let at = self.links.iter().position(Option::is_none).unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        self.links[at] = Some(Entry { key, flows: Flows::new(), is_blocked: false });
        at
    }
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
