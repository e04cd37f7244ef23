// SPDX-License-Identifier: MIT
//! Frames too long for one packet: cut into pieces, and joined again within fixed bounds (PROTOCOL 4.2, kind 2).

use ipop_base::{Drop, DropCounters};

/// Bytes before each piece within the payload: kind, flags, frame number, index, count.
pub const HEADER_LEN: usize = 8;
/// Longest piece: a payload of 1172 bytes without its header.
pub const MAX_PIECE: usize = crate::rtp::MAX_PAYLOAD - HEADER_LEN;
/// Most pieces of one frame: 64 * 1164 bytes is more than the longest frame.
pub const MAX_PIECES: usize = 64;
/// Frames in reassembly at once: pieces of one frame travel together, so more than a few means loss.
const MAX_FRAMES: usize = 64;
/// Memory of all of them, counted by what they may grow to.
const MAX_BYTES: usize = 256 * 1024;
/// How long a piece waits for its company.
const TIMEOUT_MS: u64 = 1000;
/// Finished frames whose late duplicates are still recognised.
const REMEMBERED: usize = 128;
/// Buffers kept for the next frames, so that the steady state allocates nothing.
const MAX_SPARE: usize = 8;
const MAX_SPARE_BYTES: usize = 8 * 1024;

/// Place of one piece in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceHeader {
    /// Which frame of this sender.
    pub number: u32,
    /// From 0.
    pub index: u8,
    /// 2 to 64.
    pub count: u8,
}

impl PieceHeader {
    /// Reads bytes 2-7 of a kind 2 payload, and the piece after them. None when it breaks the form.
    pub fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (head, piece) = payload.split_at_checked(HEADER_LEN)?;
        let header = Self { number: u32::from_be_bytes(head[2..6].try_into().ok()?), index: head[6], count: head[7] };
        let fits = (2..=MAX_PIECES).contains(&usize::from(header.count)) && header.index < header.count;
        (fits && !piece.is_empty() && piece.len() <= MAX_PIECE).then_some((header, piece))
    }

    /// Writes bytes 2-7 of a kind 2 payload.
    pub fn write(self, payload: &mut [u8]) {
        payload[2..6].copy_from_slice(&self.number.to_be_bytes());
        payload[6] = self.index;
        payload[7] = self.count;
    }
}

/// Cuts a frame into pieces of one length, the last perhaps shorter. None when it needs more than 64.
pub fn cut(frame: &[u8]) -> Option<impl ExactSizeIterator<Item = &[u8]>> {
    let count = frame.len().div_ceil(MAX_PIECE).max(2);
    (count <= MAX_PIECES && frame.len() >= 2).then(|| frame.chunks(frame.len().div_ceil(count)))
}

/// One frame whose pieces are coming in.
#[derive(Debug)]
struct Slot {
    number: u32,
    count: u8,
    started_ms: u64,
    have: u64,
    /// Length of every piece but the last; 0 until one of them came.
    piece: usize,
    /// Length of the last piece; 0 until it came. It waits at the end of `bytes` until `piece` is known.
    last: usize,
    bytes: Vec<u8>,
}

/// Frames in reassembly.
#[derive(Debug, Default)]
pub struct Reassembly {
    slots: Vec<Slot>,
    bytes: usize,
    finished: Vec<u32>,
    finished_at: usize,
    spare: Vec<Vec<u8>>,
}

impl Reassembly {
    /// Takes one piece; returns the frame when it was the last one missing. Give the buffer back with `recycle`.
    /// Pieces that contradict their company, or come twice, are counted and ignored.
    pub fn insert(&mut self, header: PieceHeader, piece: &[u8], now_ms: u64, drops: &DropCounters) -> Option<Vec<u8>> {
        self.expire(now_ms, drops);
        if self.finished.contains(&header.number) {
            drops.count(Drop::FragmentMismatch);
            return None;
        }
        let at = match self.slots.iter().position(|slot| slot.number == header.number) {
            Some(at) => at,
            None => self.open(header, now_ms, drops),
        };
        let slot = &mut self.slots[at];
        if !slot.put(header, piece) {
            drops.count(Drop::FragmentMismatch);
            return None;
        }
        if slot.have.count_ones() != u32::from(slot.count) {
            return None;
        }
        let slot = self.remove(at);
        self.remember(slot.number);
        Some(slot.finish())
    }

    /// Gives up frames whose company did not come within 1 s.
    pub fn expire(&mut self, now_ms: u64, drops: &DropCounters) {
        while let Some(at) = self.slots.iter().position(|slot| now_ms.saturating_sub(slot.started_ms) >= TIMEOUT_MS) {
            drops.count(Drop::FragmentTimeout);
            let slot = self.remove(at);
            self.recycle(slot.bytes);
        }
    }

    /// When `expire` has something to do next.
    pub fn next_ms(&self) -> u64 {
        self.slots.iter().map(|slot| slot.started_ms + TIMEOUT_MS).min().unwrap_or(u64::MAX)
    }

    /// Takes a finished frame's buffer back for the next one.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < MAX_SPARE && buffer.capacity() <= MAX_SPARE_BYTES {
            self.spare.push(buffer);
        }
    }

    fn open(&mut self, header: PieceHeader, now_ms: u64, drops: &DropCounters) -> usize {
        let need = usize::from(header.count) * MAX_PIECE;
        while self.slots.len() >= MAX_FRAMES || self.bytes + need > MAX_BYTES {
            let oldest = (0..self.slots.len()).min_by_key(|&i| self.slots[i].started_ms).expect("a bound is reached");
            drops.count(Drop::FragmentFull);
            let slot = self.remove(oldest);
            self.recycle(slot.bytes);
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.resize(need, 0);
        self.bytes += need;
        let (number, count) = (header.number, header.count);
        self.slots.push(Slot { number, count, started_ms: now_ms, have: 0, piece: 0, last: 0, bytes });
        self.slots.len() - 1
    }

    fn remove(&mut self, at: usize) -> Slot {
        // Order is kept: among equals the oldest gives way.
        let slot = self.slots.remove(at);
        self.bytes -= usize::from(slot.count) * MAX_PIECE;
        slot
    }

    fn remember(&mut self, number: u32) {
        if self.finished.len() < REMEMBERED {
            self.finished.push(number);
            return;
        }
        self.finished[self.finished_at] = number;
        self.finished_at = (self.finished_at + 1) % REMEMBERED;
    }
}

impl Slot {
    /// Stores a piece; false when it contradicts the others or came before.
    fn put(&mut self, header: PieceHeader, piece: &[u8]) -> bool {
        let index = usize::from(header.index);
        if header.count != self.count || self.have & (1 << index) != 0 {
            return false;
        }
        let is_last = header.index + 1 == self.count;
        let at = if is_last {
            if self.piece != 0 && piece.len() > self.piece {
                return false;
            }
            self.last = piece.len();
            index * MAX_PIECE
        } else {
            if (self.piece != 0 && piece.len() != self.piece) || piece.len() < self.last {
                return false;
            }
            self.piece = piece.len();
            index * self.piece
        };
        self.bytes[at..at + piece.len()].copy_from_slice(piece);
        self.have |= 1 << index;
        true
    }

    fn finish(mut self) -> Vec<u8> {
        let before = usize::from(self.count) - 1;
        let from = before * MAX_PIECE;
        self.bytes.copy_within(from..from + self.last, before * self.piece);
        self.bytes.truncate(before * self.piece + self.last);
        self.bytes
    }
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
