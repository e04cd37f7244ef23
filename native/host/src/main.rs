// SPDX-License-Identifier: MIT
//! The binary behind both names, `ipopd` and `ipop`: the bundle decides by its arguments what to be.

use std::process::ExitCode;

use ipop_host::{Program, run};

static BYTECODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ipop.bytecode"));

fn main() -> ExitCode {
    // SAFETY: build.rs wrote these bytes with the engine that is linked here.
    let program = unsafe { Program::bytecode(BYTECODE) };
    ExitCode::from(run(&program, std::env::args_os()))
}
