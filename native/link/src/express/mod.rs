// SPDX-License-Identifier: MIT
//! The express carriage of one link (PROTOCOL 5): sealed datagrams on the socket and path that ICE nominated.
//!
//! ```text
//! Control (timer thread)   keys by the control channel, probes, where the path leads, whether express carries
//!   | Express (shared)     the sender behind its lock, and what the threads tell each other
//!   +- Sender              whoever has frames: seals them, sends trains
//!   +- Receiver            a worker: reads trains, opens, joins, hands frames to the switch
//! ```

mod control;
mod pace;
mod receiver;
mod sender;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use ipop_base::{Drop, DropCounters, Frame, lock};
use ipop_express::{OpenKey, Replay};

use crate::report::Silence;
use crate::shape::Arrivals;
use crate::udp::Address;
use crate::workers::Timer;

mod settings;

pub use control::{Control, Settings, Surroundings};
pub use sender::OVERHEAD;
use sender::Sender;
pub use settings::settings;

/// Least time between two looks for newer keys because of datagrams of an unknown epoch: anyone can forge those.
const UNKNOWN_MS: u64 = 1_000;
/// Answers that may wait for the timer thread: a search for the size asks for eleven.
const MAX_ANSWERS: usize = 64;

/// The peer's answer to a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Of the probe.
    pub id: u32,
    /// Of the probe as it arrived.
    pub size: u16,
    /// Datagrams the peer opened so far.
    pub received: u64,
    /// Where the probe came from, as the peer saw it.
    pub seen: Option<SocketAddr>,
}

/// What threads share.
pub struct Express {
    drops: Arc<DropCounters>,
    arrivals: Arrivals,
    silence: Arc<Silence>,
    timer: Arc<Timer>,
    clock: Instant,
    open: AtomicBool,
    /// Frames went this way since the control last looked, or it will look within a second.
    in_use: AtomicBool,
    sender: Mutex<Sender>,
    /// What can be opened; the receiver holds it over a batch.
    epochs: Mutex<Vec<Epoch>>,
    /// Datagrams opened.
    received: AtomicU64,
    /// The path's, by the last answer to a probe, in ms.
    round_trip_ms: AtomicU64,
    news: Mutex<News>,
    /// When `News::unknown_epoch` was last told.
    asked_ms: AtomicU64,
}

/// A key and what was opened with it.
struct Epoch {
    number: u8,
    key: OpenKey,
    replay: Replay,
}

/// What the receiver tells the control.
#[derive(Debug, Default)]
pub struct News {
    answers: Vec<Answer>,
    /// Epochs of which a first datagram was opened.
    first_of: Option<u8>,
    unknown_epoch: bool,
    /// The peer moved there.
    moved: Option<Address>,
}

impl Express {
    /// True when frames may go this way; a look without the sender's lock.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The sender.
    pub fn sender(&self) -> MutexGuard<'_, Sender> {
        lock(&self.sender)
    }

    /// Takes a frame. LinkClosed: express is closed, or was a moment ago; the others as `Sender::frame`.
    pub fn transmit(&self, frame: &Frame<'_>, tos: u8) -> Result<(), Drop> {
        let mut sender = self.sender();
        let taken = sender.frame(frame, tos);
        let too_big = sender.is_too_big();
        drop(sender);
        if taken != Err(Drop::LinkClosed) {
            self.used(too_big);
        }
        taken
    }

    /// Sends what was kept. False: the socket had no room for all of it.
    pub fn flush(&self) -> bool {
        let mut sender = self.sender();
        sender.flush();
        let (too_big, is_free) = (sender.is_too_big(), !sender.is_blocked());
        drop(sender);
        if too_big {
            self.timer.wake();
        }
        is_free
    }

    /// Frames went this way: after a while without, the path is confirmed soon; and at once when it takes none so long.
    fn used(&self, too_big: bool) {
        if too_big {
            self.timer.wake();
        }
        if !self.in_use.load(Ordering::Relaxed) && !self.in_use.swap(true, Ordering::Relaxed) {
            self.timer.wake();
        }
    }

    /// Datagrams opened so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        self.clock.elapsed().as_millis() as u64
    }

    fn heard(&self) {
        self.silence.heard(self.now_ms());
    }

    fn answered(&self, answer: Answer) {
        let mut news = lock(&self.news);
        if news.answers.len() < MAX_ANSWERS {
            news.answers.push(answer);
        }
        drop(news);
        self.timer.wake();
    }

    fn first_of_epoch(&self, epoch: u8) {
        lock(&self.news).first_of = Some(epoch);
        self.timer.wake();
    }

    fn ask_for_keys(&self) {
        let now = self.now_ms();
        if now >= self.asked_ms.load(Ordering::Relaxed) {
            self.asked_ms.store(now + UNKNOWN_MS, Ordering::Relaxed);
            lock(&self.news).unknown_epoch = true;
            self.timer.wake();
        }
    }

    /// The peer's newest datagram came from there: what goes to it goes there, too.
    fn came_from(&self, from: &Address) {
        let mut sender = self.sender();
        if !sender.to().is_same(from) {
            sender.redirect(*from);
            drop(sender);
            lock(&self.news).moved = Some(*from);
            self.timer.wake();
        }
    }

    fn take_news(&self) -> News {
        std::mem::take(&mut lock(&self.news))
    }

    fn open_with(&self, number: u8, key: OpenKey) {
        let mut epochs = lock(&self.epochs);
        epochs.retain(|epoch| epoch.number != number);
        epochs.push(Epoch { number, key, replay: Replay::default() });
    }

    fn forget(&self, number: u8) {
        lock(&self.epochs).retain(|epoch| epoch.number != number);
    }

    /// Where datagrams go.
    #[cfg(test)]
    pub fn to(&self) -> std::net::SocketAddr {
        self.sender().to().to_std().unwrap()
    }

    /// Epochs that can be opened.
    #[cfg(test)]
    pub fn epochs(&self) -> Vec<u8> {
        lock(&self.epochs).iter().map(|epoch| epoch.number).collect()
    }
}

impl std::fmt::Debug for Express {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Express")
    }
}
