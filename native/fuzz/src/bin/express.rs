// SPDX-License-Identifier: MIT
//! The express carriage: messages of the key exchange read back as they were written, and no counter is admitted twice.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::collections::HashSet;

use ipop_express::{Message, Replay, WINDOW, is_exchange};
use ipop_fuzz::Choices;

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    match Message::parse(data) {
        Ok(message) => {
            assert!(is_exchange(data), "it is JSON too");
            let written = message.to_bytes();
            assert_eq!(Message::parse(&written), Ok(message));
            // Bits of ciphers that later versions may have are not kept.
            let differ: Vec<usize> = (0..data.len()).filter(|&at| data[at] != written[at]).collect();
            assert!(
                written.len() == data.len() && (differ.is_empty() || (differ == [5] && data[0] == 1)),
                "{differ:?}"
            );
        }
        Err(why) => assert!(!why.is_empty() && why.len() < 100),
    }
    replay(&mut Choices::new(data));
}

/// Beside a set of all counters there were.
fn replay(choices: &mut Choices<'_>) {
    let (mut window, mut seen, mut highest) = (Replay::default(), HashSet::new(), 0u64);
    while !choices.done() {
        let counter = match choices.byte() % 4 {
            0 => highest.saturating_add(u64::from(choices.word())),
            1 => highest.saturating_sub(u64::from(choices.word())),
            2 => highest.saturating_add(u64::from(choices.byte())),
            _ => u64::from_be_bytes(choices.filled()),
        };
        let is_new = seen.insert(counter);
        let expected = is_new && (counter > highest || highest - counter < WINDOW);
        assert_eq!(window.admit(counter), expected, "{counter}, highest {highest}");
        highest = highest.max(counter);
    }
}
