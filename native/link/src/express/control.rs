// SPDX-License-Identifier: MIT
//! Decides when a link's frames go by express: there are keys, the path is known and takes full-size datagrams. On the timer thread.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ipop_base::{DropCounters, FrameSink, Handle, Token, Worker, lock};
use ipop_express::{Action, Binding, Ciphers, Exchange, Params, Path, PathParams, Replay, Role, SealKey};
use ipop_queue::Meter;
use ring::rand::{SecureRandom, SystemRandom};

use super::receiver::Receiver;
use super::{Epoch, Express, News, Sender};
use crate::juice_socket::{Route, Taken};
use crate::report::Silence;
use crate::shape::Arrivals;
use crate::udp::Address;
use crate::workers::Timer;

/// While nothing is sent: ICE's own checks keep NATs open meanwhile.
const IDLE_PROBE_MS: u64 = 15_000;
/// How often is looked whether frames went by express.
const USED_MS: u64 = 1_000;
/// What the link lends.
#[derive(Clone)]
pub struct Surroundings {
    pub port: Handle,
    pub sink: Arc<dyn FrameSink>,
    pub drops: Arc<DropCounters>,
    pub arrivals: Arrivals,
    pub silence: Arc<Silence>,
    pub timer: Arc<Timer>,
    pub worker: Arc<Worker>,
    pub clock: Instant,
}

/// How a link's express is to be.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub role: Role,
    pub binding: Binding,
    /// What this side is willing to use.
    pub ciphers: Ciphers,
    /// Age of a key at which the next is agreed on.
    pub rekey_ms: u64,
}

impl Settings {
    /// The usual ones.
    pub fn new(role: Role, binding: Binding) -> Self {
        Self { role, binding, ciphers: Ciphers::here(), rekey_ms: Params::default().rekey_ms }
    }
}

/// One link's express, from the exchange of hellos to the link's end.
pub struct Control {
    around: Surroundings,
    random: SystemRandom,
    exchange: Exchange,
    /// Keys that came before the path was known.
    early_open: Vec<Epoch>,
    early_seal: Option<(u8, SealKey)>,
    route: Option<Route>,
    is_relayed: bool,
    is_closed: bool,
    path: Option<Path>,
    express: Option<Arc<Express>>,
    token: Option<Token>,
    /// Why express cannot be had, in words.
    fault: Option<String>,
    /// Why there is no key to seal with, until there is one again.
    unkeyed: Option<String>,
    cipher: &'static str,
    epoch: u32,
    /// Where the peer moved, and when on the link's clock, until `followed`.
    moved_to: Option<(Address, u64)>,
    /// Where the peer sees us, while nobody chose another path, and where it did before, until `take_readdressed`.
    seen: Option<SocketAddr>,
    readdressed: Option<(SocketAddr, SocketAddr)>,
    loss: Loss,
}

/// What is known of lost datagrams, by the answers to probes.
#[derive(Default)]
struct Loss {
    /// Probes, how many datagrams had left with each, and when that was.
    probed: VecDeque<(u32, u64, u64)>,
    meter: Meter,
    /// Sent and lost since somebody asked.
    news: (u64, u64),
}

/// Probes whose answers may come still.
const MAX_PROBED: usize = 16;

impl Loss {
    fn probed(&mut self, id: u32, total: u64, now: u64) {
        if self.probed.len() == MAX_PROBED {
            self.probed.pop_front();
        }
        self.probed.push_back((id, total, now));
    }

    /// Answers to probes before it count no more: they were overtaken. Returns how long it was on its way, in ms.
    fn answered(&mut self, id: u32, received: u64, now: u64) -> Option<u64> {
        let at = self.probed.iter().position(|(probe, ..)| *probe == id)?;
        let (_, total, probed_ms) = self.probed[at];
        self.probed.drain(..=at);
        let (sent, lost) = self.meter.update(total, received);
        (self.news.0, self.news.1) = (self.news.0 + sent, self.news.1 + lost);
        Some(now.saturating_sub(probed_ms))
    }
}

impl Control {
    /// Begins to agree on keys.
    pub fn new(around: Surroundings, settings: Settings) -> Self {
        let usual = Params::default();
        let params = Params {
            ciphers: settings.ciphers,
            rekey_ms: settings.rekey_ms,
            least_ms: usual.least_ms.min(settings.rekey_ms / 2),
            ..usual
        };
        let now = around.clock.elapsed().as_millis() as u64;
        Self {
            exchange: Exchange::new(settings.role, settings.binding, params, now),
            around,
            random: SystemRandom::new(),
            early_open: Vec::new(),
            early_seal: None,
            route: None,
            is_relayed: false,
            is_closed: false,
            path: None,
            express: None,
            token: None,
            fault: None,
            unkeyed: None,
            cipher: "",
            epoch: 0,
            moved_to: None,
            seen: None,
            readdressed: None,
            loss: Loss::default(),
        }
    }

