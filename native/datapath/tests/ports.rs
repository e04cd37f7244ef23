// SPDX-License-Identifier: MIT
//! Ports: what they keep, what they count, and many threads at them.

mod common;

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use common::*;
use ipop_base::{Drop, DropCounters, Frame, FrameSink, PortTransmit, VnetHeader, next_handle};
use ipop_datapath::{MemoryPort, OUT_FLOOD, PortKind};

/// Keeps what goes out, with its virtio header and number of segments.
#[derive(Default)]
struct Kept(Mutex<Vec<(VnetHeader, u16, Vec<u8>)>>);

impl PortTransmit for Kept {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        self.0.lock().unwrap().push((frame.vnet, frame.segments, frame.to_vec()));
        Ok(())
    }
}

#[test]
fn a_parked_super_frame_keeps_its_virtio_header_and_its_tail_and_counts_as_its_segments() {
    let table = Table::new();
    let (a, port, out) = (table.lan(), next_handle(), Arc::new(Kept::default()));
    table.switch.add_port(port, PortKind::Link, out.clone(), Arc::new(DropCounters::default()));
    table.switch.enable_port(port, true).unwrap();
    let vnet = VnetHeader([1, 1, 66, 0, 168, 5, 34, 0, 16, 0]);
    let bytes = frame(host(2), host(1), &(0..4396).map(|n| n as u8).collect::<Vec<_>>());
    let tail = [IoSlice::new(&bytes[1514..2962]), IoSlice::new(&bytes[2962..])];
    table.switch.input(a.port(), &Frame { vnet, bytes: &bytes[..1514], tail: &tail, segments: 3 });
    assert_eq!(table.decide(), 2);
    assert_eq!(*out.0.lock().unwrap(), [(vnet, 3, bytes)]);
    for (port, received) in [(port, false), (a.port(), true)] {
        let counters = table.switch.port_counters(port).unwrap();
        let (frames, bytes) = (counters.tx_frames + counters.rx_frames, counters.tx_bytes + counters.rx_bytes);
        assert_eq!((frames, bytes, counters.rx_frames > 0), (3, 4410, received));
    }
}

#[test]
fn a_super_frame_may_be_as_long_as_an_ip_packet_with_its_tags_and_a_frame_as_the_carriage_takes() {
    let table = Table::new();
    let a = table.lan();
    let bytes = frame(host(2), host(1), &[0; 65_543]);
    let input = |length: usize, segments| {
        let before = table.drops(&a, Drop::Malformed);
        let (first, rest) = bytes[..length].split_at(1000);
        let tail = [IoSlice::new(rest)];
        table.switch.input(a.port(), &Frame { tail: &tail, segments, ..Frame::plain(first) });
        table.drops(&a, Drop::Malformed) - before
    };
    assert_eq!((input(65_535, 1), input(65_536, 1), input(65_557, 45)), (0, 1, 0));
    assert_eq!(table.upcall().frame_length, 65_535);
    let long = [&bytes[..], &[0]].concat();
    table.switch.input(a.port(), &Frame { segments: 45, ..Frame::plain(&long) });
    assert_eq!(table.drops(&a, Drop::Malformed), 46);
}

#[test]
fn parked_tails_count_within_the_bound_of_what_waits() {
    let table = Table::new();
    let a = table.lan();
    let rest = [0; 60_000];
    for n in 0..20 {
        let tail = [IoSlice::new(&rest)];
        let bytes = frame(host(2), host(n), &[]);
        table.switch.input(a.port(), &Frame { tail: &tail, segments: 42, ..Frame::plain(&bytes) });
    }
    assert_eq!((table.upcalls().len(), table.drops(&a, Drop::UpcallFull)), (17, 3 * 42));
}

#[test]
fn a_super_frame_is_judged_by_the_guard_as_its_frames_would_be() {
    let table = Table::new();
    let a = table.lan();
    let udp = |port: u8| {
        let ip = [0x45, 0, 0x4e, 0x44, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, port];
        [&host(2)[..], &host(1), &[0x08, 0x00], &ip, &[0; 20_004]].concat()
    };
    let mut vnet = VnetHeader([1, 5, 42, 0, 0, 0, 34, 0, 6, 0]);
    vnet.0[4..6].copy_from_slice(&1000u16.to_ne_bytes());
    for port in [67, 53] {
        let bytes = udp(port);
        table.switch.input(a.port(), &Frame { vnet, segments: 20, ..Frame::plain(&bytes) });
    }
    assert_eq!((table.drops(&a, Drop::GuardDhcp), table.upcalls().len()), (20, 1));
}

