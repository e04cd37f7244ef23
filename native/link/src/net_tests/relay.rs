// SPDX-License-Identifier: MIT
//! Links through a relay (coturn).

use super::sites::*;
use super::*;

#[test]
fn without_a_direct_path_frames_cross_through_a_turn_relay() {
    let Some(_guard) = network() else { return };
    let Some(([a, b], _server)) = relayed([true; 2], false) else { return };
    let (a, b) = (a.end, b.end);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let kinds = ["local_type", "remote_type"];
        wait_until("relay known", || kinds.iter().any(|kind| from.info().get(kind) == Some("relay")));
        from.send(&Frame::plain(&frame(1514))).unwrap();
        wait_until("frame", || *to.sink.frames.lock().unwrap() == [frame(1514)]);
    }
}

/// Sends of relayed links wait for a lock that libjuice holds while it waits for libdatachannel's receiving threads. Those answer
/// messages, if only with SCTP's acknowledgements.
#[test]
fn more_than_both_ways_of_a_relay_can_carry_and_messages_stop_neither() {
    let Some(_guard) = network() else { return };
    let Some(([a, b], _server)) = relayed([true; 2], true) else { return };
    let (a, b) = (a.end, b.end);
    let until = Instant::now() + Duration::from_secs(8);
    let flood = |end: &End| {
        let transmit = end.transmit.clone();
        std::thread::spawn(move || {
            while Instant::now() < until {
                let _ = transmit.transmit(&Frame::plain(&frame(1100)));
                transmit.flush();
            }
        })
    };
    let talk = |end: &End| {
        let (links, link) = (end.links.clone(), end.link);
        std::thread::spawn(move || {
            while Instant::now() < until {
                let _ = links.send(link, &frame(8192));
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    };
    let threads: Vec<_> = [&a, &b, &a, &b, &a, &b].map(flood).into_iter().chain([&a, &b].map(talk)).collect();
    wait_until("flood over", || threads.iter().all(|thread| thread.is_finished()));
    let received = |end: &End| end.sink.count.load(std::sync::atomic::Ordering::Relaxed);
    for (from, to) in [(&a, &b), (&b, &a)] {
        // Packets of the flood may still arrive: a frame in 10 ms, for longer than they take.
        let before = received(to);
        wait_until("frames after the flood", || {
            std::thread::sleep(Duration::from_millis(10));
            from.send(&Frame::plain(&frame(60))).is_ok() && received(to) > before + 100
        });
    }
}

#[test]
fn a_link_through_a_relay_on_either_side_stays_on_srtp_and_says_why() {
    for has in [[true, true], [true, false], [false, true]] {
        let Some(_guard) = network() else { return };
        let Some(([a, b], _server)) = relayed(has, false) else { return };
        let (a, b) = (a.end, b.end);
        a.begin_express("");
        b.begin_express("");
        // Whose media the relay wraps is known from the next report on, which a frame asks for.
        for (from, to) in [(&a, &b), (&b, &a)] {
            from.send(&Frame::plain(&frame(60))).unwrap();
            wait_until("frame", || to.sink.frames.lock().unwrap().pop().is_some());
        }
        let reasons = ["the link goes by a relay", "no answer to probes on the direct path"];
        for (from, to) in [(&a, &b), (&b, &a)] {
            wait_until("a reason", || reasons.contains(&&*from.said("carriage_why")));
            assert_eq!(from.said("carriage"), "srtp");
            from.send(&Frame::plain(&frame(1514))).unwrap();
            wait_until("frame", || *to.sink.frames.lock().unwrap() == [frame(1514)]);
        }
        wait_until("the relay's name", || [&a, &b].iter().any(|end| end.said("carriage_why") == reasons[0]));
    }
}
