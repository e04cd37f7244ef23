// SPDX-License-Identifier: MIT
//! Time as the switch sees it: milliseconds, handed in so that tests can turn the hands.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where milliseconds come from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's monotonic clock, in its coarse form (a tick of 1 to 10 ms): it is read for each frame.
    Monotonic,
    /// Whatever its owner stores there. A switch with such a clock expires nothing by itself: call `Switch::expire`.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// Milliseconds since some fixed instant.
    pub fn now_ms(&self) -> u64 {
        match self {
            Self::Monotonic => monotonic_ms(),
            Self::Manual(hands) => hands.load(Ordering::Relaxed),
        }
    }
}

fn monotonic_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec that lives here; this clock exists on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
