// SPDX-License-Identifier: MIT
//! The one queue from native threads to TypeScript: bounded, never awaited, a full queue drops and counts.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use crate::{EventFd, Handle, Result};

/// What a record says; payloads are in ipop.h.
#[allow(missing_docs, reason = "each is documented once, in ipop.h")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum RecordType {
    Upcall = 1,
    PortGone = 2,
    LinkLocal = 3,
    LinkCandidate = 4,
    LinkGathered = 5,
    LinkUp = 6,
    LinkLost = 7,
    LinkMessage = 8,
    StreamOpen = 9,
    StreamData = 10,
    StreamClosed = 11,
    CtlRequest = 12,
    Pbkdf2 = 13,
    Interfaces = 14,
    Srv = 15,
    LinkMoved = 16,
}

/// At 4096 records a runtime that stalls for seconds still loses nothing but upcalls, which are limited before.
const MAX_RECORDS: usize = 4096;
/// Streams give at most 16 KiB a record; this keeps a stalled runtime from holding more than 4 MiB.
const MAX_BYTES: usize = 4 << 20;
const HEADER: usize = 16;

/// Bounded queue of records with an eventfd that is readable while it is not empty.
#[derive(Debug)]
pub struct RecordQueue {
    state: Mutex<State>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    sequence: u32,
    queued: u64,
    dropped: u64,
    /// Records were dropped after the last one that was queued: no gap in the sequence tells of them yet.
    tail_lost: bool,
}

impl RecordQueue {
    /// An empty queue. Fails when no eventfd can be made.
    pub fn new() -> Result<Self> {
        Ok(Self { state: Mutex::default(), wake: EventFd::new()? })
    }

    /// Appends a record; false when it was dropped because the queue is full.
    pub fn push(&self, kind: RecordType, handle: Handle, payload: &[&[u8]]) -> bool {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let mut state = self.lock();
        if state.records.len() >= MAX_RECORDS || state.bytes + HEADER + length > MAX_BYTES {
            state.sequence = state.sequence.wrapping_add(1);
            state.dropped += 1;
            state.tail_lost = true;
            return false;
        }
        let first = state.records.is_empty();
        state.append(kind, handle, payload);
        drop(state);
        if first {
            self.wake.signal();
        }
        true
    }

    /// Moves whole records into `buf`, oldest first; returns bytes written. A record larger than all of `buf` is dropped and counted.
    pub fn poll(&self, buf: &mut [u8]) -> usize {
        let mut state = self.lock();
        let mut written = 0;
        while let Some(record) = state.records.pop_front() {
            if record.len() > buf.len() - written {
                if written > 0 {
                    state.records.push_front(record);
                    break;
                }
                state.bytes -= record.len();
                state.dropped += 1;
                continue;
            }
            state.bytes -= record.len();
            buf[written..written + record.len()].copy_from_slice(&record);
            written += record.len();
        }
        if state.records.is_empty() && state.tail_lost {
            // Something must show the gap, and nothing more may ever come: of all records this one asks for the least.
            state.append(RecordType::Interfaces, 0, &[]);
        } else if state.records.is_empty() {
            // Still under the lock: a push after this sees an empty queue and signals anew.
            self.wake.clear();
        }
        written
    }

    /// Readable while records wait.
    pub fn wake_fd(&self) -> i32 {
        self.wake.as_raw_fd()
    }

    /// Records queued and dropped since the start.
    pub fn counters(&self) -> (u64, u64) {
        let state = self.lock();
        (state.queued, state.dropped)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, kind: RecordType, handle: Handle, payload: &[&[u8]]) {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let mut record = Vec::with_capacity(HEADER + length);
        record.extend_from_slice(&(kind as u16).to_le_bytes());
        record.extend_from_slice(&[0, 0]);
        record.extend_from_slice(&(length as u32).to_le_bytes());
        record.extend_from_slice(&self.sequence.to_le_bytes());
        record.extend_from_slice(&handle.to_le_bytes());
        payload.iter().for_each(|part| record.extend_from_slice(part));
        self.sequence = self.sequence.wrapping_add(1);
        self.bytes += record.len();
        self.queued += 1;
        self.tail_lost = false;
        self.records.push_back(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence_of(record: &[u8]) -> u32 {
        u32::from_le_bytes(record[8..12].try_into().unwrap())
    }

    #[test]
    fn records_come_out_whole_and_in_order() {
        let queue = RecordQueue::new().unwrap();
        queue.push(RecordType::StreamData, 7, &[b"ab", b"c"]);
        queue.push(RecordType::Interfaces, 0, &[]);
        let mut buf = [0u8; 64];
        assert_eq!(queue.poll(&mut buf), 16 + 3 + 16);
        assert_eq!(&buf[..19], b"\x0a\0\0\0\x03\0\0\0\0\0\0\0\x07\0\0\0abc");
        assert_eq!(sequence_of(&buf[19..]), 1);
        assert_eq!(queue.poll(&mut buf), 0);
    }

    #[test]
    fn a_full_queue_drops_counts_and_leaves_a_gap_in_the_sequence() {
        let queue = RecordQueue::new().unwrap();
        for _ in 0..MAX_RECORDS {
            assert!(queue.push(RecordType::Interfaces, 0, &[]));
        }
        assert!(!queue.push(RecordType::Interfaces, 0, &[]));
        let mut buf = vec![0u8; MAX_RECORDS * HEADER];
        assert_eq!(queue.poll(&mut buf), MAX_RECORDS * HEADER);
        queue.push(RecordType::Interfaces, 0, &[]);
        queue.poll(&mut buf);
        assert_eq!(sequence_of(&buf), MAX_RECORDS as u32 + 1);
        assert_eq!(queue.counters().1, 1);
    }

    #[test]
    fn the_loss_of_the_last_records_is_told_by_one_more_although_nothing_follows() {
        let queue = RecordQueue::new().unwrap();
        let mut buf = vec![0u8; MAX_RECORDS * HEADER];
        for _ in 0..MAX_RECORDS + 7 {
            queue.push(RecordType::PortGone, 3, &[]);
        }
        queue.poll(&mut buf);
        assert!(readable(queue.wake_fd()), "the reader is woken for it");
        assert_eq!(queue.poll(&mut buf), HEADER);
        assert_eq!((buf[0], sequence_of(&buf)), (RecordType::Interfaces as u8, MAX_RECORDS as u32 + 7));
        assert!(!readable(queue.wake_fd()));
        assert_eq!(queue.poll(&mut buf), 0);
        assert_eq!(queue.counters(), (MAX_RECORDS as u64 + 1, 7));
    }

    #[test]
    fn large_records_fill_the_queue_by_their_bytes_and_small_ones_still_fit_after_a_poll() {
        let queue = RecordQueue::new().unwrap();
        let large = [7u8; 16 << 10];
        let fit = MAX_BYTES / (HEADER + large.len());
        for _ in 0..fit {
            assert!(queue.push(RecordType::StreamData, 1, &[&large]));
        }
        assert!(!queue.push(RecordType::StreamData, 1, &[&large]));
        let mut buf = vec![0u8; 65536 + HEADER];
        assert_eq!(queue.poll(&mut buf), 3 * (HEADER + large.len()));
        assert!(queue.push(RecordType::StreamData, 1, &[&large]));
        assert_eq!(queue.counters(), (fit as u64 + 1, 1));
    }

    fn readable(fd: i32) -> bool {
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one live entry.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }
}
