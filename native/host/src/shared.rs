// SPDX-License-Identifier: MIT
//! What the program's calls on `__host` leave behind for the loop. Borrowed only for a moment, never while JavaScript runs.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::{Duration, Instant};

use rquickjs::{Ctx, Function, Persistent, Value};

/// A JavaScript function kept across turns.
pub type Callback = Persistent<Function<'static>>;

/// Rejections kept until the jobs have run; more in one turn are only counted.
const MAX_REJECTIONS: usize = 64;

/// State between `__host` and the loop.
pub struct Shared {
    /// Zero of `nowMs`.
    pub started: Instant,
    /// Set once the program asked to end.
    pub exit: Cell<Option<u8>>,
    /// When the timer is due, and whom to call.
    pub timer: RefCell<Option<(Instant, Callback)>>,
    /// Called for each record.
    pub on_record: RefCell<Option<Callback>>,
    /// Called for each signal.
    pub on_signal: RefCell<Option<Callback>>,
    rejections: RefCell<Rejections>,
}

#[derive(Default)]
struct Rejections {
    /// Promise (kept alive, so that its address stays its own) and reason.
    list: Vec<(Persistent<Value<'static>>, Persistent<Value<'static>>)>,
    more: usize,
}

impl Shared {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            exit: Cell::new(None),
            timer: RefCell::default(),
            on_record: RefCell::default(),
            on_signal: RefCell::default(),
            rejections: RefCell::default(),
        }
    }

    /// Time until the timer is due; None: no timer.
    pub fn timer_in(&self) -> Option<Duration> {
        let timer = self.timer.borrow();
        timer.as_ref().map(|(due, _)| due.saturating_duration_since(Instant::now()))
    }

    /// Takes the timer's callback if it is due.
    pub fn take_due_timer(&self) -> Option<Callback> {
        let mut timer = self.timer.borrow_mut();
        let due = timer.as_ref().is_some_and(|(due, _)| *due <= Instant::now());
        if due { timer.take().map(|(_, callback)| callback) } else { None }
    }

    /// Whether anything can ever call into the program again.
    pub fn waits_for_something(&self) -> bool {
        self.timer.borrow().is_some() || self.on_record.borrow().is_some() || self.on_signal.borrow().is_some()
    }

    /// Notes a rejection without handler, or strikes it out when a handler came after all.
    pub fn track_rejection<'js>(&self, ctx: &Ctx<'js>, promise: Value<'js>, reason: Value<'js>, handled: bool) {
        let mut rejections = self.rejections.borrow_mut();
        if handled {
            rejections.list.retain(|(known, _)| known.clone().restore(ctx).ok().as_ref() != Some(&promise));
        } else if rejections.list.len() < MAX_REJECTIONS {
            rejections.list.push((Persistent::save(ctx, promise), Persistent::save(ctx, reason)));
        } else {
            rejections.more += 1;
        }
    }

    /// The reasons that nobody handled since the last call, and how many more there were.
    pub fn take_rejections(&self) -> (Vec<Persistent<Value<'static>>>, usize) {
        let rejections = self.rejections.take();
        (rejections.list.into_iter().map(|(_, reason)| reason).collect(), rejections.more)
    }

    /// Lets go of every JavaScript value; must come before the engine is freed.
    pub fn clear(&self) {
        self.timer.take();
        self.on_record.take();
        self.on_signal.take();
        self.rejections.take();
    }
}

/// One line to standard error, in one write so that lines of several processes do not mix. Nobody is left to hear of a failure.
pub fn log(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
