// SPDX-License-Identifier: MIT
//! How often a link's socket is looked at: as soon as something comes, or, on a long path whose datagrams trickle in, now and then, for several
//! at once. What network cards call interrupt moderation: a wake-up costs more than all else that is done for a datagram, and what comes
//! together leaves as one super-frame, for which the host sends one acknowledgement. Time is handed in, in us.

/// Longest rest.
const MAX_REST_US: u64 = 500;
/// A rest is this part of the path's round trip at most, so that nobody notices: on a LAN there is none.
const SHARE: u64 = 64;
/// Shorter ones are not worth it: where so much comes, it comes in trains anyway.
const MIN_REST_US: u64 = 100;
/// Datagrams that a rest must be expected to bring, and those that are enough: more at once save little more, and need room.
const WORTH: std::ops::RangeInclusive<u64> = 2..=12;
/// Over so long it is counted what comes.
const WINDOW_US: u64 = 2_000;

/// The pace of one socket.
#[derive(Debug, Default)]
pub struct Pace {
    since_us: u64,
    count: u64,
    /// 0: none.
    rest_us: u64,
}

impl Pace {
    /// `count` datagrams were just found on a path of this round trip, and perhaps there are `more`. Returns how long to leave the socket
    /// alone; None: until something comes.
    pub fn found(&mut self, count: u64, more: bool, round_trip_us: u64, now_us: u64) -> Option<u64> {
        self.count += count;
        let elapsed = now_us.saturating_sub(self.since_us);
        if elapsed >= WINDOW_US {
            let enough = WORTH.end() * elapsed / self.count.max(1);
            let rest = (round_trip_us / SHARE).min(MAX_REST_US).min(enough);
            let is_worth = rest >= MIN_REST_US && self.count * rest / elapsed >= *WORTH.start();
            self.rest_us = if is_worth { rest } else { 0 };
            (self.since_us, self.count) = (now_us, 0);
        }
        (self.rest_us > 0 && count > 0).then_some(if more { 0 } else { self.rest_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams that are found at once at most.
    const BATCH: u64 = 16;

    /// Datagrams come one by one, `gap_us` apart, for a second. Returns the longest rest of its second half and the most that waited.
    fn at(gap_us: u64, round_trip_us: u64) -> (u64, u64) {
        let (mut pace, mut longest, mut most) = (Pace::default(), 0, 0);
        let (mut now_us, mut taken) = (0, 0);
        while now_us < 1_000_000 {
            let waiting = now_us / gap_us - taken;
            let count = waiting.min(BATCH);
            taken += count;
            let rest = pace.found(count, count == BATCH, round_trip_us, now_us);
            if now_us > 500_000 {
                (longest, most) = (longest.max(rest.unwrap_or(0)), most.max(waiting));
            }
            // Looking takes a microsecond, too.
            now_us = (now_us + 1).max(rest.map_or((taken + 1) * gap_us, |rest| now_us + rest));
        }
        (longest, most)
    }

    #[test]
    fn datagrams_that_trickle_in_from_afar_are_waited_for() {
        assert_eq!(at(60, 50_000).0, 500);
        assert_eq!(at(60, 10_000).0, 156);
        assert_eq!(at(200, 50_000).0, 500);
        assert_eq!(at(20, 50_000).0, 240, "twelve are enough");
    }

    #[test]
    fn nothing_waits_on_a_short_path_on_a_slow_one_or_in_a_flood() {
        assert_eq!(at(60, 5_000).0, 0);
        assert_eq!(at(60, 200).0, 0);
        assert_eq!(at(1_000, 50_000).0, 0);
        assert_eq!(at(2, 50_000).0, 0);
    }

    #[test]
    fn no_more_wait_than_came_during_one_rest_however_many_come() {
        for gap_us in [10, 15, 20, 30, 45, 60, 100] {
            let (longest, most) = at(gap_us, 50_000);
            assert!(most <= longest / gap_us + 2, "{most} waited, {gap_us} us apart");
        }
    }

    #[test]
    fn the_first_datagram_after_a_silence_is_found_at_once() {
        let mut pace = Pace::default();
        let mut now_us = 0;
        for _ in 0..100 {
            now_us += 60;
            pace.found(1, false, 50_000, now_us);
        }
        assert_eq!(pace.found(8, false, 50_000, now_us + 500), Some(500));
        assert_eq!(pace.found(0, false, 50_000, now_us + 1_000), None, "nothing came meanwhile");
        assert_eq!(pace.found(1, false, 50_000, now_us + 1_000_000), None);
    }
}
