// SPDX-License-Identifier: MIT
//! All links of the process: what callers may do with them. No call waits for libdatachannel; workers do.

use std::collections::HashMap;
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipop_base::{Error, Handle, RecordQueue, Result, TextMap, Worker, lock, next_handle};

use crate::link::{Link, Phase};
use crate::sdp::Description;
use crate::shape::{Shape, ShapeSettings};
use crate::workers::{self, Command, Timer};
use crate::{PortRegistrar, agent, candidate, express, threads};

/// A full mesh of 128 peers is far beyond what a router carries.
const MAX_LINKS: usize = 128;
/// Commands that may wait for the worker: a few for each link.
const MAX_COMMANDS: usize = 1024;
const MAX_STUN: usize = 1;
/// libjuice takes no more.
const MAX_TURN: usize = 2;
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Who begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// This side makes the offer.
    Offer,
    /// The peer does.
    Answer,
}

/// All links of the process.
#[derive(Debug)]
pub struct Links {
    queue: Arc<RecordQueue>,
    worker: Arc<Worker>,
    links: Arc<Mutex<HashMap<Handle, Arc<Link>>>>,
    timer: Arc<Timer>,
    /// By network.
    shapes: Mutex<HashMap<Handle, Arc<Shape>>>,
    closing: Arc<Mutex<usize>>,
    senders: Mutex<Option<Senders>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    may_change_ssrc: bool,
}

#[derive(Debug)]
struct Senders {
    commands: SyncSender<Command>,
    reaper: Sender<Arc<Link>>,
}

impl Links {
    /// Starts the threads: one for commands, one that closes agents, one timer. `worker` reads what arrives; it must outlive this.
    pub fn start(queue: Arc<RecordQueue>, worker: Arc<Worker>) -> Result<Arc<Self>> {
        agent::init();
        let (commands, command_receiver) = sync_channel(MAX_COMMANDS);
        let (reaper, reaper_receiver) = channel();
        let links = Arc::new(Mutex::default());
        let timer = Arc::new(Timer::default());
        let closing = Arc::new(Mutex::new(0));
        workers::process_started();
        let this = Arc::new(Self {
            queue,
            worker,
            links: Arc::clone(&links),
            timer: Arc::clone(&timer),
            shapes: Mutex::default(),
            closing: Arc::clone(&closing),
            senders: Mutex::new(Some(Senders { commands, reaper })),
            workers: Mutex::default(),
            may_change_ssrc: std::env::var_os("IPOP_TEST_NO_SSRC_CHANGE").is_none_or(|value| value != "1"),
        });
        let mut started = lock(&this.workers);
        started.push(threads::spawn("link-command", move || workers::run_commands(&command_receiver))?);
        started.push(threads::spawn("link-timer", move || workers::run_timer(&timer, &links))?);
        started.push(threads::spawn("link-reaper", move || workers::run_reaper(&reaper_receiver, &closing))?);
        drop(started);
        Ok(this)
    }

    /// Makes a link as a disabled port of the switch. Config as in ipop_link_open. EINVAL: bad server; ENOTSUP: ufrag and pwd, which
    /// the C API of libdatachannel cannot set; EAGAIN: 128 links, or too much waits; ESHUTDOWN.
    pub fn open(&self, registrar: &dyn PortRegistrar, role: Role, config: &TextMap) -> Result<Handle> {
        let servers = servers(config)?;
        if config.get("ufrag").is_some() || config.get("pwd").is_some() {
            return Err(Error::new(
                libc::ENOTSUP,
                "local ICE credentials cannot be chosen: libjuice makes random ones",
            ));
        }
        let shape = self.shape_of(registrar.network())?;
        let link = {
            let mut links = lock(&self.links);
            if links.len() >= MAX_LINKS || *lock(&self.closing) >= MAX_LINKS {
                return Err(Error::new(libc::EAGAIN, format!("there are {MAX_LINKS} links already")));
            }
            let handle = next_handle();
            let (timer, worker) = (self.timer.clone(), self.worker.clone());
            let answering = role == Role::Answer;
            let (queue, may_change) = (self.queue.clone(), self.may_change_ssrc);
            let link = Arc::new(Link::new(handle, answering, queue, timer, worker, shape, may_change)?);
            links.insert(handle, link.clone());
            link
        };
        let sink = registrar.register(link.handle(), link.clone(), link.drops());
        agent::register(&link);
        if let Err(error) = link.set_sink(sink).and_then(|()| self.command(Command::Create(link.clone(), servers))) {
            agent::unregister(link.handle());
            lock(&self.links).remove(&link.handle());
            link.close();
            return Err(error);
        }
        self.timer.wake();
        Ok(link.handle())
    }

    /// Says how the links of a network are shaped, those to come too. Counts at once. EINVAL as in `ShapeSettings::parse`.
    pub fn shape(&self, network: Handle, config: &TextMap) -> Result<()> {
        let settings = ShapeSettings::parse(config)?;
        self.shape_of(network)?.configure(&settings);
        Ok(())
    }

    /// A network is gone, and its links before it.
    pub fn forget_network(&self, network: Handle) {
        let shape = lock(&self.shapes).remove(&network);
        if let Some(shape) = shape {
            shape.close();
        }
    }

    fn shape_of(&self, network: Handle) -> Result<Arc<Shape>> {
        let mut shapes = lock(&self.shapes);
        if let Some(shape) = shapes.get(&network) {
            return Ok(shape.clone());
        }
        let shape = Shape::new(self.worker.clone())?;
        shapes.insert(network, shape.clone());
        Ok(shape)
    }

