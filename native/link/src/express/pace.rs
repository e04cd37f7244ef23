// SPDX-License-Identifier: MIT
//! How often a link's socket is looked at: as soon as something comes, or, on a long path whose datagrams trickle in, now and then, for several
//! at once. What network cards call interrupt moderation: a wake-up costs more than all else that is done for a datagram, and what comes
//! together leaves as one super-frame, for which the host sends one acknowledgement. Time is handed in, in us.

/// Longest rest.
const MAX_REST_US: u64 = 350;
/// A rest is this part of the path's round trip at most, so that nobody notices: on a LAN there is none.
const SHARE: u64 = 64;
/// Shorter ones are not worth it.
const MIN_REST_US: u64 = 100;
/// Datagrams that a rest must be expected to bring, and may. Where more come they come in trains anyway.
const WORTH: std::ops::RangeInclusive<u64> = 2..=64;
/// Over so long it is counted what comes.
const WINDOW_US: u64 = 2_000;

/// The pace of one socket.
#[derive(Debug, Default)]
pub struct Pace {
    since_us: u64,
    count: u64,
    rests: bool,
}

impl Pace {
    /// `count` datagrams were just found on a path of this round trip. Returns how long to leave the socket alone; 0: until something comes.
    pub fn found(&mut self, count: u64, round_trip_us: u64, now_us: u64) -> u64 {
        let rest = (round_trip_us / SHARE).min(MAX_REST_US);
        self.count += count;
        let elapsed = now_us.saturating_sub(self.since_us);
        if elapsed >= WINDOW_US {
            self.rests = rest >= MIN_REST_US && WORTH.contains(&(self.count * rest / elapsed));
            (self.since_us, self.count) = (now_us, 0);
        }
        if self.rests && count > 0 { rest } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said last when so many datagrams come one by one, `gap_us` apart, each found as soon as the pace allows.
    fn rest_after(gap_us: u64, round_trip_us: u64) -> u64 {
        let (mut pace, mut rest) = (Pace::default(), 0);
        let mut looked_us = 0;
        for _ in 0..1_000 {
            let next_us = looked_us + gap_us.max(rest);
            rest = pace.found(((next_us - looked_us) / gap_us).max(1), round_trip_us, next_us);
            looked_us = next_us;
        }
        rest
    }

    #[test]
    fn datagrams_that_trickle_in_from_afar_are_waited_for() {
        assert_eq!(rest_after(60, 50_000), 350);
        assert_eq!(rest_after(60, 10_000), 156);
        assert_eq!(rest_after(160, 50_000), 350);
    }

    #[test]
    fn nothing_waits_on_a_short_path_on_a_slow_one_or_in_a_flood() {
        assert_eq!(rest_after(60, 5_000), 0);
        assert_eq!(rest_after(60, 200), 0);
        assert_eq!(rest_after(1_000, 50_000), 0);
        assert_eq!(rest_after(2, 50_000), 0);
    }

    #[test]
    fn the_first_datagram_after_a_silence_is_found_at_once() {
        let mut pace = Pace::default();
        let mut now_us = 0;
        for _ in 0..100 {
            now_us += 60;
            pace.found(1, 50_000, now_us);
        }
        assert_eq!(pace.found(8, 50_000, now_us + 350), 350);
        assert_eq!(pace.found(0, 50_000, now_us + 1_000), 0, "nothing came meanwhile");
        assert_eq!(pace.found(1, 50_000, now_us + 1_000_000), 0);
    }
}
