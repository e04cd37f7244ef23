// SPDX-License-Identifier: MIT
//! One direction of a network: the queue, the rate, and the timer that sends what waited.

use std::hash::RandomState;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipop_base::{Drop, Error, Frame, Handle, Result, Source, VnetHeader};
use ipop_offload::Cut;
use ipop_queue::{CodelParams, Ecn, FairQueue, Shaper, Waiting, flow_of};

use super::exit::{Exit, wire_bytes};

/// How long all that waits may take on the line, and its bounds in bytes: those of memory, and a few full frames.
const LIMIT_US: u64 = 500_000;
const LIMIT: std::ops::RangeInclusive<usize> = 64 << 10..=4 << 20;
/// What waits for a socket whose rate nobody knows.
const UNSHAPED_LIMIT: usize = 1 << 20;
/// A super-frame that takes the line longer is cut, so that others get in between.
const UNIT_US: u64 = 2_000;
/// How much of its time the line may catch up after a late timer.
const BURST_US: u64 = 1_000;
/// Shortest sleep, and how soon a socket that had no room is asked again.
const LEAST_US: u64 = 250;
const RETRY_US: u64 = 1_000;
/// Bytes sent before others of the worker have their turn.
const BATCH: usize = 256 << 10;

/// A frame that waits.
struct Parked {
    exit: Arc<dyn Exit>,
    vnet: VnetHeader,
    bytes: Box<[u8]>,
    segments: u16,
    wire: usize,
}

impl Waiting for Parked {
    fn bytes(&self) -> usize {
        self.wire
    }

    fn mark(&mut self) -> bool {
        Ecn::congested(&mut self.bytes)
    }
}

impl Parked {
    fn frame(&self) -> Frame<'_> {
        Frame { vnet: self.vnet, bytes: &self.bytes, tail: &[], segments: self.segments }
    }
}

/// One direction.
pub struct Side {
    /// Frames must come by here: there is a rate, or something waits.
    busy: AtomicBool,
    clock: Instant,
    /// Nobody outside can make flows meet.
    key: RandomState,
    timer: OwnedFd,
    /// Held while frames are given on; nobody who is given one waits for this.
    state: Mutex<State>,
}

struct State {
    queue: FairQueue<Parked>,
    shaper: Option<Shaper>,
    /// Those whose sockets have no room.
    blocked: Vec<Arc<dyn Exit>>,
    /// The timer is set.
    is_armed: bool,
}

