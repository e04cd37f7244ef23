// SPDX-License-Identifier: MIT
//! One link: its state, what libdatachannel tells it, and the frames that cross it.
//!
//! ```text
//! new --remote--> connecting --track and channel open--> up        each of them --close--> closed (final)
//!  |                  |                                   |
//!  +------------------+-----------------------------------+--lose(code)--> lost --close--> closed
//! ```
//! Locks: `agent` is held during calls into libdatachannel that may block, by worker threads only. All others are held for
//! moments, and but for `sender` never while calling out. `sender` is held while a packet goes out, which on a relayed link waits
//! for a lock that libjuice holds while it waits for libdatachannel's receiving threads. So those, which run our callbacks,
//! never wait for `sender` and never send: they leave reports to whoever sends next, the timer at the latest. What libdatachannel
//! itself sends there goes by way of `juice_guard`.

mod events;
mod frames;
mod shaping;
mod tick;

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Instant;

use ipop_base::{
    DropCounters, Error, FrameSink, Handle, RecordQueue, RecordType, Result, TextMapWriter, Token, Worker, lock,
};

use crate::agent::{self, Agent};
use crate::candidate::Candidate;
use crate::carriage::{Receiver, Sender};
use crate::express::{Control as ExpressControl, Express, Settings, Surroundings};
use crate::inbound::{Inbound, InboundReader};
use crate::juice_socket::{Batch, Route};
use crate::report::{Report, Silence};
use crate::sdp::{Description, MAX_MESSAGE};
use crate::shape::{Arrivals, Inward, Shape};
use crate::workers::Timer;

/// How long an answerer keeps the offerer's candidates back. It could check them at once, but libjuice's offerer then makes peer
/// reflexive candidates before it has the answer, and confuses them with the answer's (and see `Agent::remote`). Meanwhile
/// the answer arrives, and the offerer's checks, which need no candidate here, mostly do it all. So the answerer, which begins
/// DTLS, is also the last to see the pair work: its first flight is not sent too early, to be repeated after 1 s.
const HOLD_MS: u64 = 300;
/// Candidates of the peer a link ever takes; libjuice itself keeps 20.
const MAX_CANDIDATES: usize = 64;
/// Bytes that may wait in the control channel, either way.
const MAX_WAITING: usize = 64 * 1024;
/// Messages a peer may send in a second; it needs two in a link's life. What others have to say waits in the same queue.
const MAX_MESSAGES: u32 = 200;
/// Messages of the peer's key exchange that may wait: one exchange has three.
const MAX_EXCHANGE: usize = 16;
/// The longest of them has 38 bytes.
const MAX_EXCHANGE_LEN: usize = 64;

/// A link is young for so long: a direct path may follow a relayed one, and express is about to begin.
const YOUNG_MS: u64 = 10_000;

const TRACK_OPEN: u8 = 1;
const CHANNEL_OPEN: u8 = 2;

/// Where a link is in its life. Only `Link::enter` changes it, and only upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// No description of the peer yet.
    New,
    /// ICE, DTLS and SCTP are at work.
    Connecting,
    /// Frames and messages cross.
    Up,
    /// Over, and reported; waits to be closed.
    Lost,
    /// Closed by us.
    Closed,
}

