// SPDX-License-Identifier: MIT
//! Super-frames that a kernel made and a kernel takes, with cut and join between. Needs root; says so when it skips.
//!
//! host a, tap -- cut, join -- tap, bridge, veth without offload -- veth, host c: each host, and the bridge, in a namespace.

mod common;
#[path = "common/net.rs"]
mod net;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::*;
use ipop_base::Frame;
use ipop_offload::{Cut, Join, Mark};
use net::*;

const ROOM: usize = 1444;
const PATIENCE: Duration = Duration::from_secs(10);
const UDP_SEGMENT: libc::c_int = 103;

/// What went one way: super-frames that were read, and those that were written, of TCP and of UDP.
#[derive(Default)]
struct Counts {
    cut: AtomicUsize,
    joined_tcp: AtomicUsize,
    joined_udp: AtomicUsize,
}

struct Net {
    a: Namespace,
    c: Namespace,
    capture: Capture,
    uso: bool,
    /// Towards c, and back.
    counts: Arc<[Counts; 2]>,
    stop: Arc<AtomicBool>,
    pump: Option<JoinHandle<()>>,
}

impl Net {
    fn new() -> Self {
        let c = Namespace::new();
        let b = Namespace::new();
        run("ip link add br0 type bridge");
        run("ip link add v0 type veth peer name v1");
        run(&format!("ip link set v1 netns {}", c.path()));
        let far = OffloadTap::open("far");
        for name in ["v0", "far"] {
            run(&format!("ip link set {name} master br0"));
        }
        run("ethtool -K v0 tx off sg off tso off gso off gro off");
        ["v0", "far", "br0"].iter().for_each(|name| run(&format!("ip link set {name} up")));
        c.enter();
        run("ethtool -K v1 tx off sg off tso off gso off gro off");
        address("v1", 2);
        let capture = Capture::on("v1");
        let a = Namespace::new();
        let near = OffloadTap::open("near");
        address("near", 1);
        let uso = near.uso;
        drop(b);
        let (counts, stop) = (Arc::<[Counts; 2]>::default(), Arc::new(AtomicBool::new(false)));
        let pump = std::thread::spawn({
            let (counts, stop) = (counts.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    OffloadTap::wait_for_any([&near, &far]);
                    carry(&near, &far, &counts[0]);
                    carry(&far, &near, &counts[1]);
                }
            }
        });
        Self { a, c, capture, uso, counts, stop, pump: Some(pump) }
    }

    /// A connection from a to c.
    fn connect(&self, to: &str) -> (TcpStream, TcpStream) {
        self.c.enter();
        let listener = TcpListener::bind((to, 0)).unwrap();
        self.a.enter();
        let client = TcpStream::connect_timeout(&listener.local_addr().unwrap(), PATIENCE).unwrap();
        let server = listener.accept().unwrap().0;
        for stream in [&client, &server] {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
        }
        (client, server)
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.pump.take().unwrap().join().unwrap();
    }
}

fn address(name: &str, host: u8) {
    run(&format!("ip addr add 10.9.0.{host}/24 dev {name}"));
    run(&format!("ip addr add fd09::{host}/64 dev {name} nodad"));
    run(&format!("ip link set {name} up"));
}

/// One batch from one tap to the other, as two nodes would.
fn carry(from: &OffloadTap, to: &OffloadTap, counts: &Counts) {
    let mut buf = vec![0; 70_000];
    let mut frames: Vec<(Mark, Vec<u8>)> = Vec::new();
    for _ in 0..16 {
        let Some((vnet, bytes)) = from.read(&mut buf) else { break };
        counts.cut.fetch_add(usize::from(vnet.0[1] != 0), Ordering::Relaxed);
        let mut cut = Cut::new(&Frame { vnet, ..Frame::plain(bytes) }, ROOM).unwrap();
        while let Some(length) = cut.next_len() {
            let mut out = vec![0; length];
            frames.push((cut.write_next(&mut out), out));
        }
    }
    let mut join = Join::new(to.uso);
    let mut sink = |frame: &Frame<'_>| {
        let joined = if frame.vnet.0[1] == 5 { &counts.joined_udp } else { &counts.joined_tcp };
        joined.fetch_add(usize::from(frame.segments > 1), Ordering::Relaxed);
        to.write(frame);
    };
    for (mark, frame) in &mut frames {
        join.add(*mark, frame, &mut sink).unwrap();
    }
    join.flush(&mut sink);
}

