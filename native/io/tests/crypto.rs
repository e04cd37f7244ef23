// SPDX-License-Identifier: MIT
//! Hashes, HMAC, PBKDF2 and random bytes against the vectors of their RFCs.

mod support;

use ipop_io::{HashAlgorithm, Pbkdf2, crypto};
use support::{PBKDF2, Records};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn derive(algorithm: HashAlgorithm, password: &[u8], salt: &[u8], rounds: u32) -> String {
    let (queue, mut records) = Records::new();
    let worker = Pbkdf2::new(queue);
    let handle = worker.start(algorithm, password, salt, rounds).unwrap();
    let record = records.next();
    assert_eq!((record.kind, record.handle), (PBKDF2, handle));
    assert!(worker.stop());
    hex(&record.payload)
}

#[test]
fn digests_are_those_of_rfc_3174_and_rfc_6234() {
    assert_eq!(hex(&crypto::hash(HashAlgorithm::Sha1, b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(
        hex(&crypto::hash(HashAlgorithm::Sha256, b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn hmacs_are_those_of_rfc_2202_and_rfc_4231() {
    let (key, data) = (b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hex(&crypto::hmac(HashAlgorithm::Sha1, key, data)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    assert_eq!(
        hex(&crypto::hmac(HashAlgorithm::Sha256, key, data)),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn derived_keys_are_those_of_rfc_6070_and_rfc_7914() {
    assert_eq!(derive(HashAlgorithm::Sha1, b"password", b"salt", 1), "0c60c80f961f0e71f3a9b524af6012062fe037a6");
    assert_eq!(derive(HashAlgorithm::Sha1, b"password", b"salt", 4096), "4b007901b765489abead49d926f721d065a429c1");
    // RFC 7914 section 11, the first of the two blocks.
    assert_eq!(
        derive(HashAlgorithm::Sha256, b"passwd", b"salt", 1),
        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
    );
}

#[test]
fn scram_sha_256_salts_the_password_as_in_rfc_7677() {
    // Section 3: user "user", password "pencil"; the proof follows from the salted password.
    let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
    assert_eq!(
        derive(HashAlgorithm::Sha256, b"pencil", &salt, 4096),
        "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d"
    );
}

#[test]
fn zero_and_too_many_rounds_are_refused_and_so_is_an_endless_password() {
    let (queue, _records) = Records::new();
    let worker = Pbkdf2::new(queue);
    let refused =
        |password: &[u8], rounds| worker.start(HashAlgorithm::Sha1, password, b"salt", rounds).unwrap_err().errno;
    assert_eq!(refused(b"x", 0), libc::EINVAL);
    assert_eq!(refused(b"x", 10_000_001), libc::EINVAL);
    assert_eq!(refused(&[0; 4097], 1), libc::EINVAL);
    assert_eq!(HashAlgorithm::from_number(3).unwrap_err().errno, libc::EINVAL);
}

#[test]
fn more_derivations_than_the_queue_holds_are_refused_and_stopping_does_not_wait_for_them() {
    let (queue, _records) = Records::new();
    let worker = Pbkdf2::new(queue);
    let start = || worker.start(HashAlgorithm::Sha256, b"x", b"salt", 300_000);
    let refused = (0..30).find_map(|_| start().err()).expect("none of 30 was refused");
    assert_eq!(refused.errno, libc::EAGAIN);
    assert!(refused.text.contains("8 key derivations wait"), "{}", refused.text);
    let before = std::time::Instant::now();
    worker.stop();
    assert!(before.elapsed().as_millis() < 1000, "{:?}", before.elapsed());
}

#[test]
fn random_bytes_differ_each_time() {
    let (mut one, mut two) = ([0u8; 32], [0u8; 32]);
    crypto::random(&mut one).unwrap();
    crypto::random(&mut two).unwrap();
    assert_ne!(one, two);
    assert_ne!(one, [0; 32]);
}
