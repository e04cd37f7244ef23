// SPDX-License-Identifier: MIT
//! The queue under load, on a clock of its own.

use std::collections::HashMap;

use super::*;
use crate::Shaper;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    link: u32,
    flow: u64,
    bytes: usize,
    since: u64,
    knows_ecn: bool,
    is_marked: bool,
}

impl Waiting for Item {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn mark(&mut self) -> bool {
        self.is_marked |= self.knows_ecn;
        self.knows_ecn
    }
}

fn item(link: u32, flow: u64, bytes: usize, since: u64) -> Item {
    Item { link, flow, bytes, since, knows_ecn: false, is_marked: false }
}

/// A line of 10 Mbit/s and what is sent over it.
struct Line {
    queue: FairQueue<Item>,
    shaper: Shaper,
    now: u64,
    sent: Vec<Item>,
    waited: HashMap<(u32, u64), Vec<u64>>,
    dropped: Vec<Item>,
}

impl Line {
    fn new() -> Self {
        let queue = FairQueue::new(500_000, CodelParams::for_kbit(10_000));
        let (sent, dropped) = (Vec::new(), Vec::new());
        Self { queue, shaper: Shaper::new(10_000, 0), now: 0, sent, waited: HashMap::new(), dropped }
    }

    fn push(&mut self, item: Item) {
        self.queue.push(item.link, item.flow, item, self.now, &mut |item| self.dropped.push(item));
    }

    /// Sends until then; `feed` is asked before each frame.
    fn run(&mut self, until: u64, mut feed: impl FnMut(&mut Self)) {
        while self.now < until {
            feed(self);
            if self.shaper.is_ready(self.now) {
                if let Some(item) = self.queue.pop(self.now, &mut |item| self.dropped.push(item)) {
                    self.shaper.charge(item.bytes, self.now);
                    self.waited.entry((item.link, item.flow)).or_default().push(self.now - item.since);
                    self.sent.push(item);
                }
            }
            self.now = self.shaper.ready_us().max(self.now + 100);
        }
    }

    fn bytes(&self, of: impl Fn(&Item) -> bool) -> usize {
        self.sent.iter().filter(|item| of(item)).map(|item| item.bytes).sum()
    }
}

/// Keeps a flow's queue full, as a sender that never slows down.
fn flood(line: &mut Line, link: u32, flow: u64, bytes: usize) {
    let now = line.now;
    for _ in 0..4 {
        line.push(item(link, flow, bytes, now));
    }
}

#[test]
fn flows_of_a_link_share_it_by_bytes_be_their_frames_super_or_small() {
    let mut line = Line::new();
    line.run(5_000_000, |line| {
        flood(line, 1, 1, 64_000);
        flood(line, 1, 2, 1500);
        flood(line, 1, 3, 100);
    });
    let shares: Vec<usize> = (1..=3).map(|flow| line.bytes(|item| item.flow == flow)).collect();
    let third = shares.iter().sum::<usize>() / 3;
    assert!(shares.iter().all(|share| share.abs_diff(third) < 130_000), "{shares:?}");
}

#[test]
fn links_share_a_line_however_many_flows_each_has() {
    let mut line = Line::new();
    line.run(2_000_000, |line| {
        (0..20).for_each(|flow| flood(line, 1, flow, 1500));
        flood(line, 2, 0, 1500);
    });
    let (one, two) = (line.bytes(|item| item.link == 1), line.bytes(|item| item.link == 2));
    assert!(one.abs_diff(two) < 20_000, "{one} and {two}");
}

#[test]
fn a_sparse_flow_does_not_wait_behind_a_flood_and_loses_nothing() {
    let mut line = Line::new();
    let mut next = 0;
    line.run(3_000_000, |line| {
        flood(line, 1, 1, 1500);
        flood(line, 1, 2, 1500);
        if line.now >= next {
            line.push(item(1, 9, 100, line.now));
            next += 20_000;
        }
    });
    let waited = &line.waited[&(1, 9)];
    // Behind the frame on the line. At first all were new.
    assert!(waited.len() > 140 && waited[1..].iter().all(|waited| *waited <= 1_500), "{:?}", waited[1..].iter().max());
    assert!(line.dropped.iter().all(|item| item.flow != 9));
}

/// A sender that halves its window when it is told, and else adds a frame for each window that was sent.
#[test]
fn a_flow_that_slows_down_when_told_waits_no_longer_than_a_few_targets() {
    for knows_ecn in [false, true] {
        let mut line = Line::new();
        let (mut window, mut told, mut acked, mut marked) = (10.0f64, 0, 0, 0);
        line.run(20_000_000, |line| {
            marked += line.sent[acked..].iter().filter(|item| item.is_marked).count();
            let news = line.dropped.len() + marked;
            if news > told {
                (window, told) = ((window / 2.0).max(2.0), news);
            }
            window += (line.sent.len() - acked) as f64 / window;
            acked = line.sent.len();
            while line.queue.bytes() < window as usize * 1500 {
                line.push(Item { knows_ecn, ..item(1, 1, 1500, line.now) });
            }
        });
        let late: Vec<u64> = line.waited[&(1, 1)].iter().rev().take(5000).copied().collect();
        let mean = late.iter().sum::<u64>() / late.len() as u64;
        assert!((1_000..20_000).contains(&mean), "mean {mean} us");
        assert_eq!(line.dropped.is_empty(), knows_ecn, "{} dropped", line.dropped.len());
        assert!(line.bytes(|_| true) > 20_000_000 * 10 / 8 * 95 / 100, "the line is used");
    }
}

#[test]
fn a_full_queue_drops_from_its_longest_flow_and_never_holds_more_than_its_limit() {
    let mut line = Line::new();
    line.push(item(2, 7, 1500, 0));
    for n in 0..1000 {
        line.push(item(1, 1, 64_000, n));
        assert!(line.queue.bytes() <= 500_000);
    }
    assert!(!line.dropped.is_empty() && line.dropped.iter().all(|item| item.flow == 1));
    // The oldest went first.
    assert!(line.dropped.windows(2).all(|pair| pair[0].since < pair[1].since));
}

#[test]
fn what_is_blocked_waits_and_what_is_forgotten_is_gone() {
    let mut line = Line::new();
    (1..=3).for_each(|link| line.push(item(link, 1, 100, 0)));
    line.queue.block(1, true);
    line.queue.forget(2);
    assert!(line.queue.is_blocked(1) && line.queue.bytes() == 200);
    let mut none = |_| panic!("nothing is dropped");
    assert_eq!(line.queue.pop(1, &mut none).map(|item| item.link), Some(3));
    assert_eq!(line.queue.pop(1, &mut none), None);
    line.push(item(1, 1, 100, 1));
    assert_eq!(line.queue.pop(1, &mut |_| {}), None);
    line.queue.block(1, false);
    let left: Vec<u32> = std::iter::from_fn(|| line.queue.pop(2, &mut |_| {})).map(|item| item.link).collect();
    assert_eq!((left, line.queue.is_empty()), (vec![1, 1], true));
    assert_eq!(line.queue.pop(3, &mut |_| {}), None);
    line.push(item(2, 1, 100, 3));
    assert_eq!(line.queue.pop(3, &mut |_| {}).map(|item| item.link), Some(2));
}
