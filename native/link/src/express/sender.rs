// SPDX-License-Identifier: MIT
//! The sending side of the express carriage (PROTOCOL 5): frames become sealed datagrams, and these leave in trains.
//!
//! What comes in one batch leaves together: equal datagrams with one system call, small frames in one datagram. Nothing waits for
//! company: `flush` follows as soon as no more frames wait.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipop_base::{Drop, DropCounters, Frame};
use ipop_express::{HEADER_LEN, SealKey, TAG_LEN};
use ipop_offload::{Cut, Mark, checksum};
use ipop_queue::Ecn;

use crate::fragment::{self, PieceHeader};
use crate::juice_socket::Taken;
use crate::udp::{self, Address, NotSent, Refused};

/// First byte of a datagram, by what it holds.
pub const KIND_FRAME: u8 = 0xc0;
pub const KIND_FRAMES: u8 = 0xc1;
pub const KIND_PIECE: u8 = 0xc2;
pub const KIND_PROBE: u8 = 0xc3;
pub const KIND_ANSWER: u8 = 0xc4;
/// Bytes of an answer: those that every one has, and with where the probe came from.
pub const ANSWER_LEN: usize = 14;
pub const SEEN_ANSWER_LEN: usize = ANSWER_LEN + 18;
/// Mark and length, before each of several frames in one datagram.
pub const ENTRY: usize = 4;
/// Bytes of a datagram that are no frame's.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;
/// Frames up to this length share a datagram.
const SMALL: usize = 600;

/// Trains that wait for room in the socket: those of a super-frame, and what was kept before it.
const MAX_HELD: usize = 4;
/// The bits of the DS field that are ECN's.
const ECN: u8 = 3;

/// A train for which the socket had no room.
struct Held {
    bytes: Vec<u8>,
    segment: usize,
    to: Address,
    tos: u8,
}

/// What `Sender` did since it was asked last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub datagrams: u64,
    /// A datagram was longer than the first link of the path takes.
    pub too_big: bool,
}

/// The sending side of one link. Its caller holds a lock over it.
pub struct Sender {
    /// None once it is closed.
    taken: Option<Arc<Taken>>,
    drops: Arc<DropCounters>,
    to: Address,
    /// Bytes of a full datagram; 0 while frames must go another way.
    size: usize,
    key: Option<(u8, SealKey)>,
    counter: u64,
    frame_number: u32,
    /// Sealed datagrams of one size, ready to leave.
    train: Box<[u8]>,
    length: usize,
    segment: usize,
    /// DS field of the train.
    tos: u8,
    held: VecDeque<Held>,
    /// Datagrams that left, in all.
    total: u64,
    /// Small frames that share the next datagram.
    shared: Vec<u8>,
    shared_count: usize,
    /// A frame that goes in pieces.
    whole: Vec<u8>,
    sent: Sent,
}

impl Sender {
    /// A sender that carries nothing yet.
    pub fn new(taken: Arc<Taken>, to: Address, drops: Arc<DropCounters>) -> Self {
        Self {
            taken: Some(taken),
            drops,
            to,
            size: 0,
            key: None,
            counter: 0,
            frame_number: 0,
            train: vec![0; udp::MAX_TRAIN].into_boxed_slice(),
            length: 0,
            segment: 0,
            tos: 0,
            held: VecDeque::new(),
            total: 0,
            shared: Vec::with_capacity(2048),
            shared_count: 0,
            whole: Vec::new(),
            sent: Sent::default(),
        }
    }

    /// True when frames may go this way.
    pub fn is_open(&self) -> bool {
        self.size != 0 && self.key.is_some()
    }

    /// True when there is something to seal with.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Bytes of a full datagram.
    pub fn size(&self) -> u16 {
        self.size as u16
    }

    /// Lets go of socket and key, for good.
    pub fn close(&mut self) {
        self.resize(None);
        self.key = None;
        self.held.clear();
        self.train = Box::default();
        self.taken = None;
    }

    /// Sets the bytes of a full datagram; None closes the carriage.
    pub fn resize(&mut self, size: Option<u16>) {
        let size = usize::from(size.unwrap_or(0));
        if size != self.size {
            self.flush();
            self.size = size;
        }
    }

    /// Seals with this key from now on. Counters begin anew: no two keys are the same.
    pub fn rekey(&mut self, epoch: u8, key: SealKey) {
        self.flush();
        self.key = Some((epoch, key));
        self.counter = 0;
    }

    /// Seals nothing any more, until `rekey`.
    pub fn forget_key(&mut self) {
        self.flush();
        self.key = None;
    }

    /// Where datagrams go.
    pub fn to(&self) -> Address {
        self.to
    }

    /// The peer is somewhere else.
    pub fn redirect(&mut self, to: Address) {
        self.flush();
        self.to = to;
    }

