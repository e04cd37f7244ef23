// SPDX-License-Identifier: MIT
//! Keys of an epoch (PROTOCOL 5.3): X25519 (RFC 7748) fresh on both sides, then HKDF-SHA256 (RFC 5869) bound to who the two are.

use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{Context, SHA256};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::SecureRandom;
use zeroize::Zeroizing;

use crate::exchange::Role;
use crate::seal::{Cipher, OpenKey, SealKey};
use crate::wiped::Wiped;

/// Bytes of a public key, and of a key of either cipher.
pub const KEY_LEN: usize = 32;
/// Bytes of an iv.
pub(crate) const IV_LEN: usize = 12;
/// Separates these keys from any others made from the same secret.
const LABEL: &[u8] = b"ipop express 1";

/// One side of a link, as the signed offer and answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Node id.
    pub id: [u8; 20],
    /// SHA-256 of its DTLS certificate on this link.
    pub fingerprint: [u8; 32],
}

/// What the keys of a link are bound to. Two sides that do not agree on all of it get different keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Who made the offer.
    pub offerer: Party,
    /// Who answered it.
    pub answerer: Party,
    /// The offer's generation.
    pub generation: u64,
}

/// A private key for one agreement. Overwritten when dropped.
pub struct Ephemeral {
    key: Wiped<EphemeralPrivateKey>,
    public: [u8; KEY_LEN],
}

impl Ephemeral {
    /// A fresh one. None when the system has no randomness to give.
    pub fn generate(random: &dyn SecureRandom) -> Option<Self> {
        let key = Wiped::new(EphemeralPrivateKey::generate(&X25519, random).ok()?);
        let public = key.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { key, public })
    }

    /// What the peer must get.
    pub fn public(&self) -> &[u8; KEY_LEN] {
        &self.public
    }

    /// Agrees on the epoch's keys. None when the peer's public key is one of the few that give everybody the same secret.
    pub fn agree(
        self,
        role: Role,
        peer: &[u8; KEY_LEN],
        binding: &Binding,
        epoch: u32,
        cipher: Cipher,
    ) -> Option<EpochKeys> {
        let publics = match role {
            Role::Offerer => [self.public, *peer],
            Role::Answerer => [*peer, self.public],
        };
        agree_ephemeral(self.key.take(), &UnparsedPublicKey::new(&X25519, peer), |secret| {
            derive(secret, binding, epoch, cipher, &publics)
        })
        .ok()
    }
}

impl std::fmt::Debug for Ephemeral {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ephemeral")
    }
}

/// Key and iv of one direction. Overwritten when dropped.
pub struct Material {
    /// The cipher's key.
    pub key: Zeroizing<[u8; KEY_LEN]>,
    /// What the counter is XORed with.
    pub iv: Zeroizing<[u8; IV_LEN]>,
}

/// All of one epoch.
pub struct EpochKeys {
    /// Which cipher both are for.
    pub cipher: Cipher,
    /// Sealed by the offerer.
    pub from_offerer: Material,
    /// Sealed by the answerer.
    pub from_answerer: Material,
}

impl EpochKeys {
    /// The keys as the side in this role uses them. By reference, since a move would leave a copy behind.
    pub fn sides(&self, role: Role) -> (SealKey, OpenKey) {
        let (seal, open) = match role {
            Role::Offerer => (&self.from_offerer, &self.from_answerer),
            Role::Answerer => (&self.from_answerer, &self.from_offerer),
        };
        (SealKey::new(self.cipher, &seal.key, &seal.iv), OpenKey::new(self.cipher, &open.key, &open.iv))
    }
}

/// The key schedule, from the shared secret on. `publics` are the offerer's and the answerer's public key.
pub fn derive(secret: &[u8], binding: &Binding, epoch: u32, cipher: Cipher, publics: &[[u8; KEY_LEN]; 2]) -> EpochKeys {
    let prk = Wiped::new(Salt::new(HKDF_SHA256, &transcript(binding, epoch, cipher, publics)).extract(secret));
    EpochKeys { cipher, from_offerer: material(&prk, 0), from_answerer: material(&prk, 1) }
}

/// SHA-256 of all that the keys are bound to; each part has a fixed length.
fn transcript(binding: &Binding, epoch: u32, cipher: Cipher, publics: &[[u8; KEY_LEN]; 2]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(LABEL);
    hash.update(&binding.offerer.id);
    hash.update(&binding.answerer.id);
    hash.update(&binding.offerer.fingerprint);
    hash.update(&binding.answerer.fingerprint);
    hash.update(&binding.generation.to_be_bytes());
    hash.update(&epoch.to_be_bytes());
    hash.update(&[cipher as u8]);
    hash.update(&publics[0]);
    hash.update(&publics[1]);
    hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn material(prk: &Prk, direction: u8) -> Material {
    Material { key: expand(prk, b"key", direction), iv: expand(prk, b"iv", direction) }
}

fn expand<const N: usize>(prk: &Prk, what: &[u8], direction: u8) -> Zeroizing<[u8; N]> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut out = Zeroizing::new([0; N]);
    let filled = prk.expand(&[what, &[direction]], Length(N)).and_then(|okm| okm.fill(&mut *out));
    filled.expect("far less than 255 times 32 bytes");
    out
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
