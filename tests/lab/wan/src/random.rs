// SPDX-License-Identifier: MIT
//! Random numbers that a seed repeats.

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, good enough to lose packets by.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence number `stream` of a seed: no two share theirs.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits: all that the mantissa holds.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability. Draws in any case, so that a changed probability shifts no later draw.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
