// SPDX-License-Identifier: MIT
//! What the targets in `src/bin` are made of: `target!` makes one of a function that takes bytes and panics when a promise is broken.

use std::fs;
use std::path::{Path, PathBuf};

pub use arbitrary::Unstructured;
#[cfg(feature = "libfuzzer")]
pub use libfuzzer_sys;

/// Makes the file a target: a libFuzzer program with feature `libfuzzer`, else one that replays the files it is given, and under
/// `cargo test` a test that replays the target's corpus.
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(all(feature = "libfuzzer", not(test)))]
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| $check(data));

        #[cfg(all(not(feature = "libfuzzer"), not(test)))]
        fn main() {
            for file in std::env::args().skip(1) {
                $check(&std::fs::read(&file).unwrap_or_else(|cause| panic!("cannot read '{file}': {cause}")));
            }
        }

        #[cfg(test)]
        #[test]
        fn every_input_of_the_corpus_keeps_the_promises() {
            $crate::replay(env!("CARGO_BIN_NAME"), $check);
        }
    };
}

/// Replays `tests/fuzz/corpus/native-<name>`; a panic is preceded by the file that led to it.
pub fn replay(name: &str, check: fn(&[u8])) {
    let folder = corpus(name);
    let listed = fs::read_dir(&folder).unwrap_or_else(|cause| panic!("cannot read '{}': {cause}", folder.display()));
    let mut files: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry of a folder").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "'{}' is empty", folder.display());
    check(&[]);
    for file in files {
        println!("{}", file.display());
        check(&fs::read(&file).expect("a file of the corpus"));
    }
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(format!("native-{name}"))
}

/// Choices made by an input; once it is used up they are zeros, so every input means something.
pub struct Choices<'a>(pub Unstructured<'a>);

impl<'a> Choices<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    pub fn done(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    pub fn word(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// From 0 to `max`.
    pub fn up_to(&mut self, max: usize) -> usize {
        self.0.int_in_range(0..=max).unwrap_or(0)
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.up_to(of.len() - 1)]
    }

    /// At most so many bytes; fewer when the input ends.
    pub fn bytes(&mut self, max: usize) -> &'a [u8] {
        let length = self.up_to(max).min(self.0.len());
        self.0.bytes(length).unwrap_or_default()
    }

    /// Exactly so many, the last ones zero when the input ends.
    pub fn filled<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let _ = self.0.fill_buffer(&mut bytes);
        bytes
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let length = self.0.len();
        self.0.bytes(length).unwrap_or_default()
    }
}
