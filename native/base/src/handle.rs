// SPDX-License-Identifier: MIT
//! Handles: ints > 0 that are never reused within a process, so that a late record cannot be taken for another object's.

use std::sync::atomic::{AtomicI32, Ordering};

/// A switch, port, link, stream, connection or request.
pub type Handle = i32;

static NEXT: AtomicI32 = AtomicI32::new(1);

/// A fresh handle. 2^31 of them last for 68 years at one a second.
pub fn next_handle() -> Handle {
    NEXT.fetch_add(1, Ordering::Relaxed)
}
