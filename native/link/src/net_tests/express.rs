// SPDX-License-Identifier: MIT
//! The express carriage between two ends: what it carries, and that `info` says so.

use std::sync::atomic::Ordering;

use ipop_express::Cipher;

use super::sites::*;
use super::*;

#[path = "../../../offload/tests/common/mod.rs"]
mod packets;
use packets::{Packet, TCP, UDP};

/// A pair that goes by express, with a direct path of this family.
fn pair(middle: Middle, configs: [&str; 2]) -> [Site; 2] {
    let sites = apart(middle);
    by_express(&sites[0].end, &sites[1].end, configs);
    sites
}

/// Sends all in one batch, and waits until as many arrived, which are returned.
fn carry(from: &End, to: &End, frames: &[Frame<'_>], expected: usize) -> Vec<Vec<u8>> {
    frames.iter().for_each(|frame| from.transmit.transmit(frame).unwrap());
    from.transmit.flush();
    wait_until("all frames", || to.sink.frames.lock().unwrap().len() >= expected);
    std::mem::take(&mut *to.sink.frames.lock().unwrap())
}

#[test]
fn express_comes_up_on_a_direct_path_of_either_family_and_info_says_how() {
    for (middle, bytes) in [(Middle::V4, "1472"), (Middle::V6, "1452")] {
        let Some(_guard) = network() else { return };
        let [Site { end: a, .. }, Site { end: b, .. }] = pair(middle, [""; 2]);
        for end in [&a, &b] {
            wait_until("the largest size", || end.said("datagram_bytes") == bytes);
            assert_eq!(end.said("cipher"), Cipher::preferred().name());
            assert_eq!((end.said("epoch"), end.said("carriage_why")), ("1".into(), "the direct path is open".into()));
        }
        let received = || b.said("express_received").parse::<u64>().unwrap();
        let before = (received(), b.said("rtp_received"));
        a.send(&Frame::plain(&frame(1400))).unwrap();
        wait_until("frame", || *b.sink.frames.lock().unwrap() == [frame(1400)]);
        assert!(received() > before.0);
        assert_eq!(b.said("rtp_received"), before.1, "nothing went by SRTP");
    }
}

#[test]
fn frames_of_every_length_arrive_as_they_were_and_in_order() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair(Middle::V4, [""; 2]);
    let lengths: Vec<usize> = (14..=1600).chain([2000, 3001, 9000, 30_000, 65_535]).collect();
    for (from, to) in [(&a, &b), (&b, &a)] {
        for lengths in lengths.chunks(40) {
            let frames: Vec<_> = lengths.iter().map(|&length| frame(length)).collect();
            let plain: Vec<_> = frames.iter().map(|frame| Frame::plain(frame)).collect();
            assert_eq!(carry(from, to, &plain, frames.len()), frames);
        }
    }
    let malformed = a.transmit.transmit(&Frame::plain(&[0; 13]));
    assert_eq!(malformed, Err(Drop::Malformed));
    assert_eq!(a.drops.all().iter().chain(&b.drops.all()).sum::<u64>(), 0);
}

#[test]
fn super_frames_and_open_checksums_of_tcp_and_udp_arrive_as_the_frames_they_stand_for() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair(Middle::V4, [""; 2]);
    wait_until("the largest size", || a.said("datagram_bytes") == "1472");
    let room = 1472 - crate::express::OVERHEAD;
    for (protocol, v6, payload, size) in [
        (TCP, false, 60_000, 1448),
        (TCP, true, 60_000, 1428),
        (TCP, false, 9000, 500),
        (UDP, false, 40_000, 1200),
        (UDP, true, 3000, 50),
        (TCP, false, 2900, 2900),
        (UDP, false, 1400, 0),
        (TCP, true, 0, 0),
    ] {
        for tags in [vec![], vec![0x8100]] {
            let packet = Packet { tags, flags: packets::ACK | packets::PSH, ..Packet::new(protocol, v6, payload) };
            let (vnet, bytes) =
                if size == 0 { (packet.open_vnet(), packet.open_bytes()) } else { packet.super_frame(size) };
            let segments = if size == 0 { 1 } else { payload.div_ceil(size.into()) as u16 };
            let frame = Frame { vnet, bytes: &bytes, tail: &[], segments };
            // What fits a datagram, as plain frames: it must not matter that they travelled open and were joined.
            let mut expected = Vec::new();
            let mut cut = Cut::new(&frame, room).unwrap();
            while let Some(length) = cut.next_len() {
                let mut bytes = vec![0; length];
                let mark = cut.write_next(&mut bytes);
                checksum::complete(&mut bytes, mark).unwrap();
                expected.push(bytes);
            }
            let got = carry(&a, &b, &[frame], expected.len());
            assert_eq!(got, expected, "{protocol} v6 {v6} {payload} bytes in {size}");
        }
    }
}

