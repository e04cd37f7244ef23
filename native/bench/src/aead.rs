// SPDX-License-Identifier: MIT
//! Sealing, opening, telling replays; and the check of an offer's signature, which happens once a link.

use std::hint::black_box;

use ipop_express::{Cipher, HEADER_LEN, OpenKey, Replay, SealKey, TAG_LEN};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::measure::Stage;

/// A full frame of the usual path.
const BODY: usize = 1444;
const SMALL: usize = 64;
const HEADER: [u8; HEADER_LEN] = [0; HEADER_LEN];
/// Bytes of a signed string: its fields have this length or a little less.
const SIGNED: usize = 480;

pub fn stages() -> Vec<Stage> {
    let mut stages = Vec::new();
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        stages.push(sealing(cipher, BODY));
        stages.push(opening(cipher, BODY));
    }
    stages.push(sealing(Cipher::Aes256Gcm, SMALL));
    stages.push(opening(Cipher::Aes256Gcm, SMALL));
    let (mut replay, mut counter) = (Replay::default(), 0);
    stages.push(Stage::new("replay, in order", 1, BODY, move || {
        assert!(replay.admit(black_box(counter)));
        counter += 1;
    }));
    let (mut replay, mut counter) = (Replay::default(), 0u64);
    stages.push(Stage::new("replay, 64 by 64 backwards", 1, BODY, move || {
        assert!(replay.admit(black_box(counter ^ 63)));
        counter += 1;
    }));
    stages.push(verifying());
    stages
}

fn sealing(cipher: Cipher, length: usize) -> Stage {
    let key = SealKey::new(cipher, &[1; 32], &[2; 12]);
    let mut bytes = vec![0u8; length + TAG_LEN];
    let mut counter = 0;
    Stage::new(&format!("seal, {}, {length} bytes", cipher.name()), 1, length, move || {
        let (body, tag) = bytes.split_at_mut(length);
        tag.copy_from_slice(&key.seal(&HEADER, counter, black_box(body)));
        counter += 1;
    })
}

/// Opening is in place, so each datagram is copied first: a few percent.
fn opening(cipher: Cipher, length: usize) -> Stage {
    let key = OpenKey::new(cipher, &[1; 32], &[2; 12]);
    let mut sealed = vec![3u8; length + TAG_LEN];
    let tag = SealKey::new(cipher, &[1; 32], &[2; 12]).seal(&HEADER, 7, &mut sealed[..length]);
    sealed[length..].copy_from_slice(&tag);
    let mut work = sealed.clone();
    Stage::new(&format!("open, {}, {length} bytes", cipher.name()), 1, length, move || {
        work.copy_from_slice(&sealed);
        assert!(key.open(&HEADER, 7, black_box(&mut work)).is_some());
    })
}

fn verifying() -> Stage {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("what was just made");
    let signed = vec![5u8; SIGNED];
    let signature = pair.sign(&signed);
    let key = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec());
    Stage::new("signature check, Ed25519", 1, SIGNED, move || {
        key.verify(black_box(&signed), signature.as_ref()).expect("it was signed so");
    })
}
