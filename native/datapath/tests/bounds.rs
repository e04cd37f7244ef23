// SPDX-License-Identifier: MIT
//! What is refused, what is bounded, and what happens to what waits.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use ipop_base::{Drop, FrameSink, RecordQueue, RecordType};
use ipop_datapath::{MemoryPort, OUT_DROP, OUT_FLOOD, OUT_RULES, Switch};

/// A DHCP offer (UDP 67 to 68) to this host.
fn dhcp_offer(destination: Mac, source: Mac) -> Vec<u8> {
    let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 67, 0, 68, 0, 8, 0, 0];
    [&destination[..], &source, &[0x08, 0x00], &ip].concat()
}

#[test]
fn ports_begin_disabled_and_can_be_disabled_again() {
    let table = Table::new();
    let a = MemoryPort::open(&table.switch, false);
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.switch.enable_port(a.port(), true).unwrap();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.switch.enable_port(a.port(), false).unwrap();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!((table.drops(&a, Drop::PortDisabled), table.upcalls().len()), (2, 1));
    assert_eq!(table.switch.port_counters(a.port()).unwrap().rx_frames, 1);
}

#[test]
fn what_waits_at_a_port_that_was_disabled_is_dropped_when_decided() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.switch.enable_port(a.port(), false).unwrap();
    table.finish(&table.upcall(), b.port());
    assert_eq!((table.drops(&a, Drop::PortDisabled), taken(&b).len()), (1, 0));
}

#[test]
fn each_frame_that_no_switch_forwards_is_counted_by_its_reason_and_asks_nothing() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    table.bind(host(1), &a);
    table.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
    let cases = [
        (vec![0; 13], Drop::Malformed),
        (vec![0; 65_536], Drop::Malformed),
        (frame([1, 0x80, 0xc2, 0, 0, 0], host(1), &[]), Drop::ReservedAddress),
        (frame([1, 0x80, 0xc2, 0, 0, 0x0e], BROADCAST, &[]), Drop::ReservedAddress),
        (frame(BROADCAST, MULTICAST, &[]), Drop::SourceGroup),
        (frame(BROADCAST, [0; 6], &[]), Drop::SourceZero),
        (dhcp_offer(BROADCAST, host(1)), Drop::GuardDhcp),
        (dhcp_offer(BROADCAST, host(77)), Drop::GuardDhcp),
        (tagged(5, &dhcp_offer(BROADCAST, host(1))), Drop::GuardDhcp),
    ];
    for (bytes, why) in cases {
        let before = (table.drops(&a, why), table.all_drops(&a));
        a.write(&bytes).unwrap();
        assert_eq!((table.drops(&a, why), table.all_drops(&a)), (before.0 + 1, before.1 + 1), "{why:?}");
    }
    assert_eq!((table.upcalls(), taken(&b).len()), (vec![], 0));
}

#[test]
fn a_unicast_dhcp_offer_does_not_pass_even_where_rules_lead_in_either_direction() {
    let table = Table::new();
    let (lan, link) = (table.lan(), table.link());
    table.bind(host(1), &lan);
    table.bind(host(2), &link);
    lan.write(&dhcp_offer(host(2), host(1))).unwrap();
    link.write(&dhcp_offer(host(1), host(2))).unwrap();
    assert_eq!([&lan, &link].map(|port| (table.drops(port, Drop::GuardDhcp), taken(port).len())), [(1, 0), (1, 0)]);
}

#[test]
fn a_port_may_ask_400_times_at_once_and_200_times_a_second_then() {
    let table = Table::new();
    let (noisy, quiet) = (table.lan(), table.lan());
    let scan = |from: u16, count: u16| {
        for n in from..from + count {
            noisy.write(&frame(host(9999), host(n), &[])).unwrap();
            table.upcalls().iter().for_each(|asked| table.finish(asked, OUT_DROP));
        }
        table.switch.port_counters(noisy.port()).unwrap().upcalls
    };
    assert_eq!(scan(0, 500), 400);
    assert_eq!(table.drops(&noisy, Drop::UpcallLimited), 100);
    table.pass_ms(1000);
    assert_eq!(scan(1000, 500), 600);
    quiet.write(&frame(host(9999), host(3000), &[])).unwrap();
    assert_eq!(table.upcall().port, quiet.port());
}

#[test]
fn thirty_two_frames_wait_for_one_answer_and_no_more() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    for n in 0..40 {
        a.write(&frame(host(2), host(1), &[n])).unwrap();
    }
    table.finish(&table.upcall(), b.port());
    let kept: Vec<u8> = taken(&b).iter().map(|frame| frame[14]).collect();
    assert_eq!((kept, table.drops(&a, Drop::UpcallFull)), ((0..32).collect(), 8));
}

#[test]
fn two_hundred_and_fifty_six_questions_are_open_at_a_time() {
    let table = Table::new();
    let a = table.lan();
    (0..300).for_each(|n| a.write(&frame(host(9999), host(n), &[])).unwrap());
    let upcalls = table.upcalls();
    assert_eq!((upcalls.len(), table.drops(&a, Drop::UpcallFull)), (256, 44));
    table.finish(&upcalls[0], OUT_DROP);
    a.write(&frame(host(9999), host(500), &[])).unwrap();
    assert_eq!(table.upcalls().len(), 1);
}

