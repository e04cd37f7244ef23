// SPDX-License-Identifier: MIT
//! The threads that move frames: each waits for many descriptors at once (epoll) and lets the one that is readable do a batch.
//!
//! Few cores are best served by one such thread for both directions: a frame wakes one thread on its way through a node, and
//! what belongs to a flow stays in one core's cache.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};

use crate::{Error, EventFd, Result, lock, spawn};

/// Descriptors told about at once; others come with the next call.
const EVENTS: usize = 32;
/// Frames are on the heap; what batches keep on the stack is a few kilobytes.
const STACK: usize = 256 << 10;
/// Cores from which on taps and links have a thread each.
const CORES_TO_SPLIT: usize = 4;
/// The eventfd of the worker itself.
const WAKE: u64 = 0;

/// Something with a descriptor that a worker waits for. Its methods run on the worker's thread only.
pub trait Source: Send {
    /// Its descriptor; the same as long as it lives.
    fn fd(&self) -> RawFd;

    /// Its descriptor is readable, or failed: does one bounded batch without blocking. False: nothing more comes, and the worker drops it.
    fn ready(&mut self) -> bool;
}

/// Names a source within its worker; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(u64);

/// One thread and its sources.
pub struct Worker {
    epoll: OwnedFd,
    wake: EventFd,
    state: Mutex<State>,
    changed: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    last: u64,
    added: Vec<(u64, Box<dyn Source>)>,
    removed: Vec<u64>,
    /// Changes asked for and changes made.
    asked: u64,
    done: u64,
    stopped: bool,
    id: Option<ThreadId>,
}

impl Worker {
    /// Starts the thread, which takes no signals. `name` has at most 15 characters.
    pub fn start(name: &str) -> Result<Arc<Self>> {
        // SAFETY: no pointers; the result is checked before it is owned.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }, "cannot make an epoll instance")?;
        let wake = EventFd::new()?;
        let worker =
            Arc::new(Self { epoll, wake, state: Mutex::default(), changed: Condvar::new(), thread: Mutex::default() });
        worker.watch(worker.wake.as_raw_fd(), WAKE)?;
        let body = Arc::clone(&worker);
        let thread = spawn(name, STACK, move || {
            let _end = End(&body);
            body.run();
        })?;
        lock(&worker.state).id = Some(thread.thread().id());
        *lock(&worker.thread) = Some(thread);
        Ok(worker)
    }

    /// Hands a source over. It is dropped by `remove`, when it says that nothing more comes, or with the worker.
    pub fn add(&self, source: Box<dyn Source>) -> Result<Token> {
        let mut state = lock(&self.state);
        if state.stopped {
            return Err(Error::new(libc::ESHUTDOWN, "the worker has ended"));
        }
        state.last += 1;
        let token = state.last;
        // Watched before the thread knows it: an event that comes too early is told again.
        self.watch(source.fd(), token)?;
        state.added.push((token, source));
        state.asked += 1;
        drop(state);
        self.wake.signal();
        Ok(Token(token))
    }

    /// Takes a source back: when this returns it is dropped and none of its methods runs. Called by one of its own methods, it is
    /// dropped soon after.
    pub fn remove(&self, Token(token): Token) {
        let mut state = lock(&self.state);
        state.removed.push(token);
        state.asked += 1;
        let mine = state.asked;
        self.wake.signal();
        if state.id == Some(thread::current().id()) {
            return;
        }
        while state.done < mine && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Drops all sources and joins the thread. A second call does nothing.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.wake.signal();
        self.changed.notify_all();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic was already written to stderr by the panic hook.
            let _ = thread.join();
        }
        // Those the thread had not taken yet.
        let late = std::mem::take(&mut lock(&self.state).added);
        drop(late);
    }

    fn watch(&self, fd: RawFd, token: u64) -> Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        // SAFETY: the event lives during the call, which copies it.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) } {
            0 => Ok(()),
            _ => Err(Error::last_os("cannot wait for a descriptor")),
        }
    }

    /// Drops a source, if it is still there.
    fn forget(&self, sources: &mut HashMap<u64, Box<dyn Source>>, token: u64) {
        let Some(source) = sources.remove(&token) else { return };
        // SAFETY: deleting takes no event. A descriptor that is gone was unwatched by the kernel.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, source.fd(), std::ptr::null_mut()) };
    }

    fn run(&self) {
        let mut sources: HashMap<u64, Box<dyn Source>> = HashMap::new();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        loop {
            // SAFETY: the kernel writes at most EVENTS events into a live array. A signal is no reason to stop: all are blocked, but a
            // debugger interrupts too.
            let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as i32, -1) };
            for event in &events[..usize::try_from(count).unwrap_or(0)] {
                let token = event.u64;
                if token == WAKE {
                    if !self.change(&mut sources) {
                        return;
                    }
                } else if sources.get_mut(&token).is_some_and(|source| !source.ready()) {
                    self.forget(&mut sources, token);
                }
            }
        }
    }

    /// Takes and drops sources; false when the worker shall end.
    fn change(&self, sources: &mut HashMap<u64, Box<dyn Source>>) -> bool {
        self.wake.clear();
        let (added, removed, asked) = {
            let mut state = lock(&self.state);
            if state.stopped {
                return false;
            }
            (std::mem::take(&mut state.added), std::mem::take(&mut state.removed), state.asked)
        };
        sources.extend(added);
        removed.into_iter().for_each(|token| self.forget(sources, token));
        lock(&self.state).done = asked;
        self.changed.notify_all();
        true
    }
}