#[test]
fn chacha20_is_used_when_one_side_wants_nothing_else() {
    for configs in [["cipher=chacha20-poly1305", ""], ["", "cipher=chacha20-poly1305"]] {
        let Some(_guard) = network() else { return };
        let [Site { end: a, .. }, Site { end: b, .. }] = pair(Middle::V4, configs);
        for (from, to) in [(&a, &b), (&b, &a)] {
            assert_eq!(from.said("cipher"), "ChaCha20-Poly1305");
            assert_eq!(carry(from, to, &[Frame::plain(&frame(1500))], 1), [frame(1500)]);
        }
    }
}

/// Sends at most 200 frames beyond what arrived, for a while; returns how many.
fn load(from: &End, to: &End, time: Duration) -> u64 {
    let (start, mut sent) = (Instant::now(), 0u64);
    let received = || to.sink.count.load(Ordering::Relaxed);
    let before = received();
    while start.elapsed() < time {
        for length in [60, 1400, 300, 1514] {
            from.transmit.transmit(&Frame::plain(&frame(length))).unwrap();
            sent += 1;
        }
        from.transmit.flush();
        wait_until("frames under way", || sent - (received() - before).min(sent) < 200);
    }
    wait_until("the last frames", || received() - before >= sent);
    assert_eq!(received() - before, sent);
    sent
}

#[test]
fn new_keys_under_load_lose_no_frame() {
    let Some(_guard) = network() else { return };
    let mut sites = sites(Middle::V4, [""; 2], true);
    let [Site { end: a, .. }, Site { end: b, .. }] = &mut sites;
    bring_up(a, b);
    by_express(a, b, ["rekey_ms=200"; 2]);
    let sent = std::thread::scope(|scope| {
        let ways = [(&*a, &*b), (&*b, &*a)].map(|(from, to)| scope.spawn(|| load(from, to, Duration::from_secs(2))));
        ways.map(|way| way.join().unwrap())
    });
    assert!(sent.iter().all(|&sent| sent > 1000), "{sent:?}");
    assert_eq!(a.drops.all().iter().chain(&b.drops.all()).sum::<u64>(), 0);
    let epoch: u32 = a.said("epoch").parse().unwrap();
    assert!(epoch >= 8, "{epoch}");
    assert!(a.said("epoch") == b.said("epoch") || b.said("epoch") == (epoch + 1).to_string());
}

#[test]
fn at_most_two_epochs_can_be_opened_although_no_datagram_comes() {
    let Some(_guard) = network() else { return };
    let [Site { end: a, .. }, Site { end: b, .. }] = pair(Middle::V4, ["rekey_ms=100"; 2]);
    let epoch = |end: &End| end.said("epoch").parse::<u32>().unwrap();
    // Nothing is sent but probes now and then.
    wait_until("15 epochs", || {
        for end in [&a, &b] {
            let newest = epoch(end);
            let held = end.inner().express_of().unwrap().epochs();
            assert!(held.len() <= 3, "{held:?}");
            assert!(held.iter().all(|&held| u32::from(held) + 3 >= newest), "{held:?} at {newest}");
        }
        epoch(&a) > 15
    });
    // `epochs` was asked for a moment after `epoch`: at rest there are two, or three while the next is agreed on.
    wait_until("two at rest", || a.inner().express_of().unwrap().epochs().len() <= 2);
}

#[test]
fn without_trains_in_the_kernel_frames_arrive_all_the_same() {
    let Some(_guard) = network() else { return };
    struct Plain;
    impl std::ops::Drop for Plain {
        fn drop(&mut self) {
            crate::udp::PLAIN.store(false, Ordering::Relaxed);
        }
    }
    let _plain = Plain;
    crate::udp::PLAIN.store(true, Ordering::Relaxed);
    let [Site { end: a, .. }, Site { end: b, .. }] = pair(Middle::V4, [""; 2]);
    let packet = Packet::new(TCP, false, 20_000);
    let (vnet, bytes) = packet.super_frame(1000);
    let got = carry(&a, &b, &[Frame { vnet, bytes: &bytes, tail: &[], segments: 20 }], 20);
    assert_eq!(got.iter().map(|frame| frame.len() - packet.headers()).sum::<usize>(), 20_000);
    assert_eq!(carry(&b, &a, &[Frame::plain(&frame(9000))], 1), [frame(9000)]);
}

#[test]
fn a_link_that_did_not_ask_for_express_refuses_it_until_it_is_up_and_takes_it_once() {
    let Some(_guard) = network() else { return };
    let end = End::new(Role::Offer);
    let config = TextMap::parse(b"local=x").unwrap();
    assert_eq!(end.links.express(end.link, &config).unwrap_err().errno, libc::ENOTCONN);
    drop(end);
    let (a, b) = up();
    assert_eq!((a.said("carriage"), a.said("carriage_why")), ("srtp".into(), "express was not asked for".into()));
    assert_eq!(a.links.express(a.link, &config).unwrap_err().errno, libc::EINVAL);
    by_express(&a, &b, [""; 2]);
    let ids = ["11".repeat(20), "22".repeat(20)];
    let again = format!("local={}\npeer={}\ngeneration=7", ids[0], ids[1]);
    let again = TextMap::parse(again.as_bytes()).unwrap();
    assert_eq!(a.links.express(a.link, &again).unwrap_err().errno, libc::EALREADY);
}
