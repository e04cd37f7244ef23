// SPDX-License-Identifier: MIT
//! Two ends of real links in one process, in a network namespace of their own. Needs root; says so and skips otherwise.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipop_base::{
    Drop, DropCounters, Frame, FrameSink, Handle, Ingress, PortTransmit, RecordQueue, RecordType, TextMap, Worker,
};

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

impl FrameSink for Sink {
    fn input(&self, _: Handle, frame: &Frame<'_>) {
        self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if !self.count_only {
            self.frames.lock().unwrap().push(frame.to_vec());
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

#[test]
fn frames_and_messages_cross_both_ways_and_info_says_how() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    for len in [60, 1170, 1171, 1514, 9000] {
        for (from, to) in [(&a, &b), (&b, &a)] {
            from.send(&Frame::plain(&frame(len))).unwrap();
            wait_until("frame", || !to.sink.frames.lock().unwrap().is_empty());
            assert_eq!(to.sink.frames.lock().unwrap().pop(), Some(frame(len)));
        }
    }
    a.links.send(a.link, b"{\"type\":\"hello\"}").unwrap();
    let message = |length: usize| [b"{", &frame(length)[1..]].concat();
    b.links.send(b.link, &message(16 * 1024)).unwrap();
    assert_eq!(b.wait(&mut a, RecordType::LinkMessage), b"{\"type\":\"hello\"}");
    assert_eq!(a.wait(&mut b, RecordType::LinkMessage), message(16 * 1024));
    assert_eq!(a.links.send(a.link, &message(16 * 1024 + 1)).unwrap_err().errno, libc::EMSGSIZE);
    assert_eq!(a.links.send(a.link, &frame(9)).unwrap_err().errno, libc::EINVAL);
    let info = a.info();
    assert_eq!((info.get("state"), info.get("local_type")), (Some("up"), Some("host")));
    assert!(info.get("remote").unwrap().starts_with("10.99.0.1:") || info.get("remote").unwrap().starts_with('['));
    assert!(info.get("rtp_sent").unwrap().parse::<u64>().unwrap() >= 14, "{info:?}");
    assert_eq!(a.drops.all().iter().sum::<u64>() + b.drops.all().iter().sum::<u64>(), 0);
}

#[test]
fn a_wrong_fingerprint_ends_the_link_with_its_name() {
    let Some(_guard) = network() else { return };
    for wrong_at_offerer in [true, false] {
        let (mut a, mut b) = (End::new(Role::Offer), End::new(Role::Answer));
        let wrong = |payload: Vec<u8>| {
            let text = String::from_utf8(payload).unwrap();
            let at = text.find("fingerprint=").unwrap() + 12;
            let digit = if text[at..].starts_with('A') { "B" } else { "A" };
            format!("{}{digit}{}", &text[..at], &text[at + 1..]).into_bytes()
        };
        for offer in [true, false] {
            let (from, to) = if offer { (&mut a, &mut b) } else { (&mut b, &mut a) };
            wait_local(from);
            let at = from.records.iter().position(|r| r.0 == RecordType::LinkLocal as u16).unwrap();
            let mut payload = from.records.remove(at).unwrap().1;
            if offer != wrong_at_offerer {
                payload = wrong(payload);
            }
            to.links.set_remote(to.link, &TextMap::parse(&payload).unwrap()).unwrap();
        }
        let (judge, other) = if wrong_at_offerer { (&mut a, &mut b) } else { (&mut b, &mut a) };
        assert_eq!(judge.lost_code(other), "fingerprint");
        assert_eq!(judge.send(&Frame::plain(&frame(60))), Err(Drop::LinkClosed));
    }
}

fn wait_local(end: &mut End) {
    let start = Instant::now();
    while !end.records.iter().any(|record| record.0 == RecordType::LinkLocal as u16) {
        assert!(start.elapsed() < LIMIT, "no local description");
        end.poll();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_other_side_learns_of_a_close_at_once() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let start = Instant::now();
    a.links.close(a.link).unwrap();
    assert_eq!(*a.sink.lost.lock().unwrap(), [a.link]);
    assert_eq!(a.send(&Frame::plain(&frame(60))), Err(Drop::LinkClosed));
    assert_eq!(a.links.info(a.link).unwrap_err().errno, libc::ENOENT);
    assert_eq!(b.lost_code(&mut a), "closed");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    b.links.close(b.link).unwrap();
    assert_eq!(b.sink.lost.lock().unwrap().len(), 2, "lost, then closed");
}

#[test]
fn garbage_from_the_peer_is_counted_and_the_next_frame_arrives() {
    let Some(_guard) = network() else { return };
    let (a, b) = up();
    for (sequence, (head, kind)) in [(0x80, 9), (0x80, 2), (0x90, 1)].into_iter().enumerate() {
        let mut packet = [0u8; 40];
        crate::rtp::write(&mut packet, 77, sequence as u16, 0);
        (packet[0], packet[12]) = (head, kind);
        assert!(crate::agent::send(a.inner().track_id(), &packet));
    }
    wait_until("garbage counted", || b.drops.get(Drop::CarriageMalformed) == 3);
    a.send(&Frame::plain(&frame(60))).unwrap();
    wait_until("frame", || *b.sink.frames.lock().unwrap() == [frame(60)]);
}

/// A packet of a source of its own, as a hostile peer may send them without end.
fn from_source(ssrc: u32) -> [u8; 40] {
    let mut packet = [0u8; 40];
    crate::rtp::write(&mut packet, ssrc, 1, 0);
    packet
}

#[test]
fn a_peer_with_ever_new_sources_is_given_up_before_they_fill_the_memory() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let track = a.inner().track_id();
    // 1025 are what an honest sender may use.
    for ssrc in 1..=1025 {
        assert!(crate::agent::send(track, &from_source(ssrc)));
    }
    a.send(&Frame::plain(&frame(60))).unwrap();
    wait_until("frame", || *b.sink.frames.lock().unwrap() == [frame(60)]);
    for ssrc in 1026..=3000 {
        crate::agent::send(track, &from_source(ssrc));
    }
    assert_eq!(b.lost_code(&mut a), "ssrc-exhausted");
}

#[test]
fn a_peer_that_floods_the_control_channel_is_given_up_and_leaves_room_in_the_queue() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    b.poll();
    let start = Instant::now();
    while a.info().get("state") == Some("up") && start.elapsed() < LIMIT {
        let _ = a.links.send(a.link, b"{\"type\":\"flood\"}");
    }
    assert_eq!(b.lost_code(&mut a), "internal");
    assert!(b.records.len() < 512, "{} records of the peer's choice", b.records.len());
    assert_eq!(b.queue.counters().1, 0, "dropped");
}

/// libdatachannel's thread waits for ever when more than 1024 messages wait that nobody takes, and its agent for that thread.
#[test]
fn a_peer_that_fills_a_second_channel_is_given_up_and_its_agent_can_be_closed() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let agent = a.inner().agent().agent.as_ref().unwrap().id();
    // SAFETY: the agent is live, the label is static.
    let second = unsafe { datachannel_sys::rtcCreateDataChannel(agent, c"second".as_ptr()) };
    for _ in 0..5000 {
        assert!(crate::agent::send(second, b"x"));
    }
    assert_eq!(b.lost_code(&mut a), "internal");
    std::thread::sleep(Duration::from_millis(500));
    let link = Arc::downgrade(&b.inner());
    b.links.close(b.link).unwrap();
    drop(b);
    wait_until("agent closed", || link.strong_count() == 0);
}

