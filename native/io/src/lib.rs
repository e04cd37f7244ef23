// SPDX-License-Identifier: MIT
//! Everything of the seam that is neither frames nor links: TLS streams, the local control socket, identity and hashes, files and
//! network interfaces. Functions return at once; what takes time runs on threads of this crate and ends in a record.

pub mod control;
pub mod crypto;
pub mod files;
pub mod identity;
pub mod interfaces;
pub mod srv;
pub mod streams;
mod sys;

pub use control::{Control, control_call};
pub use crypto::{HashAlgorithm, Pbkdf2};
pub use identity::{Identity, verify};
pub use interfaces::InterfaceWatch;
pub use srv::SrvLookups;
pub use streams::Streams;
