// SPDX-License-Identifier: MIT
//! The line on a virtual clock.

use crate::agenda::Agenda;
use crate::line::{Burst, Drop, Fate, Line, Nanos, Spec};

const MS: Nanos = 1_000_000;
const SECOND: Nanos = 1_000 * MS;
const FULL: u64 = 1514;

/// What becomes of `count` frames of `bytes`, one each `every`.
fn stream(line: &mut Line, count: u64, every: Nanos, bytes: u64) -> Vec<Result<Fate, Drop>> {
    (1..=count).map(|i| line.arrive(i * every, bytes)).collect()
}

fn line(spec: Spec) -> Line {
    Line::new(spec, 7)
}

fn drops(fates: &[Result<Fate, Drop>], reason: Drop) -> usize {
    fates.iter().filter(|fate| **fate == Err(reason)).count()
}

/// Frames in the order in which an agenda lets them go.
fn order(fates: &[Result<Fate, Drop>]) -> Vec<u32> {
    let mut agenda = Agenda::default();
    for (i, fate) in fates.iter().enumerate() {
        if let Ok(fate) = fate {
            agenda.push(fate.at, i as u32, fate.copies);
        }
    }
    let mut slots = Vec::new();
    while let Some(entry) = agenda.pop(Nanos::MAX) {
        slots.push(entry.slot);
    }
    slots
}

