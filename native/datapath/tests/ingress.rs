// SPDX-License-Identifier: MIT
//! The way in that remembers: forwards as the rules say now, whatever they said before.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::*;
use ipop_base::{Drop, DropCounters, Frame, FrameSink, Handle, Ingress, PortTransmit, next_handle};
use ipop_datapath::{MemoryPort, OUT_DROP, OUT_FLOOD, PortKind};

fn ingress(table: &Table, port: &MemoryPort) -> Box<dyn Ingress> {
    table.switch.clone().ingress(port.port())
}

/// A conversation from host 1 to host 2 that is known already.
struct Flow {
    table: Table,
    a: Arc<MemoryPort>,
    b: Arc<MemoryPort>,
    way_in: Box<dyn Ingress>,
}

impl Flow {
    fn new() -> Self {
        let table = Table::new();
        let (a, b) = (table.lan(), table.link());
        table.bind(host(1), &a);
        table.bind(host(2), &b);
        let way_in = ingress(&table, &a);
        let mut flow = Self { table, a, b, way_in };
        assert_eq!((flow.send(), flow.send()), (1, 1));
        flow
    }

    /// Sends a frame; returns how many came out at `b`.
    fn send(&mut self) -> usize {
        self.way_in.input(&Frame::plain(&frame(host(2), host(1), b"hello")));
        taken(&self.b).len()
    }
}

#[test]
fn what_is_remembered_counts_as_what_is_looked_up() {
    let mut flow = Flow::new();
    flow.table.pass_ms(1500);
    assert_eq!(flow.send(), 1);
    flow.table.pass_ms(250);
    let (a, b, never) = (flow.a.port(), flow.b.port(), u32::MAX);
    assert_eq!(flow.table.rules(), [(host(1), 0, a, 250, never, 3), (host(2), 0, b, never, 250, 3)]);
    let counters = |port| flow.table.switch.port_counters(port).unwrap();
    assert_eq!((counters(a).rx_frames, counters(a).rx_bytes), (3, 3 * 19));
    assert_eq!((counters(b).tx_frames, counters(b).tx_bytes), (3, 3 * 19));
}

#[test]
fn a_rule_that_changes_is_followed_from_the_next_frame_on() {
    let mut flow = Flow::new();
    let c = flow.table.link();
    flow.table.bind(host(2), &c);
    assert_eq!((flow.send(), taken(&c).len()), (0, 1));
    flow.table.switch.rule_set(host(2), 0, OUT_DROP).unwrap();
    assert_eq!((flow.send(), taken(&c).len(), flow.table.drops(&flow.a, Drop::Policy)), (0, 0, 1));
    flow.table.switch.rule_set(host(2), 0, OUT_FLOOD).unwrap();
    assert_eq!((flow.send(), taken(&c).len()), (1, 1));
}

#[test]
fn a_rule_that_goes_is_asked_for_from_the_next_frame_on() {
    let mut flow = Flow::new();
    flow.table.switch.rule_delete(host(2), 0).unwrap();
    assert_eq!((flow.send(), flow.table.upcall().miss), (0, DESTINATION));
    flow.table.bind(host(2), &flow.b);
    assert_eq!(flow.send(), 1);
    flow.table.switch.rules_flush(flow.b.port());
    assert_eq!((flow.send(), flow.table.upcalls().len()), (0, 0), "the first question is still open");
}

#[test]
fn a_source_that_moves_is_asked_for_from_the_next_frame_on() {
    let mut flow = Flow::new();
    let c = flow.table.lan();
    flow.table.bind(host(1), &c);
    assert_eq!((flow.send(), flow.table.upcall().miss), (0, MOVED));
    flow.table.switch.rules_flush(0);
    assert_eq!((flow.send(), flow.table.upcall().miss), (0, SOURCE));
}