    /// Datagrams sealed with the current key.
    pub fn sealed(&self) -> u64 {
        self.counter
    }

    /// True when a datagram was too long since `take_sent`.
    pub fn is_too_big(&self) -> bool {
        self.sent.too_big
    }

    /// What was sent since the last call.
    pub fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.sent)
    }

    /// Datagrams that left so far, by any key.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// True while sealed datagrams wait for room in the socket: no frame should be given until `retry` has sent them.
    pub fn is_blocked(&self) -> bool {
        !self.held.is_empty()
    }

    /// Sends what waits for room in the socket. True: nothing does any more.
    pub fn retry(&mut self) -> bool {
        while let Some(Held { bytes, segment, to, tos }) = self.held.pop_front() {
            if !self.send(&bytes, segment, &to, tos) {
                self.held.push_front(Held { bytes, segment, to, tos });
                return false;
            }
        }
        true
    }

    /// Takes a frame, which leaves at the latest with `flush`; the outer header has its ECN field (RFC 6040, 4.1) and the DSCP of `tos`.
    /// LinkClosed: not open; Malformed, Oversize: it cannot be carried.
    pub fn frame(&mut self, frame: &Frame<'_>, tos: u8) -> Result<(), Drop> {
        if !self.is_open() {
            return Err(Drop::LinkClosed);
        }
        let room = self.size - OVERHEAD;
        let mut cut = Cut::new(frame, room)?;
        self.mark(tos & !ECN | Ecn::of_frame(frame.bytes) as u8);
        while let Some(length) = cut.next_len() {
            if length > room {
                self.in_pieces(length, |whole| cut.write_next(whole))?;
            } else if length <= SMALL {
                self.share(room, length, |to| cut.write_next(to));
            } else {
                self.end_shared(false);
                self.put(KIND_FRAME, length, |to| cut.write_next(to));
            }
        }
        Ok(())
    }

    /// Sends everything that was kept.
    pub fn flush(&mut self) {
        self.end_shared(false);
        self.send_train();
    }

    /// Sends a probe of `size` bytes at once. False: the path's first link takes none so long, or there is no key.
    pub fn probe(&mut self, id: u32, size: u16) -> bool {
        if self.key.is_none() {
            return false;
        }
        self.mark(self.tos & !ECN);
        self.flush();
        let before = std::mem::take(&mut self.sent.too_big);
        self.put(KIND_PROBE, usize::from(size) - OVERHEAD, |to| {
            to.fill(0);
            to[..4].copy_from_slice(&id.to_be_bytes());
            Mark::none()
        });
        self.send_train();
        !std::mem::replace(&mut self.sent.too_big, before)
    }

    /// Answers a probe of `size` bytes that came from `to`; `received` datagrams were opened so far.
    pub fn answer(&mut self, id: u32, size: u16, received: u64, to: &Address) {
        if self.key.is_none() {
            return;
        }
        self.mark(self.tos & !ECN);
        self.flush();
        let usual = std::mem::replace(&mut self.to, *to);
        let seen = to.to_std();
        self.put(KIND_ANSWER, if seen.is_some() { SEEN_ANSWER_LEN } else { ANSWER_LEN }, |bytes| {
            bytes[..4].copy_from_slice(&id.to_be_bytes());
            bytes[4..6].copy_from_slice(&size.to_be_bytes());
            bytes[6..14].copy_from_slice(&received.to_be_bytes());
            if let Some(seen) = seen {
                write_seen(seen, &mut bytes[ANSWER_LEN..]);
            }
            Mark::none()
        });
        self.send_train();
        self.to = usual;
    }

    /// One train has one DS field.
    fn mark(&mut self, tos: u8) {
        if tos != self.tos {
            self.flush();
            self.tos = tos;
        }
    }

    /// Adds a small frame to the datagram that others wait for, too.
    fn share(&mut self, room: usize, length: usize, write: impl FnOnce(&mut [u8]) -> Mark) {
        if self.shared.len() + ENTRY + length > room {
            self.end_shared(true);
        }
        let at = self.shared.len();
        self.shared.resize(at + ENTRY + length, 0);
        let mark = write(&mut self.shared[at + ENTRY..]);
        self.shared[at..at + 2].copy_from_slice(&mark.bytes());
        self.shared[at + 2..at + ENTRY].copy_from_slice(&(length as u16).to_be_bytes());
        self.shared_count += 1;
    }

    /// Seals what small frames share. `pad`: more follow, so that datagrams of one size make a train.
    fn end_shared(&mut self, pad: bool) {
        let shared = std::mem::take(&mut self.shared);
        match std::mem::take(&mut self.shared_count) {
            0 => {}
            1 => {
                let mark = Mark::parse([shared[0], shared[1]]).unwrap_or(Mark::none());
                self.put(KIND_FRAME, shared.len() - ENTRY, |to| {
                    to.copy_from_slice(&shared[ENTRY..]);
                    mark
                });
            }
            _ => {
                let length = if pad { self.size - OVERHEAD } else { shared.len() };
                self.put(KIND_FRAMES, length, |to| {
                    let (frames, padding) = to.split_at_mut(shared.len());
                    frames.copy_from_slice(&shared);
                    padding.fill(0);
                    Mark::none()
                });
            }
        }
        self.shared = shared;
        self.shared.clear();
    }

    /// A frame that is longer than a datagram and cannot be cut: its checksum is completed, and it goes in pieces.
    fn in_pieces(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> Mark) -> Result<(), Drop> {
        self.end_shared(false);
        let mut whole = std::mem::take(&mut self.whole);
        whole.resize(length, 0);
        let mark = write(&mut whole);
        let result = checksum::complete(&mut whole, mark).and_then(|()| self.pieces(&whole));
        self.whole = whole;
        result
    }

    fn pieces(&mut self, whole: &[u8]) -> Result<(), Drop> {
        let pieces = fragment::cut(whole).ok_or(Drop::Oversize)?;
        let (number, count) = (self.frame_number, pieces.len() as u8);
        self.frame_number = number.wrapping_add(1);
        for (index, piece) in pieces.enumerate() {
            let header = PieceHeader { number, index: index as u8, count };
            self.put(KIND_PIECE, fragment::HEADER_LEN + piece.len(), |to| {
                to[..2].fill(0);
                header.write(to);
                to[fragment::HEADER_LEN..].copy_from_slice(piece);
                Mark::none()
            });
        }
        Ok(())
    }

    /// Seals one datagram whose plaintext of `length` bytes `write` writes, behind those that wait.
    fn put(&mut self, kind: u8, length: usize, write: impl FnOnce(&mut [u8]) -> Mark) {
        let total = OVERHEAD + length;
        let full = self.length + total > udp::MAX_TRAIN || self.length >= (udp::MAX_DATAGRAMS - 1) * self.segment;
        if total > self.segment || full {
            self.send_train();
        }
        if self.length == 0 {
            self.segment = total;
        }
        let Some((epoch, key)) = &self.key else { return };
        let datagram = &mut self.train[self.length..self.length + total];
        let (header, body) = datagram.split_at_mut(HEADER_LEN);
        let (body, tag) = body.split_at_mut(length);
        let mark = write(body);
        let header: &mut [u8; HEADER_LEN] = header.try_into().expect("split there");
        header[0] = kind;
        header[1] = *epoch;
        header[2..4].copy_from_slice(&mark.bytes());
        header[4..].copy_from_slice(&self.counter.to_be_bytes());
        tag.copy_from_slice(&key.seal(header, self.counter, body));
        self.counter += 1;
        self.length += total;
        // A train ends with its first shorter datagram.
        if total < self.segment {
            self.send_train();
        }
    }

    fn send_train(&mut self) {
        let (length, segment) = (std::mem::take(&mut self.length), std::mem::take(&mut self.segment));
        if length == 0 {
            return;
        }
        let train = std::mem::take(&mut self.train);
        let (bytes, to, tos) = (&train[..length], self.to, self.tos);
        // In their order: none overtakes those that wait.
        if self.is_blocked() || !self.send(bytes, segment, &to, tos) {
            self.hold(bytes, segment);
        }
        self.train = train;
    }

    #[cold]
    fn hold(&mut self, bytes: &[u8], segment: usize) {
        if self.held.len() < MAX_HELD {
            self.held.push_back(Held { bytes: bytes.to_vec(), segment, to: self.to, tos: self.tos });
        } else {
            self.drops.add(Drop::LinkFull, bytes.len().div_ceil(segment) as u64);
        }
    }

    /// Sends a train, or counts why it cannot go. False: not now.
    fn send(&mut self, train: &[u8], segment: usize, to: &Address, tos: u8) -> bool {
        let count = train.len().div_ceil(segment) as u64;
        let Some(taken) = &self.taken else {
            self.drops.add(Drop::LinkClosed, count);
            return true;
        };
        let not_sent = match udp::send_train(taken.fd(), train, segment, to, tos) {
            Ok(()) => NotSent::default(),
            Err(Refused::Full) => return false,
            Err(why) => udp::without_train(taken.fd(), train, segment, to, tos, why),
        };
        self.sent.too_big |= not_sent.too_big;
        self.total += count - not_sent.datagrams;
        self.sent.datagrams += count - not_sent.datagrams;
        self.drops.add(Drop::LinkFull, not_sent.datagrams);
        true
    }
}

/// Where a probe came from: address, IPv4 as a mapped one, and port.
pub fn write_seen(seen: SocketAddr, bytes: &mut [u8]) {
    let address = match seen.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    bytes[..16].copy_from_slice(&address.octets());
    bytes[16..].copy_from_slice(&seen.port().to_be_bytes());
}
