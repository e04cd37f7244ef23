// SPDX-License-Identifier: MIT
//! Rules and upcalls: who gets which frame.

mod common;

use common::*;
use ipop_base::Drop;
use ipop_datapath::{MemoryPort, OUT_DROP, OUT_FLOOD, OUT_RULES};

#[test]
fn two_hosts_talk_after_one_question_for_each_address() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    let request = frame(host(2), host(1), b"request");
    a.write(&request).unwrap();
    assert_eq!(table.decide(), 2);
    assert_eq!(taken(&b), [request]);
    let answer = frame(host(1), host(2), b"answer");
    b.write(&answer).unwrap();
    // Its source is bound to no port by the flood rule that unknown unicast got.
    assert_eq!(table.decide(), 1);
    assert_eq!(taken(&a), [answer]);
    for _ in 0..1000 {
        a.write(&frame(host(2), host(1), b"more")).unwrap();
    }
    assert_eq!(table.decide(), 0);
    assert_eq!(taken(&b).len(), 1000);
}

#[test]
fn an_upcall_says_what_is_asked_and_shows_the_frames_head_with_its_tag() {
    let table = Table::new();
    let a = table.lan();
    let request = tagged(100, &frame(host(2), host(1), &[7; 200]));
    a.write(&request).unwrap();
    let asked = table.upcall();
    assert_eq!((asked.switch, asked.port, asked.vlan, asked.miss), (table.switch.handle(), a.port(), 100, SOURCE));
    assert_eq!((asked.frame_length, &asked.head[..]), (218, &request[..128]));
    assert_eq!(table.switch.port_counters(a.port()).unwrap().upcalls, 1);
}

#[test]
fn frames_behind_a_question_wait_for_its_answer_and_keep_their_order() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    let frames: Vec<_> = (0..20).map(|n| frame(host(2), host(1), &[n])).collect();
    frames.iter().for_each(|frame| a.write(frame).unwrap());
    let source = table.upcall();
    table.bind(host(1), &a);
    table.finish(&source, OUT_RULES);
    let destination = table.upcall();
    assert_eq!((destination.miss, taken(&b).len()), (DESTINATION, 0));
    table.bind(host(2), &b);
    table.finish(&destination, OUT_RULES);
    assert_eq!(taken(&b), frames);
}

#[test]
fn a_decision_can_send_drop_or_flood_what_is_parked_without_a_rule() {
    let table = Table::new();
    let (a, b, c) = (table.lan(), table.link(), table.link());
    let ask = |n| {
        a.write(&frame(host(9), host(n), &[])).unwrap();
        table.upcall()
    };
    table.finish(&ask(1), b.port());
    assert_eq!((taken(&b).len(), taken(&c).len()), (1, 0));
    table.finish(&ask(2), OUT_FLOOD);
    assert_eq!((taken(&b).len(), taken(&c).len()), (1, 1));
    table.finish(&ask(3), OUT_DROP);
    assert_eq!((taken(&b).len(), taken(&c).len(), table.drops(&a, Drop::Policy)), (0, 0, 1));
    assert!(table.rules().is_empty());
}

#[test]
fn a_question_that_was_answered_without_a_rule_is_not_asked_again_for_the_same_frame() {
    let table = Table::new();
    let a = table.lan();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.finish(&table.upcall(), OUT_RULES);
    assert_eq!((table.upcalls(), table.drops(&a, Drop::Policy)), (vec![], 1));
}

#[test]
fn a_frame_asks_each_kind_of_question_once_and_no_more() {
    let table = Table::new();
    let a = table.lan();
    table.bind(host(1), &a);
    a.write(&frame(host(2), host(1), &[])).unwrap();
    let destination = table.upcall();
    table.switch.rules_flush(0);
    table.finish(&destination, OUT_RULES);
    let source = table.upcall();
    assert_eq!((destination.miss, source.miss), (DESTINATION, SOURCE));
    table.bind(host(1), &a);
    table.finish(&source, OUT_RULES);
    assert_eq!((table.upcalls(), table.drops(&a, Drop::Policy)), (vec![], 1));
}

#[test]
fn an_upcall_can_be_finished_once_and_only_with_a_known_out() {
    let table = Table::new();
    let a = table.lan();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    let asked = table.upcall();
    assert_eq!(table.switch.upcall_finish(asked.id, -3).unwrap_err().errno, libc::EINVAL);
    table.finish(&asked, OUT_DROP);
    assert_eq!(table.switch.upcall_finish(asked.id, OUT_DROP).unwrap_err().errno, libc::ENOENT);
}

