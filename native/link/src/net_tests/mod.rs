// SPDX-License-Identifier: MIT
//! Two ends of real links in one process, in a network namespace of their own. Needs root; says so and skips otherwise.

mod express;
mod express_faults;
mod lifetime;
mod links;
mod relay;
mod rig;
mod shaping;
mod sites;
mod srtp;

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipop_base::{
    Drop, DropCounters, Frame, FrameSink, Handle, Ingress, PortTransmit, RecordQueue, RecordType, TextMap, Worker,
};
use ipop_offload::{Cut, checksum};

use crate::link::Link;
use crate::{Links, PortRegistrar, Role};

/// An up link takes a fraction of a second; through a relay, a few.
const LIMIT: Duration = Duration::from_secs(10);

/// One test at a time: they count threads and descriptors of the process.
static ONE: Mutex<()> = Mutex::new(());

fn note(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}

/// Puts this thread, and all it starts, into a fresh network namespace with the address 10.99.0.1. None when not root.
fn network() -> Option<MutexGuard<'static, ()>> {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    worker();
    // SAFETY: takes no pointers; affects this thread only.
    if unsafe { libc::geteuid() } != 0 || unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        note("SKIPPED: a network namespace needs root\n");
        return None;
    }
    for line in [
        "link set lo up",
        "link add v0 type veth peer name v1",
        "addr add 10.99.0.1/24 dev v0",
        "link set v0 up",
        "link set v1 up",
    ] {
        ip(line);
    }
    Some(guard)
}

#[derive(Default)]
struct Sink {
    frames: Mutex<Vec<Vec<u8>>>,
    lost: Mutex<Vec<Handle>>,
    count_only: bool,
    count: std::sync::atomic::AtomicU64,
}

/// The frames that a host would get of this one, whole and with complete checksums.
fn plain(frame: &Frame<'_>) -> Vec<Vec<u8>> {
    let mut cut = Cut::new(frame, 1 << 17).unwrap();
    let mut frames = Vec::new();
    while let Some(length) = cut.next_len() {
        let mut bytes = vec![0; length];
        let mark = cut.write_next(&mut bytes);
        checksum::complete(&mut bytes, mark).unwrap();
        frames.push(bytes);
    }
    frames
}

impl FrameSink for Sink {
    fn input(&self, _: Handle, frame: &Frame<'_>) {
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if !self.count_only {
            self.frames.lock().unwrap().extend(plain(frame));
        }
    }

    fn flush(&self) {}

    fn ingress(self: Arc<Self>, port: Handle) -> Box<dyn Ingress> {
        Box::new(SinkIngress(self, port))
    }

    fn port_lost(&self, port: Handle) {
        self.lost.lock().unwrap().push(port);
    }
}

/// The plain way in.
struct SinkIngress(Arc<Sink>, Handle);

impl Ingress for SinkIngress {
    fn input(&mut self, frame: &Frame<'_>) {
        let Self(sink, port) = self;
        sink.input(*port, frame);
    }

    fn flush(&mut self) {}

    fn takes_uso(&mut self) -> bool {
        false
    }
}

/// One for all tests, so that it does not count among the threads that come and go.
fn worker() -> &'static Arc<Worker> {
    static WORKER: LazyLock<Arc<Worker>> = LazyLock::new(|| Worker::start("test-path").unwrap());
    &WORKER
}

fn start_links(queue: Arc<RecordQueue>) -> Arc<Links> {
    Links::start(queue, worker().clone()).unwrap()
}

type Port = (Arc<dyn PortTransmit>, Arc<DropCounters>);

#[derive(Default)]
struct Registrar {
    sink: Arc<Sink>,
    port: Mutex<Option<Port>>,
}

impl PortRegistrar for Registrar {
    fn register(&self, _: Handle, transmit: Arc<dyn PortTransmit>, drops: Arc<DropCounters>) -> Arc<dyn FrameSink> {
        *self.port.lock().unwrap() = Some((transmit, drops));
        self.sink.clone()
    }

    fn network(&self) -> Handle {
        1
    }
}

/// One end: its own `Links`, with one link.
struct End {
    links: Arc<Links>,
    queue: Arc<RecordQueue>,
    link: Handle,
    sink: Arc<Sink>,
    transmit: Arc<dyn PortTransmit>,
    drops: Arc<DropCounters>,
    records: VecDeque<(u16, Vec<u8>)>,
}

impl End {
    fn new(role: Role) -> Self {
        let queue = Arc::new(RecordQueue::new().unwrap());
        let links = start_links(queue.clone());
        Self::with(links, queue, role, false)
    }

