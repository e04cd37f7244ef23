// SPDX-License-Identifier: MIT
//! The side that answers exchanges.

use ring::rand::SecureRandom;

use crate::epochs::{Current, Epochs};
use crate::exchange::{Action, Params, Role};
use crate::keys::{Binding, Ephemeral, KEY_LEN};
use crate::message::Message;
use crate::seal::{Ciphers, SealKey};

/// How far an epoch's number may be ahead: far less than 256, since a datagram carries only 8 bits of it.
const AHEAD_MAX: u32 = 64;

/// See `Exchange`.
#[derive(Debug)]
pub(crate) struct Answerer {
    binding: Binding,
    params: Params,
    epochs: Epochs,
    /// An epoch that can be opened since its REPLY, and is sealed with from DONE on.
    agreed: Option<(u32, SealKey)>,
    /// Epoch of the last INIT; 0 before the first.
    last: u32,
    /// ASKs since that INIT.
    asks: u32,
    asked_ms: u64,
    is_wanted: bool,
}

impl Answerer {
    pub fn new(binding: Binding, params: Params) -> Self {
        let epochs = Epochs::new(params.keep_ms);
        Self { binding, params, epochs, agreed: None, last: 0, asks: 0, asked_ms: 0, is_wanted: false }
    }

    /// INIT: agree on a new epoch.
    pub fn init(
        &mut self,
        epoch: u32,
        ciphers: Ciphers,
        public: &[u8; KEY_LEN],
        random: &dyn SecureRandom,
        actions: &mut Vec<Action>,
    ) {
        let from = self.epochs.current().map_or(self.last, |current| current.epoch);
        if epoch <= self.last || epoch - from > AHEAD_MAX {
            let (low, high) = (u64::from(self.last) + 1, u64::from(from) + u64::from(AHEAD_MAX));
            actions.push(Action::Refused(format!("INIT for epoch {epoch}, which is not within {low} to {high}")));
            return;
        }
        let cipher = self.params.ciphers.choose(ciphers);
        let Some(own) = Ephemeral::generate(random) else {
            actions.push(Action::Refused("INIT cannot be answered: the system gives no randomness".to_owned()));
            return;
        };
        let reply = Message::Reply { epoch, cipher, public: *own.public() };
        let Some(keys) = own.agree(Role::Answerer, public, &self.binding, epoch, cipher) else {
            actions.push(Action::Refused("the public key of an INIT is not valid".to_owned()));
            return;
        };
        let (seal, open) = keys.sides(Role::Answerer);
        // The offerer never sealed with an epoch for which it sent an INIT after, but no DONE; and it left the old one before the last DONE.
        actions.extend(self.agreed.take().map(|(epoch, _)| Action::Forget(epoch)));
        self.epochs.forget_old(actions);
        actions.push(Action::Open(epoch, open));
        actions.push(Action::Send(reply.to_bytes()));
        self.agreed = Some((epoch, seal));
        (self.last, self.asks, self.is_wanted) = (epoch, 0, false);
    }

    /// DONE: the offerer can open the new epoch. A datagram of it may have said so before.
    pub fn done(&mut self, epoch: u32, now: u64, actions: &mut Vec<Action>) {
        let is_agreed = self.agreed.as_ref().is_some_and(|(agreed, _)| *agreed == epoch);
        let is_current = self.epochs.current().is_some_and(|current| current.epoch == epoch);
        if is_agreed {
            self.opened(epoch, now, actions);
        } else if !is_current {
            actions.push(Action::Refused(format!("DONE for epoch {epoch}, which is not being agreed on")));
        }
    }

    /// A datagram of this epoch was opened; of the epochs that are held, no two have the same low 8 bits.
    pub fn opened(&mut self, epoch: u32, now: u64, actions: &mut Vec<Action>) {
        if let Some((epoch, seal)) = self.agreed.take_if(|(agreed, _)| *agreed as u8 == epoch as u8) {
            self.epochs.switch(epoch, seal, now, actions);
        }
    }

    /// Something made a new epoch desirable.
    pub fn want(&mut self) {
        self.is_wanted = self.agreed.is_none() && self.epochs.current().is_some();
    }

    pub fn tick(&mut self, sealed: u64, now: u64, actions: &mut Vec<Action>) {
        self.epochs.expire(now, actions);
        let Some(current) = self.epochs.current() else { return };
        if now >= self.end_ms(current) {
            let age = self.params.life_ms() / 1000;
            self.epochs.fail(format!("the peer has not renewed the keys for {age} s"), now, actions);
            return;
        }
        if sealed >= self.params.rekey_datagrams {
            self.want();
        }
        if now >= self.ask_ms(current) {
            actions.push(Action::Send(Message::Ask { epoch: current.epoch }.to_bytes()));
            (self.asks, self.asked_ms, self.is_wanted) = (self.asks + 1, now, false);
        }
    }

    pub fn next_ms(&self) -> u64 {
        let asks_or_ends = self.epochs.current().map(|current| self.end_ms(current).min(self.ask_ms(current)));
        self.epochs.next_ms().min(asks_or_ends.unwrap_or(u64::MAX))
    }

    /// When this epoch is given up.
    fn end_ms(&self, current: Current) -> u64 {
        current.since_ms.saturating_add(self.params.life_ms())
    }

    /// When to ask for a new epoch: the offerer should have begun one long ago, or something else made it desirable.
    fn ask_ms(&self, current: Current) -> u64 {
        if self.agreed.is_some() || self.asks >= self.params.attempts {
            return u64::MAX;
        }
        let may_ms = current.since_ms.max(self.asked_ms).saturating_add(self.params.least_ms);
        let overdue_ms = current.since_ms.saturating_add(self.params.rekey_ms + self.params.timeout_ms);
        if self.is_wanted { may_ms } else { may_ms.max(overdue_ms) }
    }
}
