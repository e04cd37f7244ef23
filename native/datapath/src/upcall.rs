// SPDX-License-Identifier: MIT
//! Frames that wait for TypeScript's decision: parked by what is missing, bounded, and not for ever.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipop_base::{Drop, Frame, Handle, RecordQueue, RecordType, VnetHeader};

use crate::clock::Clock;
use crate::port::Port;
use crate::rules::Key;

/// Questions that are open at a time. TypeScript answers in milliseconds; 256 are more than a second of the budget of one port.
const MAX_UPCALLS: usize = 256;
/// A window's worth of packets of one new conversation.
const MAX_FRAMES: usize = 32;
/// Of all parked frames together.
const MAX_BYTES: usize = 1 << 20;
/// After that the sender has tried again, or given up.
const TIMEOUT_MS: u64 = 2000;
/// How often the thread looks while something waits: a frame is parked for 2 s and at most this much longer.
const TICK: Duration = Duration::from_millis(250);
/// Bytes of a frame that go up: Ethernet, two tags, IPv6, and an ARP, DHCP or ND header.
const MAX_HEAD: usize = 128;

/// What the rules did not know (`enum ipop_miss`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Miss {
    /// The source has no rule.
    Source = 1,
    /// The source has a rule, for another port.
    Moved = 2,
    /// The destination has no rule.
    Destination = 3,
}

impl Miss {
    /// The two kinds of question a frame can ask, each once: who is its source, where is its destination.
    pub fn kind(self) -> u8 {
        match self {
            Self::Source | Self::Moved => 1,
            Self::Destination => 2,
        }
    }
}

/// A copy of a frame that waits.
pub struct Parked {
    vnet: VnetHeader,
    bytes: Box<[u8]>,
    segments: u16,
    /// Kinds of misses it has been parked for, this one included.
    pub asked: u8,
}

impl Parked {
    fn new(frame: &Frame<'_>, asked: u8) -> Self {
        Self { vnet: frame.vnet, bytes: frame.to_vec().into(), segments: frame.segments, asked }
    }

    pub fn frame(&self) -> Frame<'_> {
        Frame { vnet: self.vnet, bytes: &self.bytes, tail: &[], segments: self.segments }
    }
}

/// What is asked: later frames with the same question wait behind the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    pub port: Handle,
    pub missing: Key,
    pub miss: Miss,
    pub vlan: u16,
}

/// A question and the frames that wait for its answer, oldest first.
pub struct Upcall {
    pub port: Arc<Port>,
    pub frames: Vec<Parked>,
    question: Question,
    deadline_ms: u64,
}

impl Upcall {
    /// Drops all its frames, for one reason.
    pub fn drop_all(self, why: Drop) {
        self.frames.iter().for_each(|parked| self.port.drop_frame(why, parked.segments));
    }

    fn bytes(&self) -> usize {
        self.frames.iter().map(|parked| parked.bytes.len()).sum()
    }
}

/// The open upcalls of one switch.
pub struct Upcalls {
    switch: Handle,
    queue: Arc<RecordQueue>,
    clock: Clock,
    table: Mutex<Table>,
    wake: Condvar,
}

#[derive(Default)]
struct Table {
    ids: HashMap<Question, u32>,
    open: BTreeMap<u32, Upcall>,
    bytes: usize,
    last_id: u32,
    closed: bool,
    /// The thread sleeps until it is woken, for nothing waits.
    asleep: bool,
}

impl Table {
    fn remove(&mut self, id: u32) -> Option<Upcall> {
        let upcall = self.open.remove(&id)?;
        self.ids.remove(&upcall.question);
        self.bytes -= upcall.bytes();
        Some(upcall)
    }

    fn remove_all(&mut self, which: impl Fn(&Upcall) -> bool) -> Vec<Upcall> {
        let ids: Vec<u32> = self.open.iter().filter(|(_, upcall)| which(upcall)).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// 1 to 2^31 - 1, so that it is a positive int at the seam.
    fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id % i32::MAX as u32 + 1;
        self.last_id
    }
}

impl Upcalls {
    pub fn new(switch: Handle, queue: Arc<RecordQueue>, clock: Clock) -> Self {
        Self { switch, queue, clock, table: Mutex::default(), wake: Condvar::new() }
    }

    /// Parks a frame, and asks if nobody has asked this yet. Fails with the reason to drop it.
    pub fn park(&self, port: &Arc<Port>, question: Question, frame: &Frame<'_>, asked: u8) -> Result<(), Drop> {
        let mut table = self.lock();
        // Under the lock: `forget` comes after the port is marked, so it finds what was parked before, and nothing is parked after.
        if port.is_lost() || table.closed {
            return Err(Drop::PortDisabled);
        }
        if table.bytes + frame.len() > MAX_BYTES {
            return Err(Drop::UpcallFull);
        }
        match table.ids.get(&question).copied() {
            Some(id) => add(&mut table, id, frame, asked),
            None => self.ask(&mut table, port, question, frame, asked),
        }
    }

