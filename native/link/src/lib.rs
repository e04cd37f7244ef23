// SPDX-License-Identifier: MIT
//! Links: ICE, DTLS and the control channel by libdatachannel; Ethernet frames as SRTP packets (docs/PROTOCOL.md, section 4).
//!
//! `Links` is the whole public API. Below it: `link` is one link's state and what happens to it, `carriage` turns frames
//! into packets and back, `agent` is the only place that calls libdatachannel, `workers` are the threads,
//! `shape` is what the links of a network share, and the two guards stand between libdatachannel and what it is made of.

mod agent;
mod candidate;
mod carriage;
mod dtls_guard;
mod express;
mod fragment;
mod inbound;
mod juice_guard;
mod juice_socket;
mod link;
mod links;
mod report;
mod rtp;
mod sdp;
mod shape;
mod threads;
mod udp;
mod workers;

#[cfg(test)]
mod net_tests;

use std::sync::Arc;

use ipop_base::{DropCounters, FrameSink, Handle, PortTransmit};

pub use links::{Links, Role};
pub use shape::ShapeSettings;

/// How a link becomes a port of a switch.
pub trait PortRegistrar {
    /// Adds the link as a disabled link port. `transmit` sends a frame out of it, `drops` are counted here and in the switch
    /// alike. Returns where received frames go. The port stays until the caller of `Links::close` removes it.
    fn register(&self, port: Handle, transmit: Arc<dyn PortTransmit>, drops: Arc<DropCounters>) -> Arc<dyn FrameSink>;

    /// The network it is a link of: those of one network are shaped together (`Links::shape`).
    fn network(&self) -> Handle;
}
