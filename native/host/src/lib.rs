// SPDX-License-Identifier: MIT
//! Runs one JavaScript program on quickjs-ng over the native library: the adapter between `src/runtime/host.ts` and the system.
//! The program sees one global, `__host`; everything runs on the thread that called [`run`].

mod engine;
mod event_loop;
mod host_object;
mod native;
mod shared;
mod signals;
mod thrown;

pub use engine::{Program, run};
pub use native::native_names;
