// SPDX-License-Identifier: MIT
//! Many frames through the whole path: switch, link, a bad WAN, link, switch. Each arrives identical or not at all, and none twice, whatever
//! happens to keys and carriages meanwhile.

mod judge;
mod make;
mod wan;

use std::sync::atomic::{AtomicBool, Ordering};

use ipop_datapath::{PortKind, Switch};

use super::*;
use judge::Judge;
use make::{Made, VLAN, mac};
use wan::Wan;

/// Frames that may be on their way.
const MAX_UNDER_WAY: i64 = 400;
/// How long what does not arrive is waited for.
const PATIENCE: Duration = Duration::from_millis(30);
const BATCH: u64 = 32;

/// One end: a switch with a LAN port and a link.
struct Station {
    end: End,
    switch: Arc<Switch>,
    lan: Handle,
    judge: Arc<Judge>,
}

struct OnSwitch(Arc<Switch>, Mutex<Option<Port>>);

impl PortRegistrar for OnSwitch {
    fn register(&self, port: Handle, transmit: Arc<dyn PortTransmit>, drops: Arc<DropCounters>) -> Arc<dyn FrameSink> {
        self.0.add_port(port, PortKind::Link, transmit.clone(), drops.clone());
        *self.1.lock().unwrap() = Some((transmit, drops));
        self.0.clone()
    }

    fn network(&self) -> Handle {
        1
    }
}

impl Station {
    fn new(side: u8) -> Self {
        let queue = Arc::new(RecordQueue::new().unwrap());
        let links = start_links(queue.clone());
        let switch = Switch::open(Arc::new(RecordQueue::new().unwrap()));
        let registrar = OnSwitch(switch.clone(), Mutex::default());
        let role = if side == 0 { Role::Offer } else { Role::Answer };
        let link = links.open(&registrar, role, &TextMap::default()).unwrap();
        let (transmit, drops) = registrar.1.into_inner().unwrap().unwrap();
        let end = End { links, queue, link, sink: Arc::default(), transmit, drops, records: VecDeque::new() };
        let (lan, judge) = (ipop_base::next_handle(), Arc::new(Judge::new(1 - side)));
        switch.add_port(lan, PortKind::Lan, judge.clone(), Arc::default());
        for port in [lan, link] {
            switch.enable_port(port, true).unwrap();
        }
        for vlan in [0, VLAN] {
            switch.rule_set(mac(side), vlan, lan).unwrap();
            switch.rule_set(mac(1 - side), vlan, link).unwrap();
        }
        Self { end, switch, lan, judge }
    }

