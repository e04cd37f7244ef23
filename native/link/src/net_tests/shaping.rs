// SPDX-License-Identifier: MIT
//! Marks of congestion, marks of class and rates, over a real link in a network namespace. Needs root and nft; says so and skips otherwise.

use std::process::Command;
use std::time::Instant;

use ipop_base::{Drop, Frame, TextMap};

use super::*;

const NFT: &str = "/usr/sbin/nft";

/// A UDP datagram of IPv4 with this DS field, from this port.
fn datagram(tos: u8, port: u8, len: usize) -> Vec<u8> {
    let mut ip = [0x45, tos, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ip[2..4].copy_from_slice(&((len - 14) as u16).to_be_bytes());
    let mut frame = [&[2; 12][..], &[8, 0], &ip, &[0, port, 0, 9, 0, 0, 0, 0]].concat();
    frame.resize(len, 7);
    frame
}

/// Both ends, by express.
fn up_by_express() -> (End, End) {
    let (a, b) = up();
    let ids = ["11".repeat(20), "22".repeat(20)];
    for (end, local, peer) in [(&a, 0, 1), (&b, 1, 0)] {
        let config = format!("local={}\npeer={}\ngeneration=1", ids[local], ids[peer]);
        end.links.express(end.link, &TextMap::parse(config.as_bytes()).unwrap()).unwrap();
    }
    for end in [&a, &b] {
        wait_until("express", || end.info().get("carriage") == Some("express"));
    }
    (a, b)
}

fn shape(end: &End, config: &str) {
    end.links.shape(1, &TextMap::parse(config.as_bytes()).unwrap()).unwrap();
}

/// Applies a rule to all that arrives: what is dropped there the sender does not learn. False: there is no nft.
fn nft(rules: &str) -> bool {
    if !std::path::Path::new(NFT).exists() {
        note("SKIPPED: there is no nft\n");
        return false;
    }
    let table = format!("table inet t {{ chain c {{ type filter hook input priority 0; {rules}\n}}\n}}");
    for text in ["flush ruleset", &table] {
        let output = Command::new(NFT).arg(text).output().unwrap();
        assert!(output.status.success(), "nft {text}: {}", String::from_utf8_lossy(&output.stderr));
    }
    true
}

fn counter(what: &str) -> u64 {
    let output = Command::new(NFT).args(["list", "table", "inet", "t"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what} in {text}"));
    let packets = line.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    packets.and_then(|packets| packets.parse().ok()).unwrap_or_else(|| panic!("no count in {line}"))
}

fn arrived(end: &End) -> Vec<Vec<u8>> {
    std::mem::take(&mut *end.sink.frames.lock().unwrap())
}

#[test]
fn congestion_met_on_the_way_is_told_to_who_knows_of_it_and_costs_the_others_the_frame() {
    let Some(_guard) = network() else { return };
    let (a, b) = up_by_express();
    if !nft("udp length > 100 ip ecn set ce; udp length > 100 ip6 ecn set ce;") {
        return;
    }
    // Small ones share a datagram, long ones go in pieces.
    for len in [80, 1000, 3000] {
        for ecn in [1, 2, 3] {
            a.send(&Frame::plain(&datagram(0xb8 | ecn, 1, len))).unwrap();
            wait_until("a marked frame", || !b.sink.frames.lock().unwrap().is_empty());
            let frame = arrived(&b).remove(0);
            assert_eq!((frame.len(), frame[15]), (len, 0xb8 | 3), "ECN {ecn} of {len} bytes");
        }
        let before = b.drops.get(Drop::QueueEarly);
        a.send(&Frame::plain(&datagram(0xb8, 1, len))).unwrap();
        wait_until("a drop", || b.drops.get(Drop::QueueEarly) == before + 1);
        assert!(arrived(&b).is_empty());
    }
    let (a, b) = (&b, &a);
    nft("");
    for ecn in 0..4 {
        a.send(&Frame::plain(&datagram(ecn, 1, 1000))).unwrap();
        wait_until("a frame", || !b.sink.frames.lock().unwrap().is_empty());
        assert_eq!(arrived(b)[0][15], ecn, "as it was");
    }
}

#[test]
fn datagrams_have_the_class_of_the_network_and_the_ecn_of_their_frames() {
    let Some(_guard) = network() else { return };
    let (a, b) = up_by_express();
    shape(&a, "dscp=46");
    let rule =
        "ip dscp ef ip ecn ect0 udp length 900-1200 counter; ip6 dscp ef ip6 ecn ect0 udp length 900-1200 counter;";
    let other = "ip dscp != ef udp length 900-1200 counter; ip6 dscp != ef udp length 900-1200 counter;";
    if !nft(&format!("{rule} {other}")) {
        return;
    }
    for _ in 0..5 {
        a.send(&Frame::plain(&datagram(2, 1, 1000))).unwrap();
    }
    wait_until("the frames", || b.sink.frames.lock().unwrap().len() == 5);
    let marked = counter("ip dscp ef ip ecn") + counter("ip6 dscp ef ip6 ecn");
    assert_eq!((marked, counter("ip dscp != ef") + counter("ip6 dscp != ef")), (5, 0));
}

/// How long `count` frames of 1000 bytes take from a to b.
fn time_of(a: &End, b: &End, count: usize) -> (usize, Duration) {
    let dropped = || (a.drops.get(Drop::QueueEarly) + b.drops.get(Drop::QueueEarly)) as usize;
    let (start, before) = (Instant::now(), dropped());
    for n in 0..count {
        a.transmit.transmit(&Frame::plain(&datagram(0, n as u8, 1000))).unwrap();
    }
    a.transmit.flush();
    // Marks and drops of the last interval may come after all has gone.
    wait_until("all have gone", || b.sink.frames.lock().unwrap().len() + dropped() - before == count);
    (arrived(b).len(), start.elapsed())
}

#[test]
fn both_directions_of_both_carriages_keep_the_rate_of_their_network() {
    let Some(_guard) = network() else { return };
    for by_express in [true, false] {
        let (a, b) = if by_express { up_by_express() } else { up() };
        for (end, config) in [(&a, "up_kbit=10000"), (&b, "down_kbit=10000")] {
            shape(end, config);
            let (sent, time) = time_of(&a, &b, 200);
            shape(end, "");
            // 1056 bytes each, but for the burst and what was on the line at last.
            let least = Duration::from_micros(sent as u64 * 1056 * 8 / 10).mul_f64(0.9);
            assert!(sent >= 100 && time >= least, "{config}: {sent} in {time:?}");
        }
        let (sent, time) = time_of(&a, &b, 200);
        assert!(sent == 200 && time < Duration::from_millis(150), "without a rate {sent} in {time:?}");
    }
}

#[test]
fn loss_over_a_tenth_for_ten_seconds_throttles_all_but_tcp() {
    let Some(_guard) = network() else { return };
    let (a, b) = up_by_express();
    // A fifth of the long ones.
    if !nft("udp length > 900 numgen inc mod 5 0 drop;") {
        return;
    }
    let start = Instant::now();
    let tcp = {
        let mut frame = datagram(0, 1, 1000);
        frame[23] = 6;
        frame
    };
    let throttled = || a.info().get("throttled") == Some("1");
    while !throttled() {
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", a.info());
        for _ in 0..4 {
            a.send(&Frame::plain(&tcp)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(start.elapsed() > Duration::from_secs(9), "{:?}", start.elapsed());
    let permille: u64 = a.info().get("loss_permille").unwrap().parse().unwrap();
    assert!((100..=350).contains(&permille), "{permille}");
    // 256 kbit/s, and half a second of it at once.
    let sent = (0..200).filter(|_| a.send(&Frame::plain(&datagram(0, 1, 1000))).is_ok()).count();
    assert!((10..=60).contains(&sent), "{sent} of 200");
    assert_eq!(a.send(&Frame::plain(&datagram(0, 1, 1000))), Err(Drop::CircuitBreaker));
    assert_eq!(a.send(&Frame::plain(&tcp)), Ok(()));
    drop(b);
}
