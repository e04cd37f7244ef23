// SPDX-License-Identifier: MIT
//! Frames of a conversation that is known cost no memory. A binary of its own, for it counts all that its threads allocate.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use common::*;
use ipop_base::{Drop, DropCounters, Frame, FrameSink, PortTransmit, next_handle};
use ipop_datapath::{OUT_FLOOD, PortKind};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator; counting neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Sink;

impl PortTransmit for Sink {
    fn transmit(&self, _: &Frame<'_>) -> Result<(), Drop> {
        Ok(())
    }
}

#[test]
fn frames_of_known_conversations_and_floods_allocate_nothing() {
    let table = Table::new();
    let lan = table.lan();
    let port = next_handle();
    table.switch.add_port(port, PortKind::Link, Arc::new(Sink), Arc::new(DropCounters::default()));
    table.switch.enable_port(port, true).unwrap();
    table.bind(host(1), &lan);
    table.switch.rule_set(host(2), 0, port).unwrap();
    table.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
    let frames = [frame(host(2), host(1), &[0; 100]), frame(BROADCAST, host(1), &[0; 100])];
    let mut ingress = table.switch.clone().ingress(lan.port());
    let mut send = |times: usize| {
        let before = COUNT.with(Cell::get);
        for _ in 0..times {
            frames.iter().for_each(|bytes| ingress.input(&Frame::plain(bytes)));
            ingress.flush();
        }
        COUNT.with(Cell::get) - before
    };
    send(1);
    assert_eq!(send(10_000), 0);
    let before = COUNT.with(Cell::get);
    drop(std::hint::black_box(vec![0; 10]));
    assert_eq!(COUNT.with(Cell::get) - before, 1, "the count counts");
    assert_eq!(table.switch.port_counters(port).unwrap().tx_frames, 20_002);
}
