// SPDX-License-Identifier: MIT
//! SRTP packets on their way from libdatachannel's threads, which give them one by one, to a worker, which takes many at once: so
//! segments of one flow are joined, and libdatachannel's threads are free again soon.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ipop_base::{EventFd, Ingress, Result, Source, lock};

use crate::link::Link;

/// Bytes that may wait, lengths included: what arrives at 1 Gbit/s while the worker is away for 8 ms.
const MAX_BYTES: usize = 1 << 20;
/// Room that is kept for the next packets.
const KEPT_BYTES: usize = 64 << 10;
/// Packets of one batch.
const BATCH: usize = 128;
/// A packet in memory: its length, and itself.
const LENGTH: usize = size_of::<u16>();
/// So many at once, and more are on their way: waiting a little for them costs less than a wake-up for a few.
const STREAM: usize = 4;
const REST: Duration = Duration::from_micros(100);

/// The packets that wait, one behind the other.
#[derive(Debug)]
pub struct Inbound {
    waiting: Mutex<Vec<u8>>,
    wake: EventFd,
}

impl Inbound {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Ok(Self { waiting: Mutex::default(), wake: EventFd::new()? })
    }

    /// Adds a packet; false when too much waits.
    pub fn push(&self, packet: &[u8]) -> bool {
        let Ok(length) = u16::try_from(packet.len()) else { return false };
        let mut waiting = lock(&self.waiting);
        if waiting.len() + LENGTH + packet.len() > MAX_BYTES {
            return false;
        }
        let is_first = waiting.is_empty();
        waiting.extend_from_slice(&length.to_ne_bytes());
        waiting.extend_from_slice(packet);
        drop(waiting);
        if is_first {
            self.wake.signal();
        }
        true
    }
}

/// The worker's side.
pub struct InboundReader {
    inbound: Arc<Inbound>,
    link: Weak<Link>,
    ingress: Box<dyn Ingress>,
    batch: Batch,
    rest: Option<Duration>,
}

impl InboundReader {
    /// Hands this link's packets to the switch.
    pub fn new(inbound: Arc<Inbound>, link: Weak<Link>, ingress: Box<dyn Ingress>) -> Self {
        Self { inbound, link, ingress, batch: Batch::default(), rest: None }
    }
}

/// What was taken from the queue.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Up to here it is done.
    done: usize,
}

impl Batch {
    /// The next packets, oldest first.
    fn take(&mut self, inbound: &Inbound) -> Packets<'_> {
        if self.done == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES);
            self.done = 0;
            // Before the queue is looked at: what comes after that signals anew.
            inbound.wake.clear();
            std::mem::swap(&mut *lock(&inbound.waiting), &mut self.bytes);
        }
        let start = self.done;
        let mut count = 0;
        while let Some(length) = self.bytes.get(self.done..self.done + LENGTH).filter(|_| count < BATCH) {
            self.done += LENGTH + usize::from(u16::from_ne_bytes([length[0], length[1]]));
            count += 1;
        }
        let more = self.done < self.bytes.len();
        Packets { bytes: &mut self.bytes[start..self.done], count, more }
    }
}

/// Packets one behind the other.
pub struct Packets<'a> {
    bytes: &'a mut [u8],
    /// How many they are.
    pub count: usize,
    more: bool,
}

impl<'a> Iterator for Packets<'a> {
    type Item = &'a mut [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = std::mem::take(&mut self.bytes).split_first_chunk_mut::<LENGTH>()?;
        let (packet, rest) = rest.split_at_mut(usize::from(u16::from_ne_bytes(*length)));
        self.bytes = rest;
        Some(packet)
    }
}

impl Source for InboundReader {
    fn fd(&self) -> RawFd {
        self.inbound.wake.as_raw_fd()
    }

    fn ready(&mut self) -> bool {
        let Some(link) = self.link.upgrade() else { return false };
        let packets = self.batch.take(&self.inbound);
        if packets.more {
            self.inbound.wake.signal();
        }
        self.rest = (packets.count >= STREAM).then_some(if packets.more { Duration::ZERO } else { REST });
        link.on_packets(packets, &mut *self.ingress);
        true
    }

    fn rest(&self) -> Option<Duration> {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_in_order_and_what_is_too_much_is_refused() {
        let inbound = Inbound::new().unwrap();
        let fits = MAX_BYTES / (1200 + LENGTH);
        (0..fits).for_each(|at| assert!(inbound.push(&[at as u8; 1200])));
        assert!(!inbound.push(&[7; 1200]));
        let (mut batch, mut taken) = (Batch::default(), 0);
        while taken < fits {
            let packets = batch.take(&inbound);
            assert_eq!((packets.count, packets.more), (BATCH.min(fits - taken), taken + BATCH < fits));
            for packet in packets {
                assert_eq!(packet, [taken as u8; 1200]);
                taken += 1;
            }
        }
        assert!(inbound.push(b"a") && inbound.push(b"") && inbound.push(b"bc"));
        assert_eq!(batch.take(&inbound).collect::<Vec<_>>(), [&b"a"[..], b"", b"bc"]);
        assert_eq!(batch.take(&inbound).count, 0);
        assert!(batch.bytes.capacity() <= KEPT_BYTES, "no more room is kept");
    }
}
