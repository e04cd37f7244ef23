// SPDX-License-Identifier: MIT
//! The queue in front of a slow link.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

use ipop_queue::{CodelParams, FairQueue, Waiting, flow_of};

use crate::measure::Stage;
use crate::packets::{Packet, TCP};

const FRAME: usize = 1514;
/// Frames that wait all the time, each of a flow of its own.
const WAITING: u64 = 64;
const LIMIT: usize = 1 << 20;

struct Entry;

impl Waiting for Entry {
    fn bytes(&self) -> usize {
        FRAME
    }

    fn mark(&mut self) -> bool {
        false
    }
}

pub fn stages() -> Vec<Stage> {
    vec![flowing(), queueing()]
}

fn flowing() -> Stage {
    let bytes = Packet::new(TCP, false, 1448).bytes();
    // Random keys would make each run another.
    let key = BuildHasherDefault::<DefaultHasher>::default();
    Stage::new("queue: flow of a frame", 1, FRAME, move || {
        black_box(flow_of(black_box(&bytes), &key));
    })
}

fn queueing() -> Stage {
    let mut queue = FairQueue::new(LIMIT, CodelParams::default());
    let mut lost = |_: Entry| unreachable!("nothing waits long");
    (0..WAITING).for_each(|flow| queue.push(1, flow, Entry, 0, &mut lost));
    let mut flow = 0;
    Stage::new("queue: push and pop, 64 flows", 1, FRAME, move || {
        assert!(queue.pop(0, &mut lost).is_some());
        queue.push(1, black_box(flow), Entry, 0, &mut lost);
        flow = (flow + 1) % WAITING;
    })
}
