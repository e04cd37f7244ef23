// SPDX-License-Identifier: MIT
//! The node's long-lived Ed25519 key (RFC 8032), kept as PKCS#8 (RFC 8410) in DER, which `openssl pkey -inform DER` reads.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use ipop_base::{Error, Result};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::files;

/// A key file has 48 to 85 bytes.
const MAX_KEY_BYTES: usize = 1024;

/// An opened key.
#[derive(Debug)]
pub struct Identity {
    key: Ed25519KeyPair,
}

impl Identity {
    /// Loads the key of this file, or makes it once: 0600, written whole or not at all; of several processes that start at once one makes it and all
    /// get it. EPERM: others can read it; EBADMSG: not such a key (it is never overwritten); else an errno of the file system.
    pub fn open(path: &str) -> Result<Self> {
        if let Some(identity) = Self::load(path)? {
            return Ok(identity);
        }
        let fresh = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| Error::new(libc::EIO, "the kernel gives no random bytes for an identity"))?;
        files::create_atomic(path, fresh.as_ref())
            .map_err(|cause| Error::io(&format!("cannot write identity '{path}'"), &cause))?;
        // Read back also when it was made here: what counts is what is in the file.
        Self::load(path)?
            .ok_or_else(|| Error::new(libc::ENOENT, format!("identity '{path}' vanished while it was made")))
    }

    /// The 32 bytes that others know it by.
    pub fn public_key(&self) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        bytes.copy_from_slice(self.key.public_key().as_ref());
        bytes
    }

    /// Signature of `data`.
    pub fn sign(&self, data: &[u8]) -> [u8; 64] {
        let mut bytes = [0u8; 64];
        bytes.copy_from_slice(self.key.sign(data).as_ref());
        bytes
    }

    /// None: there is no such file.
    fn load(path: &str) -> Result<Option<Self>> {
        let unreadable = |cause: &std::io::Error| Error::io(&format!("cannot read identity '{path}'"), cause);
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|cause| unreadable(&cause))?,
        };
        refuse_readable_by_others(path, &file)?;
        let bad = |why: String| {
            Error::new(libc::EBADMSG, format!("identity '{path}' {why}; move it away to have a new one made"))
        };
        let der = files::read_open(&file, MAX_KEY_BYTES).map_err(|cause| match cause.raw_os_error() {
            Some(libc::EFBIG) => bad(format!("is longer than a key ({MAX_KEY_BYTES} bytes)")),
            _ => unreadable(&cause),
        })?;
        // Also version 1 of PKCS#8, without the public key, as OpenSSL writes it.
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|cause| bad(format!("is not an Ed25519 key in PKCS#8 form ({cause})")))?;
        Ok(Some(Self { key }))
    }
}

fn refuse_readable_by_others(path: &str, file: &File) -> Result<()> {
    let about = file.metadata().map_err(|cause| Error::io(&format!("cannot read identity '{path}'"), &cause))?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & 0o077 != 0 {
        let text = format!("others can use identity '{path}' (mode {mode:04o}): run chmod 600 {path}");
        return Err(Error::new(libc::EPERM, text));
    }
    Ok(())
}

/// Whether `signature` (64 bytes) over `data` is by the owner of `public_key` (32 bytes).
pub fn verify(public_key: &[u8], data: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(data, signature).is_ok()
}
