// SPDX-License-Identifier: MIT
//! Tells when interfaces, addresses, bridges or default routes change: at most twice a second, and always once after the last change.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipop_base::{Error, EventFd, RecordQueue, RecordType, Result};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::sys;

const AT_MOST_EVERY: Duration = Duration::from_millis(500);
/// Larger than any single notification; what of one does not fit is not looked at anyway.
const BUFFER: usize = 16 << 10;
const GROUPS: [u32; 5] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];

/// A thread that watches the network namespace in which it was started.
#[derive(Debug)]
pub struct InterfaceWatch {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    wake: EventFd,
    stopping: AtomicBool,
}

impl InterfaceWatch {
    /// Starts to watch; records INTERFACES (handle 0) go to `queue`.
    pub fn start(queue: Arc<RecordQueue>) -> Result<Self> {
        let socket = open().map_err(|cause| Error::io("cannot watch network interfaces", &cause))?;
        let shared = Arc::new(Shared { wake: EventFd::new()?, stopping: AtomicBool::new(false) });
        let thread = sys::spawn("interfaces", {
            let shared = shared.clone();
            move || watch(&socket, &shared, &queue)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Joins the thread, which never blocks but in poll.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.signal();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for InterfaceWatch {
    fn drop(&mut self) {
        self.stop();
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

fn watch(socket: &Socket, shared: &Shared, queue: &RecordQueue) {
    let mut pace = Pace::default();
    while !shared.stopping.load(Ordering::Acquire) {
        let mut fds = [sys::interest(&socket.as_raw_fd(), libc::POLLIN), sys::interest(&shared.wake, libc::POLLIN)];
        if sys::poll(&mut fds, pace.due()).is_err() {
            return;
        }
        shared.wake.clear();
        let now = Instant::now();
        if fds[0].revents != 0 && drain(socket) {
            pace.changed(now);
        }
        // A record that the full queue refused is due again half a second later.
        if pace.due().is_some_and(|at| now >= at) {
            pace.told(now, queue.push(RecordType::Interfaces, 0, &[]));
        }
    }
}

/// When to tell: at once, but never within half a second of the last time.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Pace {
    fn changed(&mut self, now: Instant) {
        let earliest = self.last.map_or(now, |last| last + AT_MOST_EVERY);
        self.due.get_or_insert(earliest.max(now));
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn told(&mut self, now: Instant, heard: bool) {
        self.last = Some(now);
        self.due = (!heard).then(|| now + AT_MOST_EVERY);
    }
}

/// Reads all that waits; whether anything of it matters.
fn drain(socket: &Socket) -> bool {
    let mut matters = false;
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => matters |= any_matters(&buffer),
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => return matters,
            // ENOBUFS: so much changed that the kernel lost some of it.
            Err(_) => return true,
        }
    }
}

/// Whether one message of a datagram does.
pub fn any_matters(mut datagram: &[u8]) -> bool {
    while datagram.len() >= 16 {
        let length = u32::from_ne_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]) as usize;
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        let end = length.clamp(16, datagram.len());
        if matters(kind, &datagram[16..end]) {
            return true;
        }
        datagram = &datagram[end.next_multiple_of(4).min(datagram.len())..];
    }
    false
}

/// Of routes only default ones do (struct rtmsg: family, dst_len...): a router with a full table changes others all day.
fn matters(kind: u16, body: &[u8]) -> bool {
    let routes = [libc::RTM_NEWROUTE, libc::RTM_DELROUTE];
    !routes.contains(&kind) || body.get(1) == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_at_once_then_at_most_every_half_second_and_the_last_one_always() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.due(), None, "nothing changed");
        pace.changed(start);
        assert_eq!(pace.due(), Some(start), "the first at once");
        pace.told(start, true);
        assert_eq!(pace.due(), None);
        pace.changed(start + AT_MOST_EVERY / 5);
        pace.changed(start + AT_MOST_EVERY / 2);
        assert_eq!(pace.due(), Some(start + AT_MOST_EVERY), "the next ones together, later");
        pace.told(start + AT_MOST_EVERY, false);
        assert_eq!(pace.due(), Some(start + 2 * AT_MOST_EVERY), "again, when the queue was full");
        pace.told(start + 2 * AT_MOST_EVERY, true);
        pace.changed(start + 9 * AT_MOST_EVERY);
        assert_eq!(pace.due(), Some(start + 9 * AT_MOST_EVERY), "at once after a quiet time");
    }

    #[test]
    fn of_routes_only_default_ones_matter() {
        assert!(matters(libc::RTM_NEWROUTE, &[2, 0, 0, 0]));
        assert!(!matters(libc::RTM_NEWROUTE, &[2, 24, 0, 0]));
        assert!(matters(libc::RTM_NEWLINK, &[0, 0, 0, 0]));
    }
}
