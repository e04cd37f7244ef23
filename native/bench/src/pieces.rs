// SPDX-License-Identifier: MIT
//! Frames in pieces: the SRTP carriage for every full frame, express for what is longer than a datagram and cannot be cut.

use std::hint::black_box;

use ipop_base::DropCounters;

use crate::fragment::{HEADER_LEN, MAX_PIECE, PieceHeader, Reassembly, cut};
use crate::measure::Stage;

const FRAME: usize = 1514;

pub fn stages() -> Vec<Stage> {
    vec![fragmenting(), joining("reassembly, two pieces", false), joining("reassembly, the last piece first", true)]
}

fn fragmenting() -> Stage {
    let frame = vec![7u8; FRAME];
    let mut payload = [2u8; HEADER_LEN + MAX_PIECE];
    let mut number = 0u32;
    Stage::new("fragmentation, two pieces", 1, FRAME, move || {
        let pieces = cut(black_box(&frame)).expect("a frame of usual length");
        let count = pieces.len() as u8;
        for (index, piece) in pieces.enumerate() {
            PieceHeader { number, index: index as u8, count }.write(&mut payload);
            payload[HEADER_LEN..HEADER_LEN + piece.len()].copy_from_slice(piece);
            black_box(&mut payload);
        }
        number = number.wrapping_add(1);
    })
}

fn joining(name: &str, backwards: bool) -> Stage {
    let frame = vec![7u8; FRAME];
    let mut pieces: Vec<(u8, Vec<u8>)> =
        cut(&frame).expect("a frame of usual length").enumerate().map(|(n, piece)| (n as u8, piece.to_vec())).collect();
    if backwards {
        pieces.reverse();
    }
    let (mut reassembly, drops) = (Reassembly::default(), DropCounters::default());
    let (mut number, count) = (0u32, pieces.len() as u8);
    Stage::new(name, 1, FRAME, move || {
        let mut whole = None;
        for (index, piece) in &pieces {
            whole = reassembly.insert(PieceHeader { number, index: *index, count }, black_box(piece), 0, &drops);
        }
        let whole = whole.expect("all pieces came");
        assert_eq!(whole.len(), FRAME);
        reassembly.recycle(whole);
        number = number.wrapping_add(1);
    })
}
