// SPDX-License-Identifier: MIT
//! What several test files share: the record queue read as the runtime reads it, and folders that go away.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipop_base::{Handle, RecordQueue, TextMap};

pub const STREAM_OPEN: u16 = 9;
pub const STREAM_DATA: u16 = 10;
pub const STREAM_CLOSED: u16 = 11;
pub const CTL_REQUEST: u16 = 12;
pub const PBKDF2: u16 = 13;
pub const INTERFACES: u16 = 14;
pub const SRV: u16 = 15;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub kind: u16,
    pub handle: Handle,
    pub payload: Vec<u8>,
}

impl Record {
    pub fn map(&self) -> TextMap {
        TextMap::parse(&self.payload).unwrap()
    }
}

/// Reads records one by one, waiting for them.
pub struct Records {
    queue: Arc<RecordQueue>,
    ready: VecDeque<Record>,
}

impl Records {
    pub fn new() -> (Arc<RecordQueue>, Self) {
        let queue = Arc::new(RecordQueue::new().unwrap());
        (queue.clone(), Self { queue, ready: VecDeque::new() })
    }

    /// The next record; panics when none comes within 10 s.
    pub fn next(&mut self) -> Record {
        self.within(Duration::from_secs(10)).expect("no record within 10 s")
    }

    /// The next record, if one comes in time.
    pub fn within(&mut self, limit: Duration) -> Option<Record> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(record);
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            let mut fd = libc::pollfd { fd: self.queue.wake_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one live pollfd.
            let ready = unsafe { libc::poll(&mut fd, 1, rest.as_millis() as i32) };
            if ready <= 0 && Instant::now() >= deadline {
                return None;
            }
            self.fetch();
        }
    }

    fn fetch(&mut self) {
        let mut buf = vec![0u8; 65536 + 16];
        let length = self.queue.poll(&mut buf);
        let mut rest = &buf[..length];
        while !rest.is_empty() {
            let size = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
            self.ready.push_back(Record {
                kind: u16::from_le_bytes(rest[..2].try_into().unwrap()),
                handle: i32::from_le_bytes(rest[12..16].try_into().unwrap()),
                payload: rest[16..16 + size].to_vec(),
            });
            rest = &rest[16 + size..];
        }
    }
}

/// A fresh folder, removed with all it holds.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("ipop-io-{}-{}", std::process::id(), ipop_base::next_handle()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Says on the real standard error, which the test runner does not capture, that a test did not run.
pub fn skip(why: &str) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    std::io::stderr().write_all(format!("\nSKIPPED {name}: {why}\n").as_bytes()).unwrap();
}

pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}
