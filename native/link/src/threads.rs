// SPDX-License-Identifier: MIT
//! Threads that take no signals, joining them within a bound, and short work that must not be interrupted.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipop_base::Result;

/// Our threads do little and call libdatachannel, which keeps 64 KiB buffers on the stack.
const STACK_BYTES: usize = 512 * 1024;

/// Starts a thread with all signals blocked, so that the runtime's thread gets them; threads it starts inherit that.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    ipop_base::spawn(name, STACK_BYTES, body)
}

/// Joins each thread that ends before `deadline`; returns how many did not. Those go on and end on their own.
pub fn join_until(threads: Vec<JoinHandle<()>>, deadline: Instant) -> usize {
    let mut late = 0;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.is_finished() {
            // A panic was already written to stderr by the panic hook; there is nothing left to clean up.
            let _ = thread.join();
        } else {
            late += 1;
        }
    }
    late
}

/// Runs `action` at real-time priority, so that no other work of this machine comes between its steps; at the usual one where
/// that is not allowed. For what takes microseconds.
pub fn undisturbed<T>(action: impl FnOnce() -> T) -> T {
    set_policy(libc::SCHED_FIFO, 1);
    let result = action();
    set_policy(libc::SCHED_OTHER, 0);
    result
}

/// Sets this thread's policy; threads it starts do not inherit it. Not being allowed to is no error.
fn set_policy(policy: libc::c_int, priority: libc::c_int) {
    // SAFETY: sched_param is plain data and lives during the call; 0 is this thread.
    unsafe {
        let mut param: libc::sched_param = std::mem::zeroed();
        param.sched_priority = priority;
        libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &param);
    }
}
