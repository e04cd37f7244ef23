// SPDX-License-Identifier: MIT
//! The SRTP carriage between two ends.

use super::*;

#[test]
fn garbage_from_the_peer_is_counted_and_the_next_frame_arrives() {
    let Some(_guard) = network() else { return };
    let (a, b) = up();
    for (sequence, (head, kind)) in [(0x80, 9), (0x80, 2), (0x90, 1)].into_iter().enumerate() {
        let mut packet = [0u8; 40];
        crate::rtp::write(&mut packet, 77, sequence as u16, 0);
        (packet[0], packet[12]) = (head, kind);
        assert!(crate::agent::send(a.inner().track_id(), &packet));
    }
    wait_until("garbage counted", || b.drops.get(Drop::CarriageMalformed) == 3);
    a.send(&Frame::plain(&frame(60))).unwrap();
    wait_until("frame", || *b.sink.frames.lock().unwrap() == [frame(60)]);
}

/// A packet of a source of its own, as a hostile peer may send them without end.
fn from_source(ssrc: u32) -> [u8; 40] {
    let mut packet = [0u8; 40];
    crate::rtp::write(&mut packet, ssrc, 1, 0);
    packet
}

#[test]
fn a_peer_with_ever_new_sources_is_given_up_before_they_fill_the_memory() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let track = a.inner().track_id();
    // 1025 are what an honest sender may use.
    for ssrc in 1..=1025 {
        assert!(crate::agent::send(track, &from_source(ssrc)));
    }
    a.send(&Frame::plain(&frame(60))).unwrap();
    wait_until("frame", || *b.sink.frames.lock().unwrap() == [frame(60)]);
    for ssrc in 1026..=3000 {
        crate::agent::send(track, &from_source(ssrc));
    }
    assert_eq!(b.lost_code(&mut a), "ssrc-exhausted");
}

/// Packets of this length are lost on the way in.
const LOST_LEN: usize = 1100;

/// Sends more packets into the void than RTP's sequence numbers count, then others; true when one of those arrives.
fn arrives_after_losing(packets: u64, may_change_ssrc: bool) -> bool {
    let (a, b) = up();
    a.inner().replace_sender(may_change_ssrc);
    a.send(&Frame::plain(&frame(60))).unwrap();
    wait_until("first frame", || b.sink.frames.lock().unwrap().len() == 1);
    for _ in 0..packets {
        a.send(&Frame::plain(&frame(LOST_LEN))).unwrap();
    }
    for _ in 0..20 {
        a.send(&Frame::plain(&frame(61))).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(b.sink.frames.lock().unwrap().iter().all(|received| received.len() != LOST_LEN));
    b.sink.frames.lock().unwrap().iter().any(|received| *received == frame(61))
}

#[test]
fn frames_arrive_again_after_a_long_loss_because_the_ssrc_changes() {
    let Some(_guard) = network() else { return };
    let rules = "table inet t { chain i { type filter hook input priority 0; udp length 1100-1160 drop; }; }";
    assert!(Command::new("/usr/sbin/nft").arg(rules).status().unwrap().success());
    assert!(arrives_after_losing(70_000, true));
    assert!(!arrives_after_losing(70_000, false), "without a new SSRC the receiver should have refused all");
}

#[test]
#[ignore = "measures; run alone: cargo test --release -p ipop-link measure -- --ignored --nocapture"]
fn measure() {
    let Some(_guard) = network() else { return };
    let mut times: Vec<_> = (0..10)
        .map(|_| {
            let start = Instant::now();
            let ends = up();
            let taken = start.elapsed();
            drop(ends);
            taken
        })
        .collect();
    times.sort();
    let queues = [(); 2].map(|()| Arc::new(RecordQueue::new().unwrap()));
    let mut a = End::with(start_links(queues[0].clone()), queues[0].clone(), Role::Offer, true);
    let mut b = End::with(start_links(queues[1].clone()), queues[1].clone(), Role::Answer, true);
    bring_up(&mut a, &mut b);
    let mut text = format!("open to up: median {:?}, worst {:?}\n", times[5], times[9]);
    for len in [64, 1100, 1400] {
        let bytes = frame(len);
        let (start, before) = (Instant::now(), b.sink.count.load(std::sync::atomic::Ordering::Relaxed));
        let mut sent = 0u64;
        while start.elapsed() < Duration::from_secs(3) {
            a.send(&Frame::plain(&bytes)).unwrap();
            sent += 1;
        }
        let taken = start.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_millis(300));
        let got = b.sink.count.load(std::sync::atomic::Ordering::Relaxed) - before;
        text += &format!(
            "{len} bytes: sent {:.0}/s, received {:.0}/s, ssrc changes {}\n",
            sent as f64 / taken,
            got as f64 / taken,
            a.info().get("ssrc_changes").unwrap()
        );
    }
    note(&text);
}
