// SPDX-License-Identifier: MIT
//! Offload over two taps that a switch joins: what leaves a host in super-frames with open checksums arrives right at a host that has no
//! offload. Hosts are namespaces behind bridges, as LANs are. Needs root; says so when it skips.

mod common;

use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::net::*;
use common::*;
use ipop_base::{Drop as Reason, Frame, FrameSink, RecordQueue, VnetHeader, Worker};
use ipop_datapath::{MemoryPort, PortCounters, Switch, Tap};

/// An Ethernet frame of the hosts' mtu, with a tag.
const LONGEST: usize = 1518;

/// Two hosts, each with eth0 to a bridge, in which there is a tap. The second host takes frames only as they would be on a wire.
struct Lans {
    worker: Arc<Worker>,
    switch: Arc<Switch>,
    taps: [Arc<Tap>; 2],
    hosts: [Namespace; 2],
}

impl Lans {
    fn new() -> Self {
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let queue = Arc::new(RecordQueue::new().unwrap());
        let switch = Switch::open(queue.clone());
        let worker = Worker::start("ipop-path").unwrap();
        let hosts = [Namespace::new(), Namespace::new()];
        let taps = [1, 2].map(|n| {
            let tap = Tap::open(&switch, queue.clone(), &worker, &format!("tap{n}"), 1500).unwrap();
            ip(&format!("link add br{n} type bridge mcast_snooping 0"));
            ip(&format!("link add veth{n} type veth peer name eth0 netns {}", hosts[n - 1].id));
            for port in [&format!("veth{n}"), tap.name()] {
                ip(&format!("link set {port} master br{n} up"));
            }
            ip(&format!("link set br{n} up"));
            switch.enable_port(tap.port(), true).unwrap();
            [0, 7].iter().for_each(|vlan| switch.rule_set(host(n as u16), *vlan, tap.port()).unwrap());
            tap
        });
        for (n, host) in (1..).zip(&hosts) {
            host.run(move || configure(n));
        }
        for port in ["veth1", "tap1", "veth2", "tap2"] {
            let forwards = || ip(&format!("-d link show dev {port}")).contains("bridge_slave state forwarding");
            wait_for("bridges that forward", || forwards().then_some(()));
        }
        no_offload("veth2");
        hosts[1].run(|| no_offload("eth0"));
        Self { worker, switch, taps, hosts }
    }

    fn counters(&self, n: usize) -> PortCounters {
        self.switch.port_counters(self.taps[n - 1].port()).unwrap()
    }

    /// Waits until so many frames have gone out of the second tap: they are counted after they were written.
    fn wait_sent(&self, frames: u64) {
        wait_for("the count of frames sent", || (self.counters(2).tx_frames >= frames).then_some(()));
        assert_eq!(self.counters(2).tx_frames, frames);
    }

    /// Sends 32 MB by TCP from the first host to the second, whose address it is, and returns Mbit/s.
    fn tcp(&self, address: &'static str) -> f64 {
        const BLOCKS: usize = 512;
        let block: Vec<u8> = (0..65_536u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let listener = self.hosts[1].run(move || TcpListener::bind(address).unwrap());
        let expected = block.clone();
        let receiver = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut got = vec![0; expected.len()];
            for _ in 0..BLOCKS {
                stream.read_exact(&mut got).unwrap();
                assert!(got == expected, "the stream was changed on its way");
            }
            assert_eq!(stream.read(&mut got).unwrap(), 0);
        });
        let mut stream = self.hosts[0].run(move || TcpStream::connect(address).unwrap());
        let start = Instant::now();
        (0..BLOCKS).for_each(|_| stream.write_all(&block).unwrap());
        drop(stream);
        receiver.join().unwrap();
        (BLOCKS * block.len() * 8) as f64 / start.elapsed().as_secs_f64() / 1e6
    }
}

impl Drop for Lans {
    fn drop(&mut self) {
        self.taps.iter().for_each(|tap| tap.close());
        self.worker.stop();
        self.switch.close();
    }
}