/// One link, shared by the caller, libdatachannel's callbacks and our threads.
#[derive(Debug)]
pub struct Link {
    handle: Handle,
    answering: bool,
    queue: Arc<RecordQueue>,
    drops: Arc<DropCounters>,
    sink: OnceLock<SinkBox>,
    epoch: Instant,
    timer: Arc<Timer>,
    worker: Arc<Worker>,
    /// What it shares with the other links of its network.
    shape: Arc<Shape>,
    /// Itself, for frames that wait.
    me: OnceLock<Weak<Self>>,
    arrivals: OnceLock<Arrivals>,
    /// Bytes on the wire beside each frame.
    overhead: Arc<AtomicUsize>,
    /// The socket had no room for SRTP.
    is_full: AtomicBool,
    trouble: Mutex<shaping::Trouble>,
    /// The circuit breaker is open.
    is_throttled: AtomicBool,
    phase: AtomicU8,
    opened: AtomicU8,
    agent_id: AtomicI32,
    track: AtomicI32,
    channel: AtomicI32,
    ice_connected: AtomicBool,
    ice_failed: AtomicBool,
    wrong_fingerprint: AtomicBool,
    agent_closed: AtomicBool,
    rtp_sent: AtomicU64,
    rtp_received: AtomicU64,
    pair_refreshed_ms: AtomicU64,
    up_ms: AtomicU64,
    silence: Arc<Silence>,
    ssrc_changes: AtomicU64,
    exhausted: AtomicBool,
    /// The peer's last report, until the next frame is sent: a thread that sends without pause lets no other take `sender`.
    reported: Mutex<Option<Report>>,
    /// Our report, until somebody sends it.
    report_due: Mutex<Option<Report>>,
    sender: Mutex<Outgoing>,
    /// Something waits in `Outgoing::batch`, or did a moment ago.
    holds_back: AtomicBool,
    receiver: Mutex<Receiver>,
    /// The worker's: it ends when the link is closed, whoever still knows the link.
    inbound: OnceLock<Weak<Inbound>>,
    inbound_token: Mutex<Option<Token>>,
    /// Where our media went last; None: nowhere yet.
    route: Mutex<Option<Route>>,
    /// When to ask for it, while it is not known.
    route_due_ms: AtomicU64,
    in_trains: AtomicBool,
    express: OnceLock<Arc<Express>>,
    #[cfg(test)]
    srtp_only: AtomicBool,
    /// Once both sides know that they want it.
    keying: Mutex<Option<Box<ExpressControl>>>,
    /// Messages of the peer's key exchange, until `tick`. A lock of its own: libdatachannel's threads must not wait for `keying`, which is
    /// held over a sending.
    exchange: Mutex<Vec<Vec<u8>>>,
    signal: Mutex<Signal>,
    control: Mutex<Control>,
    pair: Mutex<Option<(Candidate, Candidate)>>,
    agent: Mutex<AgentSlot>,
    ids: Mutex<Vec<i32>>,
}

/// Where received frames go.
struct SinkBox(Arc<dyn FrameSink>);

impl std::fmt::Debug for SinkBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameSink")
    }
}

/// What signalling brought.
#[derive(Debug, Default)]
struct Signal {
    local_fingerprint: Option<String>,
    remote_fingerprint: Option<String>,
    candidates: Vec<Candidate>,
    /// Those that the agent was not given yet.
    early: Vec<String>,
    /// The agent may have them now.
    released: bool,
}

/// The sending side of the SRTP carriage.
#[derive(Debug)]
struct Outgoing {
    carriage: Sender,
    /// Packets that wait for `flush`.
    batch: Batch,
}

/// Messages of the peer.
#[derive(Debug, Default)]
struct Control {
    up: bool,
    /// Those that came before the link was up, and their bytes.
    waiting: Vec<Vec<u8>>,
    bytes: usize,
    /// When the current second began, and how many came in it.
    second_ms: u64,
    in_second: u32,
}

impl Control {
    /// Counts a message; false when it is more than a second's share.
    fn admit(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.second_ms) >= 1000 {
            (self.second_ms, self.in_second) = (now_ms, 0);
        }
        self.in_second += 1;
        self.in_second <= MAX_MESSAGES
    }
}

/// The agent, unless it was not made yet or is gone.
#[derive(Debug, Default)]
pub struct AgentSlot {
    /// None before it is made and after it was deleted.
    pub agent: Option<Agent>,
    /// Close was asked for: no agent may be made any more.
    pub closed: bool,
    /// When the agent took the peer's description, in ms of the link's clock.
    pub described_ms: Option<u64>,
}

/// A random number from the kernel.
fn random() -> u32 {
    let mut bytes = [0u8; 4];
    // SAFETY: writes at most four bytes into a live array. Before the pool is ready it waits; a router that runs daemons is past that.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u32::from_ne_bytes(bytes)
}

/// True when no interface has this address (any more).
fn is_gone(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_err_and(|error| error.kind() == ErrorKind::AddrNotAvailable)
}

