// SPDX-License-Identifier: MIT
//! Probes of the direct path, and the size of datagrams it takes (PROTOCOL 5.4; RFC 8899 in spirit). Time is handed in, in ms.

/// Sizes that are tried over IPv4, in bytes of UDP payload: those of Ethernet, PPPoE, and what tunnels usually leave.
pub const IPV4_SIZES: [u16; 11] = [1472, 1464, 1452, 1432, 1412, 1392, 1352, 1312, 1280, 1252, 1200];
/// The same over IPv6.
pub const IPV6_SIZES: [u16; 11] = [1452, 1444, 1432, 1412, 1392, 1372, 1332, 1292, 1260, 1232, 1200];

/// A datagram of kind 3 to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Comes back in the answer.
    pub id: u32,
    /// Bytes of UDP payload, all included.
    pub size: u16,
}

/// Bounds that depend on the link.
#[derive(Debug, Clone, Copy)]
pub struct PathParams {
    /// Time between probes while nothing is sent.
    pub idle_ms: u64,
}

/// The direct path of one link, as far as probes know it.
pub struct Path {}

impl Path {
    /// Begins to probe at `now`. `first_id` should be random: answers to probes of an earlier `Path` are then not taken for this one's.
    pub fn new(_is_ipv6: bool, _first_id: u32, _params: PathParams, _now: u64) -> Self {
        todo!()
    }

    /// The next probe to send; to be called until None.
    pub fn due(&mut self, _now: u64) -> Option<Probe> {
        todo!()
    }

    /// An answer came: the probe's id, and its bytes as the peer received it.
    pub fn answered(&mut self, _id: u32, _size: u16, _now: u64) {
        todo!()
    }

    /// Sending a datagram of this size failed with EMSGSIZE.
    pub fn too_big(&mut self, _size: u16, _now: u64) {
        todo!()
    }

    /// The path leads elsewhere: all that is known does not hold any more.
    pub fn moved(&mut self, _is_ipv6: bool, _now: u64) {
        todo!()
    }

    /// Data was sent by express.
    pub fn sent(&mut self, _now: u64) {
        todo!()
    }

    /// When `due` must be called next.
    pub fn next_ms(&self) -> u64 {
        todo!()
    }

    /// Bytes of UDP payload that a datagram may have; None while express must not carry.
    pub fn size(&self) -> Option<u16> {
        todo!()
    }

    /// In words, for status.
    pub fn why(&self) -> &'static str {
        todo!()
    }
}