/// Addresses of the n-th host, and its neighbour's: no discovery, so that the frames of a test are its own.
fn configure(n: u8) {
    let other = 3 - n;
    std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").unwrap();
    ip("link set lo up");
    ip(&format!("link set eth0 address 02:00:00:00:00:0{n} up"));
    for (prefix, rest) in [("10.9.0.", "/24"), ("fd09::", "/64 nodad")] {
        ip(&format!("addr add dev eth0 {prefix}{n}{rest}"));
        ip(&format!("neigh add {prefix}{other} lladdr 02:00:00:00:00:0{other} dev eth0 nud permanent"));
    }
    // The kernel takes up even an address without duplicate detection a little later.
    let up = || {
        let tentative = ip("-6 addr show dev eth0 tentative").contains("fd09::");
        (!tentative && ip("-6 route show table local").contains(&format!("local fd09::{n} "))).then_some(())
    };
    wait_for("the address fd09::", up);
}

/// What came in at an interface while it was watched.
#[derive(Default, Debug)]
struct Watched {
    frames: Vec<Vec<u8>>,
    longest: usize,
    open: usize,
    wrong: usize,
}

/// Watches an interface from another thread. Super-frames are not kept.
struct Watch {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Watched>,
}

impl Watch {
    fn on(socket: Host) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let end = done.clone();
        let thread = std::thread::spawn(move || {
            let mut watched = Watched::default();
            loop {
                let ending = end.load(Ordering::Acquire);
                while let Some(seen) = socket.see() {
                    if !seen.outgoing && seen.bytes[6..11] == [2, 0, 0, 0, 0] {
                        watched.longest = watched.longest.max(seen.bytes.len());
                        watched.open += usize::from(seen.open);
                        watched.wrong += usize::from(!seen.open && !checksums_are_right(&seen.bytes));
                        if seen.bytes.len() <= LONGEST && watched.frames.len() < 1000 {
                            watched.frames.push(seen.bytes);
                        }
                    }
                }
                if ending {
                    return watched;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { done, thread }
    }

    /// To be called when all that shall be seen has arrived.
    fn end(self) -> Watched {
        self.done.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

fn watch(namespace: &Namespace) -> Watch {
    Watch::on(namespace.run(|| Host::on("eth0")))
}

/// Frames that eth0 of this namespace received.
fn received(namespace: &Namespace) -> u64 {
    namespace
        .run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap())
        .lines()
        .find_map(|line| {
            let numbers = line.trim().strip_prefix("eth0:")?;
            numbers.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap()
}

#[test]
fn tcp_crosses_in_super_frames_and_arrives_in_right_frames() {
    in_namespace(|| {
        let lans = Lans::new();
        for address in ["10.9.0.2:5000", "[fd09::2]:5000"] {
            let (at_tap, at_host) = (Watch::on(Host::on("tap2")), watch(&lans.hosts[1]));
            let rate = lans.tcp(address);
            let (at_tap, at_host) = (at_tap.end(), at_host.end());
            let _ = writeln!(std::io::stderr(), "{address}: {rate:.0} Mbit/s");
            assert!(at_tap.longest > 10 * LONGEST && at_tap.open > 0, "{address}: {} at the tap", at_tap.longest);
            assert!(at_host.frames.len() > 500 && at_host.longest > 1500 && at_host.longest <= LONGEST, "{address}");
            assert_eq!((at_host.open, at_host.wrong), (0, 0), "{address}");
        }
        // Super-frames count as the frames they become. On a busy machine the kernel's own queue behind the tap loses a few.
        let sent = received(&lans.hosts[1]);
        wait_for("the count of frames sent", || (lans.counters(2).tx_frames >= sent).then_some(()));
        assert!((sent..=sent + sent / 100).contains(&lans.counters(2).tx_frames), "{sent} arrived");
        assert_eq!(lans.counters(2).drops[Reason::TapWrite as usize], 0);
        // A few of the host's own, for multicast, went no further.
        assert!((sent..=sent + sent / 50).contains(&lans.counters(1).rx_frames), "{sent} arrived");
    });
}

#[test]
fn udp_arrives_with_a_right_checksum_or_without_one_as_it_was_sent() {
    in_namespace(|| {
        let lans = Lans::new();
        let at_host = watch(&lans.hosts[1]);
        let mut expected = 0;
        for address in ["10.9.0.2:6000", "[fd09::2]:6000"] {
            let receiver = lans.hosts[1].run(move || UdpSocket::bind(address).unwrap());
            receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let v6 = address.starts_with('[');
            let sender = lans.hosts[0].run(move || UdpSocket::bind(if v6 { "[::]:0" } else { "0.0.0.0:0" }).unwrap());
            for checksum in [true, false] {
                if !checksum && !v6 {
                    set(&sender, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
                }
                for length in [1, 2, 999, 1000, 1452] {
                    let sent: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
                    sender.send_to(&sent, address).unwrap();
                    let mut got = [0; 2000];
                    let count = receiver.recv(&mut got).unwrap();
                    assert_eq!(got[..count], sent);
                    expected += 1;
                }
            }
        }
        let seen = at_host.end();
        assert_eq!((seen.frames.len(), seen.open, seen.wrong), (expected, 0, 0));
        let without = |frame: &&Vec<u8>| frame[12..15] == [0x08, 0x00, 0x45] && frame[40..42] == [0, 0];
        assert_eq!(seen.frames.iter().filter(without).count(), 5);
    });
}

fn set(socket: &UdpSocket, level: i32, option: i32, value: i32) {
    // SAFETY: reads an int that lives through the call.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size_of::<i32>() as u32)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn datagrams_that_were_sent_at_once_arrive_one_by_one() {
    in_namespace(|| {
        let lans = Lans::new();
        let (at_tap, at_host) = (Watch::on(Host::on("tap2")), watch(&lans.hosts[1]));
        for address in ["10.9.0.2:6000", "[fd09::2]:6000"] {
            let receiver = lans.hosts[1].run(move || UdpSocket::bind(address).unwrap());
            receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let any = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            let sender = lans.hosts[0].run(move || UdpSocket::bind(any).unwrap());
            set(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, 1000);
            let sent: Vec<u8> = (0..20_500u32).map(|n| (n >> 4) as u8).collect();
            sender.send_to(&sent, address).unwrap();
            let mut got = [0; 2000];
            for datagram in sent.chunks(1000) {
                let count = receiver.recv(&mut got).unwrap();
                assert_eq!(got[..count], *datagram);
            }
        }
        let (at_tap, at_host) = (at_tap.end(), at_host.end());
        assert_eq!((at_host.frames.len(), at_host.open, at_host.wrong), (2 * 21, 0, 0));
        lans.wait_sent(2 * 21);
        // Kernels before 6.2 cut them before the tap.
        assert_eq!(at_tap.longest > 20_000, lans.taps[1].takes_uso(), "{} at the tap", at_tap.longest);
    });
}

#[test]
fn tagged_frames_cross_as_they_are() {
    in_namespace(|| {
        let lans = Lans::new();
        let (sender, receiver) = (lans.hosts[0].run(|| Host::on("eth0")), lans.hosts[1].run(|| Host::on("eth0")));
        let plain = frame(host(2), host(1), &[0x5a; 1400]);
        let service = |vlan: u8, frame: &[u8]| [&frame[..12], &[0x88, 0xa8, 0, vlan], &frame[12..]].concat();
        for sent in [tagged(7, &plain), service(7, &tagged(99, &plain)), tagged(0x7007, &plain), plain] {
            sender.send(&sent);
            let got = wait_for("the frame", || receiver.see().filter(|seen| !seen.outgoing));
            assert_eq!(got.bytes, sent);
        }
    });
}

/// A super-frame of 20 TCP segments of 1000 bytes in VLAN 7, as a host's kernel makes it: the checksum open, lengths of the whole.
fn tagged_super_frame() -> (VnetHeader, Vec<u8>) {
    let payload: Vec<u8> = (0..20_000u32).map(|n| (n >> 3) as u8).collect();
    let mut ip = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2];
    ip[2..4].copy_from_slice(&(20 + 20 + payload.len() as u16).to_be_bytes());
    let check = !sum(&ip) as u16;
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    let pseudo = [&ip[12..20], &[0, 6], &(20 + payload.len() as u16).to_be_bytes()].concat();
    let mut tcp = vec![0x30, 0x39, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0];
    tcp[16..18].copy_from_slice(&(sum(&pseudo) as u16).to_be_bytes());
    let mut vnet = [1, 1, 58, 0, 0, 0, 0, 0, 0, 0];
    for (at, value) in [(2, 58u16), (4, 1000), (6, 38), (8, 16)] {
        vnet[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }
    let ethernet = [&host(2)[..], &host(1), &[0x81, 0x00, 0, 7, 0x08, 0x00]].concat();
    (VnetHeader(vnet), [ethernet, ip, tcp, payload].concat())
}

#[test]
fn a_tagged_super_frame_crosses_as_one_and_arrives_in_right_frames() {
    in_namespace(|| {
        let lans = Lans::new();
        let (at_tap, at_host) = (Watch::on(Host::on("tap2")), lans.hosts[1].run(|| Host::on("eth0")));
        let sender = lans.hosts[0].run(|| Host::on("eth0"));
        let (vnet, bytes) = tagged_super_frame();
        sender.send_super(&vnet.0, &bytes);
        let mut payload = Vec::new();
        wait_for("all segments", || {
            // What this host sends itself is its own business.
            for seen in std::iter::from_fn(|| at_host.see()).filter(|seen| !seen.outgoing) {
                assert!(checksums_are_right(&seen.bytes) && !seen.open);
                assert_eq!((&seen.bytes[12..16], seen.bytes.len()), (&[0x81, 0, 0, 7][..], 58 + 1000));
                payload.extend_from_slice(&seen.bytes[58..]);
            }
            (payload.len() >= 20_000).then_some(())
        });
        assert_eq!(payload, bytes[58..]);
        lans.wait_sent(20);
        assert_eq!(at_tap.end().longest, bytes.len());
    });
}

/// As a link gives it: headers and the first payload in one piece, the rest where it was received.
#[test]
fn a_super_frame_in_pieces_is_written_whole() {
    in_namespace(|| {
        let lans = Lans::new();
        let at_host = watch(&lans.hosts[1]);
        let (vnet, bytes) = tagged_super_frame();
        let tail: Vec<IoSlice<'_>> = bytes[1058..].chunks(1000).map(IoSlice::new).collect();
        let frame = Frame { vnet, bytes: &bytes[..1058], tail: &tail, segments: 20 };
        lans.switch.input(lans.taps[0].port(), &frame);
        wait_for("20 frames", || (received(&lans.hosts[1]) == 20).then_some(()));
        let seen = at_host.end();
        assert_eq!((seen.frames.len(), seen.open, seen.wrong), (20, 0, 0));
        let payload: Vec<u8> = seen.frames.iter().flat_map(|frame| frame[58..].to_vec()).collect();
        assert_eq!(payload, bytes[58..]);
        let counters = lans.counters(2);
        assert_eq!((counters.tx_frames, counters.tx_bytes), (20, bytes.len() as u64));
    });
}

#[test]
fn a_super_frame_that_the_kernel_refuses_is_counted_and_the_next_one_crosses() {
    in_namespace(|| {
        let lans = Lans::new();
        let (vnet, bytes) = tagged_super_frame();
        let mut beyond = vnet;
        beyond.0[6..8].copy_from_slice(&30_000u16.to_ne_bytes());
        for vnet in [beyond, vnet] {
            let frame = Frame { vnet, bytes: &bytes, tail: &[], segments: 20 };
            lans.switch.input(lans.taps[0].port(), &frame);
        }
        let counters = lans.counters(2);
        assert_eq!((counters.drops[Reason::TapWrite as usize], counters.tx_frames), (20, 20));
    });
}

#[test]
fn a_port_without_offload_gets_frames_as_on_the_wire() {
    in_namespace(|| {
        let lans = Lans::new();
        let link = MemoryPort::open(&lans.switch, true);
        lans.switch.enable_port(link.port(), true).unwrap();
        [0, 7].iter().for_each(|vlan| lans.switch.rule_set(host(2), *vlan, link.port()).unwrap());
        let (vnet, bytes) = tagged_super_frame();
        let sender = lans.hosts[0].run(|| Host::on("eth0"));
        sender.send_super(&vnet.0, &bytes);
        let mut got = Vec::new();
        wait_for("20 frames", || {
            got.extend(taken(&link));
            (got.len() == 20).then_some(())
        });
        assert!(got.iter().all(|frame| frame.len() == 1058 && checksums_are_right(frame)));
        assert_eq!(got.iter().flat_map(|frame| frame[58..].to_vec()).collect::<Vec<u8>>(), bytes[58..]);
    });
}
