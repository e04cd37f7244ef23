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

#[cfg(test)]
mod tests {
    use ipop_base::VnetHeader;

    use super::*;

    fn all(frame: &Frame<'_>) -> Result<Vec<Vec<u8>>, Drop> {
        let mut frames = Vec::new();
        cut(frame, |bytes| {
            frames.push(bytes.to_vec());
            Ok(())
        })?;
        Ok(frames)
    }

    #[test]
    fn what_is_plain_stays_as_it_is_and_what_is_not_a_frame_is_refused() {
        let bytes: Vec<u8> = (0..100).collect();
        assert_eq!(all(&Frame::plain(&bytes)), Ok(vec![bytes.clone()]));
        let vnet = VnetHeader([1, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(all(&Frame { vnet, ..Frame::plain(&bytes) }), Err(Drop::Malformed));
    }

    #[test]
    fn it_ends_with_the_first_frame_that_is_refused() {
        let bytes: Vec<u8> = (0..100).collect();
        assert_eq!(cut(&Frame::plain(&bytes), |_| Err(Drop::TapWrite)), Err(Drop::TapWrite));
    }
}
