// SPDX-License-Identifier: MIT
//! The side that begins exchanges.

use ring::rand::SecureRandom;

use crate::epochs::Epochs;
use crate::exchange::{Action, Params, Role};
use crate::keys::{Binding, Ephemeral, KEY_LEN};
use crate::message::Message;
use crate::seal::Cipher;

/// How far the exchange is.
#[derive(Debug)]
enum Progress {
    /// None is going on.
    Idle,
    /// An INIT was sent.
    Waiting { own: Ephemeral, attempt: u32, until_ms: u64 },
    /// The last INIT went unanswered.
    Pausing { until_ms: u64 },
}

/// See `Exchange`.
#[derive(Debug)]
pub(crate) struct Offerer {
    binding: Binding,
    params: Params,
    epochs: Epochs,
    progress: Progress,
    /// Epoch of the last INIT; 0 before the first.
    last: u32,
    /// A new epoch is wanted before its time.
    is_wanted: bool,
    started_ms: u64,
}

impl Offerer {
    pub fn new(binding: Binding, params: Params, now: u64) -> Self {
        let epochs = Epochs::new(params.keep_ms);
        Self { binding, params, epochs, progress: Progress::Idle, last: 0, is_wanted: false, started_ms: now }
    }

    /// REPLY: the epoch can begin.
    pub fn reply(&mut self, epoch: u32, cipher: Cipher, public: &[u8; KEY_LEN], now: u64, actions: &mut Vec<Action>) {
        if !matches!(self.progress, Progress::Waiting { .. }) || epoch != self.last {
            actions.push(Action::Refused(format!("REPLY for epoch {epoch}, which is not being agreed on")));
            return;
        }
        if !self.params.ciphers.has(cipher) {
            actions.push(Action::Refused(format!("REPLY chose {}, which was not offered", cipher.name())));
            return;
        }
        let Progress::Waiting { own, .. } = std::mem::replace(&mut self.progress, Progress::Idle) else { return };
        let Some(keys) = own.agree(Role::Offerer, public, &self.binding, epoch, cipher) else {
            self.fail("the peer's public key is not valid".to_owned(), now, actions);
            return;
        };
        let (seal, open) = keys.sides(Role::Offerer);
        // The answerer left it before it could see the INIT of this epoch.
        self.epochs.forget_old(actions);
        actions.push(Action::Open(epoch, open));
        self.epochs.switch(epoch, seal, now, actions);
        actions.push(Action::Send(Message::Done { epoch }.to_bytes()));
    }

    /// ASK: the answerer wants a new epoch. One that crossed with a newer epoch has its wish already.
    pub fn ask(&mut self, epoch: u32, actions: &mut Vec<Action>) {
        if epoch > self.last {
            actions.push(Action::Refused(format!("ASK about epoch {epoch}, which never was")));
        } else if self.epochs.current().is_some_and(|current| current.epoch == epoch) {
            self.want();
        }
    }

    /// Something made a new epoch desirable.
    pub fn want(&mut self) {
        self.is_wanted = matches!(self.progress, Progress::Idle) && self.epochs.current().is_some();
    }

    pub fn tick(&mut self, sealed: u64, now: u64, random: &dyn SecureRandom, actions: &mut Vec<Action>) {
        self.epochs.expire(now, actions);
        if sealed >= self.params.rekey_datagrams {
            self.want();
        }
        if now < self.exchange_ms() {
            return;
        }
        match self.progress {
            Progress::Idle | Progress::Pausing { .. } => self.begin(1, now, random, actions),
            Progress::Waiting { attempt, .. } if attempt < self.params.attempts => {
                self.begin(attempt + 1, now, random, actions);
            }
            Progress::Waiting { .. } => {
                let (times, wait) = (self.params.attempts, self.params.timeout_ms / 1000);
                self.fail(format!("{times} times no answer to the key exchange within {wait} s"), now, actions);
            }
        }
    }

    pub fn next_ms(&self) -> u64 {
        self.epochs.next_ms().min(self.exchange_ms())
    }

    /// When the exchange goes on, or the next one begins.
    fn exchange_ms(&self) -> u64 {
        match (&self.progress, self.epochs.current()) {
            (Progress::Waiting { until_ms, .. } | Progress::Pausing { until_ms }, _) => *until_ms,
            (Progress::Idle, Some(current)) => {
                let age_ms = if self.is_wanted { self.params.least_ms } else { self.params.rekey_ms };
                current.since_ms.saturating_add(age_ms)
            }
            (Progress::Idle, None) => self.started_ms,
        }
    }

    fn begin(&mut self, attempt: u32, now: u64, random: &dyn SecureRandom, actions: &mut Vec<Action>) {
        self.is_wanted = false;
        let (Some(own), Some(epoch)) = (Ephemeral::generate(random), self.last.checked_add(1)) else {
            self.fail("no randomness or no epoch number is left".to_owned(), now, actions);
            return;
        };
        self.last = epoch;
        let init = Message::Init { epoch, ciphers: self.params.ciphers, public: *own.public() };
        self.progress = Progress::Waiting { own, attempt, until_ms: now.saturating_add(self.params.timeout_ms) };
        actions.push(Action::Send(init.to_bytes()));
    }

    fn fail(&mut self, reason: String, now: u64, actions: &mut Vec<Action>) {
        self.progress = Progress::Pausing { until_ms: now.saturating_add(self.params.pause_ms) };
        self.epochs.fail(reason, now, actions);
    }
}
