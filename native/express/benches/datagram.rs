// SPDX-License-Identifier: MIT
//! What a datagram of 1430 bytes costs: `cargo bench -p ipop-express`. In ns, median and best of 501 short rounds, so that the best are
//! undisturbed also on a busy machine.

use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::Instant;

use ipop_express::{Cipher, OpenKey, Replay, SealKey, TAG_LEN};

const BODY: usize = 1430;
const ROUNDS: usize = 501;
const TIMES: u64 = 1_000;

/// Writes what `run` takes, which gets counters that grow.
fn measure(name: &str, mut run: impl FnMut(u64)) {
    let mut rounds: Vec<f64> = (0..ROUNDS as u64)
        .map(|round| {
            let start = Instant::now();
            for counter in round * TIMES..(round + 1) * TIMES {
                run(counter);
            }
            start.elapsed().as_nanos() as f64 / TIMES as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    writeln!(stdout(), "{name:32} {:8.1} {:8.1}", rounds[ROUNDS / 2], rounds[0]).expect("stdout is there");
}

fn main() {
    writeln!(stdout(), "{:32} {:>8} {:>8}", "", "median", "best").expect("stdout is there");
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let (seal, open) = (SealKey::new(cipher, &[1; 32], &[2; 12]), OpenKey::new(cipher, &[1; 32], &[2; 12]));
        let mut bytes = vec![0u8; BODY + TAG_LEN];
        measure(&format!("{} seal", cipher.name()), |counter| {
            let (body, tag) = bytes.split_at_mut(BODY);
            tag.copy_from_slice(&seal.seal(&[0; 12], counter, body));
        });
        // Opening decrypts in place, so each datagram is copied first; the copy is measured by itself below.
        bytes[..BODY].fill(3);
        let tag = seal.seal(&[0; 12], 7, &mut bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&tag);
        let mut work = bytes.clone();
        measure(&format!("{} copy and open", cipher.name()), |_| {
            work.copy_from_slice(&bytes);
            assert!(open.open(&[0; 12], 7, black_box(&mut work)).is_some());
        });
        measure("copy alone", |_| {
            work.copy_from_slice(&bytes);
            black_box(&mut work);
        });
    }
    let mut replay = Replay::default();
    measure("replay, in order", |counter| assert!(replay.admit(black_box(counter))));
    let mut replay = Replay::default();
    measure("replay, 64 by 64 backwards", |counter| assert!(replay.admit(black_box(counter ^ 63))));
}
