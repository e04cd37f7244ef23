// SPDX-License-Identifier: MIT
//! The receiving side of the express carriage (PROTOCOL 5): reads the link's socket in trains, opens what is sealed, joins what
//! belongs together, and leaves the rest to libjuice.

use std::cell::RefCell;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipop_base::{Drop, Frame, Ingress, Source};
use ipop_express::HEADER_LEN;
use ipop_offload::{Join, Mark};
use ipop_queue::{Ecn, receive};

use super::pace::Pace;
use super::sender::{ANSWER_LEN, ENTRY, KIND_ANSWER, KIND_FRAME, KIND_FRAMES, KIND_PIECE, KIND_PROBE, SEEN_ANSWER_LEN};
use super::{Answer, Epoch, Express, lock};
use crate::fragment::{PieceHeader, Reassembly};
use crate::juice_socket::Taken;
use crate::udp::{self, Address};

/// Trains received before they are worked on: what belongs together may lie in two of them.
const TRAINS: usize = 16;
const MIN_FRAME: usize = 14;

thread_local! {
    /// One set for all links of a worker: a batch is done before the next begins.
    static BUFFERS: RefCell<Vec<Vec<u8>>> = RefCell::new(vec![vec![0; udp::TRAIN_BUFFER]; TRAINS]);
}

/// The receiving side of one link. It lives in a worker.
pub struct Receiver {
    express: Arc<Express>,
    taken: Arc<Taken>,
    ingress: Option<Box<dyn Ingress>>,
    reassembly: Reassembly,
    /// The highest counter of the newest epoch: only who is ahead of it may move the link.
    newest: (u8, u64),
    /// Where that one came from.
    last_from: Option<Address>,
    /// ECN of the datagram at hand.
    outer: Ecn,
    /// The last frame of which a piece met congestion.
    congested: Option<u32>,
    pace: Pace,
    rest: Option<Duration>,
}

/// What a batch did, told once at its end.
#[derive(Default)]
struct Done {
    datagrams: u64,
    opened: u64,
    left: bool,
}

impl Receiver {
    /// A receiver without keys: they come by `Express::open_with`.
    pub fn new(express: Arc<Express>, taken: Arc<Taken>, ingress: Box<dyn Ingress>) -> Self {
        Self {
            express,
            taken,
            ingress: Some(ingress),
            reassembly: Reassembly::default(),
            newest: (0, 0),
            last_from: None,
            outer: Ecn::NotEct,
            congested: None,
            pace: Pace::default(),
            rest: None,
        }
    }

    fn batch(&mut self, buffers: &mut [Vec<u8>]) {
        let trains = udp::receive_each(self.taken.fd(), buffers).unwrap_or([None; TRAINS]);
        let express = self.express.clone();
        // Over the whole batch: a key that is forgotten opens nothing afterwards.
        let mut epochs = lock(&express.epochs);
        let Some(mut ingress) = self.ingress.take() else { return };
        let mut join = Join::new(ingress.takes_uso());
        let arrivals = self.express.arrivals.clone();
        let mut input = |frame: &Frame<'_>| arrivals.input(&mut *ingress, frame);
        let mut done = Done::default();
        for (buffer, train) in buffers.iter_mut().zip(trains) {
            let Some(train) = train else { break };
            self.outer = Ecn::of_tos(train.tos);
            for datagram in train.datagrams(buffer) {
                done.datagrams += 1;
                if datagram[0] >= KIND_FRAME {
                    self.datagram(datagram, &train.from, &mut epochs, &mut join, &mut done, &mut input);
                } else if self.taken.leave(datagram, &train.from) {
                    done.left = true;
                } else {
                    express.drops.count(Drop::LinkFull);
                }
            }
        }
        join.flush(&mut input);
        drop(epochs);
        ingress.flush();
        self.ingress = Some(ingress);
        if done.left {
            self.taken.wake();
        }
        if done.opened > 0 {
            self.express.received.fetch_add(done.opened, Ordering::Relaxed);
            self.express.heard();
        }
        let round_trip_us = self.express.round_trip_ms.load(Ordering::Relaxed) * 1000;
        let (more, now_us) = (trains[TRAINS - 1].is_some(), self.express.clock.elapsed().as_micros() as u64);
        self.rest = self.pace.found(done.datagrams, more, round_trip_us, now_us).map(Duration::from_micros);
    }

