// SPDX-License-Identifier: MIT
//! The few system calls that neither std nor a crate of ours wraps: poll, eventfd, threads that take no signals.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use ipop_base::{Error, Result};

/// Enough for a TLS handshake and for getaddrinfo, also without optimisation.
const STACK_BYTES: usize = 256 << 10;

/// Starts a thread that blocks all signals, so that they reach the runtime's thread only.
pub fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    // SAFETY: both sets are plain memory, filled by sigfillset and pthread_sigmask before they are read.
    let (all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { std::mem::zeroed() };
    let mut all = all;
    // SAFETY: valid pointers to live sets; a new thread inherits the mask that is set here.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    let result = Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(run);
    // SAFETY: `before` was filled above; this restores the caller's own mask.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    result.map_err(|cause| Error::io(&format!("cannot start thread '{name}'"), &cause))
}

/// Wakes a thread that polls.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A descriptor that is not readable until `signal`.
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last_os("cannot make an eventfd"));
        }
        // SAFETY: fd is a fresh descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes it readable.
    pub fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes 8 bytes from a live array; EAGAIN (counter full) leaves it readable all the same.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads 8 bytes into a live array; EAGAIN means it was clear already.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
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
