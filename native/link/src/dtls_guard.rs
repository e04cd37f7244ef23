// SPDX-License-Identifier: MIT
//! Keeps from OpenSSL what would end a link's DTLS session though nobody signed it: a sealed record that is shorter than its
//! nonce and tag. RFC 6347 (4.1.2.7) wants invalid records dropped; OpenSSL 3.0 takes this one for an error of its own, so one
//! forged datagram of 14 bytes would close the link.
//!
//! libdatachannel hands each DTLS datagram to OpenSSL by `BIO_write` into a memory BIO. build.rs has the linker lead its calls here
//! (`--wrap`).

use std::ffi::{c_int, c_void};
use std::slice;

/// Content type, version, epoch, sequence number, length (RFC 6347, 4.1).
const HEADER: usize = 13;
/// Explicit nonce and tag of AES-GCM (RFC 5288, 3), which OpenSSL's peers agree on. An alert has 2 bytes more.
const MIN_SEALED: usize = 24;

unsafe extern "C" {
    /// OpenSSL: 1 and the bytes taken, or 0.
    fn BIO_write_ex(bio: *mut c_void, data: *const c_void, length: usize, written: *mut usize) -> c_int;
}

// For the linker alone: libipop.so exports nothing but ipop.h.
std::arch::global_asm!(".hidden __wrap_BIO_write");

/// `BIO_write` as libdatachannel sees it: a datagram that is kept from OpenSSL counts as written.
///
/// # Safety
/// As for `BIO_write`: `data` has `length` readable bytes, `bio` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_BIO_write(bio: *mut c_void, data: *const c_void, length: c_int) -> c_int {
    let Some(size) = usize::try_from(length).ok().filter(|size| *size > 0 && !data.is_null()) else { return 0 };
    // SAFETY: the caller vouches for `length` readable bytes, and nothing writes to them during the call.
    if is_forged(unsafe { slice::from_raw_parts(data.cast(), size) }) {
        return length;
    }
    let mut written = 0;
    // SAFETY: the caller's own arguments, and a local for the count.
    match unsafe { BIO_write_ex(bio, data, size, &raw mut written) } {
        1 => c_int::try_from(written).unwrap_or(length),
        _ => -1,
    }
}

/// Whether a datagram holds a sealed DTLS record (epoch above 0) that cannot be one. Anything else, PEM texts too, is not judged.
fn is_forged(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    while let Some((head, body)) = rest.split_at_checked(HEADER) {
        let is_dtls = (20..=25).contains(&head[0]) && head[1] == 0xfe;
        if !is_dtls {
            return false;
        }
        let length = usize::from(u16::from_be_bytes([head[11], head[12]]));
        if (head[3], head[4]) != (0, 0) && length < MIN_SEALED {
            return true;
        }
        rest = body.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, length: usize) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, (length >> 8) as u8, length as u8];
        record.resize(HEADER + length, 7);
        record
    }

    #[test]
    fn sealed_records_without_room_for_nonce_and_tag_are_forged_alone_or_behind_others() {
        for (kind, length) in [(20, 0), (21, 2), (22, 23), (23, 1), (25, 23)] {
            assert!(is_forged(&record(kind, 1, length)), "{kind} {length}");
            assert!(is_forged(&[record(22, 0, 100), record(kind, 2, length)].concat()), "{kind} {length}");
        }
    }

    #[test]
    fn what_peers_send_and_what_is_no_dtls_passes() {
        let alert = record(21, 1, MIN_SEALED + 2);
        assert!(!is_forged(&alert));
        assert!(!is_forged(&[record(22, 0, 3), record(20, 0, 1), record(22, 1, 40), alert].concat()));
        assert!(!is_forged(b"-----BEGIN CERTIFICATE-----\n"));
        assert!(!is_forged(&record(23, 1, 500)[..20]), "cut short: OpenSSL drops it itself");
        assert!(!is_forged(&[]));
    }
}
