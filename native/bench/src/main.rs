// SPDX-License-Identifier: MIT
//! Measures what each stage costs, relative to a reference of the same run; `bench/stages.ts` calls it and judges.
//!
//!     ipop-bench stages SECONDS [NAME...]         the native stages, all or those named
//!     ipop-bench script FILE SECONDS [NAME...]    a module, in the engine that ipopd has, built as there
//!
//! One line for each stage: name, ns of a call, frames and bytes of a call, ratio to the reference; tabs between them.

use std::io::Write;
use std::process::ExitCode;

mod aead;
mod forwarding;
mod measure;
mod offloading;
mod pieces;
mod queueing;
mod script;

// These crates keep them to themselves.
#[allow(dead_code, reason = "only what runs once a frame is measured")]
#[path = "../../link/src/fragment.rs"]
mod fragment;
#[path = "../../datapath/src/guard.rs"]
mod guard;
#[path = "../../offload/tests/common/mod.rs"]
mod packets;
#[allow(dead_code, reason = "as above")]
#[path = "../../datapath/src/parse.rs"]
mod parse;
#[allow(dead_code, reason = "as above")]
#[path = "../../link/src/rtp.rs"]
mod rtp;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["stages", seconds, names @ ..] => stages(seconds, names),
        ["script", file, rest @ ..] => script::run(file, rest),
        _ => Err("usage: ipop-bench stages SECONDS [NAME...] | ipop-bench script FILE SECONDS [NAME...]".into()),
    };
    let Err(problem) = result else { return ExitCode::SUCCESS };
    // The reader of stderr may be gone; the exit code stays.
    let _ = writeln!(std::io::stderr(), "ipop-bench: {problem}");
    ExitCode::from(2)
}

fn stages(seconds: &str, names: &[&str]) -> Result<(), String> {
    let seconds: f64 = seconds.parse().map_err(|_| format!("'{seconds}' is no number of seconds"))?;
    let mut stages = forwarding::stages();
    stages.extend(offloading::stages());
    stages.extend(aead::stages());
    stages.extend(pieces::stages());
    stages.extend(queueing::stages());
    if let Some(unknown) = names.iter().find(|name| stages.iter().all(|stage| stage.name != **name)) {
        return Err(format!("there is no stage '{unknown}'"));
    }
    stages.retain(|stage| names.is_empty() || names.contains(&stage.name.as_str()));
    measure::run(&mut stages, seconds);
    let mut out = std::io::stdout().lock();
    for stage in &stages {
        writeln!(out, "{}", stage.line()).map_err(|cause| format!("cannot write: {cause}"))?;
    }
    Ok(())
}
