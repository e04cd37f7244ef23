// SPDX-License-Identifier: MIT
//! A circuit breaker (RFC 8084): when a link loses a tenth of what is sent for ten seconds, what does not slow down by itself is slowed down.

/// Loss over which a link is in trouble, and under which it has recovered.
const LIMIT_PERMILLE: u64 = 100;
/// How long it must be over or under that.
const HOLD_MS: u64 = 10_000;
/// Loss is judged over such times, and so many datagrams at least.
const SAMPLE_MS: u64 = 1_000;
const SAMPLE_DATAGRAMS: u64 = 20;
/// Without anything to judge for so long, what was known is no longer so.
const FORGET_MS: u64 = 30_000;

/// Turns what was sent and received so far into what was sent and lost since.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    known: Option<(u64, u64)>,
    /// Received that was taken for lost: it was late.
    ahead: u64,
}

impl Meter {
    /// The peer has received so many of the first `sent`. Returns (sent, lost) since the last call. Numbers that go back begin anew.
    pub fn update(&mut self, sent: u64, received: u64) -> (u64, u64) {
        let since = self.known.replace((sent, received));
        let deltas = since.and_then(|(s, r)| sent.checked_sub(s).zip(received.checked_sub(r)));
        let Some((sent, received)) = deltas else {
            self.ahead = 0;
            return (0, 0);
        };
        let received = received + self.ahead;
        self.ahead = received.saturating_sub(sent);
        (sent, sent.saturating_sub(received))
    }
}

/// The breaker of one link. Times are in ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Breaker {
    sent: u64,
    lost: u64,
    since_ms: u64,
    /// Since when every sample was on the other side of the limit than the breaker is.
    other_since_ms: Option<u64>,
    is_open: bool,
    permille: Option<u16>,
    judged_ms: u64,
}

impl Breaker {
    /// So many datagrams were sent, and so many of them lost, since the last call.
    pub fn sample(&mut self, sent: u64, lost: u64, now_ms: u64) {
        // After a pause the time before it does not count.
        if self.sent == 0 && now_ms.saturating_sub(self.since_ms) > 2 * SAMPLE_MS {
            (self.since_ms, self.judged_ms) = (now_ms, now_ms);
        }
        self.sent += sent;
        self.lost += lost;
        if self.sent < SAMPLE_DATAGRAMS || now_ms.saturating_sub(self.since_ms) < SAMPLE_MS {
            return;
        }
        let permille = (self.lost * 1000 / self.sent).min(1000);
        let is_over = permille > LIMIT_PERMILLE;
        let began_ms = self.since_ms;
        (self.sent, self.lost, self.since_ms, self.judged_ms) = (0, 0, now_ms, now_ms);
        self.permille = Some(permille as u16);
        if is_over == self.is_open {
            self.other_since_ms = None;
        } else if now_ms.saturating_sub(*self.other_since_ms.get_or_insert(began_ms)) >= HOLD_MS {
            (self.is_open, self.other_since_ms) = (is_over, None);
        }
    }

    /// Time went by. Call it now and then: a link without traffic is not in trouble.
    pub fn tick(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.judged_ms) >= FORGET_MS {
            *self = Self { judged_ms: now_ms, ..Self::default() };
        }
    }

    /// True while what does not slow down by itself must be slowed down.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Loss as it was last judged, in thousandths.
    pub fn permille(&self) -> Option<u16> {
        self.permille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(breaker: &mut Breaker, from_s: u64, seconds: u64, lost: u64) {
        for second in from_s..from_s + seconds {
            breaker.sample(100, lost, second * 1000);
            breaker.tick(second * 1000);
        }
    }

    #[test]
    fn it_opens_after_ten_seconds_over_a_tenth_and_closes_after_ten_under_it() {
        let mut breaker = Breaker::default();
        run(&mut breaker, 101, 10, 11);
        assert!(!breaker.is_open() && breaker.permille() == Some(110));
        run(&mut breaker, 111, 1, 11);
        assert!(breaker.is_open());
        run(&mut breaker, 112, 9, 10);
        assert!(breaker.is_open());
        run(&mut breaker, 121, 1, 0);
        assert!(!breaker.is_open());
    }

    #[test]
    fn one_good_second_begins_the_count_anew() {
        let mut breaker = Breaker::default();
        for start in [101, 111, 121, 131] {
            run(&mut breaker, start, 9, 50);
            run(&mut breaker, start + 9, 1, 10);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_few_datagrams_prove_nothing_and_silence_forgets() {
        let mut breaker = Breaker::default();
        for second in 1..19 {
            breaker.sample(1, 1, second * 1000);
        }
        assert!(!breaker.is_open() && breaker.permille().is_none());
        run(&mut breaker, 120, 30, 50);
        assert!(breaker.is_open());
        breaker.tick(149_000 + FORGET_MS);
        assert!(!breaker.is_open() && breaker.permille().is_none());
    }

    #[test]
    fn a_meter_takes_back_what_was_only_late() {
        let mut meter = Meter::default();
        assert_eq!(meter.update(1000, 900), (0, 0), "from here on");
        assert_eq!(meter.update(1100, 990), (100, 10));
        assert_eq!(meter.update(1200, 1100), (100, 0), "ten were late");
        assert_eq!(meter.update(1300, 1190), (100, 0));
        assert_eq!(meter.update(50, 50), (0, 0), "another key, or another path");
        assert_eq!(meter.update(150, 100), (100, 50));
    }
}