    /// Media went there. Only a change of it is news: the peer may have moved on since.
    pub fn routed(&mut self, route: Route) {
        self.is_relayed = !route.is_direct;
        let known = |known: Route| known.fd == route.fd && known.to.is_same(&route.to);
        if self.is_relayed || self.is_closed || self.fault.is_some() || self.route.is_some_and(known) {
            return;
        }
        self.route = Some(route);
        let Some(express) = self.express.clone() else { return self.take_socket(&route) };
        let mut sender = express.sender();
        // The peer's own datagrams may have said so before.
        if !sender.to().is_same(&route.to) {
            sender.redirect(route.to);
            drop(sender);
            self.moved(&route.to);
        }
    }

    /// The express carriage, once its socket is ours.
    pub fn express(&self) -> Option<&Arc<Express>> {
        self.express.as_ref()
    }

    /// Why frames go as they do, in words.
    pub fn why(&self) -> &str {
        match (self.fault.as_ref().or(self.unkeyed.as_ref()), &self.path) {
            (Some(fault), _) => fault,
            _ if self.is_relayed => "the link goes by a relay",
            (None, None) => "the path is not known yet",
            (None, Some(_)) if self.cipher.is_empty() => "no keys agreed on yet",
            (None, Some(path)) => path.why(),
        }
    }

    /// Cipher, and the number of its key.
    pub fn cipher(&self) -> (&'static str, u32) {
        (self.cipher, self.epoch)
    }

    /// Bytes of a full datagram, while express carries.
    pub fn size(&self) -> Option<u16> {
        self.path.as_ref()?.size()
    }

    /// Where the peer has been for so long since it moved, once.
    pub fn followed(&mut self, for_ms: u64, now: u64) -> Option<Address> {
        let (to, _) = self.moved_to.take_if(|(_, since)| now >= *since + for_ms)?;
        Some(to)
    }

    /// The peer moved a moment ago, and `followed` will say where.
    pub fn is_following(&self) -> bool {
        self.moved_to.is_some()
    }

    /// Where the peer sees us since a moment ago, and where it did before: a NAT on our way has changed its mind.
    pub fn take_readdressed(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        self.readdressed.take()
    }

