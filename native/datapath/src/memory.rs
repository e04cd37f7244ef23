// SPDX-License-Identifier: MIT
//! A port without a device, for tests: frames are written and read by hand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipop_base::{Drop, DropCounters, Error, Frame, FrameSink, Handle, PortTransmit, Result, next_handle};

use crate::plain;
use crate::port::PortKind;
use crate::switch::Switch;

/// A test that reads nothing must not eat all memory.
const MAX_WAITING: usize = 1024;

/// A memory port; disabled at first.
pub struct MemoryPort {
    switch: Arc<Switch>,
    port: Handle,
    out: Arc<Waiting>,
    closed: AtomicBool,
}

/// What went out of the switch and was not read yet.
struct Waiting {
    frames: Mutex<VecDeque<Vec<u8>>>,
    full: Drop,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PortTransmit for Waiting {
    fn transmit(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        let mut frames = self.lock();
        plain::cut(frame, |bytes| {
            if frames.len() >= MAX_WAITING {
                return Err(self.full);
            }
            frames.push_back(bytes.to_vec());
            Ok(())
        })
    }
}

impl MemoryPort {
    /// A port of `switch`, a link for split horizon or not. Over 1024 unread frames it drops as a tap (TapWrite) or link (LinkFull) would.
    pub fn open(switch: &Arc<Switch>, is_link: bool) -> Arc<Self> {
        let (kind, full) = if is_link { (PortKind::Link, Drop::LinkFull) } else { (PortKind::Lan, Drop::TapWrite) };
        let port = next_handle();
        let out = Arc::new(Waiting { frames: Mutex::default(), full });
        switch.add_port(port, kind, out.clone(), Arc::new(DropCounters::default()));
        Arc::new(Self { switch: switch.clone(), port, out, closed: AtomicBool::new(false) })
    }

    /// Its handle.
    pub fn port(&self) -> Handle {
        self.port
    }

    /// A frame comes into the switch here. ENOENT after `close`.
    pub fn write(&self, frame: &[u8]) -> Result<()> {
        self.check_open()?;
        self.switch.input(self.port, &Frame::plain(frame));
        self.switch.flush();
        Ok(())
    }

    /// Takes the oldest frame that went out here; returns its length, 0 when none waits. EMSGSIZE: `buf` is too small, the frame keeps
    /// waiting; ENOENT after `close`.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize> {
        self.check_open()?;
        let mut frames = self.out.lock();
        let Some(length) = frames.front().map(Vec::len) else { return Ok(0) };
        let Some(target) = buf.get_mut(..length) else {
            return Err(Error::new(libc::EMSGSIZE, format!("cannot read a frame of {length} bytes: buffer too small")));
        };
        target.copy_from_slice(&frames.pop_front().unwrap_or_default());
        Ok(length)
    }

    /// Removes the port from its switch.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.switch.remove_port(self.port);
            self.out.lock().clear();
        }
    }

    fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::new(libc::ENOENT, format!("memory port {} is closed", self.port))),
            false => Ok(()),
        }
    }
}

impl std::ops::Drop for MemoryPort {
    fn drop(&mut self) {
        self.close();
    }
}
