// SPDX-License-Identifier: MIT
//! When what was read of rules and ports is still true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the changes of rules and ports of one switch, so that readers may keep what they have read until the next one.
///
/// Order: a writer counts its change while it holds the table's write lock. A reader takes the number first and reads the table under its
/// read lock then, and keeps what it found under that number. So what is kept was read after the change its number counts; a
/// change that comes later has a higher number, which every reader sees once the call that changed has returned.
#[derive(Debug, Default, Clone)]
pub struct Generation(Arc<AtomicU64>);

impl Generation {
    /// The number of changes so far.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Counts a change; the table's write lock is held.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}