/// A port that is full.
struct Full;

impl PortTransmit for Full {
    fn transmit(&self, _: &Frame<'_>) -> Result<(), Drop> {
        Err(Drop::LinkFull)
    }
}

#[test]
fn what_a_port_refuses_is_counted_there() {
    let table = Table::new();
    let (a, port, drops) = (table.lan(), next_handle(), Arc::new(DropCounters::default()));
    table.switch.add_port(port, PortKind::Link, Arc::new(Full), drops.clone());
    table.bind(host(1), &a);
    table.switch.rule_set(host(2), 0, port).unwrap();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.switch.enable_port(port, true).unwrap();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!((drops.get(Drop::PortDisabled), drops.get(Drop::LinkFull)), (1, 1));
    let counters = table.switch.port_counters(port).unwrap();
    assert_eq!((counters.tx_frames, counters.drops, table.all_drops(&a)), (0, drops.all(), 0));
}

#[test]
fn counters_have_the_layout_of_the_header() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    a.write(&frame(host(2), host(1), &[0; 46])).unwrap();
    a.write(&[0; 13]).unwrap();
    let bytes = table.switch.port_counters(a.port()).unwrap().to_bytes();
    let values: Vec<u64> = bytes.chunks_exact(8).map(|value| u64::from_le_bytes(value.try_into().unwrap())).collect();
    let mut expected = vec![1, 60, 0, 0, 0];
    expected.extend([0; Drop::COUNT]);
    expected[5 + Drop::Malformed as usize] = 1;
    assert_eq!(values, expected);
    assert_eq!(
        table.switch.port_counters(b.port()).unwrap().to_bytes()[16..32],
        [1, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_memory_port_reads_whole_frames_and_is_bounded() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    for _ in 0..1025 {
        a.write(&frame(host(2), host(1), &[])).unwrap();
    }
    assert_eq!(table.drops(&b, Drop::LinkFull), 1);
    assert_eq!(b.read(&mut [0; 13]).unwrap_err().errno, libc::EMSGSIZE);
    assert_eq!(taken(&b).len(), 1024);
    b.close();
    assert_eq!(b.read(&mut [0; 100]).unwrap_err().errno, libc::ENOENT);
    assert_eq!(b.write(&[]).unwrap_err().errno, libc::ENOENT);
}

#[test]
fn many_threads_forward_through_one_switch_and_every_frame_is_accounted_for() {
    const FRAMES: u64 = 20_000;
    let table = Table::new();
    let sink = table.lan();
    let links: Vec<Arc<MemoryPort>> = (0..4).map(|_| table.link()).collect();
    table.bind(host(99), &sink);
    std::thread::scope(|scope| {
        for (n, link) in links.iter().enumerate() {
            table.bind(host(n as u16), link);
            scope.spawn(move || {
                (0..FRAMES).for_each(|_| link.write(&frame(host(99), host(n as u16), &[])).unwrap());
            });
        }
        // Rules come and go meanwhile, as they do.
        (0..2000).for_each(|n| table.switch.rule_set(host(1000 + n % 100), 0, OUT_FLOOD).unwrap());
    });
    let counters = table.switch.port_counters(sink.port()).unwrap();
    let refused = counters.drops[Drop::TapWrite as usize];
    assert_eq!((counters.tx_frames, counters.tx_frames + refused), (1024, 4 * FRAMES));
    assert!(links.iter().all(|link| table.switch.port_counters(link.port()).unwrap().rx_frames == FRAMES));
}

#[test]
fn ports_that_go_while_frames_come_leave_no_rule_and_nothing_parked_behind() {
    let table = Table::new();
    let lan = table.lan();
    table.bind(host(9), &lan);
    for _ in 0..200 {
        let link = table.link();
        std::thread::scope(|scope| {
            for n in 0..2 {
                let link = &link;
                // Ends with the port: writing to a closed one fails.
                scope.spawn(move || while link.write(&frame(host(9), host(n), &[])).is_ok() {});
            }
            for _ in 0..5 {
                table.upcalls().iter().for_each(|asked| {
                    let _ = table.switch.rule_set(asked.source(), 0, asked.port);
                });
            }
            link.close();
        });
        table.upcalls().iter().for_each(|asked| {
            assert_eq!(table.switch.upcall_finish(asked.id, OUT_FLOOD).unwrap_err().errno, libc::ENOENT);
        });
        assert_eq!(table.rules().len(), 1);
        taken(&lan);
    }
}
