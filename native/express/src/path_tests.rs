// SPDX-License-Identifier: MIT

use super::*;

/// A path in virtual time: what it takes, how long it takes, and what it loses.
struct Sim {
    path: Path,
    now: u64,
    rtt_ms: u64,
    /// Larger datagrams vanish.
    takes: u16,
    /// Larger ones are refused at once, as by the kernel.
    kernel_takes: u16,
    /// Of 100, each way.
    loss: u64,
    /// Time between datagrams of data; 0: none.
    data_ms: u64,
    answers: VecDeque<(u64, Probe)>,
    probes: Vec<(u64, u16)>,
    random: u64,
}

impl Sim {
    fn new(takes: u16) -> Self {
        let path = Path::new(false, u32::MAX - 5, PathParams::default(), 0);
        let (answers, probes) = (VecDeque::new(), Vec::new());
        Self {
            path,
            now: 0,
            rtt_ms: 40,
            takes,
            kernel_takes: u16::MAX,
            loss: 0,
            data_ms: 0,
            answers,
            probes,
            random: 1,
        }
    }

    /// Runs until then, ms by ms; calls `each` after each.
    fn run_with(&mut self, until_ms: u64, mut each: impl FnMut(&Self)) {
        while self.now < until_ms {
            self.now += 1;
            if self.data_ms > 0 && self.now.is_multiple_of(self.data_ms) {
                self.data();
            }
            while self.answers.front().is_some_and(|(at_ms, _)| *at_ms <= self.now) {
                let (_, probe) = self.answers.pop_front().expect("looked at");
                self.path.answered(probe.id, probe.size, self.now);
            }
            self.send();
            each(self);
        }
    }

    fn run(&mut self, until_ms: u64) {
        self.run_with(until_ms, |_| ());
    }

    fn send(&mut self) {
        let mut count = 0;
        while let Some(probe) = self.path.due(self.now) {
            count += 1;
            assert!(count <= 2 * IPV4_SIZES.len(), "a burst is bounded");
            self.probes.push((self.now, probe.size));
            if probe.size > self.kernel_takes {
                self.path.too_big(probe.size, self.now);
            } else if probe.size <= self.takes && !self.is_lost() && !self.is_lost() {
                self.answers.push_back((self.now + self.rtt_ms, probe));
            }
        }
        assert!(self.path.next_ms() > self.now);
    }

    fn data(&mut self) {
        let Some(size) = self.path.size() else { return };
        if size > self.kernel_takes {
            self.path.too_big(size, self.now);
        } else {
            self.path.sent();
        }
    }

    fn is_lost(&mut self) -> bool {
        // Knuth's MMIX generator: the same losses in each run.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 100 < self.loss
    }

    fn times(&self, size: u16) -> Vec<u64> {
        self.probes.iter().filter(|probe| probe.1 == size).map(|probe| probe.0).collect()
    }
}

#[test]
fn a_good_path_opens_with_the_largest_size_after_one_round_trip_and_eleven_probes() {
    let mut sim = Sim::new(1500);
    assert_eq!((sim.path.size(), sim.path.why(), sim.path.next_ms()), (None, "probing the direct path", 0));
    sim.run(40);
    assert_eq!(sim.path.size(), None);
    sim.run(41);
    assert_eq!((sim.path.size(), sim.path.why()), (Some(1472), "the direct path is open"));
    sim.run(10_000);
    assert_eq!(sim.probes.iter().map(|probe| probe.1).collect::<Vec<_>>(), IPV4_SIZES);
}

#[test]
fn over_ipv6_other_sizes_are_tried() {
    let mut path = Path::new(true, 1, PathParams::default(), 0);
    let sizes: Vec<_> = std::iter::from_fn(|| path.due(0)).map(|probe| probe.size).collect();
    assert_eq!(sizes, IPV6_SIZES);
}

#[test]
fn a_path_that_eats_full_size_datagrams_only_opens_with_what_it_takes() {
    let mut sim = Sim::new(1471);
    sim.run(41);
    assert_eq!(sim.path.size(), Some(1464));
    sim.run(1_000);
    // Only what is larger was tried again.
    assert_eq!((sim.times(1472), sim.times(1464).len()), (vec![1, 201, 601], 1));
}

#[test]
fn a_larger_answer_raises_at_once_and_a_smaller_one_changes_nothing() {
    let mut path = Path::new(false, 7, PathParams::default(), 0);
    let probes: Vec<_> = std::iter::from_fn(|| path.due(0)).collect();
    for (at, size) in [(10, 1200), (5, 1392), (8, 1392), (0, 1472), (3, 1472)] {
        path.answered(probes[at].id, probes[at].size, 20);
        assert_eq!(path.size(), Some(size));
    }
}

