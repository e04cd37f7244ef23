// SPDX-License-Identifier: MIT
//! The words a spec is written in, and the commands: what wan.ts says to this program.
//!
//! A spec is `none` or `key=value,...`; times in nanoseconds, rate in bit/s, queue in bytes, the rest probabilities:
//! delay jitter loss enter leave loss_bad loss_good reorder reorder_by duplicate rate queue.

use crate::line::Spec;

/// Reads a spec. The error says which word is wrong, and what is allowed.
pub fn spec(text: &str) -> Result<Spec, String> {
    let mut spec = Spec::default();
    if text == "none" {
        return Ok(spec);
    }
    for word in text.split(',') {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("'{word}': key=value is wanted"))?;
        let whole = || value.parse::<u64>().map_err(|_| format!("{key} '{value}': a whole number is wanted"));
        let share = || match value.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err(format!("{key} '{value}': a probability from 0 to 1 is wanted")),
        };
        match key {
            "delay" => spec.delay = whole()?,
            "jitter" => spec.jitter = whole()?,
            "loss" => spec.loss = share()?,
            "enter" => spec.burst.enter = share()?,
            "leave" => spec.burst.leave = share()?,
            "loss_bad" => spec.burst.loss_bad = share()?,
            "loss_good" => spec.burst.loss_good = share()?,
            "reorder" => spec.reorder = share()?,
            "reorder_by" => spec.reorder_by = whole()?,
            "duplicate" => spec.duplicate = share()?,
            "rate" => spec.rate = whole()?,
            "queue" => spec.queue = whole()?,
            _ => return Err(format!("'{key}' is no word of a spec")),
        }
    }
    check(&spec)?;
    Ok(spec)
}

/// An hour: longer times are slips of the unit, and sums of them could overflow.
const MAX_TIME: u64 = 3_600_000_000_000;

fn check(spec: &Spec) -> Result<(), String> {
    for (name, time) in [("delay", spec.delay), ("jitter", spec.jitter), ("reorder_by", spec.reorder_by)] {
        if time > MAX_TIME {
            return Err(format!("{name} '{time}': at most {MAX_TIME} ns"));
        }
    }
    if spec.jitter > spec.delay {
        return Err(format!("jitter '{}': at most the delay, {}", spec.jitter, spec.delay));
    }
    if spec.rate > 0 && (spec.rate < 1_000 || spec.queue == 0) {
        return Err(format!("rate '{}': at least 1000 bit/s, and with a queue", spec.rate));
    }
    if spec.queue > 0 && spec.rate == 0 {
        return Err(format!("queue '{}': there is none without a rate", spec.queue));
    }
    Ok(())
}

/// What can be asked on standard input, a line each, after a number that the answer repeats.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// `set up|down SPEC`
    Set {
        /// The direction from the first interface to the second.
        up: bool,
        /// All of it: what is not said is none.
        spec: Spec,
    },
    /// `counters`
    Counters,
}

/// Reads one line.
pub fn command(line: &str) -> Result<(u64, Command), String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let id = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}': a command begins with its number"));
    match words[..] {
        [number, "counters"] => Ok((id(number)?, Command::Counters)),
        [number, "set", to @ ("up" | "down"), text] => {
            Ok((id(number)?, Command::Set { up: to == "up", spec: spec(text)? }))
        }
        _ => Err(format!("'{line}' is no command: NUMBER counters, NUMBER set up|down SPEC")),
    }
}
