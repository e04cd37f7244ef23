// SPDX-License-Identifier: MIT
//! What a server says before TLS: however it is cut into pieces the verdict is one, given at the same byte, and no byte after it counts.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_io_parts::opening::{Wanted, scan};

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    if data.len() > 4096 {
        return;
    }
    for wanted in [Wanted::Features, Wanted::Proceed] {
        let whole = scan(data, wanted);
        if let Ok(Some(end)) = whole {
            assert!(end <= data.len() && data[end - 1] == b'>');
            assert_eq!(scan(&[data, b"<x>\xff".as_slice()].concat(), wanted), whole, "more bytes change the verdict");
        }
        // Every cut of short ones, some of long ones.
        for end in (0..data.len()).step_by(1 + data.len() / 64) {
            match scan(&data[..end], wanted) {
                Ok(None) => assert!(!matches!(whole, Ok(Some(at)) if at <= end), "the end at {end} is not seen"),
                verdict => assert_eq!(verdict, whole, "after {end} bytes, with all {}", data.len()),
            }
        }
    }
}
