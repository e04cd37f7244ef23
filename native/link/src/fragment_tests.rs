// SPDX-License-Identifier: MIT

use super::*;
use proptest::prelude::*;

fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// Every piece of a frame as it would travel.
fn pieces(number: u32, frame: &[u8]) -> Vec<(PieceHeader, Vec<u8>)> {
    let cut = cut(frame).unwrap();
    let count = cut.len() as u8;
    cut.enumerate().map(|(i, piece)| (PieceHeader { number, index: i as u8, count }, piece.to_vec())).collect()
}

#[test]
fn a_full_ethernet_frame_becomes_two_equal_pieces_and_the_longest_fits() {
    let lengths: Vec<_> = cut(&frame(1514, 0)).unwrap().map(<[u8]>::len).collect();
    assert_eq!(lengths, [757, 757]);
    assert!(cut(&frame(65535, 0)).unwrap().all(|piece| piece.len() <= MAX_PIECE));
    assert!(cut(&frame(MAX_PIECE * MAX_PIECES + 1, 0)).is_none());
}

#[test]
fn a_header_reads_back_and_bad_ones_are_refused() {
    let mut payload = [0u8; HEADER_LEN + 1];
    let header = PieceHeader { number: 0xdead_beef, index: 1, count: 2 };
    header.write(&mut payload);
    assert_eq!(PieceHeader::parse(&payload).unwrap().0, header);
    assert!(PieceHeader::parse(&payload[..HEADER_LEN]).is_none(), "no piece");
    for (index, count) in [(2, 2), (0, 1), (0, 65), (0, 0)] {
        (payload[6], payload[7]) = (index, count);
        assert!(PieceHeader::parse(&payload).is_none(), "{index} of {count}");
    }
}

#[test]
fn a_piece_without_company_is_given_up_after_one_second() {
    let drops = DropCounters::default();
    let mut reassembly = Reassembly::default();
    let parts = pieces(1, &frame(1514, 1));
    assert!(reassembly.insert(parts[0].0, &parts[0].1, 0, &drops).is_none());
    reassembly.expire(999, &drops);
    assert_eq!(drops.get(Drop::FragmentTimeout), 0);
    assert!(reassembly.insert(parts[1].0, &parts[1].1, 1000, &drops).is_none());
    assert_eq!(drops.get(Drop::FragmentTimeout), 1);
}

#[test]
fn the_oldest_gives_way_when_frames_or_bytes_run_out() {
    let drops = DropCounters::default();
    let mut reassembly = Reassembly::default();
    for number in 0..=MAX_FRAMES as u32 {
        let (header, piece) = &pieces(number, &frame(1514, 1))[0];
        reassembly.insert(*header, piece, u64::from(number), &drops);
    }
    assert_eq!(drops.get(Drop::FragmentFull), 1);
    for number in 100..104 {
        let (header, piece) = &pieces(number, &frame(65535, 1))[0];
        reassembly.insert(*header, piece, 100, &drops);
    }
    assert!(reassembly.bytes <= MAX_BYTES);
    assert_eq!(reassembly.bytes, reassembly.slots.iter().map(|s| usize::from(s.count) * MAX_PIECE).sum());
}

#[test]
fn a_piece_that_contradicts_its_company_is_counted_and_the_frame_still_comes() {
    let drops = DropCounters::default();
    let mut reassembly = Reassembly::default();
    let whole = frame(3000, 7);
    let parts = pieces(5, &whole);
    assert_eq!(parts.len(), 3);
    assert!(reassembly.insert(parts[0].0, &parts[0].1, 0, &drops).is_none());
    assert!(reassembly.insert(parts[1].0, &parts[1].1[1..], 0, &drops).is_none(), "other length");
    let other = PieceHeader { count: 4, ..parts[1].0 };
    assert!(reassembly.insert(other, &parts[1].1, 0, &drops).is_none(), "other count");
    let mut long = parts[2].1.clone();
    long.resize(parts[0].1.len() + 1, 0);
    assert!(reassembly.insert(parts[2].0, &long, 0, &drops).is_none(), "last longer than the others");
    assert_eq!(drops.get(Drop::FragmentMismatch), 3);
    reassembly.insert(parts[2].0, &parts[2].1, 0, &drops);
    assert_eq!(reassembly.insert(parts[1].0, &parts[1].1, 0, &drops).unwrap(), whole);
}

proptest! {
    #[test]
    fn whatever_the_network_does_each_frame_comes_once_and_identical_or_not_at_all(
        lengths in prop::collection::vec(1171usize..9000, 1..12),
        shuffle in prop::collection::vec((any::<u32>(), 0u8..10), 0..200),
    ) {
        let frames: Vec<_> = lengths.iter().enumerate().map(|(i, &len)| frame(len, i as u8)).collect();
        let mut wire: Vec<_> = frames.iter().enumerate().flat_map(|(i, f)| pieces(i as u32, f)).collect();
        for (random, action) in shuffle {
            if wire.is_empty() { break; }
            let (at, to) = (random as usize % wire.len(), (random >> 16) as usize % wire.len());
            match action {
                0 => { wire.remove(at); }
                1 | 2 => { let copy = wire[at].clone(); wire.insert(to, copy); }
                _ => wire.swap(at, to),
            }
        }
        let drops = DropCounters::default();
        let mut reassembly = Reassembly::default();
        let mut seen = vec![0; frames.len()];
        for (now, (header, piece)) in wire.iter().enumerate() {
            if let Some(joined) = reassembly.insert(*header, piece, now as u64, &drops) {
                seen[header.number as usize] += 1;
                prop_assert_eq!(&joined, &frames[header.number as usize]);
                reassembly.recycle(joined);
            }
        }
        prop_assert!(seen.iter().all(|&times| times <= 1), "{:?}", seen);
    }

    #[test]
    fn without_loss_every_frame_comes(lengths in prop::collection::vec(1171usize..65536, 1..4)) {
        let drops = DropCounters::default();
        let mut reassembly = Reassembly::default();
        for (number, &len) in lengths.iter().enumerate() {
            let whole = frame(len, number as u8);
            let mut parts = pieces(number as u32, &whole);
            parts.reverse();
            let joined: Vec<_> = parts.iter().filter_map(|(h, p)| reassembly.insert(*h, p, 0, &drops)).collect();
            prop_assert_eq!(joined, vec![whole]);
        }
    }
}
