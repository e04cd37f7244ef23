// SPDX-License-Identifier: MIT
//! The express carriage (PROTOCOL 5) without its I/O: sealing, keys and their exchange, replay, probes and path MTU.
//!
//! Everything here is pure: time in ms, randomness and messages are handed in, and what is to be done is handed out.

mod answerer;
mod epochs;
mod exchange;
mod keys;
mod message;
mod offerer;
mod path;
mod replay;
mod seal;
mod wiped;

pub use exchange::{Action, Exchange, Params, Role};
pub use keys::{Binding, Ephemeral, EpochKeys, KEY_LEN, Material, Party, derive};
pub use message::{Message, is_exchange};
pub use path::{IPV4_SIZES, IPV6_SIZES, Path, PathParams, Probe};
pub use replay::{Replay, WINDOW};
pub use seal::{Cipher, Ciphers, HEADER_LEN, OpenKey, SealKey, TAG_LEN};
