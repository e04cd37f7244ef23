// SPDX-License-Identifier: MIT
//! The epochs a side has switched to: the one it seals with, and the one before, which it can still open.

use crate::exchange::Action;
use crate::seal::SealKey;

/// The epoch that is sealed with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Current {
    pub epoch: u32,
    pub since_ms: u64,
}

/// Both.
#[derive(Debug)]
pub(crate) struct Epochs {
    current: Option<Current>,
    /// Epoch, and when to forget it.
    old: Option<(u32, u64)>,
    keep_ms: u64,
}

impl Epochs {
    pub fn new(keep_ms: u64) -> Self {
        Self { current: None, old: None, keep_ms }
    }

    pub fn current(&self) -> Option<Current> {
        self.current
    }

    /// Seals with this epoch from now on.
    pub fn switch(&mut self, epoch: u32, seal: SealKey, now: u64, actions: &mut Vec<Action>) {
        self.retire(now, actions);
        self.current = Some(Current { epoch, since_ms: now });
        actions.push(Action::Seal(epoch, seal));
    }

    /// Seals no more. What the peer still seals can be opened a while longer.
    pub fn fail(&mut self, reason: String, now: u64, actions: &mut Vec<Action>) {
        self.retire(now, actions);
        actions.push(Action::Failed(reason));
    }

    /// Makes room for a new epoch: by now the peer has left the old one.
    pub fn forget_old(&mut self, actions: &mut Vec<Action>) {
        actions.extend(self.old.take().map(|(epoch, _)| Action::Forget(epoch)));
    }

    /// Forgets the old epoch when its time is over.
    pub fn expire(&mut self, now: u64, actions: &mut Vec<Action>) {
        if self.next_ms() <= now {
            self.forget_old(actions);
        }
    }

    /// When `expire` has something to do.
    pub fn next_ms(&self) -> u64 {
        self.old.map_or(u64::MAX, |(_, until_ms)| until_ms)
    }

    fn retire(&mut self, now: u64, actions: &mut Vec<Action>) {
        if let Some(Current { epoch, .. }) = self.current.take() {
            self.forget_old(actions);
            self.old = Some((epoch, now.saturating_add(self.keep_ms)));
        }
    }
}
