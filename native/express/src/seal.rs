// SPDX-License-Identifier: MIT
//! Sealing and opening datagrams (PROTOCOL 5.1): AEAD with the header as associated data.

use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::keys::{IV_LEN, KEY_LEN};
use crate::wiped::Wiped;

/// Bytes before what is sealed: kind, epoch, mark, counter.
pub const HEADER_LEN: usize = 12;
/// Bytes after it.
pub const TAG_LEN: usize = 16;

/// An AEAD cipher. The numbers are those of the key exchange's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// NIST SP 800-38D.
    Aes256Gcm = 1,
    /// RFC 8439.
    ChaCha20Poly1305 = 2,
}

impl Cipher {
    /// The one that is faster here: AES where the CPU computes it, else ChaCha20.
    pub fn preferred() -> Self {
        if cpu_has_aes() { Self::Aes256Gcm } else { Self::ChaCha20Poly1305 }
    }

    /// Reads its number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Aes256Gcm, Self::ChaCha20Poly1305].into_iter().find(|&cipher| cipher as u8 == number)
    }

    /// In words, for status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "AES-256-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }
}

/// The ciphers that a node is willing to use, as one bit each: the cipher's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ciphers(u8);

impl Ciphers {
    /// ChaCha20-Poly1305, which every node has.
    pub const ALWAYS: Self = Self(Cipher::ChaCha20Poly1305 as u8);
    /// Both.
    pub const ALL: Self = Self(Self::ALWAYS.0 | Cipher::Aes256Gcm as u8);

    /// What this CPU does well: AES only where it is computed in hardware.
    pub fn here() -> Self {
        Self(Self::ALWAYS.0 | Cipher::preferred() as u8)
    }

    /// Reads the byte of an INIT. None without ChaCha20-Poly1305; bits that are not known are ignored.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & Self::ALWAYS.0 != 0).then_some(Self(bits & Self::ALL.0))
    }

    /// The byte of an INIT.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// True when it is among them.
    pub fn has(self, cipher: Cipher) -> bool {
        self.0 & cipher as u8 != 0
    }

    /// AES when both have it in hardware, else ChaCha20.
    pub fn choose(self, other: Self) -> Cipher {
        if self.has(Cipher::Aes256Gcm) && other.has(Cipher::Aes256Gcm) {
            Cipher::Aes256Gcm
        } else {
            Cipher::ChaCha20Poly1305
        }
    }
}

/// A key and iv of one epoch and direction.
struct Key {
    key: Wiped<LessSafeKey>,
    iv: Zeroizing<[u8; IV_LEN]>,
    cipher: Cipher,
}

impl Key {
    fn new(cipher: Cipher, key: &[u8; KEY_LEN], iv: &[u8; IV_LEN]) -> Self {
        let unbound = UnboundKey::new(cipher.algorithm(), key).expect("both ciphers have keys of 32 bytes");
        Self { key: Wiped::new(LessSafeKey::new(unbound)), iv: Zeroizing::new(*iv), cipher }
    }

    /// As RFC 8446, section 5.3: the counter, padded on the left, XOR the iv.
    #[inline]
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = *self.iv;
        for (byte, count) in nonce[4..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= count;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals what goes out. Its bytes are overwritten when it is dropped.
pub struct SealKey(Key);

impl SealKey {
    /// A key of one epoch and direction.
    pub fn new(cipher: Cipher, key: &[u8; KEY_LEN], iv: &[u8; IV_LEN]) -> Self {
        Self(Key::new(cipher, key, iv))
    }

    /// Encrypts `body` in place and returns the tag to append. A counter must never come twice with one key: both bodies would be readable.
    #[inline]
    pub fn seal(&self, header: &[u8; HEADER_LEN], counter: u64, body: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self.0.key.seal_in_place_separate_tag(self.0.nonce(counter), Aad::from(header), body);
        let tag = tag.expect("a datagram is far shorter than what a cipher takes");
        tag.as_ref().try_into().expect("both ciphers have tags of 16 bytes")
    }

    /// Which cipher.
    pub fn cipher(&self) -> Cipher {
        self.0.cipher
    }
}

/// Opens what comes in. Its bytes are overwritten when it is dropped.
pub struct OpenKey(Key);

impl OpenKey {
    /// A key of one epoch and direction.
    pub fn new(cipher: Cipher, key: &[u8; KEY_LEN], iv: &[u8; IV_LEN]) -> Self {
        Self(Key::new(cipher, key, iv))
    }

    /// Decrypts in place and returns the body without its tag. None when it is not authentic; then the bytes are of no use.
    #[inline]
    pub fn open<'a>(
        &self,
        header: &[u8; HEADER_LEN],
        counter: u64,
        body_and_tag: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.0.key.open_in_place(self.0.nonce(counter), Aad::from(header), body_and_tag).ok()
    }

    /// Which cipher.
    pub fn cipher(&self) -> Cipher {
        self.0.cipher
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKey({})", self.0.cipher.name())
    }
}

impl std::fmt::Debug for OpenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenKey({})", self.0.cipher.name())
    }
}

/// AES and the multiplication that GCM needs.
fn cpu_has_aes() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
