// SPDX-License-Identifier: MIT
//! When epochs begin and end (PROTOCOL 5.3), over the link's reliable and ordered control channel. Time is handed in, in ms.
//!
//! The offerer of the link drives: INIT -> REPLY -> DONE. Neither side ever seals with an epoch that the other cannot open: the answerer opens the
//! new epoch before it says REPLY, and seals with it only after DONE or the first datagram of it, both of which the offerer sends when it can
//! open it, too.

use ring::rand::SecureRandom;

use crate::answerer::Answerer;
use crate::keys::Binding;
use crate::message::Message;
use crate::offerer::Offerer;
use crate::seal::{Ciphers, OpenKey, SealKey};

/// A side of the link. The offerer drives the epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Made the link's offer.
    Offerer,
    /// Answered it.
    Answerer,
}

/// Bounds of the exchange.
#[derive(Debug, Clone, Copy)]
pub struct Params {
    /// What this side is willing to use.
    pub ciphers: Ciphers,
    /// Age of an epoch at which the next one begins.
    pub rekey_ms: u64,
    /// Datagrams sealed in an epoch after which the next one begins.
    pub rekey_datagrams: u64,
    /// How long an old epoch can still be opened.
    pub keep_ms: u64,
    /// How long an INIT waits for its REPLY.
    pub timeout_ms: u64,
    /// INITs in a row, and ASKs for one epoch.
    pub attempts: u32,
    /// Least age of an epoch, whoever wants a new one, so that datagrams on the way find their key; and least time between two ASKs.
    pub least_ms: u64,
    /// After the last INIT went unanswered: how long until the next one.
    pub pause_ms: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            ciphers: Ciphers::here(),
            rekey_ms: 120_000,
            // Never reached before `rekey_ms` at rates of today. GCM's bound (SP 800-38D; 2^48 blocks or so for an advantage of 2^-32) is further.
            rekey_datagrams: 1 << 40,
            keep_ms: 30_000,
            timeout_ms: 10_000,
            attempts: 3,
            least_ms: 10_000,
            pause_ms: 60_000,
        }
    }
}

impl Params {
    /// Age at which an answerer gives up an epoch that the offerer did not renew. An offerer gives up `timeout_ms` before that, and can open it
    /// `keep_ms` longer.
    pub(crate) fn life_ms(&self) -> u64 {
        self.rekey_ms + (u64::from(self.attempts) + 1) * self.timeout_ms
    }
}

/// What the caller must do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send this message on the control channel.
    Send(Vec<u8>),
    /// From now on datagrams of this epoch can be opened, with a new replay window. At most two epochs at a time can be.
    Open(u32, OpenKey),
    /// From now on seal with this epoch, counters from 0; drop the key before it.
    Seal(u32, SealKey),
    /// Drop the opening key of this epoch.
    Forget(u32),
    /// A message was passed over, and why; nothing changed.
    Refused(String),
    /// Drop the sealing key, for this reason: express carries nothing until the next `Seal`.
    Failed(String),
}

/// One side's part in the exchange.
#[derive(Debug)]
pub struct Exchange(Side);

#[derive(Debug)]
enum Side {
    Offerer(Offerer),
    Answerer(Answerer),
}

impl Exchange {
    /// Begins at `now`: the offerer's first `tick` sends the first INIT. `binding` must be what both signed descriptions say.
    pub fn new(role: Role, binding: Binding, params: Params, now: u64) -> Self {
        Self(match role {
            Role::Offerer => Side::Offerer(Offerer::new(binding, params, now)),
            Role::Answerer => Side::Answerer(Answerer::new(binding, params)),
        })
    }

    /// Takes a message for which `is_exchange` holds. One that is malformed or does not fit is refused with words.
    pub fn message(&mut self, bytes: &[u8], now: u64, random: &dyn SecureRandom) -> Vec<Action> {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(what) => return vec![Action::Refused(format!("a message of the key exchange is malformed: {what}"))],
        };
        let mut actions = Vec::new();
        match (&mut self.0, message) {
            (Side::Offerer(side), Message::Reply { epoch, cipher, public }) => {
                side.reply(epoch, cipher, &public, now, &mut actions);
            }
            (Side::Offerer(side), Message::Ask { epoch }) => side.ask(epoch, &mut actions),
            (Side::Offerer(_), Message::Init { .. } | Message::Done { .. }) => {
                actions.push(Action::Refused(format!("{} came from the answerer of the link", message.name())));
            }
            (Side::Answerer(side), Message::Init { epoch, ciphers, public }) => {
                side.init(epoch, ciphers, &public, random, &mut actions);
            }
            (Side::Answerer(side), Message::Done { epoch }) => side.done(epoch, now, &mut actions),
            (Side::Answerer(_), Message::Reply { .. } | Message::Ask { .. }) => {
                actions.push(Action::Refused(format!("{} came from the offerer of the link", message.name())));
            }
        }
        actions
    }

    /// A datagram of this epoch proved authentic; its low 8 bits are enough, as the wire has no more. To be called at least for the first one of
    /// each epoch.
    pub fn opened(&mut self, epoch: u32, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Side::Answerer(side) = &mut self.0 {
            side.opened(epoch, now, &mut actions);
        }
        actions
    }

    /// A datagram came whose epoch is not among those that are held. What follows comes from `tick`, at most every `least_ms`: anyone can forge
    /// such a datagram.
    pub fn unknown(&mut self) {
        match &mut self.0 {
            Side::Offerer(side) => side.want(),
            Side::Answerer(side) => side.want(),
        }
    }

    /// Runs what is due; `sealed`: datagrams sealed so far with the current sealing key, 0 without one.
    pub fn tick(&mut self, sealed: u64, now: u64, random: &dyn SecureRandom) -> Vec<Action> {
        let mut actions = Vec::new();
        match &mut self.0 {
            Side::Offerer(side) => side.tick(sealed, now, random, &mut actions),
            Side::Answerer(side) => side.tick(sealed, now, &mut actions),
        }
        actions
    }

    /// When `tick` must be called next, on the clock of `now`; u64::MAX: not before something else happens. It does not know of `sealed`: who
    /// seals fast enough for that bound calls `tick` now and then.
    pub fn next_ms(&self) -> u64 {
        match &self.0 {
            Side::Offerer(side) => side.next_ms(),
            Side::Answerer(side) => side.next_ms(),
        }
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "exchange_pair_tests.rs"]
mod pair_tests;
