// SPDX-License-Identifier: MIT
//! SRTP packets on their way from libdatachannel's threads, which give them one by one, to a worker, which takes many at once: so
//! segments of one flow are joined, and libdatachannel's threads are free again soon.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ipop_base::{EventFd, Ingress, Result, Source};

use crate::link::Link;

/// Bytes that may wait: what arrives at 1 Gbit/s while the worker is away for 8 ms.
const MAX_BYTES: usize = 1 << 20;
/// Packets of one batch.
const BATCH: usize = 128;

/// The packets that wait.
#[derive(Debug)]
pub struct Inbound {
    state: Mutex<Waiting>,
    wake: EventFd,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Inbound {
    /// An empty one.
    pub fn new() -> Result<Self> {
        Ok(Self { state: Mutex::default(), wake: EventFd::new()? })
    }

    /// Adds a packet; false when too much waits.
    pub fn push(&self, packet: &[u8]) -> bool {
        let mut waiting = self.lock();
        if waiting.bytes + packet.len() > MAX_BYTES {
            return false;
        }
        waiting.bytes += packet.len();
        waiting.packets.push_back(packet.into());
        let is_first = waiting.packets.len() == 1;
        drop(waiting);
        if is_first {
            self.wake.signal();
        }
        true
    }

    /// The next packets, oldest first; signals anew when there are more.
    fn take(&self) -> Vec<Box<[u8]>> {
        // Before the queue is looked at: what comes after that signals anew.
        self.wake.clear();
        let mut waiting = self.lock();
        let n = waiting.packets.len().min(BATCH);
        let packets: Vec<_> = waiting.packets.drain(..n).collect();
        waiting.bytes -= packets.iter().map(|packet| packet.len()).sum::<usize>();
        if !waiting.packets.is_empty() {
            self.wake.signal();
        }
        packets
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's side.
pub struct InboundReader {
    inbound: Arc<Inbound>,
    link: Weak<Link>,
    ingress: Box<dyn Ingress>,
}

impl InboundReader {
    /// Hands this link's packets to the switch.
    pub fn new(inbound: Arc<Inbound>, link: Weak<Link>, ingress: Box<dyn Ingress>) -> Self {
        Self { inbound, link, ingress }
    }
}

impl Source for InboundReader {
    fn fd(&self) -> RawFd {
        self.inbound.wake.as_raw_fd()
    }

    fn ready(&mut self) -> bool {
        let Some(link) = self.link.upgrade() else { return false };
        let mut packets = self.inbound.take();
        link.on_packets(&mut packets, &mut *self.ingress);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_in_order_and_what_is_too_much_is_refused() {
        let inbound = Inbound::new().unwrap();
        let packet = [7; 1200];
        let fits = MAX_BYTES / packet.len();
        (0..fits).for_each(|_| assert!(inbound.push(&packet)));
        assert!(!inbound.push(&packet));
        let mut taken = 0;
        while taken < fits {
            let batch = inbound.take();
            assert!(!batch.is_empty() && batch.len() <= BATCH);
            taken += batch.len();
        }
        assert!(inbound.push(b"a") && inbound.push(b"b"));
        let last: Vec<_> = inbound.take().into_iter().map(Vec::from).collect();
        assert_eq!(last, [b"a".to_vec(), b"b".to_vec()]);
    }
}