#[test]
fn a_mebibyte_of_frames_waits_at_a_time() {
    let table = Table::new();
    let a = table.lan();
    let large = |n| frame(host(9999), host(n), &[0; 65_536 - 14 - 1024]);
    (0..17).for_each(|n| a.write(&large(n)).unwrap());
    let upcalls = table.upcalls();
    assert_eq!((upcalls.len(), table.drops(&a, Drop::UpcallFull)), (16, 1));
    upcalls.iter().for_each(|asked| table.finish(asked, OUT_DROP));
    (0..17).for_each(|n| a.write(&large(n)).unwrap());
    assert_eq!(table.upcalls().len(), 16);
}

#[test]
fn a_question_that_does_not_reach_typescript_does_not_park_its_frame() {
    let table = Table::new();
    let a = table.lan();
    while table.queue.push(RecordType::Interfaces, 0, &[]) {}
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!(table.drops(&a, Drop::UpcallFull), 1);
    records(&table.queue);
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!(table.upcalls().len(), 1);
}

#[test]
fn what_nobody_decides_is_dropped_after_two_seconds_and_asked_anew() {
    let table = Table::new();
    let a = table.lan();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.pass_ms(1999);
    table.switch.expire();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    let asked = table.upcall();
    assert_eq!(table.drops(&a, Drop::UpcallTimeout), 0);
    table.pass_ms(1);
    table.switch.expire();
    assert_eq!(table.drops(&a, Drop::UpcallTimeout), 2);
    assert_eq!(table.switch.upcall_finish(asked.id, OUT_RULES).unwrap_err().errno, libc::ENOENT);
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_ne!(table.upcall().id, asked.id);
}

#[test]
fn the_switch_expires_by_itself_on_the_systems_clock_and_sleeps_and_wakes_again() {
    let queue = Arc::new(RecordQueue::new().unwrap());
    let switch = Switch::open(queue.clone());
    let a = MemoryPort::open(&switch, false);
    switch.enable_port(a.port(), true).unwrap();
    for round in 1..=2 {
        a.write(&frame(host(2), host(round), &[])).unwrap();
        let started = Instant::now();
        let timeouts = || switch.port_counters(a.port()).unwrap().drops[Drop::UpcallTimeout as usize];
        while timeouts() < u64::from(round) {
            assert!(started.elapsed() < Duration::from_secs(10), "nothing expired");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(started.elapsed() >= Duration::from_millis(1980), "expired after {:?}", started.elapsed());
    }
    switch.close();
}

#[test]
fn a_port_that_is_removed_takes_its_rules_and_what_waits_with_it() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    b.write(&frame(host(1), host(3), &[])).unwrap();
    let asked = table.upcall();
    b.close();
    assert_eq!(table.rules().iter().map(|rule| rule.0).collect::<Vec<_>>(), [host(1)]);
    assert_eq!(table.switch.upcall_finish(asked.id, OUT_RULES).unwrap_err().errno, libc::ENOENT);
    assert_eq!(table.switch.rule_set(host(2), 0, b.port()).unwrap_err().errno, libc::ENOENT);
    assert_eq!(table.switch.port_counters(b.port()).unwrap_err().errno, libc::ENOENT);
    assert!(!table.switch.remove_port(b.port()));
}

#[test]
fn a_lost_port_carries_nothing_and_no_rule_leads_to_it_any_more() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    b.write(&frame(host(1), host(3), &[])).unwrap();
    table.upcall();
    table.switch.port_lost(b.port());
    assert_eq!(table.rules().len(), 1);
    assert_eq!(table.drops(&b, Drop::PortDisabled), 1);
    table.switch.enable_port(b.port(), true).unwrap();
    b.write(&frame(host(1), host(2), &[])).unwrap();
    assert_eq!((table.drops(&b, Drop::PortDisabled), taken(&a).len()), (2, 0));
    assert_eq!(table.switch.rule_set(host(2), 0, b.port()).unwrap_err().errno, libc::ENOENT);
}

#[test]
fn frames_decided_for_a_port_that_has_gone_have_nowhere_to_go() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    a.write(&frame(host(2), host(1), &[])).unwrap();
    b.close();
    table.finish(&table.upcall(), b.port());
    assert_eq!(table.drops(&a, Drop::NoPort), 1);
}

#[test]
fn a_closed_switch_forgets_everything_and_takes_no_frame() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    table.bind(host(1), &a);
    a.write(&frame(host(2), host(1), &[])).unwrap();
    let asked = table.upcall();
    table.switch.close();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!((table.upcalls(), table.rules(), taken(&b).len()), (vec![], vec![], 0));
    assert_eq!(table.switch.upcall_finish(asked.id, OUT_RULES).unwrap_err().errno, libc::ENOENT);
    assert_eq!(table.switch.enable_port(a.port(), true).unwrap_err().errno, libc::ENOENT);
}
