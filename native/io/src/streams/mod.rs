// SPDX-License-Identifier: MIT
//! TLS client streams. One thread each resolves, connects, shakes hands and moves bytes; what happens is told by records.

mod connect;
mod failure;
mod opening;
mod pump;
mod starttls;
mod target;
mod tls;
mod trust;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipop_base::{Error, EventFd, Handle, RecordQueue, Result, TextMap, next_handle};

use crate::sys;
use target::Target;

/// One network needs one; the rest is room for reconnects whose predecessor still waits for a name server.
const MAX_STREAMS: usize = 16;
/// More than a server's slowest second; beyond it the writer must wait or give up.
const MAX_WAITING_BYTES: usize = 1 << 20;
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// All TLS streams of the process.
#[derive(Debug)]
pub struct Streams {
    queue: Arc<RecordQueue>,
    table: Arc<Table>,
}

#[derive(Debug, Default)]
struct Table {
    streams: Mutex<HashMap<Handle, Arc<Shared>>>,
    /// Signalled whenever a stream's thread ends.
    ended: Condvar,
}

/// What a stream's thread and its callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    outgoing: Mutex<Outgoing>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Outgoing {
    waiting: VecDeque<u8>,
    open: bool,
    closing: bool,
    /// The process ends: no record can be waited for.
    stopping: bool,
}

impl Streams {
    /// No streams yet; records go to `queue`.
    pub fn new(queue: Arc<RecordQueue>) -> Arc<Self> {
        Arc::new(Self { queue, table: Arc::default() })
    }

    /// Starts to open a stream; keys of `config` are in ipop.h. Records: STREAM_OPEN, STREAM_DATA, STREAM_CLOSED (always, and last).
    /// EINVAL: a key is missing or wrong; EAGAIN: over 16 streams.
    pub fn open(&self, config: &TextMap) -> Result<Handle> {
        let target = Target::parse(config)?;
        let mut streams = self.table.lock();
        if streams.len() >= MAX_STREAMS {
            return Err(Error::new(libc::EAGAIN, format!("there are {MAX_STREAMS} streams already")));
        }
        let handle = next_handle();
        let shared = Arc::new(Shared { outgoing: Mutex::default(), wake: EventFd::new()? });
        let thread = (self.queue.clone(), self.table.clone(), shared.clone());
        sys::spawn("stream", move || {
            let (queue, table, shared) = thread;
            pump::run(&queue, handle, &shared, &target);
            table.lock().remove(&handle);
            table.ended.notify_all();
        })?;
        streams.insert(handle, shared);
        Ok(handle)
    }

    /// Queues bytes. ENOTCONN: not open (yet, or any more); EAGAIN: more than 1 MiB would wait, nothing was queued.
    pub fn write(&self, stream: Handle, data: &[u8]) -> Result<()> {
        let shared = self.table.lock().get(&stream).cloned();
        let not_open = || Error::new(libc::ENOTCONN, format!("stream {stream} is not open"));
        let shared = shared.ok_or_else(not_open)?;
        let mut outgoing = shared.lock();
        if !outgoing.open || outgoing.closing {
            return Err(not_open());
        }
        if outgoing.waiting.len() + data.len() > MAX_WAITING_BYTES {
            let waiting = outgoing.waiting.len();
            return Err(Error::new(libc::EAGAIN, format!("{waiting} bytes wait for stream {stream} already")));
        }
        outgoing.waiting.extend(data);
        drop(outgoing);
        shared.wake.signal();
        Ok(())
    }

    /// Closes: what was written goes out first (within 0.7 s), then close_notify; STREAM_CLOSED `local` follows. A stream that has closed
    /// by itself, its record perhaps still unread, is no error.
    pub fn close(&self, stream: Handle) -> Result<()> {
        if let Some(shared) = self.table.lock().get(&stream) {
            shared.lock().closing = true;
            shared.wake.signal();
        }
        Ok(())
    }

    /// Closes all streams and waits for their threads, 1 s at most. Returns how many are left behind, detached: those are inside a name
    /// look-up, which cannot be interrupted; they end by themselves when the resolver gives up.
    pub fn stop(&self) -> usize {
        let deadline = Instant::now() + STOP_WITHIN;
        let mut streams = self.table.lock();
        for shared in streams.values() {
            let mut outgoing = shared.lock();
            outgoing.closing = true;
            outgoing.stopping = true;
            drop(outgoing);
            shared.wake.signal();
        }
        while !streams.is_empty() {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            streams = self.table.ended.wait_timeout(streams, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        streams.len()
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, Arc<Shared>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closing(&self) -> bool {
        self.lock().closing
    }
}