#[test]
fn a_flood_goes_to_all_others_and_from_a_link_to_no_other_link() {
    let table = Table::new();
    let (lan, other, one, two) = (table.lan(), table.lan(), table.link(), table.link());
    table.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
    table.bind(host(1), &lan);
    table.bind(host(2), &one);
    lan.write(&frame(BROADCAST, host(1), &[])).unwrap();
    assert_eq!([&lan, &other, &one, &two].map(|port| taken(port).len()), [0, 1, 1, 1]);
    one.write(&frame(BROADCAST, host(2), &[])).unwrap();
    assert_eq!([&lan, &other, &one, &two].map(|port| taken(port).len()), [1, 1, 0, 0]);
}

#[test]
fn a_flood_that_finds_no_port_is_counted() {
    let table = Table::new();
    let (one, _two, disabled) = (table.link(), table.link(), table.lan());
    table.switch.enable_port(disabled.port(), false).unwrap();
    table.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
    table.bind(host(1), &one);
    one.write(&frame(BROADCAST, host(1), &[])).unwrap();
    assert_eq!(table.drops(&one, Drop::NoPort), 1);
    assert_eq!(table.all_drops(&disabled), 0);
}

#[test]
fn split_horizon_and_same_port_stop_what_a_rule_would_send() {
    let table = Table::new();
    let (one, two) = (table.link(), table.link());
    table.bind(host(1), &one);
    table.bind(host(2), &two);
    table.bind(host(3), &one);
    one.write(&frame(host(2), host(1), &[])).unwrap();
    one.write(&frame(host(3), host(1), &[])).unwrap();
    assert_eq!((table.drops(&one, Drop::SplitHorizon), table.drops(&one, Drop::SamePort)), (1, 1));
    assert!(taken(&one).is_empty() && taken(&two).is_empty());
}

#[test]
fn a_host_that_appears_elsewhere_is_asked_about_and_moves() {
    let table = Table::new();
    let (lan, link) = (table.lan(), table.link());
    table.bind(host(1), &lan);
    table.bind(host(2), &lan);
    link.write(&frame(host(2), host(1), b"here")).unwrap();
    let asked = table.upcall();
    assert_eq!((asked.miss, asked.port, taken(&lan).len()), (MOVED, link.port(), 0));
    table.bind(host(1), &link);
    table.finish(&asked, OUT_RULES);
    assert_eq!(taken(&lan), [frame(host(2), host(1), b"here")]);
    lan.write(&frame(host(1), host(2), b"there")).unwrap();
    assert_eq!(taken(&link), [frame(host(1), host(2), b"there")]);
}

#[test]
fn a_move_that_is_refused_is_dropped_by_policy() {
    let table = Table::new();
    let (lan, link) = (table.lan(), table.link());
    table.bind(host(1), &lan);
    link.write(&frame(host(2), host(1), &[])).unwrap();
    table.finish(&table.upcall(), OUT_RULES);
    assert_eq!((table.drops(&link, Drop::Policy), table.upcalls()), (1, vec![]));
}

#[test]
fn after_a_flush_a_flow_stops_until_it_is_decided_again() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    let request = frame(host(2), host(1), &[]);
    a.write(&request).unwrap();
    assert_eq!(taken(&b).len(), 1);
    assert_eq!(table.switch.rules_flush(0), 2);
    for _ in 0..10 {
        a.write(&request).unwrap();
    }
    assert!(taken(&b).is_empty());
    assert_eq!(table.decide(), 2);
    assert_eq!(taken(&b).len(), 10);
}

#[test]
fn flushing_a_port_leaves_the_rules_of_others() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    table.bind(host(3), &b);
    assert_eq!(table.switch.rules_flush(b.port()), 2);
    assert_eq!(table.rules().iter().map(|rule| rule.0).collect::<Vec<_>>(), [host(1)]);
}

#[test]
fn a_multicast_stream_costs_one_question_for_its_group() {
    let table = Table::new();
    let (lan, link) = (table.lan(), table.link());
    table.bind(host(1), &lan);
    let stream = frame(MULTICAST, host(1), &[0; 100]);
    lan.write(&stream).unwrap();
    let asked = table.upcall();
    assert_eq!((asked.miss, asked.destination()), (DESTINATION, MULTICAST));
    table.switch.rule_set(MULTICAST, 0, OUT_FLOOD).unwrap();
    table.finish(&asked, OUT_RULES);
    for _ in 0..900 {
        lan.write(&stream).unwrap();
    }
    assert_eq!((taken(&link).len(), table.upcalls()), (901, vec![]));
}