    fn with(links: Arc<Links>, queue: Arc<RecordQueue>, role: Role, count_only: bool) -> Self {
        Self::configured(links, queue, role, count_only, &TextMap::default())
    }

    fn configured(links: Arc<Links>, queue: Arc<RecordQueue>, role: Role, count_only: bool, config: &TextMap) -> Self {
        let registrar = Registrar { sink: Arc::new(Sink { count_only, ..Sink::default() }), ..Registrar::default() };
        let link = links.open(&registrar, role, config).unwrap();
        let (transmit, drops) = registrar.port.into_inner().unwrap().unwrap();
        Self { links, queue, link, sink: registrar.sink, transmit, drops, records: VecDeque::new() }
    }

    /// Sends a frame at once.
    fn send(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        let sent = self.transmit.transmit(frame);
        self.transmit.flush();
        sent
    }

    fn poll(&mut self) {
        let mut buffer = vec![0; 1 << 17];
        let len = self.queue.poll(&mut buffer);
        let mut rest = &buffer[..len];
        while !rest.is_empty() {
            let kind = u16::from_le_bytes([rest[0], rest[1]]);
            let end = 16 + u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
            assert_eq!(i32::from_le_bytes(rest[12..16].try_into().unwrap()), self.link);
            self.records.push_back((kind, rest[16..end].to_vec()));
            rest = &rest[end..];
        }
    }

    /// The next record of this kind within the limit; signals go to the peer meanwhile.
    fn wait(&mut self, peer: &mut Self, kind: RecordType) -> Vec<u8> {
        let start = Instant::now();
        loop {
            signal(self, peer);
            signal(peer, self);
            if let Some(at) = self.records.iter().position(|record| record.0 == kind as u16) {
                return self.records.remove(at).unwrap().1;
            }
            assert!(start.elapsed() < LIMIT, "no {kind:?} within {LIMIT:?}; {:?}", self.records);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn lost_code(&mut self, peer: &mut Self) -> String {
        let map = TextMap::parse(&self.wait(peer, RecordType::LinkLost)).unwrap();
        assert_eq!(*self.sink.lost.lock().unwrap(), [self.link], "rules are gone before the record");
        map.need("code").unwrap().to_owned()
    }

    fn info(&self) -> TextMap {
        TextMap::parse(&self.links.info(self.link).unwrap()).unwrap()
    }

    /// What `info` says of this.
    fn said(&self, key: &str) -> String {
        self.info().get(key).unwrap_or("").to_owned()
    }

    /// Begins with express.
    fn begin_express(&self, config: &str) {
        let ids = ["11".repeat(20), "22".repeat(20)];
        let [local, peer] = if self.inner().is_answering() { [&ids[1], &ids[0]] } else { [&ids[0], &ids[1]] };
        let text = format!("local={local}\npeer={peer}\ngeneration=7\n{config}");
        self.links.express(self.link, &TextMap::parse(text.as_bytes()).unwrap()).unwrap();
    }

    fn is_by_express(&self) -> bool {
        self.said("carriage") == "express"
    }

    fn inner(&self) -> Arc<Link> {
        self.links.find(self.link).unwrap()
    }
}

/// Passes descriptions and candidates on.
fn signal(from: &mut End, to: &mut End) {
    from.poll();
    let mut rest = VecDeque::new();
    for (kind, payload) in std::mem::take(&mut from.records) {
        if kind == RecordType::LinkLocal as u16 {
            to.links.set_remote(to.link, &TextMap::parse(&payload).unwrap()).unwrap();
        } else if kind == RecordType::LinkCandidate as u16 {
            to.links.add_candidate(to.link, std::str::from_utf8(&payload).unwrap()).unwrap();
        } else {
            rest.push_back((kind, payload));
        }
    }
    from.records = rest;
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Both by express, each with its config.
fn by_express(a: &End, b: &End, configs: [&str; 2]) {
    a.begin_express(configs[0]);
    b.begin_express(configs[1]);
    wait_until("express on both sides", || a.is_by_express() && b.is_by_express());
}

fn up() -> (End, End) {
    let (mut a, mut b) = (End::new(Role::Offer), End::new(Role::Answer));
    bring_up(&mut a, &mut b);
    (a, b)
}

fn bring_up(a: &mut End, b: &mut End) {
    a.wait(b, RecordType::LinkUp);
    b.wait(a, RecordType::LinkUp);
}

fn frame(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 253) as u8).collect()
}

/// Runs `ip` in this thread's network namespace.
fn ip(line: &str) {
    assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
}

/// Thread ids of this process.
fn threads() -> Vec<String> {
    std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect()
}

fn count(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}
