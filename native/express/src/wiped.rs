// SPDX-License-Identifier: MIT
//! Secrets of types that do not erase themselves.

use std::mem::{MaybeUninit, needs_drop};
use std::ops::Deref;

use zeroize::zeroize_flat_type;

/// A secret that is overwritten when dropped. It stays in one place on the heap, so that moving its owner leaves no copies behind.
///
/// For types of ring, which keep their bytes inline and have no drop glue. What ring itself leaves on the stack while it makes or uses a key
/// is out of reach.
pub struct Wiped<T>(Box<MaybeUninit<T>>);

impl<T> Wiped<T> {
    /// Takes the secret. A type with drop glue does not compile: it may own memory that overwriting would leak, unerased.
    pub fn new(secret: T) -> Self {
        const { assert!(!needs_drop::<T>()) };
        Self(Box::new(MaybeUninit::new(secret)))
    }

    /// Moves the secret out for its last use, and overwrites the place where it was.
    pub fn take(self) -> T {
        // SAFETY: `new` initialised it, and nothing but `drop` overwrites it. `drop` then runs on bytes that nobody reads as a T any more.
        unsafe { self.0.assume_init_read() }
    }
}

impl<T> Deref for Wiped<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `new` initialised it, and nothing but `drop` overwrites it.
        unsafe { self.0.assume_init_ref() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is to a whole T that we own. It has no drop glue (see `new`), and is MaybeUninit from here on, so that zeros
        // need not be a valid T.
        unsafe { zeroize_flat_type(self.0.as_mut_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_read_and_taken_out() {
        let wiped = Wiped::new([7u8; 32]);
        assert_eq!(*wiped, [7; 32]);
        assert_eq!(wiped.take(), [7; 32]);
    }
}
