// SPDX-License-Identifier: MIT
//! Taps of the real kernel, each test in a network namespace of its own thread. Needs root; says so when it skips.

mod common;

use std::sync::Arc;

use common::net::*;
use common::*;
use ipop_base::{Drop, RecordQueue, Worker};
use ipop_datapath::{MemoryPort, OUT_FLOOD, Switch, Tap};

struct Site {
    worker: Arc<Worker>,
    queue: Arc<RecordQueue>,
    switch: Arc<Switch>,
    tap: Arc<Tap>,
    link: Arc<MemoryPort>,
}

/// A switch with a tap and a link that stands for the world.
fn site(mtu: u32) -> Site {
    let queue = Arc::new(RecordQueue::new().unwrap());
    let switch = Switch::open(queue.clone());
    let worker = Worker::start("ipop-path").unwrap();
    let tap = Tap::open(&switch, queue.clone(), &worker, "ipop0", mtu).unwrap();
    let link = MemoryPort::open(&switch, true);
    [tap.port(), link.port()].iter().for_each(|port| switch.enable_port(*port, true).unwrap());
    Site { worker, queue, switch, tap, link }
}

impl std::ops::Drop for Site {
    fn drop(&mut self) {
        self.tap.close();
        self.worker.stop();
    }
}

/// The device goes with its descriptor, of which a process that a test beside this one has just forked holds a copy until it has executed its program.
fn wait_gone() {
    wait_for("the end of the tap", || (!exists("ipop0")).then_some(()));
}

#[test]
fn a_tap_is_up_with_its_mtu_and_without_ipv6_and_gone_after_close() {
    in_namespace(|| {
        let site = site(1400);
        assert_eq!(site.tap.name(), "ipop0");
        let shown = ip("-d link show dev ipop0");
        assert!(shown.contains("mtu 1400") && shown.contains(",UP") && !shown.contains("NOARP"), "{shown}");
        assert!(shown.contains("tun type tap pi off vnet_hdr on persist off"), "{shown}");
        assert_eq!(ip("-6 addr show dev ipop0"), "");
        site.tap.close();
        wait_gone();
        assert_eq!(site.switch.port_counters(site.tap.port()).unwrap_err().errno, libc::ENOENT);
        assert!(records(&site.queue).is_empty(), "closing is no loss");
        site.tap.close();
    });
}

#[test]
fn frames_go_through_a_tap_whole_in_both_directions_with_their_tags() {
    in_namespace(|| {
        let site = site(1500);
        let host_side = Host::on("ipop0");
        let (tap, link) = (site.tap.port(), site.link.port());
        for vlan in [0, 7] {
            site.switch.rule_set(host(1), vlan, tap).unwrap();
            site.switch.rule_set(host(2), vlan, link).unwrap();
        }
        let mut buf = vec![0; 65_535];
        let plain = frame(host(2), host(1), &[0x5a; 1500]);
        for sent in [&plain, &tagged(7, &plain)] {
            host_side.send(sent);
            let length =
                wait_for("the frame at the link", || site.link.read(&mut buf).ok().filter(|length| *length > 0));
            assert_eq!(&buf[..length], &sent[..]);
        }
        while host_side.receive().is_some() {} // what it sent itself
        let back = frame(host(1), host(2), &[0xa5; 1500]);
        site.link.write(&back).unwrap();
        assert_eq!(wait_for("the frame at the host", || host_side.receive()), back);
        let counters = site.switch.port_counters(tap).unwrap();
        assert_eq!((counters.rx_frames, counters.rx_bytes), (2, 1514 + 1518));
        assert_eq!((counters.tx_frames, counters.tx_bytes), (1, 1514));
    });
}

#[test]
fn a_burst_longer_than_a_batch_comes_through_whole() {
    in_namespace(|| {
        let site = site(1500);
        let host_side = Host::on("ipop0");
        site.switch.rule_set(host(1), 0, site.tap.port()).unwrap();
        site.switch.rule_set(host(2), 0, site.link.port()).unwrap();
        for n in 0..400u16 {
            host_side.send(&frame(host(2), host(1), &n.to_be_bytes()));
        }
        let mut got = Vec::new();
        wait_for("400 frames", || {
            got.extend(taken(&site.link));
            (got.len() == 400).then_some(())
        });
        let numbers: Vec<u16> = got.iter().map(|frame| u16::from_be_bytes([frame[14], frame[15]])).collect();
        assert_eq!(numbers, (0..400).collect::<Vec<u16>>());
    });
}

#[test]
fn the_kernels_own_packets_come_with_complete_checksums() {
    in_namespace(|| {
        let site = site(1500);
        ip("addr add 10.9.0.1/24 dev ipop0");
        ip("neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev ipop0");
        let shown = ip("link show dev ipop0");
        let mac = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
        let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        site.switch.rule_set(mac.try_into().unwrap(), 0, site.tap.port()).unwrap();
        site.switch.rule_set(host(2), 0, site.link.port()).unwrap();
        let socket = std::net::UdpSocket::bind("10.9.0.1:5000").unwrap();
        socket.send_to(b"checksum me", "10.9.0.2:6000").unwrap();
        let mut buf = vec![0; 65_535];
        let length = wait_for("the datagram", || site.link.read(&mut buf).ok().filter(|length| *length > 0));
        let ip_packet = &buf[14..length];
        let pseudo = [&ip_packet[12..20], &[0, 17], &ip_packet[24..26]].concat();
        let sum = [&pseudo[..], &ip_packet[20..], &[0]].concat();
        let sum = sum.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the UDP checksum is complete");
    });
}