    fn ask(
        &self,
        table: &mut Table,
        port: &Arc<Port>,
        question: Question,
        frame: &Frame<'_>,
        asked: u8,
    ) -> Result<(), Drop> {
        if table.open.len() >= MAX_UPCALLS {
            return Err(Drop::UpcallFull);
        }
        let now_ms = self.clock.now_ms();
        if !port.budget.lock().unwrap_or_else(PoisonError::into_inner).take(now_ms) {
            return Err(Drop::UpcallLimited);
        }
        let id = table.next_id();
        if !self.tell(id, &question, frame) {
            return Err(Drop::UpcallFull);
        }
        port.count_upcall();
        let frames = vec![Parked::new(frame, asked)];
        table.bytes += frame.len();
        table.ids.insert(question, id);
        table.open.insert(id, Upcall { port: port.clone(), frames, question, deadline_ms: now_ms + TIMEOUT_MS });
        if std::mem::take(&mut table.asleep) {
            self.wake.notify_all();
        }
        Ok(())
    }

    /// Appends the UPCALL record; false when the queue is full. Its reader cannot answer before the table's lock is free.
    fn tell(&self, id: u32, question: &Question, frame: &Frame<'_>) -> bool {
        let head = &frame.bytes[..frame.bytes.len().min(MAX_HEAD)];
        let fixed: [&[u8]; 7] = [
            &id.to_le_bytes(),
            &question.port.to_le_bytes(),
            &question.vlan.to_le_bytes(),
            &(frame.len().min(u16::MAX.into()) as u16).to_le_bytes(),
            &[question.miss as u8, 0],
            &(head.len() as u16).to_le_bytes(),
            head,
        ];
        self.queue.push(RecordType::Upcall, self.switch, &fixed)
    }

    /// Ends an upcall: its frames are the caller's. None when there is no such upcall (any more).
    pub fn finish(&self, id: u32) -> Option<Upcall> {
        self.lock().remove(id)
    }

    /// Drops what has waited too long.
    pub fn expire(&self) {
        let now_ms = self.clock.now_ms();
        let late = self.lock().remove_all(|upcall| upcall.deadline_ms <= now_ms);
        late.into_iter().for_each(|upcall| upcall.drop_all(Drop::UpcallTimeout));
    }

    /// Drops what came in at a port that is lost.
    pub fn forget(&self, port: Handle) {
        let gone = self.lock().remove_all(|upcall| upcall.question.port == port);
        gone.into_iter().for_each(|upcall| upcall.drop_all(Drop::PortDisabled));
    }

    /// Drops everything and parks nothing any more; ends `run`.
    pub fn close(&self) {
        let mut table = self.lock();
        table.closed = true;
        let all = table.remove_all(|_| true);
        drop(table);
        self.wake.notify_all();
        all.into_iter().for_each(|upcall| upcall.drop_all(Drop::PortDisabled));
    }

    /// The body of the thread that expires, until `close`. While nothing waits it sleeps, so an idle switch wakes no CPU.
    pub fn run(&self) {
        let mut table = self.lock();
        while !table.closed {
            if table.open.is_empty() {
                table.asleep = true;
                table = self.wake.wait(table).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(self.wake.wait_timeout(table, TICK).unwrap_or_else(PoisonError::into_inner));
                self.expire();
                table = self.lock();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(table: &mut Table, id: u32, frame: &Frame<'_>, asked: u8) -> Result<(), Drop> {
    let upcall = table.open.get_mut(&id).filter(|upcall| upcall.frames.len() < MAX_FRAMES).ok_or(Drop::UpcallFull)?;
    upcall.frames.push(Parked::new(frame, asked));
    table.bytes += frame.len();
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipop_base::{DropCounters, PortTransmit};

    use super::*;
    use crate::port::PortKind;

    struct Nowhere;

    impl PortTransmit for Nowhere {
        fn transmit(&self, _: &Frame<'_>) -> Result<(), Drop> {
            Ok(())
        }
    }

    /// A frame that was on its way when its port was lost comes here after `forget`.
    #[test]
    fn nothing_is_parked_for_a_port_that_is_lost_already() {
        let queue = Arc::new(RecordQueue::new().unwrap());
        let upcalls = Upcalls::new(1, queue.clone(), Clock::Monotonic);
        let port = Arc::new(Port::new(2, PortKind::Link, Arc::new(Nowhere), Arc::new(DropCounters::default()), 0));
        let question = Question { port: 2, missing: Key::new(0, [2; 6]), miss: Miss::Source, vlan: 0 };
        assert_eq!(upcalls.park(&port, question, &Frame::plain(&[0; 14]), 1), Ok(()));
        port.lose();
        upcalls.forget(2);
        assert_eq!(upcalls.park(&port, question, &Frame::plain(&[0; 14]), 1), Err(Drop::PortDisabled));
        assert!(upcalls.finish(1).is_none() && upcalls.finish(2).is_none());
        assert_eq!(queue.counters(), (1, 0));
    }
}
