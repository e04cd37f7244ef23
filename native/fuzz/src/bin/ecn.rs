// SPDX-License-Identifier: MIT
//! Congestion marks in frames: two bits change and the sum of an IPv4 header stays as right or wrong as it was; flows of any bytes are told.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::hash::{BuildHasherDefault, DefaultHasher};

use ipop_fuzz::Choices;
use ipop_queue::{Ecn, flow_of, is_tcp, receive};

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let outer = Ecn::of_tos(choices.byte());
    let mut frame = vec![2; 12];
    for _ in 0..choices.up_to(6) {
        frame.extend(choices.one_of(&[[0x81, 0, 0, 7], [0x88, 0xa8, 0, 7], [0x91, 0, 0, 7]]));
    }
    frame.extend(choices.one_of(&[&[8, 0, 0x45][..], &[8, 0, 0x4f], &[0x86, 0xdd, 0x60], &[8, 6]]));
    frame.extend(choices.rest());
    for frame in [data, &frame] {
        judge(frame, outer);
    }
}

fn judge(frame: &[u8], outer: Ecn) {
    let flow = |bytes: &[u8]| flow_of(bytes, &BuildHasherDefault::<DefaultHasher>::default());
    let inner = Ecn::of_frame(frame);
    let mut marked = frame.to_vec();
    let passes = receive(&mut marked, outer);
    match inner.decapsulate(outer) {
        None => assert!(!passes && marked == frame, "RFC 6040, 4.2: dropped"),
        Some(ecn) if passes => assert_eq!(Ecn::of_frame(&marked), ecn),
        // The header is not whole.
        Some(_) => assert_eq!(marked, frame),
    }
    let differ: Vec<usize> = (0..frame.len()).filter(|&at| frame[at] != marked[at]).collect();
    assert!(differ.len() <= 3, "{differ:?}");
    if frame.get(12) == Some(&8) {
        assert_eq!(sum(frame), sum(&marked), "RFC 1624");
    }
    assert_eq!((flow(frame), is_tcp(frame)), (flow(&marked), is_tcp(&marked)), "a mark moves a frame to another flow");
    let mut congested = frame.to_vec();
    let knows = Ecn::congested(&mut congested);
    assert_eq!(knows && Ecn::of_frame(&congested) == Ecn::Ce, knows);
    assert!(knows || congested == frame);
}

/// The header's words are at even offsets.
fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    words.sum::<u64>() % 0xffff
}
