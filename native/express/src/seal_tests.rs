// SPDX-License-Identifier: MIT

use super::*;

const HEADER: [u8; HEADER_LEN] = [0xc0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const BOTH: [Cipher; 2] = [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

fn pair(cipher: Cipher) -> (SealKey, OpenKey) {
    (SealKey::new(cipher, &[3; 32], &[5; 12]), OpenKey::new(cipher, &[3; 32], &[5; 12]))
}

fn sealed(key: &SealKey, header: &[u8; HEADER_LEN], counter: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    let tag = key.seal(header, counter, &mut bytes);
    bytes.extend(tag);
    bytes
}

#[test]
fn what_was_sealed_opens_with_the_same_key_header_and_counter() {
    for cipher in BOTH {
        let (seal, open) = pair(cipher);
        for body in [&b""[..], b"x", &[0xab; 1444]] {
            let mut bytes = sealed(&seal, &HEADER, 7, body);
            assert_eq!(bytes.len(), body.len() + TAG_LEN);
            assert_eq!(open.open(&HEADER, 7, &mut bytes).as_deref(), Some(body), "{cipher:?}");
        }
    }
}

#[test]
fn any_changed_bit_of_header_counter_body_or_tag_is_refused() {
    for cipher in BOTH {
        let (seal, open) = pair(cipher);
        let bytes = sealed(&seal, &HEADER, 7, b"frame");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open.open(&HEADER, 7, &mut changed).is_none(), "{cipher:?} bit {bit}");
        }
        for bit in 0..HEADER_LEN * 8 {
            let mut header = HEADER;
            header[bit / 8] ^= 1 << (bit % 8);
            assert!(open.open(&header, 7, &mut bytes.clone()).is_none(), "{cipher:?} header bit {bit}");
        }
        for bit in 0..64 {
            assert!(open.open(&HEADER, 7 ^ (1 << bit), &mut bytes.clone()).is_none(), "{cipher:?} counter bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(open.open(&HEADER, 7, &mut bytes[..length].to_vec()).is_none(), "{cipher:?} cut to {length}");
        }
        let other = OpenKey::new(cipher, &[4; 32], &[5; 12]);
        assert!(other.open(&HEADER, 7, &mut bytes.clone()).is_none(), "{cipher:?} other key");
    }
}

#[test]
fn the_nonce_is_the_iv_xor_the_counter() {
    // The same nonce made another way: a counter of 0 with the XOR already in the iv.
    let counter = 0x0102_0304_0506_0708_u64;
    for cipher in BOTH {
        let mut iv = [5; 12];
        for (byte, count) in iv[4..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= count;
        }
        let direct = sealed(&SealKey::new(cipher, &[3; 32], &iv), &HEADER, 0, b"frame");
        assert_eq!(sealed(&pair(cipher).0, &HEADER, counter, b"frame"), direct);
    }
}

#[test]
fn aes_is_chosen_only_where_both_sides_have_it() {
    assert_eq!(Ciphers::ALL.choose(Ciphers::ALL), Cipher::Aes256Gcm);
    assert_eq!(Ciphers::ALL.choose(Ciphers::ALWAYS), Cipher::ChaCha20Poly1305);
    assert_eq!(Ciphers::ALWAYS.choose(Ciphers::ALL), Cipher::ChaCha20Poly1305);
    assert!(Ciphers::here().has(Cipher::preferred()) && Ciphers::here().has(Cipher::ChaCha20Poly1305));
    assert_eq!(Ciphers::from_bits(Cipher::Aes256Gcm as u8), None);
}

#[test]
fn keys_do_not_show_themselves() {
    let (seal, open) = pair(Cipher::Aes256Gcm);
    assert_eq!(format!("{seal:?} {open:?}"), "SealKey(AES-256-GCM) OpenKey(AES-256-GCM)");
}