/// Puts the captured TCP segments that are for this port together, having seen that a receiver takes each of them.
fn stream(frames: &[Vec<u8>], port: u16) -> Vec<u8> {
    let mut start = None;
    let mut pieces = BTreeMap::new();
    for frame in frames {
        let Some(layout) = ipop_offload::Layout::of(frame) else { continue };
        if layout.protocol != ipop_offload::Protocol::Tcp || get(frame, layout.transport + 2) != port {
            continue;
        }
        let segment = receive(frame).unwrap_or_else(|why| panic!("{why}: {frame:02x?}"));
        assert!(frame.len() <= ROOM, "a frame of {} bytes", frame.len());
        if segment.flags & SYN != 0 {
            start = Some(segment.sequence.wrapping_add(1));
        } else if let Some(start) = start {
            // Sent again, or nothing but an acknowledgement: the longest tells all.
            let piece: &mut Vec<u8> = pieces.entry(segment.sequence.wrapping_sub(start)).or_default();
            if segment.payload.len() > piece.len() {
                *piece = segment.payload;
            }
        }
    }
    let mut stream = Vec::new();
    for (at, payload) in pieces {
        let known = stream.len().checked_sub(at as usize).unwrap_or_else(|| panic!("a hole at {}", stream.len()));
        stream.extend_from_slice(payload.get(known..).unwrap_or_default());
    }
    stream
}

#[test]
fn what_one_kernel_sends_in_super_frames_another_takes_and_a_wire_sees_as_frames() {
    if !is_root() {
        let _ = writeln!(std::io::stderr(), "SKIPPED (not root): super-frames between kernels");
        return;
    }
    // Namespaces are those of a thread: this one is left to end with them.
    std::thread::spawn(|| {
        let net = Net::new();
        for to in ["10.9.0.2", "fd09::2"] {
            both_ways(&net, to);
        }
        if net.uso {
            datagrams(&net);
        } else {
            let _ = writeln!(std::io::stderr(), "SKIPPED (Linux before 6.2): UDP super-frames");
        }
        net.stop();
    })
    .join()
    .unwrap();
}

fn both_ways(net: &Net, to: &str) {
    let counts = || {
        let [there, back] = &*net.counts;
        [&there.cut, &there.joined_tcp, &back.joined_tcp].map(|count| count.load(Ordering::Relaxed))
    };
    let before = counts();
    let data: Vec<u8> = (0..4_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (mut client, mut server) = net.connect(to);
    let port = server.local_addr().unwrap().port();
    let length = data.len();
    let echo = std::thread::spawn(move || {
        let mut got = vec![0; length];
        server.read_exact(&mut got).unwrap();
        server.write_all(&got).unwrap();
        got
    });
    client.write_all(&data).unwrap();
    let mut back = vec![0; length];
    client.read_exact(&mut back).unwrap();
    assert!(echo.join().unwrap() == data, "what c received");
    assert!(back == data, "what a received back");
    assert!(stream(&net.capture.frames(), port) == data, "what the wire saw");
    let after = counts();
    for (what, n) in ["cut towards c", "joined towards c", "joined towards a"].iter().zip(0..) {
        assert!(after[n] > before[n] + 10, "super-frames {what}: {} after {}", after[n], before[n]);
    }
}

fn datagrams(net: &Net) {
    for to in ["10.9.0.2", "fd09::2"] {
        net.c.enter();
        let receiver = UdpSocket::bind((to, 0)).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        net.a.enter();
        let any = if to.contains(':') { "fd09::1" } else { "10.9.0.1" };
        let sender = UdpSocket::bind((any, 0)).unwrap();
        // Frames that fit, and frames that must go in pieces.
        for size in [1000usize, 1460 - 8] {
            set_option(&sender, libc::IPPROTO_UDP, UDP_SEGMENT, size as libc::c_int);
            let data: Vec<u8> = (0..size * 20 + 17).map(|n| (n * 31 / 7) as u8).collect();
            let joined = net.counts[0].joined_udp.load(Ordering::Relaxed);
            let cut = net.counts[0].cut.load(Ordering::Relaxed);
            sender.send_to(&data, receiver.local_addr().unwrap()).unwrap();
            let mut buf = vec![0; 2000];
            for expected in data.chunks(size) {
                let length = receiver.recv(&mut buf).unwrap();
                assert_eq!(buf[..length], *expected);
            }
            assert_eq!(net.counts[0].cut.load(Ordering::Relaxed), cut + 1);
            assert_eq!(net.counts[0].joined_udp.load(Ordering::Relaxed), joined + 1, "{to}, {size}");
            let seen = net.capture.frames();
            let port = receiver.local_addr().unwrap().port();
            let of_us = seen.iter().filter(|frame| {
                ipop_offload::Layout::of(frame).is_some_and(|layout| {
                    layout.protocol == ipop_offload::Protocol::Udp && get(frame, layout.transport + 2) == port
                })
            });
            let payloads: Vec<_> = of_us.map(|frame| receive(frame).unwrap().payload).collect();
            assert_eq!(payloads, data.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>());
        }
    }
}
