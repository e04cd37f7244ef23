// SPDX-License-Identifier: MIT
//! A link as one of those that share a line: what waits in front of it, and what a bad path may cost.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ipop_base::{Drop, DropCounters, Frame, Handle};
use ipop_queue::{Breaker, Meter, Shaper, is_tcp};

use super::{Link, Phase, lock};
use crate::carriage;
use crate::carriage::Sender;
use crate::express;
use crate::juice_socket::Batch;
use crate::shape::{Exit, wire_bytes};

/// What a link in trouble carries beside TCP, which slows down by itself: name look-ups, neighbour discovery, a call.
const THROTTLED_KBIT: u64 = 256;
/// How much of that may come at once.
const THROTTLED_BURST_US: u64 = 500_000;
/// UDP and IP headers.
const IPV4: usize = 28;
const IPV6: usize = 48;

/// Loss of a link, and what is done about it (RFC 8084).
#[derive(Debug)]
pub struct Trouble {
    breaker: Breaker,
    srtp: Meter,
    allowance: Shaper,
}

impl Default for Trouble {
    fn default() -> Self {
        let allowance = Shaper::new(THROTTLED_KBIT, THROTTLED_BURST_US);
        Self { breaker: Breaker::default(), srtp: Meter::default(), allowance }
    }
}

impl Link {
    /// Lets a frame go, or has it wait, or says why it does neither.
    pub(super) fn admit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        if self.is_throttled.load(Ordering::Relaxed) && !is_tcp(frame.bytes) {
            self.throttle(frame)?;
        }
        if !self.shape.up.is_busy() {
            return self.give(frame);
        }
        self.shape.up.offer(self, || self.held(), frame)
    }

    /// Sends what was kept; what the socket has no room for makes later frames wait.
    pub(super) fn send_kept(&self) {
        if self.flush_carriages() {
            return;
        }
        if let Some(held) = self.held() {
            self.shape.up.refused(held);
        }
    }

    /// False: the socket had no room.
    fn flush_carriages(&self) -> bool {
        let mut is_free = true;
        if let Some(express) = self.by_express() {
            is_free = express.flush();
        }
        if self.holds_back.load(Ordering::Relaxed) && self.holds_back.swap(false, Ordering::AcqRel) {
            let batch = &mut lock(&self.sender).batch;
            batch.send();
            self.count_refused(batch);
        }
        is_free && !self.is_full.load(Ordering::Relaxed)
    }

    /// Counts the packets for which the socket had no room.
    pub(super) fn count_refused(&self, batch: &mut Batch) {
        let refused = batch.take_refused();
        if refused > 0 {
            self.drops.add(Drop::LinkFull, refused);
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    fn held(&self) -> Option<Arc<dyn Exit>> {
        self.me.get()?.upgrade().map(|link| link as Arc<dyn Exit>)
    }

    #[cold]
    fn throttle(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        let now_us = self.epoch.elapsed().as_micros() as u64;
        let allowance = &mut lock(&self.trouble).allowance;
        if !allowance.is_ready(now_us) {
            return Err(Drop::CircuitBreaker);
        }
        allowance.charge(wire_bytes(frame, self.overhead()), now_us);
        Ok(())
    }

    /// The peer's last report on SRTP, if there is a new one.
    pub(super) fn take_report(&self, sender: &mut Sender) {
        let Some(report) = lock(&self.reported).take() else { return };
        if let Some((sent, received)) = sender.reported(&report) {
            let trouble = &mut *lock(&self.trouble);
            let (sent, lost) = trouble.srtp.update(sent, received);
            trouble.breaker.sample(sent, lost, self.now_ms());
        }
    }

    /// Looks at the breaker. `loss`: sent and lost by express since the last time.
    pub(super) fn tick_breaker(&self, loss: (u64, u64), now: u64) {
        let breaker = &mut lock(&self.trouble).breaker;
        breaker.sample(loss.0, loss.1, now);
        breaker.tick(now);
        self.is_throttled.store(breaker.is_open(), Ordering::Relaxed);
    }

    /// Loss in thousandths as it was last judged, and whether the breaker is open.
    pub(super) fn loss(&self) -> (Option<u16>, bool) {
        let breaker = &lock(&self.trouble).breaker;
        (breaker.permille(), breaker.is_open())
    }

    /// What each frame takes on the wire beside itself, for those who count.
    pub(super) fn refresh_overhead(&self) {
        let ip = match &*lock(&self.pair) {
            Some((_, remote)) if remote.address.is_ipv6() => IPV6,
            _ => IPV4,
        };
        let carriage = if self.by_express().is_some() { express::OVERHEAD } else { carriage::OVERHEAD };
        self.overhead.store(ip + carriage, Ordering::Relaxed);
    }
}

impl Exit for Link {
    fn link(&self) -> Handle {
        self.handle
    }

    fn give(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        if self.phase() != Phase::Up {
            return Err(Drop::LinkClosed);
        }
        if let Some(express) = self.by_express() {
            match express.transmit(frame, self.shape.tos()) {
                // Closed a moment ago.
                Err(Drop::LinkClosed) => {}
                result => return result,
            }
        }
        self.transmit_srtp(frame)
    }

    fn flush(&self) {
        self.flush_carriages();
    }

    fn drops(&self) -> &DropCounters {
        &self.drops
    }

    fn overhead(&self) -> usize {
        self.overhead.load(Ordering::Relaxed)
    }

    fn room(&self) -> usize {
        let express = self.by_express().map(|express| usize::from(express.sender().size()));
        express.and_then(|size| size.checked_sub(express::OVERHEAD)).filter(|room| *room > 0).unwrap_or(carriage::ROOM)
    }

    /// SRTP keeps nothing: a while later there may be room.
    fn retry(&self) -> bool {
        self.is_full.store(false, Ordering::Relaxed);
        self.express.get().is_none_or(|express| express.sender().retry())
    }

    fn is_blocked(&self) -> bool {
        let is_held = || self.express.get().is_some_and(|express| express.sender().is_blocked());
        self.is_full.load(Ordering::Relaxed) || is_held()
    }
}