#[test]
fn answers_of_another_size_id_or_twice_count_for_nothing() {
    let mut path = Path::new(false, 7, PathParams::default(), 0);
    let probe = path.due(0).expect("probes");
    path.answered(probe.id, 1200, 1);
    path.answered(probe.id + 1, probe.size, 1);
    assert_eq!(path.size(), None);
    path.answered(probe.id, probe.size, 1);
    path.too_big(1472, 2);
    path.answered(probe.id, probe.size, 3);
    assert_eq!(path.size(), Some(1464));
}

#[test]
fn a_path_that_never_answers_is_closed_after_3_s_and_tried_again_after_10_s_30_s_and_every_60_s() {
    let mut sim = Sim::new(0);
    sim.run(3_000);
    assert_eq!(sim.path.why(), "probing the direct path");
    sim.run(3_001);
    assert_eq!((sim.path.size(), sim.path.why()), (None, "no answer to probes on the direct path"));
    sim.run(250_000);
    let begins = [1, 13_001, 46_001, 109_001, 172_001, 235_001];
    let expected: Vec<u64> = begins.iter().flat_map(|at| [*at, at + 200, at + 600]).collect();
    assert_eq!(sim.times(1472), expected);
    assert_eq!(sim.probes.len(), expected.len() * IPV4_SIZES.len());
    sim.takes = 1500;
    sim.run(300_000);
    assert_eq!(sim.path.size(), Some(1472));
}

#[test]
fn who_begins_to_send_probes_late_waits_3_s_from_then_on() {
    let mut path = Path::new(false, 1, PathParams::default(), 0);
    assert_eq!(std::iter::from_fn(|| path.due(10_000)).count(), IPV4_SIZES.len());
    assert_eq!((path.why(), path.next_ms()), ("probing the direct path", 10_200));
    for now in [10_200, 10_600] {
        assert_eq!(std::iter::from_fn(|| path.due(now)).count(), IPV4_SIZES.len());
    }
    assert_eq!((path.why(), path.next_ms()), ("probing the direct path", 13_000));
}

#[test]
fn an_idle_path_is_probed_every_15_s_only_and_one_with_data_every_second() {
    let mut sim = Sim::new(1500);
    sim.run(600_041);
    let idle = sim.probes.len() - IPV4_SIZES.len();
    assert_eq!(idle, 39, "one each 15.04 s");
    assert!(sim.probes[11..].iter().all(|probe| probe.1 == 1472));
    sim.data_ms = 1;
    sim.run(660_041);
    let busy = sim.probes.len() - IPV4_SIZES.len() - idle;
    assert!((57..=59).contains(&busy), "one each 1.04 s: {busy}");
}

#[test]
fn sent_tells_when_the_next_probe_comes_earlier() {
    let mut sim = Sim::new(1500);
    sim.run(5_000);
    assert_eq!(sim.path.next_ms(), 15_041);
    assert!(sim.path.sent());
    assert_eq!(sim.path.next_ms(), 1_041);
    assert!(!sim.path.sent());
}

#[test]
fn an_open_path_that_dies_is_closed_within_4_s_of_data_and_says_so() {
    let mut sim = Sim::new(1500);
    sim.data_ms = 10;
    sim.run(10_000);
    sim.takes = 0;
    let (mut closed, mut probes) = (0, sim.probes.len());
    sim.run_with(20_000, |sim| {
        if sim.path.size().is_some() {
            (closed, probes) = (sim.now, sim.probes.len());
        }
    });
    assert!((13_000..14_100).contains(&closed), "closed at {closed}");
    assert_eq!(sim.path.why(), "the direct path does not answer any more");
    // The last confirmation, four unanswered ones, and three rounds of a search.
    assert!(probes <= 11 + 10 + 1 + 4 + 33, "{probes}");
    sim.takes = 1500;
    sim.run(closed + 10_000 + 42);
    assert_eq!(sim.path.size(), Some(1472), "tried again after 10 s");
}

#[test]
fn a_path_whose_mtu_shrinks_and_grows_is_followed_within_2_s_down_and_a_minute_up() {
    let mut sim = Sim::new(1500);
    sim.data_ms = 5;
    sim.run(10_000);
    for (takes, size) in [(1400, 1392), (1290, 1280), (1200, 1200)] {
        sim.takes = takes;
        let until = sim.now + 2_150;
        sim.run_with(until, |sim| assert!(sim.path.size().is_some(), "never closed"));
        assert_eq!(sim.path.size(), Some(size));
    }
    sim.takes = 1420;
    sim.run_with(sim.now + 61_100, |sim| assert!(sim.path.size().is_some(), "never closed"));
    assert_eq!(sim.path.size(), Some(1412));
    sim.takes = 1500;
    sim.run(sim.now + 61_100);
    assert_eq!(sim.path.size(), Some(1472));
}

