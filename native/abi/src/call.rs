// SPDX-License-Identifier: MIT
//! What every entry point shares: results as negated errnos, the text of the last failure, buffers checked before they are slices.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use ipop_base::{Error, Result, lock};

static LAST_ERROR: Mutex<String> = Mutex::new(String::new());

/// Runs one entry point. A panic in native code must not unwind into the caller's C frames (where the build unwinds at all): it
/// becomes EIO.
pub fn run(body: impl FnOnce() -> Result<c_int>) -> c_int {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::new(libc::EIO, format!("internal error: {text}")))
    });
    result.unwrap_or_else(|error| {
        *lock(&LAST_ERROR) = error.text;
        -error.errno.max(1)
    })
}

/// The sentence of the last failed call.
pub fn last_error() -> String {
    lock(&LAST_ERROR).clone()
}

/// The caller's bytes for the length of this call. EINVAL: negative length, or no address for one that is not zero.
///
/// # Safety
/// `data` points to `len` readable bytes that nobody writes before the result is gone.
pub unsafe fn bytes<'a>(data: *const u8, len: c_int) -> Result<&'a [u8]> {
    match check(data, len)? {
        0 => Ok(&[]),
        // SAFETY: the caller vouches for the range, check() for a non-null start.
        len => Ok(unsafe { std::slice::from_raw_parts(data, len) }),
    }
}

/// The caller's buffer for the length of this call. EINVAL as in [`bytes`].
///
/// # Safety
/// `data` points to `cap` initialised, writable bytes that nobody else uses before the result is gone.
pub unsafe fn buffer<'a>(data: *mut u8, cap: c_int) -> Result<&'a mut [u8]> {
    match check(data, cap)? {
        0 => Ok(&mut []),
        // SAFETY: the caller vouches for the range, check() for a non-null start.
        cap => Ok(unsafe { std::slice::from_raw_parts_mut(data, cap) }),
    }
}

/// The caller's UTF-8. EINVAL when it is none.
///
/// # Safety
/// As for [`bytes`].
pub unsafe fn text<'a>(data: *const u8, len: c_int, what: &str) -> Result<&'a str> {
    // SAFETY: passed on to the caller.
    let bytes = unsafe { bytes(data, len) }?;
    std::str::from_utf8(bytes).map_err(|_| Error::new(libc::EINVAL, format!("{what} is not UTF-8")))
}

/// N bytes at an address that carries no length, as a MAC.
///
/// # Safety
/// `data` points to N readable bytes.
pub unsafe fn array<const N: usize>(data: *const u8) -> Result<[u8; N]> {
    if data.is_null() {
        return Err(Error::new(libc::EINVAL, "no buffer was given"));
    }
    let mut out = [0; N];
    // SAFETY: the caller vouches for N readable bytes; `out` is ours.
    unsafe { std::ptr::copy_nonoverlapping(data, out.as_mut_ptr(), N) };
    Ok(out)
}

/// Copies a whole result out and returns its length; ENOSPC when it does not fit.
pub fn put(out: &mut [u8], value: &[u8]) -> Result<c_int> {
    let Some(place) = out.get_mut(..value.len()) else {
        return Err(Error::new(
            libc::ENOSPC,
            format!("the buffer of {} bytes is too small for {}", out.len(), value.len()),
        ));
    };
    place.copy_from_slice(value);
    count(value.len())
}

/// A count as a result.
pub fn count(n: usize) -> Result<c_int> {
    c_int::try_from(n).map_err(|_| Error::new(libc::EOVERFLOW, format!("{n} does not fit into an int")))
}

fn check(data: *const u8, len: c_int) -> Result<usize> {
    match usize::try_from(len) {
        Err(_) => Err(Error::new(libc::EINVAL, format!("negative length {len}"))),
        Ok(len) if len > 0 && data.is_null() => Err(Error::new(libc::EINVAL, "no buffer was given")),
        Ok(len) => Ok(len),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_eio_with_its_text() {
        assert_eq!(run(|| panic!("queue {} is gone", 7)), -libc::EIO);
        assert_eq!(last_error(), "internal error: queue 7 is gone");
    }

    #[test]
    fn bad_lengths_are_refused_before_memory_is_touched() {
        // SAFETY: no address is read: the lengths are refused.
        unsafe {
            assert_eq!(bytes(std::ptr::null(), -1).unwrap_err().errno, libc::EINVAL);
            assert_eq!(bytes(std::ptr::null(), 1).unwrap_err().errno, libc::EINVAL);
            assert_eq!(bytes(std::ptr::null(), 0).unwrap(), b"");
        }
    }

    #[test]
    fn a_result_that_does_not_fit_is_refused_whole() {
        let mut out = [0; 2];
        assert_eq!(put(&mut out, b"abc").unwrap_err().errno, libc::ENOSPC);
        assert_eq!((put(&mut out, b"ab").unwrap(), &out), (2, b"ab"));
    }
}