impl Link {
    /// A link without agent and sink.
    pub fn new(
        handle: Handle,
        answering: bool,
        queue: Arc<RecordQueue>,
        timer: Arc<Timer>,
        worker: Arc<Worker>,
        shape: Arc<Shape>,
        may_change_ssrc: bool,
    ) -> Result<Self> {
        Ok(Self {
            handle,
            answering,
            queue,
            drops: Arc::default(),
            sink: OnceLock::new(),
            epoch: Instant::now(),
            timer,
            worker,
            shape,
            me: OnceLock::new(),
            arrivals: OnceLock::new(),
            overhead: Arc::default(),
            is_full: AtomicBool::new(false),
            trouble: Mutex::default(),
            is_throttled: AtomicBool::new(false),
            phase: AtomicU8::new(Phase::New as u8),
            opened: AtomicU8::new(0),
            agent_id: AtomicI32::new(0),
            track: AtomicI32::new(0),
            channel: AtomicI32::new(0),
            ice_connected: AtomicBool::new(false),
            ice_failed: AtomicBool::new(false),
            wrong_fingerprint: AtomicBool::new(false),
            agent_closed: AtomicBool::new(false),
            rtp_sent: AtomicU64::new(0),
            rtp_received: AtomicU64::new(0),
            pair_refreshed_ms: AtomicU64::new(0),
            up_ms: AtomicU64::new(0),
            silence: Arc::new(Silence::new(0)),
            ssrc_changes: AtomicU64::new(0),
            exhausted: AtomicBool::new(false),
            reported: Mutex::default(),
            report_due: Mutex::default(),
            sender: Mutex::new(Outgoing { carriage: Sender::new(random, may_change_ssrc), batch: Batch::default() }),
            holds_back: AtomicBool::new(false),
            receiver: Mutex::new(Receiver::new(0)),
            inbound: OnceLock::new(),
            inbound_token: Mutex::default(),
            route: Mutex::default(),
            route_due_ms: AtomicU64::new(0),
            in_trains: AtomicBool::new(false),
            express: OnceLock::new(),
            #[cfg(test)]
            srtp_only: AtomicBool::new(false),
            keying: Mutex::default(),
            exchange: Mutex::default(),
            signal: Mutex::default(),
            control: Mutex::default(),
            pair: Mutex::default(),
            agent: Mutex::default(),
            ids: Mutex::default(),
        })
    }

    /// Says where received frames go. Once, before anything can be received.
    pub fn set_sink(self: &Arc<Self>, sink: Arc<dyn FrameSink>) -> Result<()> {
        let inward = Inward {
            link: self.handle,
            sink: sink.clone(),
            drops: self.drops.clone(),
            overhead: self.overhead.clone(),
        };
        // These cannot be set: Links::open calls this once.
        let _ = self.me.set(Arc::downgrade(self));
        let _ = self.arrivals.set(Arrivals::new(self.shape.down.clone(), inward));
        let inbound = Arc::new(Inbound::new()?);
        let _ = self.inbound.set(Arc::downgrade(&inbound));
        let reader = InboundReader::new(inbound, Arc::downgrade(self), sink.clone().ingress(self.handle));
        *lock(&self.inbound_token) = Some(self.worker.add(Box::new(reader))?);
        let _ = self.sink.set(SinkBox(sink));
        Ok(())
    }

    /// Begins with the express carriage: agrees on keys, finds the path, and lets frames go by it once it works. Once, when the link is up.
    pub fn start_express(&self, settings: Settings) -> Result<()> {
        let Some(SinkBox(sink)) = self.sink.get().filter(|_| self.phase() == Phase::Up) else {
            return Err(Error::new(libc::ENOTCONN, format!("link {} is not up", self.handle)));
        };
        let Some(arrivals) = self.arrivals.get() else {
            return Err(Error::new(libc::ENOTCONN, format!("link {} is not open", self.handle)));
        };
        let around = Surroundings {
            port: self.handle,
            sink: sink.clone(),
            drops: self.drops.clone(),
            arrivals: arrivals.clone(),
            silence: self.silence.clone(),
            timer: self.timer.clone(),
            worker: self.worker.clone(),
            clock: self.epoch,
        };
        let mut keying = lock(&self.keying);
        if keying.is_some() {
            return Err(Error::new(libc::EALREADY, format!("link {} has begun with express already", self.handle)));
        }
        *keying = Some(Box::new(ExpressControl::new(around, settings)));
        drop(keying);
        self.timer.wake();
        Ok(())
    }

    /// The certificates' fingerprints, local and remote, as the descriptions have them. None before both are known.
    pub fn fingerprints(&self) -> Option<(String, String)> {
        let signal = lock(&self.signal);
        Some((signal.local_fingerprint.clone()?, signal.remote_fingerprint.clone()?))
    }