#[test]
fn one_address_in_two_vlans_is_two_addresses() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.switch.rule_set(host(1), 10, a.port()).unwrap();
    table.switch.rule_set(host(2), 10, b.port()).unwrap();
    let request = tagged(10, &frame(host(2), host(1), &[]));
    a.write(&request).unwrap();
    assert_eq!(taken(&b), [request]);
    a.write(&tagged(20, &frame(host(2), host(1), &[]))).unwrap();
    let asked = table.upcall();
    assert_eq!((asked.vlan, asked.miss), (20, SOURCE));
}

#[test]
fn a_rule_tells_when_its_host_was_heard_and_spoken_to() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.bind(host(2), &b);
    a.write(&frame(host(2), host(1), &[])).unwrap();
    table.pass_ms(1500);
    a.write(&frame(BROADCAST, host(1), &[])).unwrap();
    table.pass_ms(250);
    let never = u32::MAX;
    let expected = [(host(1), 0, a.port(), 250, never, 2), (host(2), 0, b.port(), never, 1750, 1)];
    assert_eq!(table.rules(), expected);
}

#[test]
fn a_frame_that_moved_does_not_count_as_heard() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    b.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!(table.rules(), [(host(1), 0, a.port(), u32::MAX, u32::MAX, 0)]);
}

#[test]
fn rules_that_do_not_bind_a_port_leave_their_address_unknown_as_a_source() {
    let table = Table::new();
    let a = table.lan();
    table.switch.rule_set(host(1), 0, OUT_FLOOD).unwrap();
    table.switch.rule_set(host(2), 0, OUT_DROP).unwrap();
    a.write(&frame(host(3), host(1), &[])).unwrap();
    a.write(&frame(host(3), host(2), &[])).unwrap();
    assert_eq!(table.upcalls().iter().map(|asked| asked.miss).collect::<Vec<_>>(), [SOURCE, SOURCE]);
}

#[test]
fn a_drop_rule_drops_without_a_question() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.lan());
    table.bind(host(1), &a);
    table.switch.rule_set(host(2), 0, OUT_DROP).unwrap();
    a.write(&frame(host(2), host(1), &[])).unwrap();
    assert_eq!((table.drops(&a, Drop::Policy), table.upcalls(), taken(&b).len()), (1, vec![], 0));
}

#[test]
fn rules_name_ports_vlans_and_outs_that_exist() {
    let table = Table::new();
    let errno = |vlan, out| table.switch.rule_set(host(1), vlan, out).unwrap_err().errno;
    assert_eq!(errno(0, 0x7fff_0000), libc::ENOENT);
    assert_eq!(errno(0, OUT_RULES), libc::EINVAL);
    assert_eq!(errno(4096, OUT_FLOOD), libc::EINVAL);
    assert_eq!(table.switch.rule_delete(host(1), 0).unwrap_err().errno, libc::ENOENT);
    table.switch.rule_set(host(1), 0, OUT_FLOOD).unwrap();
    table.switch.rule_delete(host(1), 0).unwrap();
    assert!(table.rules().is_empty());
}

#[test]
fn while_a_port_takes_anothers_place_no_frame_is_lost_doubled_or_asked_about() {
    let table = Table::new();
    let (lan, old, new) = (table.lan(), table.link(), table.link());
    table.bind(host(1), &lan);
    (2..50).for_each(|n| table.bind(host(n), &old));
    table.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
    table.switch.stand_in(new.port(), old.port()).unwrap();
    let way = |from: &MemoryPort, to: Mac, source: Mac| from.write(&frame(to, source, b"x")).unwrap();
    std::thread::scope(|scope| {
        let switch = &table.switch;
        let (started, halfway) = std::sync::mpsc::channel();
        for port in [&old, &new] {
            let started = started.clone();
            scope.spawn(move || {
                for round in 0..400u16 {
                    way(port, host(1), host(2 + round % 48));
                    if round == 50 {
                        started.send(()).unwrap();
                    }
                }
            });
        }
        (0..2).for_each(|_| halfway.recv().unwrap());
        switch.stand_in(old.port(), new.port()).unwrap();
    });
    assert_eq!(taken(&lan).len(), 800);
    assert_eq!(table.decide(), 0);
    way(&lan, BROADCAST, host(1));
    way(&lan, host(7), host(1));
    assert_eq!((taken(&old).len(), taken(&new).len()), (0, 2));
    assert!(table.switch.remove_port(old.port()));
    way(&lan, host(7), host(1));
    assert_eq!(taken(&new).len(), 1);
    let wrong = |port, of| table.switch.stand_in(port, of).unwrap_err().errno;
    assert_eq!(wrong(new.port(), lan.port()), libc::EINVAL);
    assert_eq!(wrong(new.port(), old.port()), libc::ENOENT);
}
