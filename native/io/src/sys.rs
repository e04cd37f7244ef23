// SPDX-License-Identifier: MIT
//! The few system calls that neither std nor a crate of ours wraps: poll, send, advisory locks.

use std::io;
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipop_base::Result;

/// Enough for a TLS handshake and for getaddrinfo, also without optimisation.
const STACK_BYTES: usize = 256 << 10;

/// Starts a thread that blocks all signals, so that they reach the runtime's thread only.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    ipop_base::spawn(name, STACK_BYTES, run)
}

/// What to wait for at one descriptor.
pub fn interest(fd: &impl AsRawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// Waits until a descriptor is ready or the deadline has come (None: for ever). Interrupted: goes on.
pub fn poll(fds: &mut [libc::pollfd], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let timeout = deadline.map_or(-1, millis_until);
        // SAFETY: pointer and length of one live slice.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        if ready >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Rounded up, so that a poll does not spin through the last millisecond.
fn millis_until(at: Instant) -> i32 {
    let rest = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
    rest.as_millis().min(i32::MAX as u128) as i32
}

/// Sends without raising SIGPIPE.
pub fn send(fd: &impl AsRawFd, data: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of one live slice.
    let sent = unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// Takes the exclusive advisory lock of an open file or folder until it is closed; WouldBlock when another holds it.
pub fn try_lock(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: takes a live descriptor and no pointers.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
