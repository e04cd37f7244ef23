// SPDX-License-Identifier: MIT
//! Which counters of an epoch were seen (PROTOCOL 5.4; as RFC 6479: a ring of words, of which the oldest is cleared as the window moves).

const WORDS: usize = 128;
const BITS: u64 = 64;
/// Counters behind the highest that are still told apart: the ring without the word that is being filled.
pub const WINDOW: u64 = (WORDS as u64 - 1) * BITS;

/// The window of one opening key.
#[derive(Debug, Clone)]
pub struct Replay {
    highest: u64,
    seen: [u64; WORDS],
}

impl Default for Replay {
    fn default() -> Self {
        Self { highest: 0, seen: [0; WORDS] }
    }
}

impl Replay {
    /// True when this counter comes for the first time and is not behind the window. Ask only after the datagram proved authentic: a forged
    /// counter would move the window away from the true ones.
    #[inline]
    pub fn admit(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            self.advance(counter);
        } else if self.highest - counter >= WINDOW {
            return false;
        }
        let word = &mut self.seen[(counter / BITS) as usize % WORDS];
        let bit = 1 << (counter % BITS);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Moves the window up to `counter`, and clears the words that enter it.
    #[inline]
    fn advance(&mut self, counter: u64) {
        let (from, to) = (self.highest / BITS, counter / BITS);
        for entering in 1..=(to - from).min(WORDS as u64) {
            self.seen[(from + entering) as usize % WORDS] = 0;
        }
        self.highest = counter;
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
