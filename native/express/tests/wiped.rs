// SPDX-License-Identifier: MIT
//! Keys are gone from memory once they are dropped: an allocator looks through every block that is given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ipop_express::{Binding, Cipher, OpenKey, Party, Role, SealKey, derive};

struct Looking;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// AES's first round keys and ChaCha20's state both hold the key as it is.
const KEY: [u8; 32] = *b"these 32 bytes are a key of ours";

// SAFETY: passes everything on to the system's allocator; `dealloc` only reads the block before it is freed.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the block is still allocated and was zeroed at first, so all of it is initialised.
        let bytes = unsafe { std::slice::from_raw_parts(place, layout.size()) };
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        if bytes.windows(16).any(|window| window == &KEY[..16]) {
            FOUND.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

fn found_after(drop_it: impl FnOnce()) -> (usize, usize) {
    let before = (BLOCKS.load(Ordering::Relaxed), FOUND.load(Ordering::Relaxed));
    drop_it();
    (BLOCKS.load(Ordering::Relaxed) - before.0, FOUND.load(Ordering::Relaxed) - before.1)
}

/// One test, since all tests of a process share the allocator.
#[test]
fn a_dropped_key_is_found_in_no_block_that_is_given_back() {
    let plain = Box::new(KEY);
    assert_eq!(found_after(|| drop(plain)).1, 1, "a key that nobody overwrites is found");

    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let (seal, open) = (SealKey::new(cipher, &KEY, &[0; 12]), OpenKey::new(cipher, &KEY, &[0; 12]));
        let (blocks, found) = found_after(|| drop((seal, open)));
        assert!(blocks >= 2 && found == 0, "{cipher:?}: {found} in {blocks}");
    }

    let party = Party { id: [1; 20], fingerprint: [2; 32] };
    let binding = Binding { offerer: party, answerer: party, generation: 1 };
    let mut keys = Box::new(derive(&[3; 32], &binding, 1, Cipher::Aes256Gcm, &[[4; 32], [5; 32]]));
    keys.from_offerer.key.copy_from_slice(&KEY);
    assert_eq!(found_after(|| drop(keys)).1, 0);
    let mut keys = Box::new(derive(&[3; 32], &binding, 1, Cipher::Aes256Gcm, &[[4; 32], [5; 32]]));
    keys.from_answerer.key.copy_from_slice(&KEY);
    let made = found_after(|| {
        drop(keys.sides(Role::Answerer));
        drop(keys);
    });
    assert_eq!(made.1, 0, "also what the keys were made from");
}
