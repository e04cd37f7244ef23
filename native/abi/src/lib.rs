// SPDX-License-Identifier: MIT
//! The C ABI of `native/include/ipop.h`, which is the documentation of every function here. Nothing is decided in this crate: each
//! entry point checks its buffers, finds the object of a handle and calls the crate that does the work.

mod call;
mod io;
mod link;
mod process;
mod switch;

pub use io::*;
pub use link::*;
pub use process::*;
pub use switch::*;
