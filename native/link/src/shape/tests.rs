// SPDX-License-Identifier: MIT
//! Sides with a worker, real timers and exits that only remember.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use ipop_base::{Drop, DropCounters, Frame, VnetHeader};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Out {
    link: Handle,
    /// What was given, and what of it was flushed.
    given: Mutex<Vec<Vec<u8>>>,
    flushed: AtomicUsize,
    drops: DropCounters,
    is_full: AtomicBool,
}

impl Exit for Out {
    fn link(&self) -> Handle {
        self.link
    }

    fn give(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        assert!(!self.is_blocked(), "the queue knows");
        self.given.lock().unwrap().push(frame.to_vec());
        Ok(())
    }

    fn flush(&self) {
        self.flushed.store(self.given.lock().unwrap().len(), Ordering::Release);
    }

    fn drops(&self) -> &DropCounters {
        &self.drops
    }

    fn overhead(&self) -> usize {
        56
    }

    fn room(&self) -> usize {
        1444
    }

    fn retry(&self) -> bool {
        !self.is_blocked()
    }

    fn is_blocked(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }
}

struct Net {
    worker: Arc<Worker>,
    shape: Arc<Shape>,
}

impl Net {
    fn new(up_kbit: Option<u64>) -> Self {
        let worker = Worker::start("test").unwrap();
        let shape = Shape::new(worker.clone()).unwrap();
        shape.configure(&ShapeSettings { up_kbit, ..ShapeSettings::default() });
        Self { worker, shape }
    }

    fn offer(&self, out: &Arc<Out>, frame: &Frame<'_>) {
        let hold = || Some(out.clone() as Arc<dyn Exit>);
        self.shape.up.offer(&**out, hold, frame).unwrap();
    }
}

impl std::ops::Drop for Net {
    fn drop(&mut self) {
        self.shape.close();
        self.worker.stop();
    }
}

fn out(link: Handle) -> Arc<Out> {
    Arc::new(Out { link, ..Out::default() })
}

/// UDP from this port, with a number.
fn datagram(port: u8, number: u8, len: usize) -> Vec<u8> {
    let ip = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, port, 0, 9];
    let mut frame = [&[2; 12][..], &[8, 0], &ip].concat();
    frame.resize(len, number);
    frame
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn nothing_comes_by_here_while_there_is_no_rate_and_the_socket_has_room() {
    let net = Net::new(None);
    assert!(!net.shape.up.is_busy() && !net.shape.down.is_busy());
    net.shape.configure(&ShapeSettings { up_kbit: Some(1000), ..ShapeSettings::default() });
    assert!(net.shape.up.is_busy() && !net.shape.down.is_busy());
    let out = out(1);
    (0..4).for_each(|n| net.offer(&out, &Frame::plain(&datagram(1, n, 1000))));
    net.shape.configure(&ShapeSettings::default());
    wait_until("what waited has gone", || !net.shape.up.is_busy());
    assert_eq!(out.given.lock().unwrap().len(), 4);
}

#[test]
fn a_rate_is_kept_by_all_links_together_and_shared_between_them() {
    let net = Net::new(Some(20_000));
    let outs = [out(1), out(2)];
    let start = Instant::now();
    // As many from each, so that both have something until the end: 2 * 100 * 1056 bytes take 84 ms.
    for n in 0..100 {
        outs.iter().for_each(|out| net.offer(out, &Frame::plain(&datagram(1, n, 1000))));
    }
    let drops = |out: &Arc<Out>| out.drops.get(Drop::QueueEarly) as usize;
    let done = |out: &Arc<Out>| out.flushed.load(Ordering::Acquire) + drops(out);
    wait_until("half has gone", || outs.iter().map(&done).sum::<usize>() >= 100);
    let [one, two] = [0, 1].map(|n| outs[n].given.lock().unwrap().len());
    assert!(one.abs_diff(two) <= 10, "{one} and {two}");
    wait_until("all has gone", || outs.iter().map(&done).sum::<usize>() >= 199);
    let sent: usize = outs.iter().map(|out| out.given.lock().unwrap().len()).sum();
    let least = Duration::from_micros(((sent - 1) * 1056 * 8 / 20) as u64) - Duration::from_millis(2);
    assert!(start.elapsed() >= least, "{sent} frames in {:?}, not {least:?}", start.elapsed());
    for out in &outs {
        let given = out.given.lock().unwrap();
        assert!(given.windows(2).all(|pair| pair[0][50] < pair[1][50]), "a flow keeps its order");
    }
}

