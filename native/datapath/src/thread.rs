// SPDX-License-Identifier: MIT
//! Threads of the datapath: small stacks, and no signal ever runs on them (signals belong to the runtime's thread).

use std::thread::{Builder, JoinHandle};

use ipop_base::{Error, Result};

/// Frames are on the heap; what these threads keep on their stacks is a few kilobytes.
const STACK: usize = 256 << 10;

/// Starts a thread with all signals blocked. `name` has at most 15 characters.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let before = block_signals();
    let thread = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body);
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
