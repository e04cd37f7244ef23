// SPDX-License-Identifier: MIT
//! The one loop: waits for signals, the timer and native records, and gives each its own turn.

use std::time::Duration;

use rquickjs::TypedArray;

use crate::engine::Engine;
use crate::shared::{Callback, log};
use crate::signals::Signals;

/// Records handed over before signals and the timer are looked at again.
const RECORDS_A_TURN: usize = 256;
/// What ipop_poll asks for: the longest record with its header.
const POLL_BUFFER: usize = 65536 + HEADER;
const HEADER: usize = 16;

/// Runs until the program exits, or until nothing can call it any more (0). Returns the exit code.
pub fn run(engine: &Engine, signals: &Signals) -> u8 {
    let mut records = Records::new();
    loop {
        if let Some(code) = engine.shared.exit.get() {
            return code;
        }
        if !engine.shared.waits_for_something() {
            return 0;
        }
        let listening = engine.shared.on_record.borrow().is_some();
        let ready = wait(engine, signals, listening, records.waiting());
        if let Some(signal) = ready.signal.then(|| signals.take()).flatten() {
            deliver_signal(engine, signal);
        }
        if let Some(callback) = engine.shared.take_due_timer().filter(|_| running(engine)) {
            engine.turn(|ctx| callback.restore(ctx)?.call(()));
        }
        if listening && (ready.records || records.waiting()) {
            deliver_records(engine, &mut records);
        }
    }
}

fn running(engine: &Engine) -> bool {
    engine.shared.exit.get().is_none()
}

/// Without a callback a signal ends the process as it would have without us.
fn deliver_signal(engine: &Engine, signal: i32) {
    match clone(&engine.shared.on_signal) {
        Some(callback) => engine.turn(|ctx| callback.restore(ctx)?.call((signal,))),
        None => engine.shared.exit.set(Some(128u8.saturating_add(signal as u8))),
    }
}

/// One record, one turn: stream management counts wrongly when promise jobs of two stanzas mix.
fn deliver_records(engine: &Engine, records: &mut Records) {
    for _ in 0..RECORDS_A_TURN {
        let Some(callback) = clone(&engine.shared.on_record).filter(|_| running(engine)) else {
            return;
        };
        let Some(record) = records.next() else { return };
        engine.turn(|ctx| callback.restore(ctx)?.call((TypedArray::<u8>::new_copy(ctx.clone(), record)?,)));
    }
}

fn clone(callback: &std::cell::RefCell<Option<Callback>>) -> Option<Callback> {
    callback.borrow().clone()
}

struct Ready {
    signal: bool,
    records: bool,
}

/// Waits for the next thing to do; not at all while records of the last poll are left.
fn wait(engine: &Engine, signals: &Signals, listening: bool, records_left: bool) -> Ready {
    let wake = if listening { ipop::ipop_wake_fd() } else { -1 };
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // A negative descriptor (native is not started) is skipped by the kernel.
    let mut fds = [entry(signals.fd()), entry(wake.max(-1))];
    let delay = if records_left { Some(Duration::ZERO) } else { engine.shared.timer_in() };
    let timeout = delay.map(|delay| libc::timespec {
        tv_sec: delay.as_secs() as libc::time_t,
        tv_nsec: delay.subsec_nanos() as libc::c_long,
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both arrays live through the call; null means no time limit, and no signal mask.
    let got = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout, std::ptr::null()) };
    let ready = |fd: &libc::pollfd| got > 0 && fd.revents != 0;
    Ready { signal: ready(&fds[0]), records: ready(&fds[1]) }
}

/// Records taken from native and not yet handed over.
struct Records {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Records {
    fn new() -> Self {
        Self { buffer: vec![0; POLL_BUFFER], start: 0, end: 0 }
    }

    fn waiting(&self) -> bool {
        self.start < self.end
    }

    /// The next record, header included; asks native when none is left.
    fn next(&mut self) -> Option<&[u8]> {
        if !self.waiting() {
            // SAFETY: the buffer is ours and as long as we say.
            let got = unsafe { ipop::ipop_poll(self.buffer.as_mut_ptr(), self.buffer.len() as i32) };
            (self.start, self.end) = (0, usize::try_from(got).unwrap_or(0));
        }
        let rest = &self.buffer[self.start..self.end];
        let length = rest.get(4..8)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize)?;
        let Some(record) = rest.get(..HEADER + length) else {
            log("ipopd: native gave half a record");
            self.end = self.start;
            return None;
        };
        self.start += record.len();
        Some(record)
    }
}
