// SPDX-License-Identifier: MIT
//! What keeps queues short where a link is slower than what wants to cross it. Pure: time is handed in, frames are what the caller says.
//!
//! - [`FairQueue`]: fair between links, and within a link by flow, each kept short by CoDel (RFC 8289, RFC 8290);
//! - [`Standing`]: what can be done about a queue of the kernel's;
//! - [`Shaper`]: bits per second;
//! - [`Ecn`]: congestion marks through a tunnel (RFC 6040);
//! - [`Breaker`]: too much loss for too long (RFC 8084).
#![forbid(unsafe_code)]

mod breaker;
mod codel;
mod ecn;
mod fair;
mod flow;
mod flows;
mod rounds;
mod shaper;
mod standing;

pub use breaker::{Breaker, Meter};
pub use codel::CodelParams;
pub use ecn::{Ecn, receive};
pub use fair::FairQueue;
pub use flow::{flow_of, is_tcp};
pub use shaper::Shaper;
pub use standing::Standing;

/// Something that waits in a queue.
pub trait Waiting {
    /// What it counts for, in bytes on the wire.
    fn bytes(&self) -> usize;

    /// Marks it as having met congestion; false when its sender does not know such marks: then it is dropped instead.
    fn mark(&mut self) -> bool;
}
