// SPDX-License-Identifier: MIT
//! Frames for who takes no offload: cut as they would be on the wire, with complete checksums.

use ipop_base::{Drop, Frame};
use ipop_offload::{Cut, checksum};

/// Hands each frame that `frame` stands for to `each`, until that fails; a super-frame counts as dropped then. Allocates, and copies
/// twice: for ports that are not fast anyway.
pub fn cut(frame: &Frame<'_>, mut each: impl FnMut(&[u8]) -> Result<(), Drop>) -> Result<(), Drop> {
    // All room: what a super-frame says of itself decides.
    let mut cut = Cut::new(frame, usize::from(u16::MAX))?;
    let mut out = Vec::new();
    while let Some(length) = cut.next_len() {
        out.resize(length, 0);
        let mark = cut.write_next(&mut out);
        checksum::complete(&mut out, mark)?;
        each(&out)?;
    }
    Ok(())
}