    /// The link's handle, which is also its port's.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// True when the peer offered.
    pub fn is_answering(&self) -> bool {
        self.answering
    }

    /// Drops at this port.
    pub fn drops(&self) -> Arc<DropCounters> {
        self.drops.clone()
    }

    /// Where the link is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::New,
            1 => Phase::Connecting,
            2 => Phase::Up,
            3 => Phase::Lost,
            _ => Phase::Closed,
        }
    }

    /// The agent; worker threads only, since it is held during slow calls.
    pub fn agent(&self) -> MutexGuard<'_, AgentSlot> {
        lock(&self.agent)
    }

    /// Notes which agent to ask for the selected pair.
    pub fn set_agent_id(&self, id: i32) {
        self.agent_id.store(id, Ordering::Release);
    }

    /// True once the agent has closed: nothing comes from it any more.
    pub fn is_agent_closed(&self) -> bool {
        self.agent_closed.load(Ordering::Acquire)
    }

    /// Tracks and channels to delete with the agent.
    pub fn ids(&self) -> Vec<i32> {
        lock(&self.ids).clone()
    }

    /// Takes note of the peer's description, once.
    pub fn accept_remote(&self, description: &Description) -> Result<()> {
        let mut signal = lock(&self.signal);
        if signal.remote_fingerprint.is_some() {
            return Err(Error::new(libc::EALREADY, format!("link {} has the peer's description already", self.handle)));
        }
        let expected = if self.answering { &["actpass"][..] } else { &["active", "passive"] };
        if !expected.contains(&description.setup.as_str()) {
            let text = format!("'setup' is '{}', but {} was due", description.setup, expected.join(" or "));
            return Err(Error::new(libc::EINVAL, text));
        }
        signal.remote_fingerprint = Some(description.fingerprint.clone());
        self.enter(Phase::Connecting);
        Ok(())
    }

    /// Counts a candidate of the peer. True: the agent may have it; false: it is kept until `release`.
    pub fn accept_candidate(&self, candidate: Candidate, text: &str) -> Result<bool> {
        let mut signal = lock(&self.signal);
        if signal.candidates.len() >= MAX_CANDIDATES {
            return Err(Error::new(
                libc::ENOSPC,
                format!("link {} has {MAX_CANDIDATES} candidates already", self.handle),
            ));
        }
        signal.candidates.push(candidate);
        if !signal.released {
            signal.early.push(text.to_owned());
        }
        Ok(signal.released)
    }

    /// The agent has the peer's description: gives it the candidates that came before, an offerer at once, an answerer from
    /// `tick` when their time has come. Held by the caller: the agent.
    pub fn release(&self, slot: &AgentSlot) {
        let (Some(agent), Some(described)) = (&slot.agent, slot.described_ms) else { return };
        if slot.closed || (self.answering && self.now_ms() < described + HOLD_MS) {
            return;
        }
        let early = {
            let mut signal = lock(&self.signal);
            signal.released = true;
            std::mem::take(&mut signal.early)
        };
        for candidate in early {
            // A bad candidate spoils nothing: the others remain.
            let _ = agent.candidate(&candidate);
        }
    }

    /// Sends a message on the control channel.
    pub fn send_message(&self, message: &[u8]) -> Result<()> {
        if message.first() != Some(&b'{') {
            // The others are native's own, and the peer would take them for such.
            return Err(Error::new(libc::EINVAL, "a control message is a JSON object"));
        }
        if message.len() > MAX_MESSAGE {
            return Err(Error::new(
                libc::EMSGSIZE,
                format!("message of {} bytes is over {MAX_MESSAGE}", message.len()),
            ));
        }
        let not_up = || Error::new(libc::ENOTCONN, format!("link {} is not up", self.handle));
        if self.phase() != Phase::Up {
            return Err(not_up());
        }
        let channel = self.channel.load(Ordering::Acquire);
        if agent::buffered(channel) + message.len() > MAX_WAITING {
            return Err(Error::new(libc::EAGAIN, format!("over {MAX_WAITING} bytes wait on link {}", self.handle)));
        }
        if agent::send(channel, message) { Ok(()) } else { Err(not_up()) }
    }

    /// The text map of ipop_link_info.
    pub fn info(&self) -> Vec<u8> {
        let state = match self.phase() {
            Phase::New => "new",
            Phase::Connecting => "connecting",
            Phase::Up => "up",
            Phase::Lost | Phase::Closed => "lost",
        };
        let mut map = TextMapWriter::default().put("state", state);
        if let Some((local, remote)) = &*lock(&self.pair) {
            map = map.put("local", local.address).put("remote", remote.address);
            map = map.put("local_type", &local.kind).put("remote_type", self.remote_kind(remote));
            map = map.put("local_gone", u8::from(local.kind == "host" && is_gone(local.address.ip())));
        }
        map = match &*lock(&self.keying) {
            Some(control) => {
                let (cipher, epoch) = control.cipher();
                let map = map.put("carriage", if self.by_express().is_some() { "express" } else { "srtp" });
                let map = map.put("carriage_why", control.why()).put("cipher", cipher).put("epoch", epoch);
                map.put("datagram_bytes", control.size().unwrap_or(0))
                    .put("express_received", control.express().map_or(0, |express| express.received()))
            }
            None => map.put("carriage", "srtp").put("carriage_why", "express was not asked for"),
        };
        let (permille, is_throttled) = self.loss();
        map = map.put("loss_permille", permille.map_or(String::new(), |permille| permille.to_string()));
        map = map.put("throttled", u8::from(is_throttled));
        map.put("rtp_sent", self.rtp_sent.load(Ordering::Relaxed))
            .put("rtp_received", self.rtp_received.load(Ordering::Relaxed))
            .put("ssrc_changes", self.ssrc_changes.load(Ordering::Relaxed))
            .put("silent_ms", self.silence.silent_ms(self.now_ms()))
            .bytes()
    }

    /// Ends the link for the caller: its port carries nothing from here on. False when it was closed before.
    pub fn close(&self) -> bool {
        let closed = self.enter(Phase::Closed);
        if closed {
            self.port_lost();
            self.shape.forget(self.handle);
            if let Some(control) = &mut *lock(&self.keying) {
                control.close();
            }
            let token = lock(&self.inbound_token).take();
            if let Some(token) = token {
                self.worker.remove(token);
            }
        }
        closed
    }

    /// Gives the link up and reports it, unless it is over already. Rules are gone before the record is written.
    pub fn lose(&self, code: &str, text: &str) {
        if self.enter(Phase::Lost) {
            self.port_lost();
            let map = TextMapWriter::default().put("code", code).put("text", text).bytes();
            self.queue.push(RecordType::LinkLost, self.handle, &[&map]);
        }
    }

    /// The express carriage, while frames go by it.
    fn by_express(&self) -> Option<&Arc<Express>> {
        #[cfg(test)]
        if self.srtp_only.load(Ordering::Relaxed) {
            return None;
        }
        self.express.get().filter(|express| express.is_open())
    }

    /// The peer's own word on its candidate, when its checks were faster than its signals and made it a prflx one here.
    fn remote_kind(&self, remote: &Candidate) -> String {
        let signal = lock(&self.signal);
        let told = signal.candidates.iter().find(|candidate| candidate.address == remote.address);
        told.unwrap_or(remote).kind.clone()
    }

    /// Milliseconds of this link's clock.
    pub fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Goes to a later phase; false when the link is there or further already.
    fn enter(&self, phase: Phase) -> bool {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8
    }

    fn port_lost(&self) {
        if let Some(SinkBox(sink)) = self.sink.get() {
            sink.port_lost(self.handle);
        }
    }

    fn refresh_pair(&self, now: u64) {
        self.pair_refreshed_ms.store(now, Ordering::Relaxed);
        if let Some(pair) = agent::pair(self.agent_id.load(Ordering::Acquire)) {
            *lock(&self.pair) = Some(pair);
            self.refresh_overhead();
        }
    }
}

/// What tests reach into.
#[cfg(test)]
impl Link {
    /// Lets no frames go by express, as if it were closed, until told otherwise.
    pub fn keep_to_srtp(&self, on: bool) {
        self.srtp_only.store(on, Ordering::Relaxed);
    }

    /// The express carriage, open or not.
    pub fn express_of(&self) -> Option<Arc<Express>> {
        self.express.get().cloned()
    }

    /// The track, to send garbage on.
    pub fn track_id(&self) -> i32 {
        self.track.load(Ordering::Acquire)
    }

    /// A fresh sender that may change its SSRC, or not.
    pub fn replace_sender(&self, may_change_ssrc: bool) {
        lock(&self.sender).carriage = Sender::new(random, may_change_ssrc);
    }
}
