// SPDX-License-Identifier: MIT
//! The frame path: a switch forwards between its ports by rules that TypeScript decided, and asks (an upcall) where none is.
//!
//! One frame's way: [`parse`] and [`guard`] judge it, [`rules`] says where it goes, [`upcall`] keeps it while TypeScript decides,
//! [`switch`] joins these, [`ingress`] is the short way for what it has seen before. [`tap`] and [`memory`] are ports; links are ports of another crate, through `ipop_base::PortTransmit`.

mod budget;
mod clock;
mod generation;
mod guard;
mod ingress;
mod memory;
mod parse;
mod plain;
mod port;
mod rules;
mod switch;
mod tap;
mod tap_device;
mod upcall;

pub use clock::Clock;
pub use memory::MemoryPort;
pub use port::{PortCounters, PortKind};
pub use switch::{OUT_DROP, OUT_FLOOD, OUT_RULES, Switch};
pub use tap::Tap;
pub use upcall::Miss;
