// SPDX-License-Identifier: MIT
//! Offload between taps and links, which a network card would do otherwise: super-frames are cut into frames that fit a datagram,
//! and frames that came in a row are joined again. Pure: no I/O, no time, no allocation for a frame.
//!
//! A checksum is _open_ while its field holds the sum of the pseudo-header only (Linux: CHECKSUM_PARTIAL; virtio 1.2, 5.1.6: NEEDS_CSUM).
//! It stays so from tap to tap where it can: a [`Mark`] beside each frame says where it is.
#![forbid(unsafe_code)]

mod behead;
pub mod checksum;
mod cut;
mod headers;
mod join;
mod mark;
pub mod mss;
mod template;
mod vnet;

pub use behead::behead;
pub use cut::Cut;
pub use headers::{Layout, Protocol};
pub use join::Join;
pub use mark::Mark;
pub use vnet::{Gso, Offload};
