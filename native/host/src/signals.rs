// SPDX-License-Identifier: MIT
//! TERM, INT and HUP as something to poll for: blocked in every thread, read from a signalfd. PIPE is ignored, so that a reader
//! that went away is an error of that one write.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The process's signals.
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals for this thread and every one it starts from now on; so it is called before any other thread exists.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the set that the other calls read; the descriptor is checked before it is owned.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            match libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) {
                fd if fd < 0 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// Readable while a signal waits.
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// The next signal's number, if one waits.
    pub fn take(&self) -> Option<i32> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most `size` bytes into `info`, which is read only when all of it was written.
        unsafe {
            let got = libc::read(self.fd(), info.as_mut_ptr().cast(), size);
            (got == size as isize).then(|| info.assume_init().ssi_signo as i32)
        }
    }
}
