// SPDX-License-Identifier: MIT
//! The threads behind `Links`: commands to libdatachannel, closing of agents, and the timer.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipop_base::{Handle, Result};

use crate::agent::{self, Agent};
use crate::link::Link;
use crate::sdp::Description;

/// How often the timer looks at each link: a fifth of the report delay.
const TICK: Duration = Duration::from_millis(50);
/// How long an agent may take to say goodbye before it is deleted: the peer may be gone.
const CLOSE_LIMIT: Duration = Duration::from_millis(1000);
/// How often closing agents are looked at.
const CLOSE_POLL: Duration = Duration::from_millis(10);

/// How many `Links` run in this process; libdatachannel's own threads end with the last.
static RUNNING: Mutex<usize> = Mutex::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// Sleeps while there is no link.
#[derive(Debug, Default)]
pub struct Timer {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Timer {
    /// A link was opened.
    pub fn wake(&self) {
        drop(lock(&self.stopped));
        self.changed.notify_all();
    }

    /// Ends the timer thread.
    pub fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }
}

/// Looks at every link every 50 ms, until the timer is stopped.
pub fn run_timer(timer: &Timer, links: &Mutex<HashMap<Handle, Arc<Link>>>) {
    let mut now_open: Vec<Arc<Link>> = Vec::new();
    loop {
        let mut stopped = lock(&timer.stopped);
        while lock(links).is_empty() && !*stopped {
            stopped = timer.changed.wait(stopped).unwrap_or_else(PoisonError::into_inner);
        }
        let stopped = match *stopped {
            true => true,
            false => *timer.changed.wait_timeout(stopped, TICK).unwrap_or_else(PoisonError::into_inner).0,
        };
        if stopped {
            return;
        }
        now_open.extend(lock(links).values().cloned());
        now_open.iter().for_each(|link| link.tick());
        now_open.clear();
    }
}