    /// Datagrams sent, and lost of them, since the last call: as far as answers tell.
    pub fn take_loss(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.loss.news)
    }

    /// Runs what is due. `messages` are those of the peer's exchange; `send` sends one on the control channel. Returns when to run again, on
    /// the link's clock.
    pub fn tick(&mut self, messages: &[Vec<u8>], now: u64, send: &mut dyn FnMut(&[u8])) -> u64 {
        if self.is_closed {
            return u64::MAX;
        }
        for message in messages {
            let actions = self.exchange.message(message, now, &self.random);
            self.act(actions, send);
        }
        if let Some(express) = self.express.clone() {
            self.hear(&express, now, send);
        }
        let sealed = self.express.as_ref().map_or(0, |express| express.sender().sealed());
        let actions = self.exchange.tick(sealed, now, &self.random);
        self.act(actions, send);
        let next = self.exchange.next_ms();
        let (Some(path), Some(express)) = (&mut self.path, &self.express) else { return next };
        match probe(path, &mut self.loss, express, now) {
            // Probes are sealed, too.
            None => next,
            Some(is_used) => next.min(path.next_ms()).min(if is_used { now + USED_MS } else { u64::MAX }),
        }
    }

    /// Gives the socket back, for good. Waits for the worker.
    pub fn close(&mut self) {
        self.is_closed = true;
        if let Some(express) = &self.express {
            express.open.store(false, Ordering::Release);
            express.sender().close();
        }
        if let Some(token) = self.token.take() {
            self.around.worker.remove(token);
        }
        // A switch may know the link for a while yet, until its next frame: that keeps neither socket nor keys.
        if let Some(express) = &self.express {
            lock(&express.epochs).clear();
        }
    }

    fn take_socket(&mut self, route: &Route) {
        self.seen = None;
        let taken = match Taken::take(route) {
            Ok(taken) => Arc::new(taken),
            Err(error) => return self.fault = Some(error.text),
        };
        let mut sender = Sender::new(taken.clone(), route.to, self.around.drops.clone());
        if let Some((epoch, key)) = self.early_seal.take() {
            sender.rekey(epoch, key);
        }
        let express = Arc::new(Express {
            drops: self.around.drops.clone(),
            arrivals: self.around.arrivals.clone(),
            silence: self.around.silence.clone(),
            timer: self.around.timer.clone(),
            clock: self.around.clock,
            open: AtomicBool::new(false),
            in_use: AtomicBool::new(false),
            sender: Mutex::new(sender),
            epochs: Mutex::new(std::mem::take(&mut self.early_open)),
            received: AtomicU64::new(0),
            round_trip_ms: AtomicU64::new(0),
            asked_ms: AtomicU64::new(0),
            news: Mutex::default(),
        });
        let ingress = self.around.sink.clone().ingress(self.around.port);
        let receiver = Receiver::new(express.clone(), taken, ingress);
        match self.around.worker.add(Box::new(receiver)) {
            Ok(token) => self.token = Some(token),
            Err(error) => return self.fault = Some(error.text),
        }
        let (now, is_ipv6) = (express.now_ms(), is_ipv6(&route.to));
        let mut id = [0; 4];
        // Without randomness ids begin at 0: an answer to an old probe might then count once.
        let _ = self.random.fill(&mut id);
        self.path = Some(Path::new(is_ipv6, u32::from_ne_bytes(id), PathParams { idle_ms: IDLE_PROBE_MS }, now));
        self.express = Some(express);
    }

    fn seen_at(&mut self, seen: SocketAddr) {
        match self.seen.replace(seen) {
            Some(before) if before != seen => self.readdressed = Some((seen, before)),
            _ => {}
        }
    }

    fn moved(&mut self, to: &Address) {
        // Another path may lead through another NAT, or be another conversation to it.
        self.seen = None;
        let now = self.around.clock.elapsed().as_millis() as u64;
        if let Some(path) = &mut self.path {
            path.moved(is_ipv6(to), now);
        }
    }

    fn hear(&mut self, express: &Express, now: u64, send: &mut dyn FnMut(&[u8])) {
        let News { answers, first_of, unknown_epoch, moved } = express.take_news();
        if let Some(to) = moved {
            self.moved(&to);
            self.moved_to = Some((to, now));
        }
        answers.iter().filter_map(|answer| answer.seen).for_each(|seen| self.seen_at(seen));
        if let Some(path) = &mut self.path {
            answers.iter().for_each(|answer| path.answered(answer.id, answer.size, now));
        }
        for answer in &answers {
            if let Some(round_trip_ms) = self.loss.answered(answer.id, answer.received, now) {
                express.round_trip_ms.store(round_trip_ms, Ordering::Relaxed);
            }
        }
        if let Some(number) = first_of {
            // The wire's eight bits are enough for the exchange.
            let actions = self.exchange.opened(u32::from(number), now);
            self.act(actions, send);
        }
        if unknown_epoch {
            self.exchange.unknown();
        }
    }

    fn act(&mut self, actions: Vec<Action>, send: &mut dyn FnMut(&[u8])) {
        for action in actions {
            match action {
                Action::Send(message) => send(&message),
                Action::Open(epoch, key) => match &self.express {
                    Some(express) => express.open_with(epoch as u8, key),
                    None => self.early_open.push(Epoch { number: epoch as u8, key, replay: Replay::default() }),
                },
                Action::Seal(epoch, key) => {
                    self.unkeyed = None;
                    (self.cipher, self.epoch) = (key.cipher().name(), epoch);
                    match &self.express {
                        Some(express) => express.sender().rekey(epoch as u8, key),
                        None => self.early_seal = Some((epoch as u8, key)),
                    }
                }
                Action::Forget(epoch) => match &self.express {
                    Some(express) => express.forget(epoch as u8),
                    None => self.early_open.retain(|early| early.number != epoch as u8),
                },
                Action::Refused(_) => self.around.drops.count(ipop_base::Drop::CarriageMalformed),
                Action::Failed(text) => {
                    self.unkeyed = Some(text);
                    self.early_seal = None;
                    if let Some(express) = &self.express {
                        express.open.store(false, Ordering::Release);
                        express.sender().forget_key();
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sends the probes that are due, and lets frames go by express, or not. True: frames went since the last time; None: there
/// is no key.
fn probe(path: &mut Path, loss: &mut Loss, express: &Express, now: u64) -> Option<bool> {
    let mut sender = express.sender();
    if !sender.has_key() {
        return None;
    }
    let sent = sender.take_sent();
    if sent.too_big {
        path.too_big(sender.size(), now);
    }
    if sent.datagrams > 0 {
        path.sent();
    }
    while let Some(probe) = path.due(now) {
        if sender.probe(probe.id, probe.size) {
            loss.probed(probe.id, sender.total(), now);
        } else {
            path.too_big(probe.size, now);
        }
    }
    // Probes are not what asks for confirmation; what they took along may have been too long.
    if sender.take_sent().too_big {
        path.too_big(sender.size(), now);
    }
    sender.resize(path.size());
    let open = sender.is_open();
    drop(sender);
    express.open.store(open, Ordering::Release);
    if sent.datagrams > 0 {
        express.silence.asked(now);
    } else {
        express.in_use.store(false, Ordering::Relaxed);
    }
    Some(sent.datagrams > 0)
}

fn is_ipv6(address: &Address) -> bool {
    address.to_std().is_some_and(|address| address.is_ipv6())
}