#[test]
fn an_idle_path_does_not_try_to_raise_its_size() {
    let mut sim = Sim::new(1400);
    sim.run(1_000);
    let before = sim.times(1472).len();
    sim.takes = 1500;
    sim.run(600_000);
    assert_eq!((sim.path.size(), sim.times(1472).len()), (Some(1392), before));
}

#[test]
fn emsgsize_takes_the_next_smaller_size_at_once_until_one_fits() {
    let mut sim = Sim::new(1500);
    sim.data_ms = 10;
    sim.run(5_000);
    sim.kernel_takes = 1420;
    sim.takes = 1420;
    sim.run(5_010);
    assert_eq!(sim.path.size(), Some(1412), "data and probes go down the table in one go");
    sim.run_with(80_000, |sim| assert_eq!(sim.path.size(), Some(1412)));
    // A burst that was begun before does not try again what the kernel refuses.
    assert!(sim.times(1472).iter().filter(|at| **at > 5_010).count() <= 2);
    (sim.kernel_takes, sim.takes) = (1500, 1500);
    sim.run(150_000);
    assert_eq!(sim.path.size(), Some(1472));
    sim.kernel_takes = 1199;
    sim.run(150_010);
    assert_eq!((sim.path.size(), sim.path.why()), (None, "the direct path takes no datagrams of 1200 bytes"));
}

#[test]
fn emsgsize_for_a_datagram_that_was_made_before_the_size_fell_changes_nothing() {
    let mut sim = Sim::new(1500);
    sim.run(100);
    for (refused, size) in [(1472, 1464), (1464, 1452), (1472, 1452)] {
        sim.path.too_big(refused, 100);
        assert_eq!(sim.path.size(), Some(size));
    }
}

#[test]
fn what_the_kernel_refuses_is_not_probed_and_older_answers_do_not_raise_above_it() {
    let mut path = Path::new(false, 7, PathParams::default(), 0);
    let [largest, next] = [(); 2].map(|()| path.due(0).expect("probes"));
    path.too_big(next.size, 0);
    path.too_big(1300, 0);
    let left: Vec<_> = std::iter::from_fn(|| path.due(0)).collect();
    assert_eq!(left.iter().map(|probe| probe.size).collect::<Vec<_>>(), [1280, 1252, 1200]);
    path.answered(left[0].id, left[0].size, 20);
    path.answered(largest.id, largest.size, 21);
    assert_eq!(path.size(), Some(1280));
}

#[test]
fn a_path_that_moved_is_closed_until_the_new_one_answers_and_old_answers_do_not_count() {
    let mut sim = Sim::new(1500);
    sim.run(15_060);
    let old = *sim.answers.front().expect("the probe of 15 041 ms is under way");
    sim.path.moved(true, 15_060);
    sim.path.answered(old.1.id, old.1.size, 15_060);
    assert_eq!((sim.path.size(), sim.path.why()), (None, "probing the direct path"));
    sim.run(15_101);
    assert_eq!(sim.path.size(), Some(1452), "IPv6");
}

#[test]
fn a_path_that_loses_30_percent_each_way_stays_open_and_near_its_largest_size() {
    for seed in 0..10 {
        let mut sim = Sim::new(1500);
        (sim.loss, sim.data_ms, sim.random) = (30, 10, seed);
        let (mut opened, mut large, mut total) = (false, 0u64, 0u64);
        sim.run_with(600_000, |sim| {
            opened |= sim.path.size().is_some();
            assert_eq!(opened, sim.path.size().is_some(), "seed {seed}: closed at {}", sim.now);
            (large, total) = (large + u64::from(sim.path.size() >= Some(1432)), total + 1);
        });
        assert!(large * 100 > total * 95, "seed {seed}: {large} of {total} ms");
    }
}

#[test]
fn a_path_of_800_ms_stays_open_at_its_largest_size() {
    let mut sim = Sim::new(1500);
    (sim.rtt_ms, sim.data_ms) = (800, 10);
    sim.run(900);
    sim.run_with(600_000, |sim| assert_eq!(sim.path.size(), Some(1472), "at {}", sim.now));
}

#[test]
fn what_is_remembered_stays_bounded() {
    let mut sim = Sim::new(0);
    sim.run(600_000);
    assert_eq!(sim.path.sent.len(), REMEMBERED);
    assert!(sim.path.sent.capacity() <= 2 * REMEMBERED && sim.path.queue.capacity() <= 64);
}