/// The thread ends, be it by a panic: nobody waits for it any more.
struct End<'a>(&'a Worker);

impl Drop for End<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).stopped = true;
        self.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

/// The workers of a process: one, or one for taps and one for links where cores are plenty.
pub struct Workers {
    taps: Arc<Worker>,
    links: Arc<Worker>,
}

impl Workers {
    /// Starts them, as many as this machine's cores ask for.
    pub fn start() -> Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let taps = Worker::start("ipop-path")?;
        let links = if cores >= CORES_TO_SPLIT { Worker::start("ipop-path-links")? } else { taps.clone() };
        Ok(Self { taps, links })
    }

    /// Where taps are read.
    pub fn taps(&self) -> &Arc<Worker> {
        &self.taps
    }

    /// Where links' sockets are read.
    pub fn links(&self) -> &Arc<Worker> {
        &self.links
    }

    /// Ends them.
    pub fn stop(&self) {
        self.taps.stop();
        self.links.stop();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn owned(fd: RawFd, what: &str) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::last_os(what));
    }
    // SAFETY: fd is a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// True when a call on a non-blocking descriptor only has to be made again later.
pub fn is_later(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    struct Echo {
        stream: UnixStream,
        seen: Sender<u8>,
    }

    impl Source for Echo {
        fn fd(&self) -> RawFd {
            self.stream.as_raw_fd()
        }

        fn ready(&mut self) -> bool {
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => self.seen.send(byte[0]).is_ok(),
                _ => false,
            }
        }
    }

    fn pair() -> (UnixStream, Box<Echo>, Receiver<u8>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (seen, receiver) = channel();
        (ours, Box::new(Echo { stream: theirs, seen }), receiver)
    }

    #[test]
    fn every_source_gets_what_came_for_it() {
        let worker = Worker::start("test").unwrap();
        let (mut a, source_a, seen_a) = pair();
        let (mut b, source_b, seen_b) = pair();
        a.write_all(b"x").unwrap();
        worker.add(source_a).unwrap();
        worker.add(source_b).unwrap();
        b.write_all(b"yz").unwrap();
        assert_eq!((seen_a.recv(), seen_b.recv(), seen_b.recv()), (Ok(b'x'), Ok(b'y'), Ok(b'z')));
        worker.stop();
    }

    struct Panics(UnixStream);

    impl Source for Panics {
        fn fd(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        fn ready(&mut self) -> bool {
            panic!("as the test wants it");
        }
    }

    #[test]
    fn nobody_waits_for_a_worker_that_has_panicked() {
        let worker = Worker::start("test").unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let token = worker.add(Box::new(Panics(theirs))).unwrap();
        ours.write_all(b"x").unwrap();
        // Closed by the unwinding thread.
        assert_eq!(ours.read(&mut [0]).unwrap_or(0), 0);
        worker.remove(token);
        worker.stop();
    }

    #[test]
    fn a_source_is_dropped_when_removed_when_done_and_with_the_worker() {
        let worker = Worker::start("test").unwrap();
        let (_a, source, removed) = pair();
        let token = worker.add(source).unwrap();
        worker.remove(token);
        assert!(removed.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Disconnected));
        let (b, source, done) = pair();
        worker.add(source).unwrap();
        drop(b);
        assert!(done.recv().is_err());
        let (_c, source, ended) = pair();
        worker.add(source).unwrap();
        worker.stop();
        assert!(ended.recv().is_err());
        assert_eq!(worker.add(pair().1).unwrap_err().errno, libc::ESHUTDOWN);
    }
}
