// SPDX-License-Identifier: MIT
//! Pure modules of native/link, without libdatachannel. A new module that parses gets a line here.
#![allow(dead_code, missing_docs, reason = "only a part of the crate is here")]

use std::ffi::{c_int, c_void};
use std::slice;

#[path = "../../../link/src/candidate.rs"]
pub mod candidate;
#[path = "../../../link/src/carriage.rs"]
pub mod carriage;
#[path = "../../../link/src/dtls_guard.rs"]
pub mod dtls_guard;
#[path = "../../../link/src/fragment.rs"]
pub mod fragment;
#[path = "../../../link/src/report.rs"]
pub mod report;
#[path = "../../../link/src/rtp.rs"]
pub mod rtp;
#[path = "../../../link/src/sdp.rs"]
pub mod sdp;

/// In place of OpenSSL's: `bio` is a `Vec<Vec<u8>>` that takes what was let through.
///
/// # Safety
/// `bio` points to such a vector, `data` to `length` readable bytes, `written` to one count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn BIO_write_ex(
    bio: *mut c_void,
    data: *const c_void,
    length: usize,
    written: *mut usize,
) -> c_int {
    // SAFETY: see above; the only caller is dtls_guard, on behalf of `let_through`.
    unsafe {
        (*bio.cast::<Vec<Vec<u8>>>()).push(slice::from_raw_parts(data.cast(), length).to_vec());
        *written = length;
    }
    1
}

/// Gives the DTLS guard a datagram; what it returns, and what came to OpenSSL.
pub fn let_through(datagram: &[u8]) -> (c_int, Vec<Vec<u8>>) {
    let mut bio: Vec<Vec<u8>> = Vec::new();
    // SAFETY: `bio` is what the function above takes it for, and outlives the call.
    let result = unsafe {
        dtls_guard::__wrap_BIO_write((&raw mut bio).cast(), datagram.as_ptr().cast(), datagram.len() as c_int)
    };
    (result, bio)
}