#[test]
fn a_line_without_a_spec_lets_every_frame_pass_at_once_and_in_order() {
    let fates = stream(&mut line(Spec::default()), 1_000, 1, FULL);
    for (i, fate) in fates.iter().enumerate() {
        assert_eq!(*fate, Ok(Fate { at: i as u64 + 1, copies: 1, reordered: false }));
    }
    assert_eq!(order(&fates), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn the_delay_is_exact() {
    let mut line = line(Spec { delay: 25 * MS, ..Spec::default() });
    for now in [3, 3, 40 * MS, 41 * MS + 1] {
        assert_eq!(line.arrive(now, FULL).unwrap().at, now + 25 * MS);
    }
}

#[test]
fn jitter_fills_its_whole_range_and_keeps_the_order() {
    let (delay, jitter) = (50 * MS, 10 * MS);
    let every = MS / 10;
    let fates = stream(&mut line(Spec { delay, jitter, ..Spec::default() }), 100_000, every, FULL);
    let delays: Vec<f64> =
        fates.iter().zip(1_u64..).map(|(fate, i)| (fate.unwrap().at - i * every) as f64 / MS as f64).collect();
    let (least, most) = delays.iter().fold((f64::MAX, 0_f64), |(a, b), &x| (a.min(x), b.max(x)));
    assert!((40.0..41.0).contains(&least), "{least}");
    assert!((59.0..=60.0).contains(&most), "{most}");
    let mean = delays.iter().sum::<f64>() / delays.len() as f64;
    assert!((49.0..51.0).contains(&mean), "{mean}");
    assert!(fates.windows(2).all(|two| two[0].unwrap().at < two[1].unwrap().at));
}

#[test]
fn independent_loss_takes_its_share_and_nothing_else() {
    let fates = stream(&mut line(Spec { loss: 0.01, ..Spec::default() }), 200_000, MS, FULL);
    let lost = drops(&fates, Drop::Loss);
    // 2000 expected, standard deviation 44.
    assert!((1_800..2_200).contains(&lost), "{lost}");
    assert_eq!(lost, fates.iter().filter(|fate| fate.is_err()).count());
    // Independent: after a loss the next is as likely as ever.
    let pairs = fates.windows(2).filter(|two| two[0].is_err() && two[1].is_err()).count();
    assert!(pairs < 50, "{pairs}");
}

#[test]
fn bursts_have_their_share_and_their_mean_length() {
    // Share 2 %, 8 frames on average.
    let (leave, share) = (1.0 / 8.0, 0.02);
    let burst = Burst { enter: leave * share / (1.0 - share), leave, loss_bad: 1.0, loss_good: 0.0 };
    let fates = stream(&mut line(Spec { burst, ..Spec::default() }), 400_000, MS, FULL);
    let lost = drops(&fates, Drop::Burst);
    let bursts = fates.windows(2).filter(|two| two[0].is_ok() && two[1].is_err()).count();
    assert!((7_000..9_000).contains(&lost), "{lost}");
    let length = lost as f64 / bursts as f64;
    assert!((7.2..8.8).contains(&length), "{length}");
}

#[test]
fn both_phases_of_a_burst_model_lose_with_their_own_probability() {
    let burst = Burst { enter: 0.5, leave: 0.5, loss_bad: 0.2, loss_good: 0.1 };
    let fates = stream(&mut line(Spec { burst, ..Spec::default() }), 100_000, MS, FULL);
    let lost = drops(&fates, Drop::Burst);
    assert!((14_400..15_600).contains(&lost), "{lost}");
}

#[test]
fn a_bottleneck_sends_at_its_rate_whatever_the_frames() {
    let spec = Spec { rate: 10_000_000, queue: 1 << 40, ..Spec::default() };
    for bytes in [64, FULL] {
        let mut line = line(spec);
        let count = 10_000_000 / 8 / bytes;
        let last = (0..count).map(|_| line.arrive(5, bytes).unwrap().at).last().unwrap();
        let error = last.abs_diff(5 + SECOND);
        assert!(error < 2 * MS, "{bytes}: {error} ns");
    }
    // A frame alone takes its own time only.
    assert_eq!(line(spec).arrive(SECOND, 1250).unwrap().at, SECOND + MS);
}

#[test]
fn the_queue_holds_its_bytes_and_not_one_more() {
    // 1 ms a frame; 10 frames.
    let mut line = line(Spec { rate: 8_000_000, queue: 10_000, ..Spec::default() });
    let fates: Vec<_> = (0..15).map(|_| line.arrive(0, 1_000)).collect();
    assert_eq!(fates.iter().filter(|fate| fate.is_ok()).count(), 10);
    assert_eq!(drops(&fates, Drop::Queue), 5);
    assert_eq!(fates[9].unwrap().at, 10 * MS, "the longest wait is the queue's");
    // One frame has left, one has room.
    assert!(line.arrive(MS, 1_000).is_ok());
    assert_eq!(line.arrive(MS, 1), Err(Drop::Queue));
    // A frame longer than the queue passes when nothing waits.
    assert!(line.arrive(SECOND, 20_000).is_ok());
    assert_eq!(line.arrive(SECOND, 1), Err(Drop::Queue));
}

#[test]
fn offered_too_much_the_bottleneck_is_busy_all_the_time_and_the_rest_is_dropped() {
    let mut line = line(Spec { rate: 12_112_000, queue: 20 * FULL, ..Spec::default() });
    // 1 ms a frame; twice that is offered for 10 s.
    let fates = stream(&mut line, 20_000, MS / 2, FULL);
    let passed = fates.iter().filter(|fate| fate.is_ok()).count();
    assert!((10_000..=10_020).contains(&passed), "{passed}");
    assert_eq!(drops(&fates, Drop::Queue), 20_000 - passed);
}

#[test]
fn reordered_frames_are_overtaken_by_those_sent_within_their_extra_time_and_no_others() {
    let spec = Spec { delay: 20 * MS, reorder: 0.01, reorder_by: 5 * MS, ..Spec::default() };
    let fates = stream(&mut line(spec), 10_000, MS, FULL);
    let late = fates.iter().filter(|fate| fate.unwrap().reordered).count();
    assert!((70..130).contains(&late), "{late}");
    for (i, fate) in fates.iter().enumerate() {
        let Fate { at, reordered, .. } = fate.unwrap();
        assert_eq!(at, (i as u64 + 1) * MS + if reordered { 25 * MS } else { 20 * MS });
    }
    let order = order(&fates);
    assert_ne!(order, (0..10_000).collect::<Vec<_>>());
    let mut straight: Vec<u32> = order.iter().copied().filter(|&i| !fates[i as usize].unwrap().reordered).collect();
    assert!(straight.is_sorted(), "those that were not picked keep their order");
    straight.dedup();
    assert_eq!(straight.len() + late, 10_000);
}

#[test]
fn duplicates_have_their_share() {
    let fates = stream(&mut line(Spec { duplicate: 0.05, ..Spec::default() }), 100_000, MS, FULL);
    let twice = fates.iter().filter(|fate| fate.unwrap().copies == 2).count();
    assert!((4_700..5_300).contains(&twice), "{twice}");
}

#[test]
fn a_seed_repeats_itself_and_another_does_not() {
    let burst = Burst { enter: 0.01, leave: 0.2, loss_bad: 0.9, loss_good: 0.001 };
    let spec = Spec {
        delay: 9 * MS,
        jitter: MS,
        loss: 0.01,
        burst,
        reorder: 0.1,
        reorder_by: MS,
        duplicate: 0.1,
        ..Spec::default()
    };
    let run = |seed| stream(&mut Line::new(spec, seed), 5_000, MS / 3, FULL);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn the_losses_of_a_seed_stay_the_same_when_other_effects_are_added() {
    let lost = |spec| -> Vec<bool> {
        stream(&mut line(spec), 5_000, MS, FULL).iter().map(|fate| *fate == Err(Drop::Loss)).collect()
    };
    let plain = Spec { loss: 0.05, ..Spec::default() };
    let more = Spec { delay: 9 * MS, jitter: MS, reorder: 0.1, reorder_by: MS, duplicate: 0.1, ..plain };
    assert_eq!(lost(plain), lost(more));
}

#[test]
fn a_change_holds_from_the_next_frame_on_and_keeps_the_order() {
    let mut line = line(Spec { delay: 100 * MS, ..Spec::default() });
    assert_eq!(line.arrive(0, FULL).unwrap().at, 100 * MS);
    line.set(Spec { delay: 10 * MS, ..Spec::default() });
    assert_eq!(line.arrive(MS, FULL).unwrap().at, 100 * MS, "not before the one that is under way");
    assert_eq!(line.arrive(95 * MS, FULL).unwrap().at, 105 * MS);
    line.set(Spec { loss: 1.0, ..Spec::default() });
    assert_eq!(line.arrive(96 * MS, FULL), Err(Drop::Loss));
    line.set(Spec::default());
    assert_eq!(line.arrive(200 * MS, FULL).unwrap().at, 200 * MS);
}

#[test]
fn frames_of_equal_times_leave_in_the_order_in_which_they_came_and_none_before_its_time() {
    let mut agenda = Agenda::default();
    for (slot, at) in [(0, 5), (1, 3), (2, 5), (3, 3), (4, 9)] {
        agenda.push(at, slot, 1);
    }
    assert_eq!(agenda.len(), 5);
    assert!(agenda.pop(2).is_none());
    let slots: Vec<u32> = std::iter::from_fn(|| agenda.pop(5)).map(|entry| entry.slot).collect();
    assert_eq!(slots, [1, 3, 0, 2]);
    assert_eq!(agenda.next(), Some(9));
}
