// SPDX-License-Identifier: MIT
//! Why frames are dropped: the same order as `enum ipop_drop` in ipop.h.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a frame, or a piece of one, was dropped; meanings are in ipop.h.
#[allow(missing_docs, reason = "each is documented once, in ipop.h")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Drop {
    GuardDhcp = 0,
    GuardRa,
    GuardUnparsed,
    ReservedAddress,
    SourceGroup,
    SourceZero,
    SamePort,
    SplitHorizon,
    Policy,
    UpcallLimited,
    UpcallFull,
    UpcallTimeout,
    PortDisabled,
    NoPort,
    Malformed,
    LinkClosed,
    LinkFull,
    TapWrite,
    CarriageMalformed,
    FragmentTimeout,
    FragmentFull,
    FragmentMismatch,
    Oversize,
    SealInvalid,
    SealReplayed,
    SealEpoch,
    QueueEarly,
    CircuitBreaker,
}

impl Drop {
    /// How many reasons there are.
    pub const COUNT: usize = 28;
}

/// One counter for each reason.
#[derive(Debug, Default)]
pub struct DropCounters([AtomicU64; Drop::COUNT]);

impl DropCounters {
    /// Counts one drop.
    pub fn count(&self, why: Drop) {
        self.add(why, 1);
    }

    /// Counts `n` drops.
    pub fn add(&self, why: Drop, n: u64) {
        self.0[why as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// How many were dropped for this reason.
    pub fn get(&self, why: Drop) -> u64 {
        self.0[why as usize].load(Ordering::Relaxed)
    }

    /// All counters, in enum order.
    pub fn all(&self) -> [u64; Drop::COUNT] {
        std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed))
    }
}
