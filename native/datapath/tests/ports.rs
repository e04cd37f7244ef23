// SPDX-License-Identifier: MIT
//! Ports: what they keep, what they count, and many threads at them.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use ipop_base::{Drop, DropCounters, Frame, FrameSink, PortTransmit, VnetHeader, next_handle};
use ipop_datapath::{MemoryPort, OUT_FLOOD, PortKind};

/// Keeps the virtio headers of what goes out.
#[derive(Default)]
struct Headers(Mutex<Vec<(VnetHeader, u16)>>);

impl PortTransmit for Headers {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        self.0.lock().unwrap().push((frame.vnet, frame.segments));
        Ok(())
    }
}

#[test]
fn a_parked_super_frame_keeps_its_virtio_header_and_counts_as_its_segments() {
    let table = Table::new();
    let (a, port, out) = (table.lan(), next_handle(), Arc::new(Headers::default()));
    table.switch.add_port(port, PortKind::Link, out.clone(), Arc::new(DropCounters::default()));
    table.switch.enable_port(port, true).unwrap();
    let vnet = VnetHeader([1, 1, 66, 0, 168, 5, 34, 0, 16, 0]);
    let bytes = frame(host(2), host(1), &[0; 4396]);
    table.switch.input(a.port(), &Frame { vnet, bytes: &bytes, tail: &[], segments: 3 });
    table.decide();
    assert_eq!(*out.0.lock().unwrap(), [(vnet, 3)]);
    let counters = table.switch.port_counters(port).unwrap();
    assert_eq!((counters.tx_frames, counters.tx_bytes), (3, 4410));
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