    fn datagram<'b>(
        &mut self,
        datagram: &'b mut [u8],
        from: &Address,
        epochs: &mut [Epoch],
        join: &mut Join<'b>,
        done: &mut Done,
        input: &mut dyn FnMut(&Frame<'_>),
    ) {
        let size = datagram.len() as u16;
        let Some((header, sealed)) = datagram.split_first_chunk_mut::<HEADER_LEN>() else {
            return self.express.drops.count(Drop::CarriageMalformed);
        };
        let counter = u64::from_be_bytes(header[4..].try_into().expect("eight bytes"));
        let number = header[1];
        let Some(epoch) = epochs.iter_mut().find(|epoch| epoch.number == number) else {
            self.express.ask_for_keys();
            return self.express.drops.count(Drop::SealEpoch);
        };
        let Some(plain) = epoch.key.open(header, counter, sealed) else {
            return self.express.drops.count(Drop::SealInvalid);
        };
        if !epoch.replay.admit(counter) {
            return self.express.drops.count(Drop::SealReplayed);
        }
        done.opened += 1;
        self.follow(number, counter, from);
        match header[0] {
            KIND_FRAME => self.frame([header[2], header[3]], plain, join, input),
            KIND_FRAMES => self.frames(plain, join, input),
            KIND_PIECE => {
                join.flush(input);
                self.piece(plain, input);
            }
            KIND_PROBE if plain.len() >= 4 => {
                let id = u32::from_be_bytes(*plain.first_chunk().expect("four bytes"));
                let received = self.express.received.load(Ordering::Relaxed) + done.opened;
                self.express.sender().answer(id, size, received, from);
            }
            KIND_ANSWER if plain.len() >= ANSWER_LEN => {
                let number = |range: std::ops::Range<usize>| {
                    plain[range].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
                };
                let (id, size, received) = (number(0..4) as u32, number(4..6) as u16, number(6..14));
                let seen = plain.get(ANSWER_LEN..SEEN_ANSWER_LEN).and_then(seen_address);
                self.express.answered(Answer { id, size, received, seen });
            }
            _ => self.express.drops.count(Drop::CarriageMalformed),
        }
    }

    fn frame<'b>(&self, mark: [u8; 2], frame: &'b mut [u8], join: &mut Join<'b>, input: &mut dyn FnMut(&Frame<'_>)) {
        if !receive(frame, self.outer) {
            return self.express.drops.count(Drop::QueueEarly);
        }
        let mark = Mark::parse(mark).filter(|_| frame.len() >= MIN_FRAME).ok_or(Drop::CarriageMalformed);
        if let Err(why) = mark.and_then(|mark| join.add(mark, frame, input)) {
            self.express.drops.count(why);
        }
    }

    /// Several frames in one datagram; a length of 0 begins the padding.
    fn frames<'b>(&self, mut plain: &'b mut [u8], join: &mut Join<'b>, input: &mut dyn FnMut(&Frame<'_>)) {
        while let Some((entry, rest)) = plain.split_first_chunk_mut::<ENTRY>() {
            let length = usize::from(u16::from_be_bytes([entry[2], entry[3]]));
            if length == 0 {
                return;
            }
            if length > rest.len() {
                return self.express.drops.count(Drop::CarriageMalformed);
            }
            let (frame, next) = rest.split_at_mut(length);
            self.frame([entry[0], entry[1]], frame, join, input);
            plain = next;
        }
    }

    fn piece(&mut self, plain: &[u8], input: &mut dyn FnMut(&Frame<'_>)) {
        let drops = &self.express.drops;
        let Some((header, piece)) = PieceHeader::parse(plain) else { return drops.count(Drop::CarriageMalformed) };
        if self.outer == Ecn::Ce {
            self.congested = Some(header.number);
        }
        if let Some(mut whole) = self.reassembly.insert(header, piece, self.express.now_ms(), drops) {
            // One piece is enough (RFC 3168, 5.3).
            let outer = if self.congested == Some(header.number) { Ecn::Ce } else { self.outer };
            if receive(&mut whole, outer) {
                input(&Frame::plain(&whole));
            } else {
                drops.count(Drop::QueueEarly);
            }
            self.reassembly.recycle(whole);
        }
    }

    /// A peer that is ahead of all it sent before is where this came from.
    fn follow(&mut self, epoch: u8, counter: u64, from: &Address) {
        let (newest, highest) = self.newest;
        if epoch == newest && counter <= highest && self.last_from.is_some() {
            return;
        }
        if epoch == newest || epoch.wrapping_sub(newest) < 128 {
            if epoch != newest || highest == 0 {
                self.express.first_of_epoch(epoch);
            }
            self.newest = (epoch, counter);
            if self.last_from.as_ref() != Some(from) {
                self.last_from = Some(*from);
                self.express.came_from(from);
            }
        }
    }
}

/// What `write_seen` wrote.
fn seen_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (address, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(Ipv6Addr::from(*address).to_canonical(), port))
}

impl Source for Receiver {
    fn fd(&self) -> RawFd {
        self.taken.fd()
    }

    fn ready(&mut self) -> bool {
        BUFFERS.with_borrow_mut(|buffers| self.batch(buffers));
        self.reassembly.expire(self.express.now_ms(), &self.express.drops);
        true
    }

    fn rest(&self) -> Option<Duration> {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::express::sender::write_seen;

    #[test]
    fn where_a_probe_came_from_survives_the_way_and_is_no_more_than_it_is() {
        for seen in ["192.0.2.1:5000", "[2001:db8::1]:65535"] {
            let mut bytes = [0; SEEN_ANSWER_LEN - ANSWER_LEN];
            write_seen(seen.parse().unwrap(), &mut bytes);
            assert_eq!(seen_address(&bytes), Some(seen.parse().unwrap()));
            assert_eq!(seen_address(&bytes[1..]), None);
        }
    }
}
