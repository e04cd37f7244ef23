// SPDX-License-Identifier: MIT
//! DNS SRV look-ups (RFC 2782), which getaddrinfo does not do. One short thread each; the answer is told by a record, what to make of it
//! is TypeScript's.

mod answer;
mod query;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipop_base::{Error, Handle, RecordQueue, RecordType, Result, TextMap, TextMapWriter, next_handle};

use crate::sys;
use answer::Srv;
use query::Asker;

/// Two for each network that connects, and some that wait for a dead name server.
const MAX_WAITING: usize = 8;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT_MS: u64 = 60_000;
/// As many as libc asks.
const MAX_SERVERS: usize = 3;
const STOP_WITHIN: Duration = Duration::from_secs(1);
const TELL_WITHIN: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(20);
const DNS_PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// All SRV look-ups of the process.
#[derive(Debug)]
pub struct SrvLookups {
    queue: Arc<RecordQueue>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<HashSet<Handle>>,
    /// Signalled whenever a look-up ends.
    ended: Condvar,
    stopping: AtomicBool,
}

/// The keys of ipop_srv_lookup.
#[derive(Debug)]
struct Question {
    name: String,
    /// Empty: those of /etc/resolv.conf.
    servers: Vec<SocketAddr>,
    timeout: Duration,
}

impl SrvLookups {
    /// No look-up yet; records go to `queue`.
    pub fn new(queue: Arc<RecordQueue>) -> Self {
        Self { queue, shared: Arc::default() }
    }

    /// Asks for the SRV records of a name; keys of `config` are in ipop.h. Record SRV follows under the handle that is returned.
    /// EINVAL: a key is missing or wrong; EAGAIN: 8 wait already.
    pub fn start(&self, config: &TextMap) -> Result<Handle> {
        let question = Question::parse(config)?;
        let mut waiting = self.shared.lock();
        if waiting.len() >= MAX_WAITING {
            return Err(Error::new(libc::EAGAIN, format!("{MAX_WAITING} SRV look-ups wait already")));
        }
        let handle = next_handle();
        let (queue, shared) = (self.queue.clone(), self.shared.clone());
        sys::spawn("srv", move || {
            let answer = look_up(&question, &shared.stopping);
            tell(&queue, handle, &answer, &shared.stopping);
            shared.lock().remove(&handle);
            shared.ended.notify_all();
        })?;
        waiting.insert(handle);
        Ok(handle)
    }

    /// Gives all look-ups up and waits for their threads, 1 s at most. Returns how many are left behind, detached.
    pub fn stop(&self) -> usize {
        self.shared.stopping.store(true, Ordering::Release);
        let deadline = Instant::now() + STOP_WITHIN;
        let mut waiting = self.shared.lock();
        while !waiting.is_empty() {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            waiting = self.shared.ended.wait_timeout(waiting, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting.len()
    }
}

impl Drop for SrvLookups {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashSet<Handle>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    fn parse(config: &TextMap) -> Result<Self> {
        let wrong = |key: &str, value: &str, allowed: &str| {
            Error::new(libc::EINVAL, format!("{key} '{value}' is not {allowed}"))
        };
        let name = config.need("name")?;
        if !answer::is_name(name) {
            return Err(wrong("name", name, "a domain name in ASCII"));
        }
        let timeout = match config.get("timeout_ms").filter(|text| !text.is_empty()) {
            None => DEFAULT_TIMEOUT,
            Some(text) => match u64::from_str(text) {
                Ok(value) if (1..=MAX_TIMEOUT_MS).contains(&value) => Duration::from_millis(value),
                _ => return Err(wrong("timeout_ms", text, &format!("a number of 1 to {MAX_TIMEOUT_MS}"))),
            },
        };
        let parse = |text: &str| text.parse().map_err(|_| wrong("server", text, "address:port"));
        let servers = config.all("server").take(MAX_SERVERS).map(parse).collect::<Result<_>>()?;
        Ok(Self { name: name.to_owned(), servers, timeout })
    }
}

fn look_up(question: &Question, stopping: &AtomicBool) -> std::result::Result<Vec<Srv>, String> {
    let servers = if question.servers.is_empty() { system_servers() } else { question.servers.clone() };
    Asker { name: &question.name, stopping, deadline: Instant::now() + question.timeout }.ask(&servers)
}

/// Those of /etc/resolv.conf, or this machine when it names none, as libc does.
fn system_servers() -> Vec<SocketAddr> {
    let text = std::fs::read(RESOLV_CONF).unwrap_or_default();
    let (config, _) = resolv_conf::Config::parse_with_errors(&text);
    let servers = config.get_nameservers_or_local();
    servers.iter().take(MAX_SERVERS).map(|server| SocketAddr::new(IpAddr::from(server), DNS_PORT)).collect()
}

fn tell(queue: &RecordQueue, handle: Handle, answer: &std::result::Result<Vec<Srv>, String>, stopping: &AtomicBool) {
    let payload = match answer {
        Ok(records) => records.iter().fold(TextMapWriter::default(), |map, record| map.put("record", record)).bytes(),
        Err(text) => TextMapWriter::default().put("code", "dns").put("text", text).bytes(),
    };
    let give_up = Instant::now() + TELL_WITHIN;
    // A full queue may empty soon, and the one who asked waits for nothing else.
    while !stopping.load(Ordering::Acquire)
        && !queue.push(RecordType::Srv, handle, &[&payload])
        && Instant::now() < give_up
    {
        std::thread::sleep(TICK);
    }
}
