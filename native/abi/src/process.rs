// SPDX-License-Identifier: MIT
//! The one process-wide state, its start and stop, and the record queue.

use std::collections::HashMap;
use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ipop_base::{Error, Handle, RecordQueue, Result, Workers, lock};
use ipop_datapath::{MemoryPort, Switch, Tap};
use ipop_io::{Control, InterfaceWatch, Pbkdf2, SrvLookups, Streams};
use ipop_link::Links;

use crate::call::{buffer, count, last_error, put, run};

/// The version of ipop.h this is.
pub const ABI_VERSION: c_int = 1;
/// The longest record with its header: who polls with less might never get it.
const MIN_POLL: usize = 65536 + 16;

/// A link takes about this many.
const FEW_DESCRIPTORS: usize = 8;

/// What exists between start and stop.
pub(crate) struct Process {
    pub queue: Arc<RecordQueue>,
    pub workers: Workers,
    pub switches: HashMap<Handle, Arc<Switch>>,
    pub ports: HashMap<Handle, PortEntry>,
    pub links: Arc<Links>,
    pub streams: Arc<Streams>,
    pub srv: SrvLookups,
    pub control: Option<Arc<Control>>,
    pub pbkdf2: Pbkdf2,
    interfaces: InterfaceWatch,
}

/// A port and the switch it belongs to.
pub(crate) struct PortEntry {
    pub switch: Arc<Switch>,
    pub kind: PortKind,
}

pub(crate) enum PortKind {
    Tap(Arc<Tap>),
    Memory(Arc<MemoryPort>),
    Link,
}

static PROCESS: Mutex<Option<Process>> = Mutex::new(None);

/// Runs `body` on the started process; ENOTCONN before start and after stop.
pub(crate) fn with<T>(body: impl FnOnce(&mut Process) -> Result<T>) -> Result<T> {
    match lock(&PROCESS).as_mut() {
        Some(process) => body(process),
        None => Err(Error::new(libc::ENOTCONN, "ipop_start was not called")),
    }
}

impl Process {
    fn start() -> Result<Self> {
        let queue = Arc::new(RecordQueue::new()?);
        let workers = Workers::start()?;
        Ok(Self {
            switches: HashMap::new(),
            ports: HashMap::new(),
            links: Links::start(queue.clone(), workers.links().clone())?,
            workers,
            streams: Streams::new(queue.clone()),
            srv: SrvLookups::new(queue.clone()),
            control: None,
            pbkdf2: Pbkdf2::new(queue.clone()),
            interfaces: InterfaceWatch::start(queue.clone())?,
            queue,
        })
    }

    /// The switch of a handle.
    pub fn switch(&self, handle: Handle) -> Result<&Arc<Switch>> {
        self.switches.get(&handle).ok_or_else(|| Error::new(libc::ENOENT, format!("there is no switch {handle}")))
    }

    /// The port of a handle.
    pub fn port(&self, handle: Handle) -> Result<&PortEntry> {
        self.ports.get(&handle).ok_or_else(|| no_port(handle))
    }

    /// Closes and forgets a port of any kind.
    pub fn close_port(&mut self, handle: Handle) -> Result<()> {
        let entry = self.ports.remove(&handle).ok_or_else(|| no_port(handle))?;
        match entry.kind {
            PortKind::Tap(tap) => tap.close(),
            PortKind::Memory(port) => port.close(),
            PortKind::Link => {
                // The port first: no frame is left to a link that is going.
                entry.switch.remove_port(handle);
                self.links.close(handle)?;
            }
        }
        Ok(())
    }

    /// Closes a switch with all its ports.
    pub fn close_switch(&mut self, handle: Handle) -> Result<()> {
        let switch = self.switch(handle)?.clone();
        let belongs = |entry: &PortEntry| entry.switch.handle() == handle;
        let ports: Vec<Handle> = self.ports.iter().filter(|(_, entry)| belongs(entry)).map(|(port, _)| *port).collect();
        for port in ports {
            self.close_port(port)?;
        }
        self.links.forget_network(handle);
        switch.close();
        self.switches.remove(&handle);
        Ok(())
    }

    fn stop(self) {
        let Self { workers, switches, ports, links, streams, srv, control, pbkdf2, interfaces, .. } = self;
        // What takes longest begins first, side by side: a router's init script waits for us.
        let ends = [
            in_background(move || links.stop()),
            in_background(move || {
                // What is left behind, inside a name look-up, ends with the process.
                streams.stop();
            }),
            in_background(move || {
                pbkdf2.stop();
                // Its threads look every 100 ms, so this takes no longer.
                srv.stop();
            }),
        ];
        if let Some(control) = control {
            control.stop();
        }
        interfaces.stop();
        for entry in ports.into_values() {
            match entry.kind {
                PortKind::Tap(tap) => tap.close(),
                PortKind::Memory(port) => port.close(),
                PortKind::Link => {}
            }
        }
        for end in ends.into_iter().flatten() {
            // A panic there has ended what it was to end.
            let _ = end.join();
        }
        // Taps and links have gone: nothing is left to read.
        workers.stop();
        switches.into_values().for_each(|switch| switch.close());
    }
}

/// None when there can be no more threads: then the objects end with their last reference, one after the other.
fn in_background(body: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    std::thread::Builder::new().name("ipop-stop".into()).spawn(body).ok()
}

fn no_port(handle: Handle) -> Error {
    Error::new(libc::ENOENT, format!("there is no port {handle}"))
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
        crate::io::forget_identity();
        let process = lock(&PROCESS).take();
        if let Some(process) = process {
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
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        if buf.len() < MIN_POLL {
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
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        put(buf, prefix(&text, buf.len()).as_bytes())
    })
}

/// ipop.h: counters of the process.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_process_counters(buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        let ((queued, dropped), wake) = with(|process| Ok((process.queue.counters(), process.queue.wake_fd())))?;
        let counters = [queued, dropped, threads()?, free_descriptors(wake), descriptor_limit()].map(u64::to_le_bytes);
        put(buf, counters.as_flattened())
    })
}

/// Threads of this process now, the caller's included. Takes no descriptor: this is asked also when there is none.
fn threads() -> Result<u64> {
    let tasks = std::fs::metadata("/proc/self/task").map_err(|error| Error::io("cannot count threads", &error))?;
    // As in every folder, "." and ".." beside the entries.
    Ok(tasks.nlink().saturating_sub(2))
}

/// Descriptors that can still be made, at most FEW_DESCRIPTORS; `open` is any that is.
fn free_descriptors(open: RawFd) -> u64 {
    let free = std::iter::from_fn(|| {
        // SAFETY: takes a number; the result is checked before it is owned.
        let fd = unsafe { libc::fcntl(open, libc::F_DUPFD_CLOEXEC, 0) };
        // SAFETY: fd is a fresh descriptor that nothing else owns.
        (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    });
    free.take(FEW_DESCRIPTORS).collect::<Vec<_>>().len() as u64
}

/// What RLIMIT_NOFILE says.
fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a live struct.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

/// The longest start of whole characters within `max` bytes.
fn prefix(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn an_error_text_is_cut_between_characters() {
        assert_eq!((prefix("a\u{e9}b", 2), prefix("a\u{e9}b", 3), prefix("a\u{e9}b", 9)), ("a", "a\u{e9}", "a\u{e9}b"));
    }
}
