// SPDX-License-Identifier: MIT
//! When epochs begin and end (PROTOCOL 5.3), over the link's reliable and ordered control channel. Time is handed in, in ms.

use ring::rand::SecureRandom;

use crate::keys::Binding;
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
    /// Time between two ASKs, and between two exchanges that were asked for.
    pub ask_ms: u64,
    /// After the last INIT went unanswered: how long until the next one.
    pub pause_ms: u64,
}

/// What the caller must do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send this message on the control channel.
    Send(Vec<u8>),
    /// From now on datagrams of this epoch can be opened, with a new replay window.
    Open(u32, OpenKey),
    /// From now on seal with this epoch, counters from 0; drop the key before it.
    Seal(u32, SealKey),
    /// Drop the opening key of this epoch.
    Forget(u32),
    /// A message was passed over, and why; nothing changed.
    Refused(String),
    /// Drop the sealing key: express carries nothing until the next `Seal`.
    Failed(String),
}

/// One side's part in the exchange.
pub struct Exchange {}

impl Exchange {
    /// Begins at `now`: the first `tick` of the offerer sends the first INIT.
    pub fn new(_role: Role, _binding: Binding, _params: Params, _now: u64) -> Self {
        todo!()
    }

    /// Takes a message for which `is_exchange` holds.
    pub fn message(&mut self, _bytes: &[u8], _now: u64, _random: &dyn SecureRandom) -> Vec<Action> {
        todo!()
    }

    /// A datagram of this epoch was opened. To be called at least for the first one of each epoch; others cost nothing.
    pub fn opened(&mut self, _epoch: u32, _now: u64) -> Vec<Action> {
        todo!()
    }

    /// A datagram came whose epoch is not among those that are held. Rate-limited; what follows comes from `tick`.
    pub fn unknown(&mut self, _now: u64) {
        todo!()
    }

    /// Runs what is due; `sealed`: datagrams sealed so far with the current sealing key.
    pub fn tick(&mut self, _sealed: u64, _now: u64, _random: &dyn SecureRandom) -> Vec<Action> {
        todo!()
    }

    /// When `tick` must be called next, on the clock of `now`; u64::MAX: not before something else happens.
    pub fn next_ms(&self) -> u64 {
        todo!()
    }
}
