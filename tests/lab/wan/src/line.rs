// SPDX-License-Identifier: MIT
//! What one direction of a WAN does to a frame. Pure: time is handed in, randomness comes from a seed, frames are their lengths.
//!
//! In this order: the bottleneck (rate and queue), losses in bursts, single losses, delay and jitter, reordering, duplication. So what the
//! path loses has used the bottleneck before, as on a real path whose bottleneck is the access line.

use crate::random::Random;

/// Nanoseconds.
pub type Nanos = u64;

/// Gilbert-Elliott: a good and a bad phase, one step of the chain for each frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Burst {
    /// Probability to go from good to bad (netem's p).
    pub enter: f64,
    /// Probability to go from bad to good (netem's r): a bad phase has 1 / leave frames on average.
    pub leave: f64,
    /// Probability of loss in the bad phase (netem's 1-h).
    pub loss_bad: f64,
    /// Probability of loss in the good phase (netem's 1-k).
    pub loss_good: f64,
}

/// What a direction is to do. All zero: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spec {
    /// One way, after the bottleneck.
    pub delay: Nanos,
    /// The delay wanders between `delay - jitter` and `delay + jitter`, slowly enough to keep the order. At most `delay`.
    pub jitter: Nanos,
    /// Probability of independent loss.
    pub loss: f64,
    /// Losses in bursts.
    pub burst: Burst,
    /// Probability that a frame takes `reorder_by` longer, without holding those behind it.
    pub reorder: f64,
    /// See `reorder`.
    pub reorder_by: Nanos,
    /// Probability that a frame arrives twice.
    pub duplicate: f64,
    /// Bits a second, counted with the Ethernet header; 0: no bottleneck.
    pub rate: u64,
    /// Bytes that may wait before the bottleneck, the frame that is being sent included. Drop-tail.
    pub queue: u64,
}

/// Why the line dropped a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// The bottleneck's queue was full.
    Queue,
    /// Gilbert-Elliott.
    Burst,
    /// Independent loss.
    Loss,
}

/// What becomes of a frame that was not dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// When it leaves.
    pub at: Nanos,
    /// 1 or 2.
    pub copies: u8,
    /// Those behind it may overtake it.
    pub reordered: bool,
}

/// One direction. Each effect has a random sequence of its own: none shifts another's.
pub struct Line {
    spec: Spec,
    /// When the bottleneck has sent all it was given.
    free: Nanos,
    bad: bool,
    /// Departure of the last frame that keeps the order.
    last: Nanos,
    drift: Drift,
    bursts: Random,
    losses: Random,
    reorders: Random,
    duplicates: Random,
}

impl Line {
    /// A line that does what `spec` says; the same seed does the same to the same frames.
    pub fn new(spec: Spec, seed: u64) -> Self {
        Self {
            spec,
            free: 0,
            bad: false,
            last: 0,
            drift: Drift::new(Random::new(seed, 1)),
            bursts: Random::new(seed, 2),
            losses: Random::new(seed, 3),
            reorders: Random::new(seed, 4),
            duplicates: Random::new(seed, 5),
        }
    }

    /// Changes what it does from now on. What is under way leaves when it was to; order is kept, so that what comes after a cut of the
    /// delay leaves no sooner than what came before it.
    pub fn set(&mut self, spec: Spec) {
        self.spec = spec;
    }

    /// The shortest time a frame spends here.
    pub fn least_delay(&self) -> Nanos {
        self.spec.delay - self.spec.jitter
    }

    /// A frame of `bytes` arrives at `now`, which never goes back.
    pub fn arrive(&mut self, now: Nanos, bytes: u64) -> Result<Fate, Drop> {
        let sent = self.pass_bottleneck(now, bytes)?;
        if self.is_lost_in_burst() {
            return Err(Drop::Burst);
        }
        if self.losses.chance(self.spec.loss) {
            return Err(Drop::Loss);
        }
        let mut at = sent + self.drift.delay(sent, self.spec.delay, self.spec.jitter);
        let reordered = self.reorders.chance(self.spec.reorder);
        if reordered {
            at += self.spec.reorder_by;
        } else {
            at = at.max(self.last);
            self.last = at;
        }
        let copies = if self.duplicates.chance(self.spec.duplicate) { 2 } else { 1 };
        Ok(Fate { at, copies, reordered })
    }

    /// When its last bit is through.
    fn pass_bottleneck(&mut self, now: Nanos, bytes: u64) -> Result<Nanos, Drop> {
        let rate = self.spec.rate;
        if rate == 0 {
            return Ok(now);
        }
        let wait = self.free.saturating_sub(now);
        let backlog = u128::from(wait) * u128::from(rate) / 8_000_000_000;
        // Whatever its length, a frame that need not wait is sent.
        if wait > 0 && backlog + u128::from(bytes) > u128::from(self.spec.queue) {
            return Err(Drop::Queue);
        }
        self.free = self.free.max(now) + bytes * 8_000_000_000 / rate;
        Ok(self.free)
    }

    fn is_lost_in_burst(&mut self) -> bool {
        let Burst { enter, leave, loss_bad, loss_good } = self.spec.burst;
        let turn = self.bursts.unit();
        self.bad = if self.bad { turn >= leave } else { turn < enter };
        self.bursts.chance(if self.bad { loss_bad } else { loss_good })
    }
}

/// A delay that goes in straight ramps from one random value to the next, half as fast as time at most: so order is kept, and no frame has to
/// wait for the one before it.
struct Drift {
    random: Random,
    start: Nanos,
    /// In units of the jitter, -1 to 1.
    from: f64,
    to: f64,
}

impl Drift {
    fn new(mut random: Random) -> Self {
        let to = 2.0 * random.unit() - 1.0;
        Self { random, start: 0, from: to, to }
    }

    fn delay(&mut self, now: Nanos, delay: Nanos, jitter: Nanos) -> Nanos {
        if jitter == 0 {
            return delay;
        }
        let ramp = 4 * jitter;
        let mut into = now.saturating_sub(self.start);
        if into >= ramp {
            // After a pause the next ramp begins now.
            self.start = if into >= 2 * ramp { now } else { self.start + ramp };
            into = now - self.start;
            self.from = self.to;
            self.to = 2.0 * self.random.unit() - 1.0;
        }
        let value = self.from + (self.to - self.from) * (into as f64 / ramp as f64);
        delay.saturating_add_signed((value * jitter as f64) as i64)
    }
}
