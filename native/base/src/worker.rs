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
use std::time::{Duration, Instant};

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

    /// After `ready`: it is to run again after so long, whether or not the descriptor is readable, and not before. None: when it is readable.
    fn rest(&self) -> Option<Duration> {
        None
    }
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
    fn forget(&self, sources: &mut Sources, token: u64) {
        sources.resting.retain(|rest| rest.token != token);
        let Some(source) = sources.all.remove(&token) else { return };
        // SAFETY: deleting takes no event. A descriptor that is gone was unwatched by the kernel.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, source.fd(), std::ptr::null_mut()) };
    }

    fn run(&self) {
        let mut sources = Sources::default();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let mut can_rest = true;
        loop {
            let count = match self.wait(&mut events, sources.resting.iter().map(|rest| rest.until).min()) {
                Ok(count) => count,
                Err(libc::EINTR) => 0,
                // Linux < 5.11 has no waits in us, and a sandbox may forbid them: nobody rests there.
                Err(_) => {
                    can_rest = false;
                    std::mem::take(&mut sources.resting)
                        .iter()
                        .for_each(|rest| self.listen(&sources, rest.token, true));
                    0
                }
            };
            for event in &events[..count] {
                if event.u64 != WAKE {
                    self.ready(&mut sources, event.u64, can_rest);
                } else if !self.change(&mut sources) {
                    return;
                }
            }
            if !sources.resting.is_empty() {
                let now = Instant::now();
                while let Some(rest) = sources.resting.iter().find(|rest| rest.until <= now) {
                    let token = rest.token;
                    self.ready(&mut sources, token, can_rest);
                }
            }
        }
    }

    /// How many events there are, at the latest at this time.
    fn wait(
        &self,
        events: &mut [libc::epoll_event; EVENTS],
        until: Option<Instant>,
    ) -> std::result::Result<usize, i32> {
        let (epoll, room) = (self.epoll.as_raw_fd(), EVENTS as i32);
        let Some(until) = until else {
            // SAFETY: the kernel writes at most EVENTS events into a live array. A signal is no reason to stop: all are blocked, but a
            // debugger interrupts too.
            let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, -1) };
            return Ok(usize::try_from(count).unwrap_or(0));
        };
        let left = until.saturating_duration_since(Instant::now());
        // The 64-bit form of the kernel, also where time_t has 32 bits.
        let timeout = [left.as_secs() as i64, i64::from(left.subsec_nanos())];
        let no_signals = std::ptr::null::<libc::sigset_t>();
        // SAFETY: as above; the time lives during the call.
        let count = unsafe {
            libc::syscall(libc::SYS_epoll_pwait2, epoll, events.as_mut_ptr(), room, timeout.as_ptr(), no_signals, 0)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Lets a source do a batch, and rest if it wants to.
    fn ready(&self, sources: &mut Sources, token: u64, can_rest: bool) {
        let Some(source) = sources.all.get_mut(&token) else { return };
        if !source.ready() {
            return self.forget(sources, token);
        }
        let until = source.rest().filter(|_| can_rest).map(|rest| Instant::now() + rest);
        let resting = sources.resting.iter().position(|rest| rest.token == token);
        match (until, resting) {
            (Some(until), Some(at)) => sources.resting[at].until = until,
            (Some(until), None) => {
                sources.resting.push(Rest { until, token });
                self.listen(sources, token, false);
            }
            (None, Some(at)) => {
                sources.resting.swap_remove(at);
                self.listen(sources, token, true);
            }
            (None, None) => {}
        }
    }

    /// Has a source's descriptor wake the thread, or not.
    fn listen(&self, sources: &Sources, token: u64, listens: bool) {
        let Some(source) = sources.all.get(&token) else { return };
        let mut event = libc::epoll_event { events: if listens { libc::EPOLLIN as u32 } else { 0 }, u64: token };
        // SAFETY: the event lives during the call, which copies it.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_MOD, source.fd(), &raw mut event) };
    }

    /// Takes and drops sources; false when the worker shall end.
    fn change(&self, sources: &mut Sources) -> bool {
        self.wake.clear();
        let (added, removed, asked) = {
            let mut state = lock(&self.state);
            if state.stopped {
                return false;
            }
            (std::mem::take(&mut state.added), std::mem::take(&mut state.removed), state.asked)
        };
        sources.all.extend(added);
        removed.into_iter().for_each(|token| self.forget(sources, token));
        lock(&self.state).done = asked;
        self.changed.notify_all();
        true
    }
}

/// What the thread has.
#[derive(Default)]
struct Sources {
    all: HashMap<u64, Box<dyn Source>>,
    /// Those whose descriptors do not wake the thread.
    resting: Vec<Rest>,
}

struct Rest {
    until: Instant,
    token: u64,
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

    /// Reads all that there is, then rests.
    struct Rests {
        stream: UnixStream,
        rest: Duration,
        seen: Sender<usize>,
    }

    impl Source for Rests {
        fn fd(&self) -> RawFd {
            self.stream.as_raw_fd()
        }

        fn ready(&mut self) -> bool {
            let mut bytes = [0; 64];
            match self.stream.read(&mut bytes) {
                Ok(0) => false,
                Ok(count) => self.seen.send(count).is_ok(),
                Err(cause) if is_later(&cause) => {
                    self.rest = Duration::ZERO;
                    self.seen.send(0).is_ok()
                }
                Err(_) => false,
            }
        }

        fn rest(&self) -> Option<Duration> {
            Some(self.rest).filter(|rest| !rest.is_zero())
        }
    }

    #[test]
    fn a_source_that_rests_is_looked_at_after_its_time_and_then_wakes_the_thread_again() {
        let worker = Worker::start("test").unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (seen, receiver) = channel();
        worker.add(Box::new(Rests { stream: theirs, rest: Duration::from_millis(100), seen })).unwrap();
        let start = Instant::now();
        ours.write_all(b"a").unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        ours.write_all(b"bc").unwrap();
        assert_eq!(receiver.recv(), Ok(2));
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        assert_eq!(receiver.recv(), Ok(0), "nothing came while it rested");
        ours.write_all(b"d").unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        drop(ours);
        assert!(receiver.recv().is_err(), "it ended");
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
