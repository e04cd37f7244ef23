// SPDX-License-Identifier: MIT
//! How many upcalls a port may cause: a token bucket, so that a scan or a storm on one port cannot keep TypeScript from the others.

/// Tokens a second, and so upcalls a second in the long run.
const RATE: u64 = 200;
/// A whole LAN that wakes at once (400 hosts) is learned without loss.
const BURST: u64 = 400;
/// A token in the units the bucket counts in: 1/1000, so that a millisecond brings a whole number of them.
const TOKEN: u64 = 1000;

/// The bucket of one port; full at first.
#[derive(Debug)]
pub struct Budget {
    level: u64,
    filled_at_ms: u64,
}

impl Budget {
    /// A full bucket.
    pub fn new(now_ms: u64) -> Self {
        Self { level: BURST * TOKEN, filled_at_ms: now_ms }
    }

    /// Takes one token; false when there is none.
    pub fn take(&mut self, now_ms: u64) -> bool {
        let elapsed = now_ms.saturating_sub(self.filled_at_ms);
        self.filled_at_ms = self.filled_at_ms.max(now_ms);
        self.level = self.level.saturating_add(elapsed.saturating_mul(RATE)).min(BURST * TOKEN);
        let enough = self.level >= TOKEN;
        if enough {
            self.level -= TOKEN;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(budget: &mut Budget, now_ms: u64) -> usize {
        (0..10_000).take_while(|_| budget.take(now_ms)).count()
    }

    #[test]
    fn a_burst_of_400_then_200_a_second_and_never_more_than_the_burst() {
        let mut budget = Budget::new(1000);
        assert_eq!(take_all(&mut budget, 1000), 400);
        assert_eq!(take_all(&mut budget, 1004), 0);
        assert_eq!(take_all(&mut budget, 1005), 1);
        assert_eq!(take_all(&mut budget, 2005), 200);
        assert_eq!(take_all(&mut budget, 3_600_000), 400);
    }
}
