// SPDX-License-Identifier: MIT
//! The binary behind both names, `ipopd` and `ipop`: the bundle decides by its arguments what to be.

use std::process::ExitCode;

use ipop_host::{Program, run};

static BYTECODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ipop.bytecode"));

/// glibc's heaps, of which each thread that allocates would have its own and hardly give anything back. Few of ours allocate at once.
#[cfg(target_env = "gnu")]
const HEAPS: i32 = 2;

fn main() -> ExitCode {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes two numbers, and no other thread runs yet. Where it fails, memory is all it costs.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
    }
    // SAFETY: build.rs wrote these bytes with the engine that is linked here.
    let program = unsafe { Program::bytecode(BYTECODE) };
    ExitCode::from(run(&program, std::env::args_os()))
}