impl Side {
    /// Without a rate. Fails when there can be no timer.
    pub fn new() -> Result<Self> {
        // SAFETY: takes no pointers; the result is checked before it is owned.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(Error::last_os("cannot make a timer"));
        }
        // SAFETY: fd is a fresh descriptor that nothing else owns.
        let timer = unsafe { OwnedFd::from_raw_fd(fd) };
        let queue = FairQueue::new(UNSHAPED_LIMIT, CodelParams::default());
        let state = State { queue, shaper: None, blocked: Vec::new(), is_armed: false };
        Ok(Self {
            busy: AtomicBool::new(false),
            clock: Instant::now(),
            key: RandomState::new(),
            timer,
            state: Mutex::new(state),
        })
    }

    /// True when frames must come by `offer`.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// A rate in kbit/s, or none. What waits goes on as before.
    pub fn configure(&self, kbit: Option<u64>) {
        let mut state = self.lock();
        if kbit == state.shaper.map(|shaper| shaper.kbit()) {
            return;
        }
        state.shaper = kbit.map(|kbit| Shaper::new(kbit, BURST_US));
        let (limit, params) = match kbit {
            None => (UNSHAPED_LIMIT, CodelParams::default()),
            Some(kbit) => {
                let limit = (kbit * LIMIT_US / 8000) as usize;
                (limit.clamp(*LIMIT.start(), *LIMIT.end()), CodelParams::for_kbit(kbit))
            }
        };
        state.queue.configure(limit, params);
        self.settle(&mut state, self.now_us());
    }

    /// Takes a frame on its way to `exit`, which `hold` gives for keeping: it goes on at once or waits. An error says why it did neither.
    pub fn offer(
        &self,
        exit: &dyn Exit,
        hold: impl FnOnce() -> Option<Arc<dyn Exit>>,
        frame: &Frame<'_>,
    ) -> std::result::Result<(), Drop> {
        let now = self.now_us();
        let mut state = self.lock();
        let wire = wire_bytes(frame, exit.overhead());
        let is_long = frame.segments > 1 && state.shaper.is_some_and(|shaper| shaper.time_us(wire) > UNIT_US);
        let may_go = state.shaper.is_none_or(|shaper| shaper.is_ready(now));
        if may_go && !is_long && state.queue.is_empty() && !state.queue.is_blocked(exit.link() as u32) {
            exit.give(frame)?;
            if let Some(shaper) = &mut state.shaper {
                shaper.charge(wire, now);
            }
            return Ok(());
        }
        let exit = hold().ok_or(Drop::LinkClosed)?;
        let was_empty = state.queue.is_empty();
        self.park(&mut state, &exit, frame, is_long, now)?;
        if may_go && was_empty {
            self.send(&mut state, now);
        }
        self.settle(&mut state, now);
        Ok(())
    }

    /// The socket of this one has no room: its frames wait from here on.
    pub fn refused(&self, exit: Arc<dyn Exit>) {
        let mut state = self.lock();
        state.block(exit);
        self.settle(&mut state, self.now_us());
    }

    /// Drops what waits of this link.
    pub fn forget(&self, link: Handle) {
        let mut state = self.lock();
        state.queue.forget(link as u32);
        state.blocked.retain(|exit| exit.link() != link);
        self.settle(&mut state, self.now_us());
    }

    /// The timer has come.
    fn tick(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads 8 bytes into a live array; EAGAIN: it was set anew meanwhile.
        unsafe { libc::read(self.timer.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
        let now = self.now_us();
        let mut state = self.lock();
        state.is_armed = false;
        let State { queue, blocked, .. } = &mut *state;
        blocked.retain(|exit| {
            let is_free = exit.retry();
            if is_free {
                queue.block(exit.link() as u32, false);
            }
            !is_free
        });
        self.send(&mut state, now);
        self.settle(&mut state, now);
    }

    fn park(
        &self,
        state: &mut State,
        exit: &Arc<dyn Exit>,
        frame: &Frame<'_>,
        is_long: bool,
        now: u64,
    ) -> std::result::Result<(), Drop> {
        let (link, flow) = (exit.link() as u32, flow_of(frame.bytes, &self.key));
        let mut push = |vnet, bytes: Vec<u8>, segments| {
            let parked = Frame { vnet, bytes: &bytes, tail: &[], segments };
            let wire = wire_bytes(&parked, exit.overhead());
            let parked = Parked { exit: exit.clone(), vnet, bytes: bytes.into(), segments, wire };
            state.queue.push(link, flow, parked, now, &mut dropped_early);
        };
        if !is_long {
            push(frame.vnet, frame.to_vec(), frame.segments);
            return Ok(());
        }
        let mut cut = Cut::new(frame, exit.room())?;
        while let Some(length) = cut.next_len() {
            let mut bytes = vec![0; length];
            let mark = cut.write_next(&mut bytes);
            push(mark.vnet(), bytes, 1);
        }
        Ok(())
    }

    /// Sends what may go now.
    fn send(&self, state: &mut State, now: u64) {
        let mut left = BATCH;
        let mut given: Vec<Arc<dyn Exit>> = Vec::new();
        while left > 0 && state.shaper.is_none_or(|shaper| shaper.is_ready(now)) {
            let Some(parked) = state.queue.pop(now, &mut dropped_early) else { break };
            left = left.saturating_sub(parked.wire);
            match parked.exit.give(&parked.frame()) {
                Ok(()) => {
                    if let Some(shaper) = &mut state.shaper {
                        shaper.charge(parked.wire, now);
                    }
                }
                Err(why) => parked.exit.drops().add(why, parked.segments.into()),
            }
            if parked.exit.is_blocked() {
                state.block(parked.exit.clone());
            }
            if !given.iter().any(|exit| exit.link() == parked.exit.link()) {
                given.push(parked.exit);
            }
        }
        for exit in given {
            exit.flush();
            if exit.is_blocked() {
                state.block(exit);
            }
        }
    }

    /// Sets the timer if something waits, and says whether frames must come by here.
    fn settle(&self, state: &mut State, now: u64) {
        let waits = !state.queue.is_empty() || !state.blocked.is_empty();
        self.busy.store(waits || state.shaper.is_some(), Ordering::Relaxed);
        if waits && !state.is_armed {
            let ready = state.shaper.map_or(now, |shaper| shaper.ready_us());
            let wait = if state.blocked.is_empty() { LEAST_US } else { RETRY_US };
            state.is_armed = self.arm(ready.saturating_sub(now).max(wait));
        }
    }

    fn arm(&self, wait_us: u64) -> bool {
        let value = libc::timespec {
            tv_sec: (wait_us / 1_000_000) as libc::time_t,
            tv_nsec: (wait_us % 1_000_000 * 1000) as libc::c_long,
        };
        let interval = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let when = libc::itimerspec { it_interval: interval, it_value: value };
        // SAFETY: reads a live itimerspec; the earlier value is not asked for.
        unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &raw const when, std::ptr::null_mut()) == 0 }
    }

    fn now_us(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn block(&mut self, exit: Arc<dyn Exit>) {
        if !self.queue.is_blocked(exit.link() as u32) {
            self.queue.block(exit.link() as u32, true);
            self.blocked.push(exit);
        }
    }
}

fn dropped_early(parked: Parked) {
    parked.exit.drops().add(Drop::QueueEarly, parked.segments.into());
}

/// The worker's hold on a side.
pub struct Drain(pub Arc<Side>);

impl Source for Drain {
    fn fd(&self) -> RawFd {
        self.0.timer.as_raw_fd()
    }

    fn ready(&mut self) -> bool {
        self.0.tick();
        true
    }
}
