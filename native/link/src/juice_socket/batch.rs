// SPDX-License-Identifier: MIT
//! Media of one link that waits to leave as one train.

use std::os::fd::RawFd;

use super::{AgentId, sockets};
use crate::udp::{self, Address};

/// Datagrams that wait. Nothing is sent by dropping it.
#[derive(Debug, Default)]
pub struct Batch {
    /// Whose, by which of libjuice's descriptors, and where to. None: nothing waits.
    way: Option<(AgentId, RawFd, Address)>,
    segment: usize,
    /// DS field of what waits and what comes.
    tos: u8,
    bytes: Vec<u8>,
    refused: u64,
}

impl Batch {
    /// Adds a datagram; one that does not belong to those that wait lets them go first. False: no such agent lives, or not any more.
    pub(super) fn add(
        &mut self,
        agent: impl FnOnce() -> Option<AgentId>,
        fd: RawFd,
        to: Address,
        bytes: &[u8],
    ) -> bool {
        let full = self.bytes.len() + bytes.len() > udp::MAX_TRAIN
            || self.bytes.len() >= (udp::MAX_DATAGRAMS - 1) * self.segment;
        let is_same = self.way.is_some_and(|(_, known_fd, known_to)| known_fd == fd && known_to == to);
        if full || bytes.len() > self.segment || !is_same {
            self.send();
        }
        if self.way.is_none() {
            let Some(agent) = agent() else { return false };
            (self.way, self.segment) = (Some((agent, fd, to)), bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        // A train ends with its first shorter datagram.
        if bytes.len() < self.segment {
            self.send();
        }
        true
    }

    /// What comes has this DS field.
    pub(super) fn mark(&mut self, tos: u8) {
        if tos != self.tos {
            self.send();
            self.tos = tos;
        }
    }

    /// Sends what waits.
    pub fn send(&mut self) {
        let Some((agent, fd, to)) = self.way.take() else { return };
        let sockets = sockets();
        self.refused += if sockets.lives(agent) {
            udp::send_datagrams(fd, &self.bytes, self.segment, &to, self.tos).datagrams
        } else {
            self.bytes.len().div_ceil(self.segment) as u64
        };
        self.bytes.clear();
    }

    /// Datagrams that did not go since the last call: the kernel had no room for them, or the agent is gone.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}
