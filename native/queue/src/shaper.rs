// SPDX-License-Identifier: MIT
//! A token bucket: so many bits per second, and a little more at once, so that a late timer costs nothing.

/// Sends at a rate. Times are in us.
#[derive(Debug, Clone, Copy)]
pub struct Shaper {
    kbit: u64,
    burst_ns: u64,
    /// When the line has sent all it was given.
    free_ns: u64,
}

impl Shaper {
    /// `kbit`: 1000 bits per second; `burst_us`: how much of its time the line may catch up.
    pub fn new(kbit: u64, burst_us: u64) -> Self {
        Self { kbit: kbit.max(1), burst_ns: burst_us * 1000, free_ns: 0 }
    }

    /// Another rate. What was sent is sent.
    pub fn set_kbit(&mut self, kbit: u64) {
        self.kbit = kbit.max(1);
    }

    /// Its rate.
    pub fn kbit(&self) -> u64 {
        self.kbit
    }

    /// Whether something may be sent now, whatever its length.
    pub fn is_ready(&self, now_us: u64) -> bool {
        self.free_ns <= now_us * 1000
    }

    /// When something may be sent.
    pub fn ready_us(&self) -> u64 {
        self.free_ns.div_ceil(1000)
    }

    /// So many bytes were sent.
    pub fn charge(&mut self, bytes: usize, now_us: u64) {
        let earliest = (now_us * 1000).saturating_sub(self.burst_ns);
        self.free_ns = self.free_ns.max(earliest) + bytes as u64 * 8 * 1_000_000 / self.kbit;
    }

    /// How long the line takes for so many bytes, in us.
    pub fn time_us(&self, bytes: usize) -> u64 {
        bytes as u64 * 8 * 1000 / self.kbit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_second_no_more_is_sent_than_the_rate_and_one_burst() {
        for (kbit, size) in [(1_000, 1500), (10_000, 1500), (500_000, 64_000), (64, 100)] {
            let mut shaper = Shaper::new(kbit, 1_000);
            let mut sent = 0;
            // A timer that is late by up to a millisecond, as it pleases.
            let mut now = 0;
            while now < 1_000_000 {
                while shaper.is_ready(now) {
                    shaper.charge(size, now);
                    sent += size;
                }
                now = shaper.ready_us().max(now + 1) + (now * 7919) % 1000;
            }
            let (bits, allowed) = (sent as u64 * 8, kbit * 1000);
            assert!(bits <= allowed + kbit + size as u64 * 8, "{kbit} kbit/s: {bits} bits");
            assert!(bits + size as u64 * 16 >= allowed * 97 / 100, "{kbit} kbit/s: {bits} bits");
        }
    }

    #[test]
    fn silence_is_not_saved_up() {
        let mut shaper = Shaper::new(8_000, 1_000);
        shaper.charge(1000, 60_000_000);
        shaper.charge(1000, 60_000_000);
        assert_eq!((shaper.ready_us(), shaper.time_us(1000)), (60_001_000, 1_000));
    }
}
