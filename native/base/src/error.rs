// SPDX-License-Identifier: MIT
//! One error type for everything that can fail: an errno for the caller, a sentence for the person.

use std::fmt;

/// Result of native functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An errno (positive) and the sentence that explains it ("cannot open ...: ...").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Positive errno, as in `libc::ENOENT`.
    pub errno: i32,
    /// What failed, on which thing, and why; no final full stop.
    pub text: String,
}

impl Error {
    /// An error with its own sentence.
    pub fn new(errno: i32, text: impl Into<String>) -> Self {
        Self { errno, text: text.into() }
    }

    /// The last OS error, after `what` ("cannot open /dev/net/tun").
    pub fn last_os(what: &str) -> Self {
        Self::io(what, &std::io::Error::last_os_error())
    }

    /// An I/O error, after `what`, in the system's words without std's "(os error N)". Errors without an errno become EIO.
    pub fn io(what: &str, cause: &std::io::Error) -> Self {
        let text = cause.to_string();
        let words = text.split(" (os error").next().unwrap_or(&text);
        Self::new(cause.raw_os_error().unwrap_or(libc::EIO), format!("{what}: {words}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
