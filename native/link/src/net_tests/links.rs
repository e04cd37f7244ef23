// SPDX-License-Identifier: MIT
//! A link as its caller sees it: up, signed, closed, lost.

use super::*;

#[test]
fn frames_and_messages_cross_both_ways_and_info_says_how() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    for len in [60, 1170, 1171, 1514, 9000] {
        for (from, to) in [(&a, &b), (&b, &a)] {
            from.send(&Frame::plain(&frame(len))).unwrap();
            wait_until("frame", || !to.sink.frames.lock().unwrap().is_empty());
            assert_eq!(to.sink.frames.lock().unwrap().pop(), Some(frame(len)));
        }
    }
    a.links.send(a.link, b"{\"type\":\"hello\"}").unwrap();
    let message = |length: usize| [b"{", &frame(length)[1..]].concat();
    b.links.send(b.link, &message(16 * 1024)).unwrap();
    assert_eq!(b.wait(&mut a, RecordType::LinkMessage), b"{\"type\":\"hello\"}");
    assert_eq!(a.wait(&mut b, RecordType::LinkMessage), message(16 * 1024));
    assert_eq!(a.links.send(a.link, &message(16 * 1024 + 1)).unwrap_err().errno, libc::EMSGSIZE);
    assert_eq!(a.links.send(a.link, &frame(9)).unwrap_err().errno, libc::EINVAL);
    let info = a.info();
    assert_eq!((info.get("state"), info.get("local_type")), (Some("up"), Some("host")));
    assert!(info.get("remote").unwrap().starts_with("10.99.0.1:") || info.get("remote").unwrap().starts_with('['));
    assert!(info.get("rtp_sent").unwrap().parse::<u64>().unwrap() >= 14, "{info:?}");
    assert_eq!(a.drops.all().iter().sum::<u64>() + b.drops.all().iter().sum::<u64>(), 0);
}

#[test]
fn a_wrong_fingerprint_ends_the_link_with_its_name() {
    let Some(_guard) = network() else { return };
    for wrong_at_offerer in [true, false] {
        let (mut a, mut b) = (End::new(Role::Offer), End::new(Role::Answer));
        let wrong = |payload: Vec<u8>| {
            let text = String::from_utf8(payload).unwrap();
            let at = text.find("fingerprint=").unwrap() + 12;
            let digit = if text[at..].starts_with('A') { "B" } else { "A" };
            format!("{}{digit}{}", &text[..at], &text[at + 1..]).into_bytes()
        };
        for offer in [true, false] {
            let (from, to) = if offer { (&mut a, &mut b) } else { (&mut b, &mut a) };
            wait_local(from);
            let at = from.records.iter().position(|r| r.0 == RecordType::LinkLocal as u16).unwrap();
            let mut payload = from.records.remove(at).unwrap().1;
            if offer != wrong_at_offerer {
                payload = wrong(payload);
            }
            to.links.set_remote(to.link, &TextMap::parse(&payload).unwrap()).unwrap();
        }
        let (judge, other) = if wrong_at_offerer { (&mut a, &mut b) } else { (&mut b, &mut a) };
        assert_eq!(judge.lost_code(other), "fingerprint");
        assert_eq!(judge.send(&Frame::plain(&frame(60))), Err(Drop::LinkClosed));
    }
}

fn wait_local(end: &mut End) {
    let start = Instant::now();
    while !end.records.iter().any(|record| record.0 == RecordType::LinkLocal as u16) {
        assert!(start.elapsed() < LIMIT, "no local description");
        end.poll();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_other_side_learns_of_a_close_at_once() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let start = Instant::now();
    a.links.close(a.link).unwrap();
    assert_eq!(*a.sink.lost.lock().unwrap(), [a.link]);
    assert_eq!(a.send(&Frame::plain(&frame(60))), Err(Drop::LinkClosed));
    assert_eq!(a.links.info(a.link).unwrap_err().errno, libc::ENOENT);
    assert_eq!(b.lost_code(&mut a), "closed");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    b.links.close(b.link).unwrap();
    assert_eq!(b.sink.lost.lock().unwrap().len(), 2, "lost, then closed");
}

#[test]
fn a_peer_that_floods_the_control_channel_is_given_up_and_leaves_room_in_the_queue() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    b.poll();
    let start = Instant::now();
    while a.info().get("state") == Some("up") && start.elapsed() < LIMIT {
        let _ = a.links.send(a.link, b"{\"type\":\"flood\"}");
    }
    assert_eq!(b.lost_code(&mut a), "internal");
    assert!(b.records.len() < 512, "{} records of the peer's choice", b.records.len());
    assert_eq!(b.queue.counters().1, 0, "dropped");
}

/// libdatachannel's thread waits for ever when more than 1024 messages wait that nobody takes, and its agent for that thread.
#[test]
fn a_peer_that_fills_a_second_channel_is_given_up_and_its_agent_can_be_closed() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let agent = a.inner().agent().agent.as_ref().unwrap().id();
    // SAFETY: the agent is live, the label is static.
    let second = unsafe { datachannel_sys::rtcCreateDataChannel(agent, c"second".as_ptr()) };
    for _ in 0..5000 {
        assert!(crate::agent::send(second, b"x"));
    }
    assert_eq!(b.lost_code(&mut a), "internal");
    std::thread::sleep(Duration::from_millis(500));
    let link = Arc::downgrade(&b.inner());
    b.links.close(b.link).unwrap();
    drop(b);
    wait_until("agent closed", || link.strong_count() == 0);
}

#[test]
fn a_link_whose_peer_falls_silent_is_lost_after_12_s_with_traffic() {
    let Some(_guard) = network() else { return };
    let (mut a, mut b) = up();
    let rules = "table inet t { chain i { type filter hook input priority 0; meta l4proto udp drop; }; }";
    assert!(Command::new("/usr/sbin/nft").arg(rules).status().unwrap().success());
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(11_500) {
        a.send(&Frame::plain(&frame(60))).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(a.lost_code(&mut b), "silent");
    assert!(start.elapsed() < Duration::from_secs(13), "{:?}", start.elapsed());
    assert_eq!(b.info().get("state"), Some("up"), "the other side sent nothing that asks");
}
