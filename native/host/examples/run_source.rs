// SPDX-License-Identifier: MIT
//! Runs a JavaScript file in the host, for the tests: `run_source FILE [ARGUMENTS]`.

use std::process::ExitCode;

use ipop_host::{Program, run};

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1);
    let path = std::env::args_os().nth(1).unwrap_or_default();
    match std::fs::read_to_string(&path) {
        Ok(source) => ExitCode::from(run(&Program::source(&source), args)),
        Err(_) => ExitCode::from(66),
    }
}