/// Packets of this length are lost on the way in.
const LOST_LEN: usize = 1100;

/// Sends more packets into the void than RTP's sequence numbers count, then others; true when one of those arrives.
fn arrives_after_losing(packets: u64, may_change_ssrc: bool) -> bool {
    let (a, b) = up();
    a.inner().replace_sender(may_change_ssrc);
    a.send(&Frame::plain(&frame(60))).unwrap();
    wait_until("first frame", || b.sink.frames.lock().unwrap().len() == 1);
    for _ in 0..packets {
        a.send(&Frame::plain(&frame(LOST_LEN))).unwrap();
    }
    for _ in 0..20 {
        a.send(&Frame::plain(&frame(61))).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(b.sink.frames.lock().unwrap().iter().all(|received| received.len() != LOST_LEN));
    b.sink.frames.lock().unwrap().iter().any(|received| *received == frame(61))
}

#[test]
fn frames_arrive_again_after_a_long_loss_because_the_ssrc_changes() {
    let Some(_guard) = network() else { return };
    let rules = "table inet t { chain i { type filter hook input priority 0; udp length 1100-1160 drop; }; }";
    assert!(Command::new("/usr/sbin/nft").arg(rules).status().unwrap().success());
    assert!(arrives_after_losing(70_000, true));
    assert!(!arrives_after_losing(70_000, false), "without a new SSRC the receiver should have refused all");
}

/// Runs `ip` in this thread's network namespace.
fn ip(line: &str) {
    assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
}

/// A thread's own network namespace with one link to the middle: address, gateway; then one end of a link in it.
fn site(
    number: u8,
    role: Role,
    config: &'static str,
    count_only: bool,
    tid: &std::sync::mpsc::Sender<i32>,
    plugged: &std::sync::mpsc::Receiver<()>,
) -> End {
    // SAFETY: takes no pointers; affects this thread only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
    // SAFETY: no preconditions.
    tid.send(unsafe { libc::gettid() }).unwrap();
    plugged.recv().unwrap();
    let device = format!("s{number}");
    for line in [
        "link set lo up".to_owned(),
        format!("addr add 10.98.{number}.2/24 dev {device}"),
        format!("link set {device} up"),
        format!("route add default via 10.98.{number}.1"),
    ] {
        ip(&line);
    }
    let queue = Arc::new(RecordQueue::new().unwrap());
    let links = start_links(queue.clone());
    End::configured(links, queue, role, count_only, &TextMap::parse(config.as_bytes()).unwrap())
}

/// Two ends, up through a relay of their own. None: no turnserver here.
fn relayed(count_only: bool) -> Option<(End, End, Killed)> {
    ip("addr add 10.98.0.1/32 dev lo");
    let forward = Command::new("sysctl").args(["-qw", "net.ipv4.ip_forward=0"]).status().unwrap();
    assert!(forward.success());
    let turn = [
        "-n",
        "--no-tls",
        "--no-dtls",
        "--no-cli",
        "-a",
        "-u",
        "user:p@ss",
        "-r",
        "test",
        "-L",
        "10.98.0.1",
        "-E",
        "10.98.0.1",
    ];
    let files = ["--log-file=/dev/null", "--pidfile=/dev/null", "--userdb=/dev/null"];
    let server = Command::new("turnserver").args(turn).args(files).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(server) = server else {
        note("SKIPPED: no turnserver here\n");
        return None;
    };
    let server = Killed(server);
    let config = "server=turn:user:p%40ss@10.98.0.1:3478";
    let ends = [(1, Role::Offer), (2, Role::Answer)].map(|(number, role)| {
        let ((tid_tx, tid), (plug, plugged)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let thread = std::thread::spawn(move || site(number, role, config, count_only, &tid_tx, &plugged));
        ip(&format!("link add m{number} type veth peer name s{number}"));
        ip(&format!("link set s{number} netns {}", tid.recv().unwrap()));
        ip(&format!("addr add 10.98.{number}.1/24 dev m{number}"));
        ip(&format!("link set m{number} up"));
        plug.send(()).unwrap();
        thread.join().unwrap()
    });
    let [mut a, mut b] = ends;
    bring_up(&mut a, &mut b);
    signal(&mut a, &mut b);
    signal(&mut b, &mut a);
    Some((a, b, server))
}

#[test]
fn without_a_direct_path_frames_cross_through_a_turn_relay() {
    let Some(_guard) = network() else { return };
    let Some((a, b, _server)) = relayed(false) else { return };
    for (from, to) in [(&a, &b), (&b, &a)] {
        let kinds = ["local_type", "remote_type"];
        wait_until("relay known", || kinds.iter().any(|kind| from.info().get(kind) == Some("relay")));
        from.send(&Frame::plain(&frame(1514))).unwrap();
        wait_until("frame", || *to.sink.frames.lock().unwrap() == [frame(1514)]);
    }
}

/// Sends of relayed links wait for a lock that libjuice holds while it waits for libdatachannel's receiving threads. Those answer
/// messages, if only with SCTP's acknowledgements.
#[test]
fn more_than_both_ways_of_a_relay_can_carry_and_messages_stop_neither() {
    let Some(_guard) = network() else { return };
    let Some((a, b, _server)) = relayed(true) else { return };
    let until = Instant::now() + Duration::from_secs(8);
    let flood = |end: &End| {
        let transmit = end.transmit.clone();
        std::thread::spawn(move || {
            while Instant::now() < until {
                let _ = transmit.transmit(&Frame::plain(&frame(1100)));
                transmit.flush();
            }
        })
    };
    let talk = |end: &End| {
        let (links, link) = (end.links.clone(), end.link);
        std::thread::spawn(move || {
            while Instant::now() < until {
                let _ = links.send(link, &frame(8192));
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let threads: Vec<_> = [&a, &b, &a, &b, &a, &b].map(flood).into_iter().chain([&a, &b].map(talk)).collect();
    wait_until("flood over", || threads.iter().all(|thread| thread.is_finished()));
    let received = |end: &End| end.sink.count.load(std::sync::atomic::Ordering::Relaxed);
    for (from, to) in [(&a, &b), (&b, &a)] {
        // Packets of the flood may still arrive: a frame in 10 ms, for longer than they take.
        let before = received(to);
        wait_until("frames after the flood", || {
            std::thread::sleep(Duration::from_millis(10));
            from.send(&Frame::plain(&frame(60))).is_ok() && received(to) > before + 100
        });
    }
}

/// A process that ends with the test.
struct Killed(std::process::Child);

impl std::ops::Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_link_whose_peer_falls_silent_is_lost_after_12_s_with_traffic() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let rules = "table inet t { chain i { type filter hook input priority 0; meta l4proto udp drop; }; }";
    assert!(Command::new("/usr/sbin/nft").arg(rules).status().unwrap().success());
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(11_500) {
        a.send(&Frame::plain(&frame(60))).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(a.lost_code(&mut b), "silent");
    assert!(start.elapsed() < Duration::from_secs(13), "{:?}", start.elapsed());
    assert_eq!(b.info().get("state"), Some("up"), "the other side sent nothing that asks");
}

/// Thread ids of this process.
fn threads() -> Vec<String> {
    std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect()
}

#[test]
fn no_thread_of_ours_or_of_libdatachannel_takes_signals() {
    let Some(_guard) = network() else { return };
    let before = threads();
    let (_a, _b) = up();
    let new: Vec<_> = threads().into_iter().filter(|thread| !before.contains(thread)).collect();
    assert!(new.len() > 6, "{new:?}");
    for thread in new {
        let Ok(status) = std::fs::read_to_string(format!("{thread}/status")) else { continue };
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGUSR1, libc::SIGCHLD, libc::SIGPIPE] {
            assert!(blocked & (1 << (signal - 1)) != 0, "{} takes signal {signal}", field("Name:"));
        }
    }
}

fn count(path: &str) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

#[test]
fn nothing_remains_after_twenty_links() {
    let Some(_guard) = network() else { return };
    let queues = [(); 2].map(|()| Arc::new(RecordQueue::new().unwrap()));
    let links = [0, 1].map(|i: usize| start_links(queues[i].clone()));
    let mut before = (0, 0);
    for round in 0..21 {
        let mut a = End::with(links[0].clone(), queues[0].clone(), Role::Offer, false);
        let mut b = End::with(links[1].clone(), queues[1].clone(), Role::Answer, false);
        bring_up(&mut a, &mut b);
        a.links.close(a.link).unwrap();
        b.links.close(b.link).unwrap();
        let weak = [&a, &b].map(|end| Arc::downgrade(&end.transmit));
        drop((a, b));
        wait_until("both links freed", || weak.iter().all(|link| link.strong_count() == 0));
        queues.iter().for_each(|queue| while queue.poll(&mut vec![0; 1 << 17]) > 0 {});
        if round == 0 {
            std::thread::sleep(Duration::from_millis(300));
            before = (count("/proc/self/task"), count("/proc/self/fd"));
        }
    }
    wait_until("threads ended", || count("/proc/self/task") <= before.0);
    wait_until("descriptors closed", || count("/proc/self/fd") <= before.1);
}

#[test]
fn stop_ends_every_thread_within_3_s_even_when_links_are_up() {
    let Some(_guard) = network() else { return };
    let before = count("/proc/self/task");
    for _ in 0..3 {
        let (a, b) = up();
        let start = Instant::now();
        a.links.stop();
        b.links.stop();
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        assert_eq!(
            a.links.open(&Registrar::default(), Role::Offer, &TextMap::default()).unwrap_err().errno,
            libc::ESHUTDOWN
        );
        wait_until("threads ended", || count("/proc/self/task") <= before);
    }
}

/// Makes this thread, and all it starts, ask a name server that never answers.
fn mute_name_server() {
    // SAFETY: takes no pointers; affects this thread only.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    ip("neigh add 10.99.0.53 lladdr 02:00:00:00:00:53 dev v0 nud permanent");
    let file = std::env::temp_dir().join(format!("ipop-link-resolv-{}", std::process::id()));
    std::fs::write(&file, "nameserver 10.99.0.53\noptions timeout:2\n").unwrap();
    for line in ["--make-rprivate /", &format!("--bind {} /etc/resolv.conf", file.display())] {
        assert!(Command::new("mount").args(line.split(' ')).status().unwrap().success(), "mount {line}");
    }
    std::fs::remove_file(&file).unwrap();
}

/// An init script kills after 5 s, of which TypeScript's farewells take up to 2.5.
#[test]
fn stop_leaves_agents_behind_that_wait_for_a_name_server_after_2_s() {
    let Some(_guard) = network() else { return };
    mute_name_server();
    let links = start_links(Arc::new(RecordQueue::new().unwrap()));
    let config = TextMap::parse(b"server=stun:stun.example.org:3478").unwrap();
    links.open(&Registrar::default(), Role::Offer, &config).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    links.stop();
    assert!(start.elapsed() > Duration::from_secs(1), "the name server should not have answered");
    assert!(start.elapsed() < Duration::from_millis(2_400), "{:?}", start.elapsed());
}

#[test]
fn public_calls_return_at_once() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = (End::new(Role::Offer), End::new(Role::Answer));
    bring_up(&mut a, &mut b);
    let mut worst = Duration::ZERO;
    let mut timed = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        call();
        worst = worst.max(start.elapsed());
    };
    let registrar = Registrar::default();
    let config = TextMap::parse(b"server=stun:name.invalid:3478\nserver=turn:u:p@name.invalid:3478").unwrap();
    let mut opened = Vec::new();
    for _ in 0..8 {
        timed(&mut || opened.push(a.links.open(&registrar, Role::Offer, &config).unwrap()));
        timed(&mut || drop(a.links.info(a.link).unwrap()));
        timed(&mut || a.links.send(a.link, b"{}").unwrap());
    }
    for link in opened {
        timed(&mut || a.links.close(link).unwrap());
    }
    // 5 ms on an idle machine; the bound here allows for others that compile.
    assert!(worst < Duration::from_millis(50), "{worst:?}");
}

#[test]
#[ignore = "measures; run alone: cargo test --release -p ipop-link measure -- --ignored --nocapture"]
fn measure() {
    let Some(_guard) = network() else { return };
    let mut times: Vec<_> = (0..10)
        .map(|_| {
            let start = Instant::now();
            let ends = up();
            let taken = start.elapsed();
            drop(ends);
            taken
        })
        .collect();
    times.sort();
    let queues = [(); 2].map(|()| Arc::new(RecordQueue::new().unwrap()));
    let mut a = End::with(start_links(queues[0].clone()), queues[0].clone(), Role::Offer, true);
    let mut b = End::with(start_links(queues[1].clone()), queues[1].clone(), Role::Answer, true);
    bring_up(&mut a, &mut b);
    let mut text = format!("open to up: median {:?}, worst {:?}\n", times[5], times[9]);
    for len in [64, 1100, 1400] {
        let bytes = frame(len);
        let (start, before) = (Instant::now(), b.sink.count.load(std::sync::atomic::Ordering::Relaxed));
        let mut sent = 0u64;
        while start.elapsed() < Duration::from_secs(3) {
            a.send(&Frame::plain(&bytes)).unwrap();
            sent += 1;
        }
        let taken = start.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_millis(300));
        let got = b.sink.count.load(std::sync::atomic::Ordering::Relaxed) - before;
        text += &format!(
            "{len} bytes: sent {:.0}/s, received {:.0}/s, ssrc changes {}\n",
            sent as f64 / taken,
            got as f64 / taken,
            a.info().get("ssrc_changes").unwrap()
        );
    }
    note(&text);
}

#[path = "shaping_net_tests.rs"]
mod shaping;
