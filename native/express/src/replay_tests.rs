// SPDX-License-Identifier: MIT

use std::collections::HashSet;

use super::*;
use proptest::prelude::*;

#[test]
fn each_counter_is_admitted_once_also_zero_and_the_last() {
    let mut replay = Replay::default();
    for counter in [0, 1, 5, 3, u64::MAX, u64::MAX - 1] {
        assert!(replay.admit(counter), "{counter}");
        assert!(!replay.admit(counter), "{counter} again");
    }
}

#[test]
fn the_window_is_at_least_4096_wide_and_nothing_behind_it_is_admitted() {
    const { assert!(WINDOW >= 4096) };
    for highest in [WINDOW, 100_000, 100_031, 100_032 + 63] {
        let mut replay = Replay::default();
        assert!(replay.admit(highest));
        assert!(replay.admit(highest + 1 - WINDOW), "the last place in the window");
        assert!(!replay.admit(highest - WINDOW), "behind it");
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_set_that_remembers_everything(steps in prop::collection::vec((0u8..10, any::<u64>()), 1..2000)) {
        let mut replay = Replay::default();
        let (mut seen, mut highest) = (HashSet::new(), 0u64);
        for (kind, random) in steps {
            let counter = match kind {
                0..=5 => (highest + random % 8).saturating_sub(3),
                6 | 7 => highest.saturating_sub(random % (2 * WINDOW)),
                8 => highest.saturating_add(random % (2 * WINDOW)),
                _ => highest.saturating_add(random % (WORDS as u64 * BITS * 3)),
            };
            let is_behind = highest.saturating_sub(counter) >= WINDOW;
            let expected = !is_behind && seen.insert(counter);
            prop_assert_eq!(replay.admit(counter), expected, "counter {} highest {}", counter, highest);
            highest = highest.max(counter);
        }
    }
}
