// SPDX-License-Identifier: MIT
//! Probes of the direct path, and the size of datagrams it takes (PROTOCOL 5.5; RFC 8899 in spirit). Time is handed in, in ms.
//!
//! Only an answered probe proves anything. A burst probes several sizes at once, and repeats those that are larger than the largest answered:
//! to open the path, to find what is left of it when the current size goes unanswered, and to raise it now and then.

use std::collections::VecDeque;

/// Sizes that are tried over IPv4, in bytes of UDP payload: those of Ethernet, PPPoE, and what tunnels usually leave.
pub const IPV4_SIZES: [u16; 11] = [1472, 1464, 1452, 1432, 1412, 1392, 1352, 1312, 1280, 1252, 1200];
/// The same over IPv6.
pub const IPV6_SIZES: [u16; 11] = [1452, 1444, 1432, 1412, 1392, 1372, 1332, 1292, 1260, 1232, 1200];

/// From one round of a burst to the next.
const ROUNDS_MS: [u64; 2] = [200, 400];
/// A path on which nothing answers so long is closed.
const OPEN_MS: u64 = 3_000;
/// The same when it was open before.
const SEARCH_MS: u64 = 2_000;
/// When a closed path is tried again; the last one goes on.
const AGAIN_MS: [u64; 3] = [10_000, 30_000, 60_000];
/// Least time from an answer to the next probe of the same size.
const CONFIRM_MS: u64 = 1_000;
/// When an unanswered one is repeated.
const REPEAT_MS: u64 = 250;
/// Probes of the current size without an answer before others are tried.
const CONFIRM_PROBES: u32 = 4;
/// Least time between attempts to raise the size.
const RAISE_MS: u64 = 60_000;
/// Probes whose answers are still waited for: more than a burst has.
const REMEMBERED: usize = 64;

const PROBING: &str = "probing the direct path";
const OPEN: &str = "the direct path is open";
const NO_ANSWER: &str = "no answer to probes on the direct path";
const STOPPED: &str = "the direct path does not answer any more";
const TOO_NARROW: &str = "the direct path takes no datagrams of 1200 bytes";

/// A datagram of kind 3 to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Comes back in the answer.
    pub id: u32,
    /// Bytes of UDP payload, all included.
    pub size: u16,
}

/// Bounds that depend on the link.
#[derive(Debug, Clone, Copy)]
pub struct PathParams {
    /// Time between probes while nothing is sent. What keeps a NAT's binding are ICE's own checks.
    pub idle_ms: u64,
}

impl Default for PathParams {
    fn default() -> Self {
        Self { idle_ms: 15_000 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Opening { until_ms: u64 },
    Closed { again_ms: u64 },
    Open { size: u16, confirm: Confirm },
}

/// Whether the size of an open path still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Confirm {
    /// An answer came then.
    Held { since_ms: u64 },
    /// Probes of it are unanswered.
    Asked { probes: u32, next_ms: u64 },
    /// So many that any size would do.
    Searching { until_ms: u64 },
}

/// Probes of all sizes up to `top`, in rounds.
#[derive(Debug, Clone, Copy)]
struct Burst {
    top: u16,
    round: usize,
    next_ms: u64,
}

/// The direct path of one link, as far as probes know it.
#[derive(Debug)]
pub struct Path {
    sizes: &'static [u16],
    params: PathParams,
    state: State,
    why: &'static str,
    burst: Option<Burst>,
    /// Sizes to probe at once.
    queue: VecDeque<u16>,
    /// Probes that were sent.
    sent: VecDeque<Probe>,
    next_id: u32,
    /// How often in a row the path was closed.
    closings: usize,
    /// Data was sent since the current size was last probed.
    has_data: bool,
    raise_ms: u64,
}

impl Path {
    /// Begins to probe at `now`. `first_id` should be random: answers to probes of an earlier `Path` are then not taken for this one's.
    pub fn new(is_ipv6: bool, first_id: u32, params: PathParams, now: u64) -> Self {
        let mut path = Self {
            sizes: &[],
            params,
            state: State::Opening { until_ms: now },
            why: PROBING,
            burst: None,
            queue: VecDeque::with_capacity(IPV4_SIZES.len() + 1),
            sent: VecDeque::with_capacity(REMEMBERED),
            next_id: first_id,
            closings: 0,
            has_data: false,
            raise_ms: now,
        };
        path.moved(is_ipv6, now);
        path
    }

    /// The next probe to send; to be called until None, whenever `next_ms` has come and after each other call but `sent`.
    pub fn due(&mut self, now: u64) -> Option<Probe> {
        loop {
            if let Some(size) = self.queue.pop_front() {
                return Some(self.probe(size));
            }
            if self.next_ms() > now {
                return None;
            }
            self.advance(now);
        }
    }

    /// An authentic answer came: the probe's id, and its bytes as the peer received it.
    pub fn answered(&mut self, id: u32, size: u16, now: u64) {
        let Some(at) = self.sent.iter().position(|&probe| probe == Probe { id, size }) else { return };
        self.sent.remove(at);
        let held = Confirm::Held { since_ms: now };
        match &mut self.state {
            State::Opening { .. } | State::Closed { .. } => {
                self.state = State::Open { size, confirm: held };
                (self.why, self.closings, self.raise_ms) = (OPEN, 0, now.saturating_add(RAISE_MS));
            }
            State::Open { size: current, confirm }
                if size >= *current || matches!(confirm, Confirm::Searching { .. }) =>
            {
                (*current, *confirm) = (size, held);
            }
            State::Open { .. } => {}
        }
    }

