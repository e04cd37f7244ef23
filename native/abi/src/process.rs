// SPDX-License-Identifier: MIT
//! Start, stop and the record queue: the one process-wide state everything else hangs on.

use std::ffi::c_int;
use std::sync::{Arc, Mutex};

use ipop_base::{Error, RecordQueue, Result};

use crate::call::{buffer, count, last_error, lock, put, run};

/// The version of ipop.h this is.
pub const ABI_VERSION: c_int = 1;

/// What exists between start and stop.
pub struct Process {
    /// Where native threads put records.
    pub queue: Arc<RecordQueue>,
}

static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

/// Runs `body` on the started process; ENOTCONN before start and after stop.
pub fn with<T>(body: impl FnOnce(&mut Process) -> Result<T>) -> Result<T> {
    match lock(&PROCESS).as_mut() {
        Some(process) => body(process),
        None => Err(Error::new(libc::ENOTCONN, "ipop_start was not called")),
    }
}

impl Process {
    fn start() -> Result<Self> {
        Ok(Self { queue: Arc::new(RecordQueue::new()?) })
    }

    fn stop(self) {}
}

/// ipop.h: the ABI's version.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_abi_version() -> c_int {
    ABI_VERSION
}

/// ipop.h: starts native.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_start() -> c_int {
    run(|| {
        let mut process = lock(&PROCESS);
        if process.is_some() {
            return Err(Error::new(libc::EALREADY, "already started"));
        }
        *process = Some(Process::start()?);
        Ok(0)
    })
}

/// ipop.h: closes every handle and joins every thread.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_stop() -> c_int {
    run(|| {
        if let Some(process) = lock(&PROCESS).take() {
            process.stop();
        }
        Ok(0)
    })
}

/// ipop.h: a descriptor that is readable while records wait.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_wake_fd() -> c_int {
    run(|| with(|process| Ok(process.queue.wake_fd())))
}

/// ipop.h: moves whole records into `buf`.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_poll(buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: our caller's promise.
        let buf = unsafe { buffer(buf, cap) }?;
        if buf.len() < 65536 + 16 {
            return Err(Error::new(libc::EINVAL, format!("a buffer of {cap} bytes may not hold one record")));
        }
        with(|process| count(process.queue.poll(buf)))
    })
}

/// ipop.h: text of the last failed call.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_last_error(buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        let text = last_error();
        // SAFETY: our caller's promise.
        let buf = unsafe { buffer(buf, cap) }?;
        put(buf, &text.as_bytes()[..text.floor_char_boundary_at(buf.len())])
    })
}

/// ipop.h: counters of the process.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_process_counters(buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: our caller's promise.
        let buf = unsafe { buffer(buf, cap) }?;
        let (queued, dropped) = with(|process| Ok(process.queue.counters()))?;
        let counters = [queued, dropped, threads()?].map(u64::to_le_bytes);
        put(buf, counters.as_flattened())
    })
}

/// Threads of this process now, the caller's included.
fn threads() -> Result<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|error| Error::io("cannot count threads", &error))?;
    Ok(tasks.count() as u64)
}

trait CharBoundary {
    fn floor_char_boundary_at(&self, at: usize) -> usize;
}

impl CharBoundary for str {
    /// The longest prefix of whole characters within `at` bytes (`str::floor_char_boundary` needs a newer compiler).
    fn floor_char_boundary_at(&self, at: usize) -> usize {
        let mut at = at.min(self.len());
        while !self.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
