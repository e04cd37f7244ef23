// SPDX-License-Identifier: MIT
//! Threads on which no signal ever runs (signals belong to the runtime's), and locks that outlive a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::{Error, Result};

/// Starts a thread with all signals blocked; threads it starts inherit that. `name` has at most 15 characters.
pub fn spawn(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let before = block_signals();
    let thread = Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(body);
    // SAFETY: `before` is the mask that this very thread had; restoring it touches no other memory.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    thread.map_err(|cause| Error::io(&format!("cannot start thread '{name}'"), &cause))
}

/// Blocks all signals of the calling thread (a new thread inherits that) and returns the mask it had.
fn block_signals() -> libc::sigset_t {
    // SAFETY: sigset_t is plain data, for which all zeroes is a value.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut before = all;
    // SAFETY: both sets live here and are written whole by these calls, which cannot fail with these arguments.
    unsafe {
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
    }
    before
}

/// Takes a mutex, also after a thread that held it has panicked: what is behind ours is whole between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