#[test]
fn a_port_that_is_lost_or_gone_or_disabled_gets_nothing_from_the_next_frame_on() {
    let mut flow = Flow::new();
    flow.table.switch.enable_port(flow.b.port(), false).unwrap();
    assert_eq!((flow.send(), flow.table.drops(&flow.b, Drop::PortDisabled)), (0, 1));
    flow.table.switch.enable_port(flow.b.port(), true).unwrap();
    assert_eq!(flow.send(), 1);
    flow.table.switch.port_lost(flow.b.port());
    assert_eq!((flow.send(), flow.table.upcall().miss), (0, DESTINATION));

    let mut flow = Flow::new();
    flow.b.close();
    flow.way_in.input(&Frame::plain(&frame(host(2), host(1), b"hello")));
    assert_eq!(flow.table.upcall().miss, DESTINATION);
}

#[test]
fn nothing_comes_in_at_a_port_that_is_disabled_or_gone() {
    let mut flow = Flow::new();
    flow.table.switch.enable_port(flow.a.port(), false).unwrap();
    assert_eq!((flow.send(), flow.table.drops(&flow.a, Drop::PortDisabled)), (0, 1));
    flow.table.switch.enable_port(flow.a.port(), true).unwrap();
    assert_eq!(flow.send(), 1);
    flow.a.close();
    assert_eq!((flow.send(), flow.table.upcalls().len()), (0, 0));
    let mut late = ingress(&flow.table, &flow.a);
    late.input(&Frame::plain(&frame(host(2), host(1), b"hello")));
    assert!(taken(&flow.b).is_empty());
}

#[test]
fn a_flood_reaches_ports_that_came_later() {
    let table = Table::new();
    let (a, b) = (table.lan(), table.link());
    table.bind(host(1), &a);
    table.switch.rule_set(BROADCAST, 0, OUT_FLOOD).unwrap();
    let mut way_in = ingress(&table, &a);
    let mut send = || way_in.input(&Frame::plain(&frame(BROADCAST, host(1), &[])));
    send();
    let c = table.link();
    send();
    assert_eq!((taken(&a).len(), taken(&b).len(), taken(&c).len()), (0, 2, 1));
    b.close();
    send();
    assert_eq!(taken(&c).len(), 1);
}

#[test]
fn more_conversations_than_are_remembered_all_go_where_they_should() {
    let table = Table::new();
    let a = table.lan();
    let links: Vec<_> = (0..4).map(|_| table.link()).collect();
    table.bind(host(9999), &a);
    (0..2000).for_each(|n| table.bind(host(n), &links[usize::from(n % 4)]));
    let mut way_in = ingress(&table, &a);
    for _ in 0..2 {
        (0..2000).for_each(|n| way_in.input(&Frame::plain(&frame(host(n), host(9999), &[]))));
        for (m, link) in links.iter().enumerate() {
            let got: Vec<_> = taken(link).iter().map(|frame| frame[..6].to_vec()).collect();
            let expected: Vec<_> = (0..2000).filter(|n| usize::from(n % 4) == m).map(|n| host(n).to_vec()).collect();
            assert_eq!(got, expected);
        }
    }
}

#[test]
fn the_same_addresses_in_another_vlan_are_another_conversation() {
    let mut flow = Flow::new();
    let c = flow.table.link();
    flow.table.switch.rule_set(host(1), 7, flow.a.port()).unwrap();
    flow.table.switch.rule_set(host(2), 7, c.port()).unwrap();
    let tagged = tagged(7, &frame(host(2), host(1), b"hello"));
    for _ in 0..2 {
        flow.way_in.input(&Frame::plain(&tagged));
        assert_eq!((taken(&c).len(), flow.send()), (1, 1));
    }
}

#[test]
fn all_checks_come_before_what_is_remembered() {
    let mut flow = Flow::new();
    let ip = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 67, 0, 68, 0, 8, 0, 0];
    let offer = [&host(2)[..], &host(1), &[0x08, 0x00], &ip].concat();
    flow.way_in.input(&Frame::plain(&offer));
    flow.way_in.input(&Frame::plain(&offer[..13]));
    assert_eq!((flow.table.drops(&flow.a, Drop::GuardDhcp), flow.table.drops(&flow.a, Drop::Malformed)), (1, 1));
    assert!(taken(&flow.b).is_empty());
}