    /// Sending a datagram of this size failed with EMSGSIZE, data or a probe: the next smaller one holds at once, and is confirmed.
    pub fn too_big(&mut self, size: u16, now: u64) {
        self.queue.retain(|&queued| queued < size);
        self.sent.retain(|probe| probe.size < size);
        let smaller = self.sizes.iter().copied().find(|&other| other < size);
        self.burst = self.burst.zip(smaller).map(|(burst, top)| Burst { top: burst.top.min(top), ..burst });
        match (&mut self.state, smaller) {
            (State::Open { size: current, confirm }, Some(smaller)) if *current >= size => {
                *current = smaller;
                *confirm = Confirm::Asked { probes: 0, next_ms: now };
                self.raise_ms = now.saturating_add(RAISE_MS);
            }
            (State::Open { .. }, None) => self.close(TOO_NARROW, now),
            _ => {}
        }
    }

    /// The path leads elsewhere: nothing that is known of it holds any more.
    pub fn moved(&mut self, is_ipv6: bool, now: u64) {
        self.sizes = if is_ipv6 { &IPV6_SIZES } else { &IPV4_SIZES };
        self.sent.clear();
        self.queue.clear();
        (self.why, self.closings) = (PROBING, 0);
        self.open(now);
    }

    /// Data was sent by express. True when `next_ms` may be earlier than before.
    #[inline]
    pub fn sent(&mut self) -> bool {
        !std::mem::replace(&mut self.has_data, true)
    }

    /// When `due` must be called next, on the clock of `now`.
    pub fn next_ms(&self) -> u64 {
        let state_ms = match self.state {
            State::Opening { until_ms } => until_ms,
            State::Closed { again_ms } => again_ms,
            State::Open { confirm: Confirm::Held { since_ms }, .. } => {
                since_ms.saturating_add(if self.has_data { CONFIRM_MS } else { self.params.idle_ms })
            }
            State::Open { confirm: Confirm::Asked { next_ms, .. }, .. } => next_ms,
            State::Open { confirm: Confirm::Searching { until_ms }, .. } => until_ms,
        };
        let burst_ms = self.burst.map_or(u64::MAX, |burst| burst.next_ms);
        if self.queue.is_empty() { state_ms.min(burst_ms) } else { 0 }
    }

    /// Bytes of UDP payload that a datagram may have; None while express must not carry.
    #[inline]
    pub fn size(&self) -> Option<u16> {
        match self.state {
            State::Open { size, .. } => Some(size),
            State::Opening { .. } | State::Closed { .. } => None,
        }
    }

    /// In words, for status: why express carries, or does not.
    pub fn why(&self) -> &'static str {
        self.why
    }

    /// Does what is due first.
    fn advance(&mut self, now: u64) {
        if let Some(burst) = self.burst.filter(|burst| burst.next_ms <= now) {
            self.round(burst, now);
            return;
        }
        match self.state {
            State::Opening { .. } => self.close(NO_ANSWER, now),
            State::Closed { .. } => self.open(now),
            State::Open { size, confirm } => self.confirm(size, confirm, now),
        }
    }

    fn confirm(&mut self, size: u16, confirm: Confirm, now: u64) {
        let confirm = match confirm {
            Confirm::Searching { .. } => return self.close(STOPPED, now),
            Confirm::Asked { probes: CONFIRM_PROBES, .. } => {
                self.burst(size, now);
                Confirm::Searching { until_ms: now.saturating_add(SEARCH_MS) }
            }
            Confirm::Asked { probes, .. } => self.ask(size, probes + 1, now),
            Confirm::Held { .. } => {
                if std::mem::take(&mut self.has_data) && self.sizes[0] > size && now >= self.raise_ms {
                    self.raise_ms = now.saturating_add(RAISE_MS);
                    self.burst(self.sizes[0], now);
                }
                self.ask(size, 1, now)
            }
        };
        self.state = State::Open { size, confirm };
    }

    fn ask(&mut self, size: u16, probes: u32, now: u64) -> Confirm {
        self.queue.push_back(size);
        Confirm::Asked { probes, next_ms: now.saturating_add(REPEAT_MS) }
    }

    /// One round of a burst: what is larger than the largest size that is known to hold.
    fn round(&mut self, burst: Burst, now: u64) {
        let above = match self.state {
            State::Open { confirm: Confirm::Searching { .. }, .. } => 0,
            State::Open { size, .. } => size,
            State::Opening { .. } | State::Closed { .. } => 0,
        };
        if burst.round == 0 && matches!(self.state, State::Opening { .. }) {
            // From the first probe on: a caller that has no key yet begins later.
            self.state = State::Opening { until_ms: now.saturating_add(OPEN_MS) };
        }
        self.queue.extend(self.sizes.iter().filter(|&&size| size > above && size <= burst.top));
        self.burst = ROUNDS_MS.get(burst.round).map(|wait_ms| Burst {
            round: burst.round + 1,
            next_ms: now.saturating_add(*wait_ms),
            ..burst
        });
    }

    fn burst(&mut self, top: u16, now: u64) {
        self.burst = Some(Burst { top, round: 0, next_ms: now });
    }

    fn open(&mut self, now: u64) {
        self.state = State::Opening { until_ms: now.saturating_add(OPEN_MS) };
        self.burst(self.sizes[0], now);
    }

    fn close(&mut self, why: &'static str, now: u64) {
        let wait_ms = AGAIN_MS[self.closings.min(AGAIN_MS.len() - 1)];
        self.state = State::Closed { again_ms: now.saturating_add(wait_ms) };
        self.queue.clear();
        (self.why, self.closings, self.burst) = (why, self.closings + 1, None);
    }

    fn probe(&mut self, size: u16) -> Probe {
        let probe = Probe { id: self.next_id, size };
        self.next_id = self.next_id.wrapping_add(1);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(probe);
        probe
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