#[test]
fn a_small_frame_overtakes_a_flood() {
    let net = Net::new(Some(10_000));
    let out = out(1);
    (0..100).for_each(|n| net.offer(&out, &Frame::plain(&datagram(1, n, 1400))));
    net.offer(&out, &Frame::plain(&datagram(2, 0, 60)));
    let place = || out.given.lock().unwrap().iter().position(|frame| frame.len() == 60);
    wait_until("the small one", || place().is_some());
    assert!(place().unwrap() < 50, "at {:?}", place());
}

/// A TCP super-frame of IPv4.
fn super_frame(payload: usize) -> (VnetHeader, Vec<u8>) {
    let mut vnet = [1, 1, 54, 0, 0xa0, 5, 34, 0, 16, 0];
    vnet[4..6].copy_from_slice(&1390u16.to_ne_bytes());
    let mut bytes = datagram(1, 7, 54 + payload);
    bytes[16..18].copy_from_slice(&(40 + payload as u16).to_be_bytes());
    (bytes[23], bytes[46]) = (6, 0x50);
    (VnetHeader(vnet), bytes)
}

#[test]
fn a_super_frame_is_cut_where_it_would_hold_up_a_slow_line() {
    let (vnet, bytes) = super_frame(30_000);
    let frame = Frame { vnet, bytes: &bytes, tail: &[], segments: 22 };
    for (kbit, pieces) in [(8_000, 22), (1_000_000, 1)] {
        let net = Net::new(Some(kbit));
        let out = out(1);
        net.offer(&out, &frame);
        // The last two may be dropped early.
        let gone = || out.flushed.load(Ordering::Acquire).max(out.given.lock().unwrap().len());
        let drops = || out.drops.get(Drop::QueueEarly) as usize;
        wait_until("all has gone", || gone() + drops() == pieces);
        assert!(out.given.lock().unwrap().iter().all(|given| pieces == 1 || given.len() <= 1444));
    }
}

#[test]
fn what_a_socket_has_no_room_for_waits_and_others_go_on() {
    let net = Net::new(None);
    let (full, free) = (out(1), out(2));
    full.is_full.store(true, Ordering::Release);
    net.shape.up.refused(full.clone());
    assert!(net.shape.up.is_busy());
    (0..10).for_each(|n| net.offer(&full, &Frame::plain(&datagram(1, n, 100))));
    (0..10).for_each(|n| net.offer(&free, &Frame::plain(&datagram(1, n, 100))));
    wait_until("those of the other", || free.given.lock().unwrap().len() == 10);
    assert!(full.given.lock().unwrap().is_empty());
    full.is_full.store(false, Ordering::Release);
    wait_until("there is room again", || full.flushed.load(Ordering::Acquire) == 10 && !net.shape.up.is_busy());
    assert!(full.given.lock().unwrap().iter().enumerate().all(|(n, frame)| frame[50] == n as u8));
}

#[test]
fn what_waits_of_a_link_that_goes_is_forgotten() {
    let net = Net::new(None);
    let full = out(1);
    full.is_full.store(true, Ordering::Release);
    net.shape.up.refused(full.clone());
    net.offer(&full, &Frame::plain(&datagram(1, 0, 100)));
    net.shape.forget(1);
    assert!(!net.shape.up.is_busy());
    assert_eq!(Arc::strong_count(&full), 1);
}

#[test]
fn a_frame_is_counted_with_the_headers_of_each_of_its_segments() {
    let (vnet, bytes) = super_frame(3 * 1390);
    assert_eq!(wire_bytes(&Frame { vnet, bytes: &bytes, tail: &[], segments: 3 }, 56), 3 * (1390 + 54 + 56));
    assert_eq!(wire_bytes(&Frame::plain(&bytes[..60]), 56), 116);
}

#[test]
fn settings_out_of_range_are_refused_with_the_way_out() {
    let parse = |text: &str| ShapeSettings::parse(&TextMap::parse(text.as_bytes()).unwrap());
    let all = ShapeSettings { up_kbit: Some(1000), down_kbit: Some(16_000), dscp: 46 };
    assert_eq!(parse("up_kbit=1000\ndown_kbit=16000\ndscp=46"), Ok(all));
    assert_eq!((parse(""), parse("up_kbit=0\ndscp=0")), (Ok(ShapeSettings::default()), Ok(ShapeSettings::default())));
    for bad in ["up_kbit=63", "down_kbit=10000001", "dscp=64", "up_kbit=-1", "down_kbit=fast"] {
        let error = parse(bad).unwrap_err();
        let (name, value) = bad.split_once('=').unwrap();
        assert!(error.errno == libc::EINVAL && error.text.contains(name) && error.text.contains(value), "{error}");
    }
}
