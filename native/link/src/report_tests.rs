// SPDX-License-Identifier: MIT

use std::cell::Cell;

use super::*;

thread_local!(static SEED: Cell<u32> = const { Cell::new(1) });

/// A fixed sequence for each test.
fn random() -> u32 {
    SEED.with(|seed| {
        seed.set(seed.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        seed.get()
    })
}

fn send(progress: &mut Progress, packets: u64) -> (u32, u16) {
    (0..packets).map(|_| progress.next(random).unwrap()).last().unwrap()
}

#[test]
fn a_report_reads_back() {
    let report = Report { ssrc: 1, received: u64::MAX, highest: 65535, number: 7 };
    let mut payload = [0u8; REPORT_LEN];
    report.write(&mut payload);
    assert_eq!(Report::parse(&payload), Some(report));
    assert_eq!(Report::parse(&payload[..19]), None);
}

#[test]
fn a_peer_may_use_twice_as_many_sources_as_an_honest_one_and_late_packets_count_once() {
    let mut sources = Sources::default();
    for ssrc in 1..=2050 {
        [ssrc, ssrc.max(2) - 1, ssrc].into_iter().for_each(|ssrc| sources.packet(ssrc));
        assert!(!sources.are_too_many(), "{ssrc}");
    }
    sources.packet(9999);
    assert!(sources.are_too_many());
}

#[test]
fn a_report_follows_the_first_packet_by_250_ms() {
    let mut reporter = Reporter::new(0);
    assert!(!reporter.packet(9, 100, true, 1000));
    reporter.packet(9, 101, true, 1200);
    assert!(!reporter.due(1249));
    assert!(reporter.due(1250));
    assert_eq!(reporter.report(1250), Report { ssrc: 9, received: 2, highest: 101, number: 1 });
    assert!(!reporter.due(1251));
}

#[test]
fn a_report_is_due_at_once_after_4096_packets() {
    let mut reporter = Reporter::new(0);
    let due: Vec<_> = (0..4096u16).map(|i| reporter.packet(9, i, true, 0)).collect();
    assert_eq!(due.iter().position(|&due| due), Some(4095));
}

#[test]
fn reports_do_not_ask_for_reports_but_each_side_speaks_every_10_s() {
    let mut reporter = Reporter::new(0);
    reporter.packet(9, 1, false, 100);
    assert!(!reporter.due(9_999));
    assert!(reporter.due(10_000));
    reporter.report(10_000);
    assert!(!reporter.due(19_999));
}

#[test]
fn the_highest_sequence_number_survives_reordering_and_wrap() {
    let mut reporter = Reporter::new(0);
    for sequence in [65534, 65535, 1, 0, 65533] {
        reporter.packet(9, sequence, true, 0);
    }
    assert_eq!(reporter.report(0), Report { ssrc: 9, received: 5, highest: 1, number: 1 });
}

#[test]
fn a_late_packet_of_the_earlier_ssrc_does_not_turn_the_reporter_back() {
    let mut reporter = Reporter::new(0);
    reporter.packet(9, 500, true, 0);
    reporter.packet(10, 7, true, 0);
    reporter.packet(9, 501, true, 0);
    assert_eq!(reporter.report(0), Report { ssrc: 10, received: 1, highest: 7, number: 1 });
}

#[test]
fn a_sender_that_hears_reports_keeps_its_ssrc() {
    let mut progress = Progress::new(random, true);
    let ssrc = progress.ssrc();
    for number in 0..100 {
        let (_, highest) = send(&mut progress, 10_000);
        progress.report(&Report { ssrc, received: 0, highest, number });
    }
    assert_eq!((progress.ssrc(), progress.changes()), (ssrc, 0));
}

#[test]
fn a_sender_changes_its_ssrc_after_16384_unreported_packets_and_again() {
    let mut progress = Progress::new(random, true);
    let first = progress.ssrc();
    assert_eq!(send(&mut progress, UNREPORTED_MAX).0, first);
    let (second, sequence) = progress.next(random).unwrap();
    assert_ne!(second, first);
    assert!(sequence < 0x8000, "{sequence}");
    progress.report(&Report { ssrc: first, received: 1, highest: sequence, number: 1 });
    send(&mut progress, UNREPORTED_MAX - 1);
    assert_eq!(progress.ssrc(), second, "a report on the first one confirms nothing");
    assert_ne!(progress.next(random).unwrap().0, second);
    assert_eq!(progress.changes(), 2);
}

#[test]
fn a_long_fast_path_with_20000_packets_in_flight_keeps_its_ssrc() {
    let mut progress = Progress::new(random, true);
    let (ssrc, mut received) = progress.next(random).unwrap();
    let mut silent = UNREPORTED_MAX - 1;
    for number in 0..100 {
        send(&mut progress, silent);
        received = received.wrapping_add(4096);
        progress.report(&Report { ssrc, received: 0, highest: received, number });
        silent = if number == 0 { 8_000 } else { 4_096 };
    }
    assert_eq!(progress.changes(), 0);
    send(&mut progress, UNREPORTED_MAX / 2);
    progress.report(&Report { ssrc, received: 0, highest: received.wrapping_add(1), number: 100 });
    send(&mut progress, UNREPORTED_MAX / 2);
    assert_eq!(progress.changes(), 1, "more than the receiver could miss are in flight");
}

#[test]
fn a_report_of_packets_never_sent_confirms_nothing() {
    let mut progress = Progress::new(random, true);
    let (ssrc, last) = send(&mut progress, 10);
    progress.report(&Report { ssrc, received: 1, highest: last.wrapping_add(5), number: 1 });
    progress.report(&Report { ssrc, received: 1, highest: last.wrapping_sub(4000), number: 2 });
    send(&mut progress, UNREPORTED_MAX - 10);
    assert_ne!(progress.next(random).unwrap().0, ssrc);
}

#[test]
fn ssrcs_never_repeat_and_end_after_1024_changes() {
    let mut progress = Progress::new(|| 5, true);
    for _ in 0..=SSRC_CHANGES_MAX {
        progress.skip(UNREPORTED_MAX - 1);
        assert!(progress.next(|| 5).is_ok());
    }
    progress.skip(UNREPORTED_MAX);
    assert_eq!(progress.next(|| 5), Err(Exhausted));
    let mut used = progress.used.clone();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), SSRC_CHANGES_MAX + 1);
}

#[test]
fn a_silence_with_traffic_is_doubted_once_after_4_s() {
    let silence = Silence::new(0);
    assert!(!silence.is_doubted(29_000), "nothing was asked");
    silence.heard(1_000);
    silence.asked(9_000);
    assert_eq!(silence.next_ms(), 13_000);
    assert!(!silence.is_doubted(12_999));
    assert!(silence.is_doubted(13_000));
    assert!(!silence.is_doubted(13_001));
    assert_eq!(silence.next_ms(), 21_000);
    silence.heard(14_000);
    silence.asked(15_000);
    assert!(!silence.is_doubted(18_999));
    assert!(silence.is_doubted(19_000));
}

#[test]
fn a_link_is_silent_after_12_s_with_traffic_and_30_s_without() {
    let silence = Silence::new(0);
    assert!(!silence.is_lost(29_999));
    assert!(silence.is_lost(30_000));
    silence.heard(1_000);
    silence.asked(9_000);
    silence.asked(15_000);
    assert!(!silence.is_lost(20_999));
    assert!(silence.is_lost(21_000));
    silence.heard(21_000);
    assert!(!silence.is_lost(22_000));
    assert_eq!(silence.silent_ms(22_000), 1_000);
}