/// Counts what it is given and how often it is flushed.
#[derive(Default)]
struct Keeper {
    kept: AtomicUsize,
    flushes: AtomicUsize,
    uso: AtomicBool,
}

impl PortTransmit for Keeper {
    fn transmit(&self, _: &Frame<'_>) -> Result<(), Drop> {
        self.kept.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) {
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    fn takes_uso(&self) -> bool {
        self.uso.load(Ordering::Relaxed)
    }
}

fn add(table: &Table, kind: PortKind, transmit: Arc<dyn PortTransmit>) -> Handle {
    let port = next_handle();
    table.switch.add_port(port, kind, transmit, Arc::new(DropCounters::default()));
    table.switch.enable_port(port, true).unwrap();
    port
}

#[test]
fn ports_that_got_frames_are_flushed_once_and_others_are_not() {
    let table = Table::new();
    let a = table.lan();
    let (used, idle) = (Arc::new(Keeper::default()), Arc::new(Keeper::default()));
    let port = add(&table, PortKind::Link, used.clone());
    add(&table, PortKind::Link, idle.clone());
    table.bind(host(1), &a);
    table.switch.rule_set(host(2), 0, port).unwrap();
    let flushes = || (used.flushes.load(Ordering::Relaxed), idle.flushes.load(Ordering::Relaxed));
    let mut way_in = ingress(&table, &a);
    let bytes = frame(host(2), host(1), &[]);
    way_in.input(&Frame::plain(&bytes));
    way_in.input(&Frame::plain(&bytes));
    assert_eq!(flushes(), (0, 0));
    way_in.flush();
    way_in.flush();
    table.switch.flush();
    assert_eq!(flushes(), (1, 0));
    table.switch.input(a.port(), &Frame::plain(&bytes));
    table.switch.flush();
    assert_eq!(flushes(), (2, 0));
    a.write(&bytes).unwrap();
    assert_eq!(flushes(), (3, 0), "who writes to a memory port flushes");
    a.write(&frame(host(3), host(1), &[])).unwrap();
    table.finish(&table.upcall(), OUT_FLOOD);
    assert_eq!(flushes(), (4, 1), "who finishes an upcall flushes");
    assert_eq!((used.kept.load(Ordering::Relaxed), idle.kept.load(Ordering::Relaxed)), (5, 1));
}

#[test]
fn udp_super_frames_are_of_use_when_all_the_lan_takes_them() {
    let table = Table::new();
    let tap = Arc::new(Keeper { uso: true.into(), ..Keeper::default() });
    add(&table, PortKind::Lan, tap);
    let link = add(&table, PortKind::Link, Arc::new(Keeper::default()));
    let mut way_in = table.switch.clone().ingress(link);
    assert!(way_in.takes_uso());
    let other = table.lan();
    assert!(!way_in.takes_uso());
    other.close();
    assert!(way_in.takes_uso());
}

/// Remembers the newest and oldest version that came here.
struct Versions {
    index: u64,
    wrong: Arc<Mutex<Vec<(u64, u64)>>>,
    seen: AtomicU64,
}

impl PortTransmit for Versions {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        let version = u64::from_be_bytes(frame.bytes[14..22].try_into().unwrap());
        // Its sender had seen rule number `version` set; a later one may have come meanwhile, an earlier one not.
        if version > self.index {
            self.wrong.lock().unwrap().push((version, self.index));
        }
        self.seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Rule number n leads to port number n, which no rule has named before. Threads send frames with the number of the newest rule they know of.
#[test]
fn no_frame_follows_a_rule_that_was_replaced_before_it_came() {
    const RULES: u64 = 300;
    const READERS: u16 = 2;
    let table = Table::new();
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let version = AtomicU64::new(0);
    let lans: Vec<_> = (0..READERS).map(|_| table.lan()).collect();
    (0..READERS).for_each(|n| table.bind(host(100 + n), &lans[usize::from(n)]));
    let open = |index| {
        let transmit = Arc::new(Versions { index, wrong: wrong.clone(), seen: AtomicU64::new(0) });
        let port = add(&table, PortKind::Link, transmit.clone());
        table.switch.rule_set(host(1), 0, port).unwrap();
        version.store(index, Ordering::Release);
        (port, transmit)
    };
    let mut last = open(0);
    let mut seen = 0;
    std::thread::scope(|scope| {
        for n in 0..READERS {
            let (table, version, lan) = (&table, &version, &lans[usize::from(n)]);
            scope.spawn(move || {
                let mut way_in = ingress(table, lan);
                loop {
                    let known = version.load(Ordering::Acquire);
                    if known == RULES {
                        return;
                    }
                    way_in.input(&Frame::plain(&frame(host(1), host(100 + n), &known.to_be_bytes())));
                    way_in.flush();
                }
            });
        }
        for index in 1..RULES {
            let (port, transmit) = std::mem::replace(&mut last, open(index));
            // Lets the readers come to know the new rule.
            for _ in 0..1000 {
                if last.1.seen.load(Ordering::Relaxed) > 0 {
                    break;
                }
                std::thread::yield_now();
            }
            // Old ports go, with frames under way to them.
            if index % 2 == 0 {
                table.switch.port_lost(port);
            }
            table.switch.remove_port(port);
            seen += transmit.seen.load(Ordering::Relaxed);
        }
        version.store(RULES, Ordering::Release);
    });
    assert_eq!(*wrong.lock().unwrap(), []);
    assert!(seen > RULES / 2, "only {seen} frames went through");
    assert_eq!(table.upcalls(), [], "there was a rule at each instant");
}

/// Takes frames to the addresses that may ever have a rule to it.
struct Named(Vec<Mac>, AtomicU64, AtomicU64);

impl PortTransmit for Named {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        let known = self.0.iter().any(|mac| mac[..] == frame.bytes[..6]);
        (if known { &self.1 } else { &self.2 }).fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn while_rules_and_ports_come_and_go_no_frame_reaches_a_port_that_no_rule_of_its_address_named() {
    const HOSTS: u16 = 16;
    let table = Table::new();
    let lan = table.lan();
    table.bind(host(999), &lan);
    // Host n is behind port n or n + 1, now and then behind none.
    let named =
        |n: u16| Arc::new(Named(vec![host(n), host((n + HOSTS - 1) % HOSTS)], AtomicU64::new(0), AtomicU64::new(0)));
    let ports: Vec<_> = (0..HOSTS).map(named).collect();
    let handles: Vec<_> = ports.iter().map(|port| add(&table, PortKind::Link, port.clone())).collect();
    let through = |of: fn(&Named) -> &AtomicU64| ports.iter().map(|port| of(port).load(Ordering::Relaxed)).sum::<u64>();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut way_in = ingress(&table, &lan);
                while !done.load(Ordering::Relaxed) {
                    (0..HOSTS).for_each(|n| way_in.input(&Frame::plain(&frame(host(n), host(999), &[]))));
                    way_in.flush();
                }
            });
        }
        // As often as it takes, within bounds.
        let enough = || through(|port| &port.1) > 1000;
        for round in (0..1_000_000u32).take_while(|round| *round < 4000 || !enough()) {
            let n = (round % u32::from(HOSTS)) as u16;
            let next = usize::from((n + 1) % HOSTS);
            match round / 16 % 5 {
                0 => table.switch.rule_set(host(n), 0, handles[usize::from(n)]).unwrap(),
                1 => table.switch.rule_set(host(n), 0, handles[next]).unwrap(),
                2 => std::mem::drop(table.switch.rule_delete(host(n), 0)),
                3 => std::mem::drop(table.switch.rules_flush(handles[next])),
                _ => table.switch.enable_port(handles[next], round % 2 == 0).unwrap(),
            }
            if round % 100 == 0 {
                table.upcalls().iter().for_each(|asked| std::mem::drop(table.switch.upcall_finish(asked.id, OUT_DROP)));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(through(|port| &port.2), 0);
    assert!(through(|port| &port.1) > 1000);
}
