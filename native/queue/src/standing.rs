// SPDX-License-Identifier: MIT
//! A queue that is somebody else's, whose waiting times nobody tells, told to be shorter (RFC 8289 in spirit): all that is seen is whether it
//! was empty at some time.

/// Watches one queue from its reader's side. Times are in us.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// How long it may never be empty: what is sent at once is through by then.
    interval_us: u64,
    /// Since when it was never empty.
    since_us: Option<u64>,
    /// When to tell next, and how often it was told.
    next_us: u64,
    count: u32,
}

impl Standing {
    /// Watches a queue that may stand so long.
    pub fn new(interval_us: u64) -> Self {
        Self { interval_us, since_us: None, next_us: 0, count: 0 }
    }

    /// It is empty.
    pub fn emptied(&mut self) {
        self.since_us = None;
    }

    /// Something was taken out of it. True: its sender should be told to slow down, by dropping or marking this.
    pub fn is_long(&mut self, now_us: u64) -> bool {
        let Some(since) = self.since_us else {
            self.since_us = Some(now_us);
            // One that stands again soon is told as often as it had to be.
            let is_recent = now_us.saturating_sub(self.next_us) < 16 * self.interval_us;
            self.count = if is_recent { self.count / 2 } else { 0 };
            self.next_us = now_us + self.interval_us;
            return false;
        };
        if now_us.saturating_sub(since) < self.interval_us || now_us < self.next_us {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.next_us = now_us + (self.interval_us as f64 / f64::from(self.count).sqrt()) as u64;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue served at 10 frames per ms, which a sender keeps `window` frames in.
    #[test]
    fn a_sender_that_slows_down_when_told_leaves_a_queue_that_is_empty_now_and_then() {
        let (mut standing, mut window, mut told) = (Standing::new(5_000), 100.0f64, 0);
        let (mut empty, mut longest) = (0, 0.0f64);
        for tick in 0..20_000u64 {
            let now = tick * 1000;
            // Two frames are on their way elsewhere.
            let queued = window - 2.0;
            if queued < 10.0 {
                standing.emptied();
                empty += 1;
            }
            for frame in 0..(queued.min(10.0) as u64) {
                if standing.is_long(now + frame * 100) {
                    (window, told) = ((window * 0.7).max(2.0), told + 1);
                }
            }
            window += 0.2;
            if tick > 1000 {
                longest = longest.max(queued);
            }
        }
        assert!(told > 100 && empty > 2_000 && longest < 20.0, "told {told}, empty {empty}, longest {longest}");
    }

    #[test]
    fn a_burst_that_is_through_in_time_is_left_alone() {
        let mut standing = Standing::new(5_000);
        for burst in 0..1000u64 {
            for frame in 0..45 {
                assert!(!standing.is_long(burst * 6_000 + frame * 100));
            }
            standing.emptied();
        }
    }

    #[test]
    fn one_that_does_not_slow_down_is_told_more_and_more_often() {
        let mut standing = Standing::new(5_000);
        let mut told = [0; 4];
        for frame in 0..400_000u64 {
            told[(frame / 100_000) as usize] += u32::from(standing.is_long(frame * 10));
        }
        assert!(told[0] > 100 && told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    }
}
