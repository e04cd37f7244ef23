// SPDX-License-Identifier: MIT
//! The threads behind `Links`: commands to libdatachannel, closing of agents, and the timer.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipop_base::{Handle, Result, lock};

use crate::agent::{self, Agent};
use crate::link::Link;
use crate::sdp::Description;

/// Shortest sleep of the timer, but for being woken.
const LEAST_TICK: Duration = Duration::from_millis(1);
/// How long an agent may take to say goodbye before it is deleted: the peer may be gone.
const CLOSE_LIMIT: Duration = Duration::from_millis(1000);
/// How often closing agents are looked at.
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// How many `Links` run in this process; libdatachannel's own threads end with the last.
static RUNNING: Mutex<usize> = Mutex::new(0);

/// What libdatachannel is asked to do, in order.
#[derive(Debug)]
pub enum Command {
    /// Make the agent with these servers; an offerer offers.
    Create(Arc<Link>, Vec<String>),
    /// Take the peer's description.
    Remote(Arc<Link>, Description),
    /// Take a candidate.
    Candidate(Arc<Link>, String),
}

/// Runs commands until the channel ends. A failed command loses its link, but for a candidate, which others can replace.
pub fn run_commands(commands: &Receiver<Command>) {
    for command in commands {
        match command {
            Command::Create(link, servers) => lose_on_error(&link, create(&link, &servers)),
            Command::Remote(link, description) => lose_on_error(&link, remote(&link, &description)),
            Command::Candidate(link, candidate) => {
                let slot = link.agent();
                if let Some(agent) = slot.agent.as_ref().filter(|_| !slot.closed) {
                    let _ = agent.candidate(&candidate);
                }
            }
        }
    }
}

fn create(link: &Link, servers: &[String]) -> Result<()> {
    let mut slot = link.agent();
    if slot.closed {
        return Ok(());
    }
    let agent = slot.agent.insert(Agent::create(link.handle(), servers)?);
    link.set_agent_id(agent.id());
    if link.is_answering() { Ok(()) } else { agent.offer(link) }
}

fn remote(link: &Link, description: &Description) -> Result<()> {
    let mut slot = link.agent();
    if slot.closed {
        return Ok(());
    }
    if let Some(agent) = &slot.agent {
        agent.remote(description, link.is_answering())?;
        slot.described_ms = Some(link.now_ms());
        link.release(&slot);
        link.wake_timer();
    }
    Ok(())
}

fn lose_on_error(link: &Link, result: Result<()>) {
    if let Err(error) = result {
        link.lose("internal", &error.text);
    }
}

/// Counts a running `Links`.
pub fn process_started() {
    *lock(&RUNNING) += 1;
}

/// Closes agents, and deletes each when it has said goodbye or took too long, until the channel ends.
pub fn run_reaper(links: &Receiver<Arc<Link>>, closing: &Mutex<usize>) {
    let mut waiting: Vec<(Arc<Link>, Instant)> = Vec::new();
    loop {
        let next = if waiting.is_empty() {
            links.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            links.recv_timeout(CLOSE_POLL)
        };
        match next {
            Ok(link) => {
                begin_close(&link);
                waiting.push((link, Instant::now() + CLOSE_LIMIT));
            }
            Err(RecvTimeoutError::Disconnected) if waiting.is_empty() => break,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(CLOSE_POLL),
            Err(RecvTimeoutError::Timeout) => {}
        }
        waiting.retain(|(link, deadline)| {
            let keep = !link.is_agent_closed() && Instant::now() < *deadline;
            if !keep {
                delete(link);
                *lock(closing) -= 1;
            }
            keep
        });
    }
    let mut running = lock(&RUNNING);
    *running -= 1;
    if *running == 0 {
        agent::cleanup();
    }
}

fn begin_close(link: &Link) {
    let mut slot = link.agent();
    slot.closed = true;
    match &slot.agent {
        Some(agent) => agent.close(),
        None => link.on_agent_closed(),
    }
}

fn delete(link: &Link) {
    let agent = link.agent().agent.take();
    if let Some(agent) = agent {
        agent.delete(&link.ids());
    }
    agent::unregister(link.handle());
}

/// When to look at the links: at the time that the first of them named, or when it is woken.
#[derive(Debug, Default)]
pub struct Timer {
    state: Mutex<TimerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TimerState {
    stopped: bool,
    woken: bool,
}

impl Timer {
    /// Something happened that a link's `tick` must see soon: a new link, the first frame after a while.
    pub fn wake(&self) {
        lock(&self.state).woken = true;
        self.changed.notify_all();
    }

    /// Ends the timer thread.
    pub fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Waits until it is woken, or this time is over; not at all without one. False: the thread shall end.
    fn wait(&self, time: Option<Duration>) -> bool {
        let until = time.map(|time| Instant::now() + time);
        let mut state = lock(&self.state);
        loop {
            if state.stopped || std::mem::take(&mut state.woken) {
                return !state.stopped;
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return true,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

/// Looks at every link when one of them is due, until the timer is stopped.
pub fn run_timer(timer: &Timer, links: &Mutex<HashMap<Handle, Arc<Link>>>) {
    let mut now_open: Vec<Arc<Link>> = Vec::new();
    let mut next = None;
    while timer.wait(next) {
        now_open.extend(lock(links).values().cloned());
        // However often it is woken: what is due in between may wait so long.
        next = now_open.iter().map(|link| link.tick().max(LEAST_TICK)).min();
        now_open.clear();
    }
}