    /// Gives frames of these numbers to the LAN port, not many more than arrive at `far`.
    fn feed(&self, side: u8, numbers: std::ops::Range<u64>, far: &Judge) -> u64 {
        let mut ingress = self.switch.clone().ingress(self.lan);
        // What did not arrive for a while is taken for lost.
        let (mut buffer, mut fed, mut lost) = (Vec::new(), 0, 0i64);
        for number in numbers {
            Made::of(number, side).give(&mut buffer, &mut |frame| {
                fed += u64::from(frame.segments);
                ingress.input(frame);
            });
            if number % BATCH == 0 {
                ingress.flush();
                let under_way = |lost: i64| fed as i64 - lost - far.frames.load(Ordering::Relaxed) as i64;
                let (mut least, mut since) = (under_way(lost), Instant::now());
                while under_way(lost) > MAX_UNDER_WAY {
                    if under_way(lost) < least {
                        (least, since) = (under_way(lost), Instant::now());
                    } else if since.elapsed() > PATIENCE {
                        lost += under_way(lost);
                    }
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        }
        ingress.flush();
        fed
    }
}

/// Passes descriptions on, and candidates that lead through the WAN.
fn signal_by(wan: &Wan, from: &mut Station, to: &mut Station, side: usize) {
    from.end.poll();
    let mut rest = VecDeque::new();
    for (kind, payload) in std::mem::take(&mut from.end.records) {
        if kind == RecordType::LinkLocal as u16 {
            to.end.links.set_remote(to.end.link, &TextMap::parse(&payload).unwrap()).unwrap();
            let face = wan.face(1 - side);
            let candidate = format!("candidate:1 1 UDP 2122317823 {} {} typ host", face.ip(), face.port());
            to.end.links.add_candidate(to.end.link, &candidate).unwrap();
        } else if kind != RecordType::LinkCandidate as u16 {
            rest.push_back((kind, payload));
        }
    }
    from.end.records = rest;
}

fn connect(wan: &Wan, a: &mut Station, b: &mut Station) {
    let start = Instant::now();
    while [&*a, &*b].iter().any(|station| station.end.said("state") != "up") {
        signal_by(wan, a, b, 0);
        signal_by(wan, b, a, 1);
        assert!(start.elapsed() < LIMIT, "{:?}", a.end.info());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is done to the links while frames cross.
struct Meanwhile {
    rekey_ms: u64,
    /// How long frames go by what may be express, and then by SRTP only.
    carriage: [Duration; 2],
    /// How long express passes the WAN, and then does not.
    express: [Duration; 2],
}

fn frames_cross(count: u64, meanwhile: &Meanwhile) {
    let Some(_guard) = network() else { return };
    let wan = Wan::start("10.99.0.1");
    let (mut a, mut b) = (Station::new(0), Station::new(1));
    connect(&wan, &mut a, &mut b);
    let config = format!("rekey_ms={}", meanwhile.rekey_ms);
    by_express(&a.end, &b.end, [&config; 2]);
    let (start, done) = (Instant::now(), AtomicBool::new(false));
    let mut by = [0u32; 2];
    let fed = std::thread::scope(|scope| {
        let feeders = [(&a, 0u8, &b), (&b, 1, &a)]
            .map(|(station, side, far)| scope.spawn(move || station.feed(side, 1..count / 2 + 1, &far.judge)));
        let disturb = scope.spawn(|| {
            let mut by = [0u32; 2];
            while !done.load(Ordering::Relaxed) {
                let elapsed = start.elapsed().as_millis();
                let is_off = |[on, off]: [Duration; 2]| elapsed % (on + off).as_millis() >= on.as_millis();
                wan.shared.blocks_express.store(is_off(meanwhile.express), Ordering::Relaxed);
                for station in [&a, &b] {
                    station.end.inner().keep_to_srtp(is_off(meanwhile.carriage));
                    by[usize::from(station.end.is_by_express())] += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            by
        });
        let fed = feeders.map(|feeder| feeder.join().unwrap());
        done.store(true, Ordering::Relaxed);
        by = disturb.join().unwrap();
        fed
    });
    let taken = start.elapsed();
    // What still comes is judged, too.
    std::thread::sleep(Duration::from_millis(500));
    let shared = &wan.shared;
    let noted = [&shared.lost, &shared.doubled, &shared.late].map(|count| count.load(Ordering::Relaxed));
    let arrived = [&b, &a].map(|station| station.judge.frames.load(Ordering::Relaxed));
    note(&format!(
        "{count} frames ({fed:?} on the wire) in {taken:.1?}, arrived {arrived:?}; datagrams lost, doubled, late: {noted:?}; looks by srtp, \
         express: {by:?}; epoch {}; refused at b: {:?}\n",
        a.end.said("epoch"),
        b.end.drops.all(),
    ));
    assert_eq!([&a, &b].map(|station| station.judge.fault()), [None, None]);
    for (fed, arrived) in fed.into_iter().zip(arrived) {
        assert!(arrived > fed / 2 && arrived <= fed + fed / 5, "{arrived} of {fed}");
    }
    assert!(noted.iter().all(|noted| *noted > count / 1000), "{noted:?}");
    assert!(by.iter().all(|by| *by > 10), "{by:?}");
    let epochs = taken.as_millis() as u64 / (meanwhile.rekey_ms * 4);
    assert!(a.end.said("epoch").parse::<u64>().unwrap() > epochs, "{} within {taken:?}", a.end.said("epoch"));
    for why in [Drop::SealInvalid, Drop::Malformed, Drop::CarriageMalformed] {
        assert_eq!([&a, &b].map(|station| station.end.drops.get(why)), [0, 0], "{why:?}");
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn frames_of_all_kinds_cross_a_bad_wan_identical_or_not_at_all_and_none_twice() {
    let count = if cfg!(debug_assertions) { 60_000 } else { 200_000 };
    frames_cross(count, &Meanwhile { rekey_ms: 200, carriage: [70 * MS; 2], express: [600_000 * MS; 2] });
}

#[test]
#[ignore = "takes minutes: cargo test --release -p ipop-link twenty_million -- --ignored --nocapture"]
fn twenty_million_frames_cross_a_bad_wan_identical_or_not_at_all_and_none_twice() {
    frames_cross(
        20_000_000,
        &Meanwhile { rekey_ms: 1_000, carriage: [4_000 * MS, 1_000 * MS], express: [40_000 * MS, 6_000 * MS] },
    );
}
