// SPDX-License-Identifier: MIT
//! Short rounds of stage and reference in turn, and the shortest of each: what nothing disturbed, also on a busy machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// A round is far shorter than a scheduler's time slice, and long beside reading the clock.
const ROUND: Duration = Duration::from_micros(30);
/// Rounds of a stage before the next stage's turn, each beside one of the reference.
const TURN: usize = 8;
/// Of a full frame of the usual path.
const REFERENCE_BYTES: usize = 1444;

/// A piece of work that can be done any number of times.
struct Work {
    run: Box<dyn FnMut(u32)>,
    /// How many make a round.
    calls: u32,
}

impl Work {
    fn new(mut call: impl FnMut() + 'static) -> Self {
        Self { run: Box::new(move |calls| (0..calls).for_each(|_| call())), calls: 1 }
    }

    /// Finds how many calls make a round; what is slow for its first calls is warm then.
    fn calibrate(&mut self) {
        while self.best_of_few() * f64::from(self.calls) < ROUND.as_nanos() as f64 {
            self.calls *= 2;
        }
    }

    /// One round may be disturbed, and would leave too few calls for all that follow.
    fn best_of_few(&mut self) -> f64 {
        (0..5).map(|_| self.round()).fold(f64::INFINITY, f64::min)
    }

    /// Does one round; returns ns of a call.
    fn round(&mut self) -> f64 {
        let started = Instant::now();
        (self.run)(self.calls);
        started.elapsed().as_nanos() as f64 / f64::from(self.calls)
    }
}

/// One stage of the frame path.
pub struct Stage {
    pub name: String,
    /// Of one call.
    frames: usize,
    bytes: usize,
    work: Work,
    best: f64,
    /// The reference's best beside it.
    reference: f64,
}

impl Stage {
    /// `call` handles so many frames with so many bytes in all.
    pub fn new(name: &str, frames: usize, bytes: usize, call: impl FnMut() + 'static) -> Self {
        let [best, reference] = [f64::INFINITY; 2];
        Self { name: name.into(), frames, bytes, work: Work::new(call), best, reference }
    }

    /// As the head of `main.rs` says.
    pub fn line(&self) -> String {
        let Self { name, frames, bytes, best, reference, .. } = self;
        format!("{name}\t{best:.2}\t{frames}\t{bytes}\t{:.5}", best / reference)
    }
}

/// Measures all stages again and again, in turns, for so long.
pub fn run(stages: &mut [Stage], seconds: f64) {
    let mut reference = reference();
    reference.calibrate();
    stages.iter_mut().for_each(|stage| stage.work.calibrate());
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        for stage in stages.iter_mut() {
            for _ in 0..TURN {
                stage.reference = stage.reference.min(reference.round());
                stage.best = stage.best.min(stage.work.round());
            }
        }
    }
}

/// A fixed piece of work of the same kind as the frame path: it copies a frame and does arithmetic on it that no compiler shortens.
fn reference() -> Work {
    let (from, mut to) = (vec![3; REFERENCE_BYTES], vec![0; REFERENCE_BYTES]);
    Work::new(move || {
        to.copy_from_slice(black_box(&from));
        let words = to.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")));
        // Each step waits for the one before.
        let sum = words.fold(1, |sum: u64, word| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        to[0] = black_box(sum) as u8;
    })
}
