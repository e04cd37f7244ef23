// SPDX-License-Identifier: MIT
//! The MSS clamp: it changes two bytes of the option and two of the checksum, which stays as right or wrong as it was; once is enough.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_fuzz::Choices;
use ipop_offload::mss;

ipop_fuzz::target!(check);

const ROOM: usize = 1168;

fn check(data: &[u8]) {
    judge(data);
    let mut choices = Choices::new(data);
    let syn = syn(&mut choices);
    judge(&syn);
    judge(&syn[..choices.up_to(syn.len())]);
}

fn judge(frame: &[u8]) {
    let mut clamped = frame.to_vec();
    let changed = mss::clamp(&mut clamped, false, ROOM);
    assert_eq!(changed, clamped != frame, "it says whether it changed something");
    let differ: Vec<usize> = (0..frame.len()).filter(|&at| frame[at] != clamped[at]).collect();
    assert!(!changed || mss::is_syn(frame));
    assert!(differ.len() <= 4, "{differ:?}");
    // Every header is at an even offset and the checksum covers what changed: the sum of all words stays (RFC 1624).
    assert_eq!(sum(frame), sum(&clamped));
    assert!(!mss::clamp(&mut clamped.clone(), false, ROOM), "a second time changes nothing");
}

fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    words.sum::<u64>() % 0xffff
}

/// A TCP SYN with options, tags and extension headers as the input says.
fn syn(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..choices.up_to(3) {
        frame.extend([0x81, 0x00, 0, 7]);
    }
    if choices.byte() & 1 == 0 {
        let words = choices.up_to(10);
        frame.extend([0x08, 0x00, 0x45 + words as u8, 0, 0, 60, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend([10; 8]);
        frame.resize(frame.len() + words * 4, 1);
    } else {
        let extensions = choices.up_to(4);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 60, if extensions > 0 { 60 } else { 6 }, 64]);
        frame.extend([0xfd; 32]);
        for left in (0..extensions).rev() {
            frame.extend([if left > 0 { 60 } else { 6 }, 0, 1, 4, 0, 0, 0, 0]);
        }
    }
    let options = choices.bytes(40);
    let length = 5 + options.len().div_ceil(4);
    frame.extend(choices.filled::<12>());
    frame.extend([(length as u8) << 4, choices.one_of(&[2, 0x12, 0x10]), 0xff, 0xff]);
    frame.extend(choices.filled::<4>());
    let end = frame.len() - 20 + length * 4;
    frame.extend(options);
    frame.resize(end, 0);
    frame.extend(choices.bytes(ROOM));
    frame
}
