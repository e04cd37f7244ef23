// SPDX-License-Identifier: MIT
//! A WAN between two Ethernet interfaces, in user space: delay, jitter, loss, bursts, reordering, duplication, a bottleneck with its queue.
//!
//!     lab-wan NEAR FAR SEED UP DOWN
//!
//! Joins the interfaces until it is killed. `UP` is the spec from NEAR to FAR, `DOWN` back (words.rs). Writes `{"ready":true}`, then an answer
//! to each line of standard input. Frames leave at (kernel's stamp of arrival + what the line says), so that late wake-ups do not add up.
//! The senders on both sides must cut their super-packets (`gso_max_segs 1`): one that comes is counted and dropped.

mod agenda;
mod direction;
mod line;
#[cfg(test)]
mod line_tests;
mod random;
mod wire;
mod words;
#[cfg(test)]
mod words_tests;

use std::io::{Error, Read as _, Write as _};
use std::process::ExitCode;
use std::ptr;

use direction::Direction;
use line::{Line, Nanos};
use wire::{BATCH, Wire, now};
use words::Command;

/// Under load frames are fetched so often, and wait in the kernel meanwhile: fewer system calls for each.
const HOLD: Nanos = 200_000;
const LEAST_HOLD: Nanos = 20_000;
const MAX_COMMAND: usize = 4096;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match start(&args) {
        Ok(never) => match never {},
        Err(text) => {
            eprintln!("lab-wan: {text}");
            ExitCode::from(2)
        }
    }
}

fn start(args: &[String]) -> Result<std::convert::Infallible, String> {
    let [near, far, seed, up, down] = args else { return Err("usage: lab-wan NEAR FAR SEED UP DOWN".into()) };
    let seed: u64 = seed.parse().map_err(|_| format!("seed '{seed}': a whole number is wanted"))?;
    let open = |device: &str| Wire::open(device).map_err(|error| format!("interface '{device}': {error}"));
    let mut wan = Wan {
        wires: [open(near)?, open(far)?],
        // An even and an odd seed: the directions share no sequence.
        up: Direction::new(Line::new(words::spec(up)?, 2 * seed)),
        down: Direction::new(Line::new(words::spec(down)?, 2 * seed + 1)),
        line: Vec::new(),
        is_asked: true,
    };
    be_punctual();
    answer("{\"ready\":true}");
    wan.run()
}

struct Wan {
    wires: [Wire; 2],
    up: Direction,
    down: Direction,
    /// What has come of the next command.
    line: Vec<u8>,
    /// Standard input is open.
    is_asked: bool,
}

impl Wan {
    fn run(&mut self) -> ! {
        // When to look for frames; None: when poll says so.
        let mut look = Some(0);
        loop {
            let time = now();
            if look.is_some_and(|at| time >= at) {
                let [near, far] = &mut self.wires;
                let most = self.up.fetch(near, time).max(self.down.fetch(far, time));
                look = match most {
                    0 => None,
                    BATCH => Some(time),
                    _ => Some(time + self.hold()),
                };
            }
            let time = now();
            self.up.depart(&self.wires[1], time);
            self.down.depart(&self.wires[0], time);
            let wake = [self.up.next(), self.down.next(), look].into_iter().flatten().min();
            if self.wait(wake, look.is_none()) {
                look = Some(0);
            }
        }
    }

    /// No longer than half of the shortest delay: what is held would be late.
    fn hold(&self) -> Nanos {
        let least = self.up.line.least_delay().min(self.down.line.least_delay());
        (least / 2).clamp(LEAST_HOLD, HOLD)
    }

    /// Waits until `wake` or a command, and for frames if wanted. Returns whether frames came.
    fn wait(&mut self, wake: Option<Nanos>, frames: bool) -> bool {
        let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let only = |fd: i32, wanted: bool| poll(if wanted { fd } else { -1 });
        let [near, far] = &self.wires;
        let mut polls = [only(0, self.is_asked), only(near.raw_fd(), frames), only(far.raw_fd(), frames)];
        let span = wake.map(|at| at.saturating_sub(now()));
        let limit = span.map(|span| libc::timespec {
            tv_sec: (span / 1_000_000_000) as i64,
            tv_nsec: (span % 1_000_000_000) as i64,
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the array and the time live through the call.
        let count = unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as u64, limit, ptr::null()) };
        if count <= 0 {
            return false;
        }
        if polls[0].revents != 0 {
            self.listen();
        }
        polls[1].revents != 0 || polls[2].revents != 0
    }

    /// Reads commands and answers them.
    fn listen(&mut self) {
        let mut bytes = [0; MAX_COMMAND];
        // Poll said that there is something: this does not block.
        let count = std::io::stdin().lock().read(&mut bytes).unwrap_or(0);
        self.is_asked = count > 0;
        self.line.extend_from_slice(&bytes[..count]);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let reply = self.obey(String::from_utf8_lossy(&line).trim());
            answer(&reply);
        }
        self.line.truncate(MAX_COMMAND);
    }

    fn obey(&mut self, line: &str) -> String {
        match words::command(line) {
            Err(text) => format!("{{\"error\":{text:?}}}"),
            Ok((id, Command::Set { up, spec })) => {
                let direction = if up { &mut self.up } else { &mut self.down };
                direction.line.set(spec);
                format!("{{\"id\":{id}}}")
            }
            Ok((id, Command::Counters)) => {
                let [near, far] = &self.wires;
                let (up, down) = (self.up.report(near), self.down.report(far));
                let cpu = wire::clock(libc::CLOCK_PROCESS_CPUTIME_ID) / 1_000_000;
                format!("{{\"id\":{id},\"cpuMs\":{cpu},\"up\":{up},\"down\":{down}}}")
            }
        }
    }
}

fn answer(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody to tell is no reason to stop forwarding.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line does not wait for a CPU. Without the right to that it does what it can, and counts what is late.
fn be_punctual() {
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
        let priority = libc::sched_param { sched_priority: 1 };
        if libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) != 0 {
            eprintln!("lab-wan: no real-time priority: {}", Error::last_os_error());
        }
    }
}