#[test]
fn a_tap_that_is_down_refuses_frames_and_that_is_counted() {
    in_namespace(|| {
        let site = site(1500);
        site.switch.rule_set(host(1), 0, site.tap.port()).unwrap();
        site.switch.rule_set(host(2), 0, site.link.port()).unwrap();
        ip("link set ipop0 down");
        site.link.write(&frame(host(1), host(2), &[])).unwrap();
        let drops = || site.switch.port_counters(site.tap.port()).unwrap().drops[Drop::TapWrite as usize];
        assert_eq!(drops(), 1);
        ip("link set ipop0 up");
        site.link.write(&frame(host(1), host(2), &[])).unwrap();
        assert_eq!((drops(), site.switch.port_counters(site.tap.port()).unwrap().tx_frames), (1, 1));
    });
}

#[test]
fn a_tap_that_somebody_deletes_is_reported_and_leaves_the_switch() {
    in_namespace(|| {
        let site = site(1500);
        let port = site.tap.port();
        site.switch.rule_set(host(1), 0, port).unwrap();
        site.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
        ip("link del ipop0");
        let gone = wait_for("PORT_GONE", || records(&site.queue).pop());
        assert_eq!(gone, (2, port, b"tap 'ipop0' was deleted".to_vec()));
        assert_eq!(site.switch.port_counters(port).unwrap_err().errno, libc::ENOENT);
        assert_eq!(site.switch.rules_flush(0), 1);
        site.tap.close();
        // The name is free again.
        let again = Tap::open(&site.switch, site.queue.clone(), &site.worker, "ipop0", 1500).unwrap();
        assert_ne!(again.port(), port);
    });
}

#[test]
fn a_name_that_is_in_use_is_refused_and_the_other_device_is_left_alone() {
    in_namespace(|| {
        let site = site(1500);
        ip("link add taken type veth peer name other");
        ip("tuntap add dev waiting mode tap");
        for name in ["ipop0", "taken", "waiting", "lo"] {
            let error = Tap::open(&site.switch, site.queue.clone(), &site.worker, name, 1500).err().unwrap();
            assert_eq!(error.errno, libc::EBUSY, "{error}");
            assert_eq!(error.text, format!("cannot make tap '{name}': the name is in use"));
            assert!(exists(name));
        }
    });
}

#[test]
fn a_machine_without_tun_says_which_file_is_missing() {
    in_namespace(|| {
        let none = std::ptr::null();
        // SAFETY: a mount namespace of this thread, made private before anything is mounted in it; all texts are constants.
        let done = unsafe {
            libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
                && libc::mount(c"none".as_ptr(), c"/dev/net".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()) == 0
        };
        assert!(done, "{}", std::io::Error::last_os_error());
        let queue = Arc::new(RecordQueue::new().unwrap());
        let switch = Switch::open(queue.clone());
        let worker = Worker::start("ipop-path").unwrap();
        let error = Tap::open(&switch, queue, &worker, "ipop0", 1500).err().unwrap();
        assert_eq!(error.errno, libc::ENOENT);
        assert!(error.text.starts_with("cannot open /dev/net/tun: "), "{error}");
    });
}

#[test]
fn the_datapaths_threads_leave_all_signals_to_the_runtime() {
    in_namespace(|| {
        let _site = site(1500);
        let task = |file: &str| {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join(file)).ok()).collect::<Vec<_>>()
        };
        let ours: Vec<String> = wait_for("both threads", || {
            let found: Vec<_> =
                task("status").into_iter().filter(|status| status.starts_with("Name:\tipop-")).collect();
            ["path", "upcalls"]
                .iter()
                .all(|name| found.iter().any(|status| status.contains(&format!("ipop-{name}\n"))))
                .then_some(found)
        });
        for status in ours {
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
            let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGCHLD, libc::SIGPIPE, libc::SIGUSR1] {
                assert_ne!(
                    blocked & (1 << (signal - 1)),
                    0,
                    "signal {signal} runs on {}",
                    status.lines().next().unwrap()
                );
            }
        }
    });
}

#[test]
fn nothing_is_left_of_taps_that_came_and_went() {
    in_namespace(|| {
        let queue = Arc::new(RecordQueue::new().unwrap());
        let switch = Switch::open(queue.clone());
        let worker = Worker::start("ipop-path").unwrap();
        for _ in 0..20 {
            let tap = Tap::open(&switch, queue.clone(), &worker, "ipop0", 1500).unwrap();
            switch.enable_port(tap.port(), true).unwrap();
            assert!(exists("ipop0"));
            tap.close();
            wait_gone();
        }
        // Without close: the last reference does the same.
        drop(Tap::open(&switch, queue, &worker, "ipop0", 1500).unwrap());
        wait_gone();
    });
}

#[test]
fn a_bridge_keeps_its_address_when_a_tap_joins() {
    in_namespace(|| {
        ip("link add lan0 address fc:00:00:00:00:07 type veth peer name lan1");
        ip("link add br-lan type bridge");
        ip("link set lan0 master br-lan");
        let of = |name: &str| ip(&format!("-br link show dev {name}")).split_whitespace().nth(2).unwrap().to_owned();
        let before = of("br-lan");
        let site = site(1500);
        ip("link set ipop0 master br-lan");
        assert_eq!((of("br-lan"), &of("ipop0")[..2]), (before, "fe"));
        site.tap.close();
        site.switch.close();
    });
}