    /// Takes the peer's description. EINVAL: malformed or wrong setup; EALREADY: it has one; ENOTCONN: lost; ENOENT, EAGAIN.
    pub fn set_remote(&self, link: Handle, config: &TextMap) -> Result<()> {
        let description = Description::from_map(config)?;
        let link = self.find(link)?;
        if link.phase() == Phase::Lost {
            return Err(Error::new(libc::ENOTCONN, format!("link {} is lost", link.handle())));
        }
        link.accept_remote(&description)?;
        self.command(Command::Remote(link, description))
    }

    /// Takes one candidate of the peer. EINVAL: malformed, or its address is a name; ENOSPC over 64; ENOENT, EAGAIN.
    pub fn add_candidate(&self, link: Handle, candidate: &str) -> Result<()> {
        let parsed = candidate::parse(candidate)?;
        let link = self.find(link)?;
        if link.accept_candidate(parsed, candidate)? {
            return self.command(Command::Candidate(link, candidate.to_owned()));
        }
        Ok(())
    }

    /// Sends a message on the control channel. EMSGSIZE over 16 KiB, ENOTCONN, EAGAIN over 64 KiB waiting, ENOENT.
    pub fn send(&self, link: Handle, message: &[u8]) -> Result<()> {
        self.find(link)?.send_message(message)
    }

    /// Begins with the express carriage. Config as in ipop_link_express. EINVAL: malformed; ENOTCONN: not up; EALREADY; ENOENT.
    pub fn express(&self, link: Handle, config: &TextMap) -> Result<()> {
        let link = self.find(link)?;
        link.start_express(express::settings(&link, config)?)
    }

    /// The text map of ipop_link_info. ENOENT.
    pub fn info(&self, link: Handle) -> Result<Vec<u8>> {
        Ok(self.find(link)?.info())
    }

    /// Closes the link: nothing crosses any more when this returns, its agent is torn down by a worker. ENOENT.
    pub fn close(&self, link: Handle) -> Result<()> {
        let removed = lock(&self.links).remove(&link);
        let link = removed.ok_or_else(|| no_link(link))?;
        self.reap(link);
        Ok(())
    }

    /// Closes all links and joins the threads, within 2 s; one that waits for a name server is left behind. A second call does nothing.
    pub fn stop(&self) {
        let deadline = Instant::now() + STOP_LIMIT;
        let links: Vec<_> = lock(&self.links).drain().map(|(_, link)| link).collect();
        links.into_iter().for_each(|link| self.reap(link));
        let shapes: Vec<_> = lock(&self.shapes).drain().map(|(_, shape)| shape).collect();
        shapes.into_iter().for_each(|shape| shape.close());
        // Both channels end, and with them the workers, after what is queued; commands of closed links do nothing.
        drop(lock(&self.senders).take());
        self.timer.stop();
        let workers = std::mem::take(&mut *lock(&self.workers));
        threads::join_until(workers, deadline);
    }

    fn reap(&self, link: Arc<Link>) {
        link.close();
        *lock(&self.closing) += 1;
        if let Some(senders) = &*lock(&self.senders) {
            // Fails only when the worker is gone, and with it libdatachannel.
            let _ = senders.reaper.send(link);
        }
    }

    pub(crate) fn find(&self, handle: Handle) -> Result<Arc<Link>> {
        lock(&self.links).get(&handle).cloned().ok_or_else(|| no_link(handle))
    }

    fn command(&self, command: Command) -> Result<()> {
        let senders = lock(&self.senders);
        let stopped = || Error::new(libc::ESHUTDOWN, "links are stopped");
        let senders = senders.as_ref().ok_or_else(stopped)?;
        senders.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => Error::new(libc::EAGAIN, "too many commands wait for libdatachannel"),
            TrySendError::Disconnected(_) => stopped(),
        })
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.stop();
    }
}

fn no_link(handle: Handle) -> Error {
    Error::new(libc::ENOENT, format!("there is no link {handle}"))
}

/// The servers of the config, checked in kind and number.
fn servers(config: &TextMap) -> Result<Vec<String>> {
    let servers: Vec<String> = config.all("server").map(str::to_owned).collect();
    let stun = servers.iter().filter(|server| server.starts_with("stun:")).count();
    let turn = servers.iter().filter(|server| server.starts_with("turn:") && server.contains('@')).count();
    if stun + turn != servers.len() {
        return Err(Error::new(libc::EINVAL, "a server is neither stun:host:port nor turn:user:password@host:port"));
    }
    if stun > MAX_STUN || turn > MAX_TURN {
        return Err(Error::new(libc::EINVAL, format!("more than {MAX_STUN} stun or {MAX_TURN} turn servers")));
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str) -> std::result::Result<usize, i32> {
        servers(&TextMap::parse(config.as_bytes()).unwrap()).map(|s| s.len()).map_err(|e| e.errno)
    }

    #[test]
    fn servers_are_checked_in_kind_and_number() {
        assert_eq!(check(""), Ok(0));
        assert_eq!(check("server=stun:192.0.2.1:3478\nserver=turn:a:b@x:1\nserver=turn:a:b@y:1"), Ok(3));
        assert_eq!(check("server=stun:a:1\nserver=stun:b:1"), Err(libc::EINVAL));
        assert_eq!(check("server=turn:a:b@x:1\nserver=turn:a:b@y:1\nserver=turn:a:b@z:1"), Err(libc::EINVAL));
        assert_eq!(check("server=turn:host:1"), Err(libc::EINVAL));
        assert_eq!(check("server=http://x"), Err(libc::EINVAL));
    }
}
