// SPDX-License-Identifier: MIT

use std::collections::HashMap;

use ring::rand::SystemRandom;

use super::*;
use crate::seal::HEADER_LEN;

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");

/// PROTOCOL 5.7: what is common to all vectors, then a block for each cipher.
fn vectors() -> Vec<HashMap<&'static str, Vec<u8>>> {
    let section = DOCUMENT.split("### 5.7 Test vectors").nth(1).expect("PROTOCOL has a section 5.7");
    let block = section.split("```").nth(1).expect("it has a code block");
    let parse = |line: &'static str| {
        let (name, hex) = line.rsplit_once(' ').unwrap_or_else(|| panic!("'{line}' is a name and hex"));
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
        (name.trim(), bytes.collect())
    };
    block.trim().split("\n\n").map(|part| part.lines().map(parse).collect()).collect()
}

fn array<const N: usize>(vector: &HashMap<&str, Vec<u8>>, name: &str) -> [u8; N] {
    vector.get(name).unwrap_or_else(|| panic!("no '{name}'")).as_slice().try_into().expect("its length")
}

/// Binding, epoch and public keys of the vectors.
fn common(vector: &HashMap<&str, Vec<u8>>) -> (Binding, u32, [[u8; KEY_LEN]; 2]) {
    let party = |who: &str| Party {
        id: array(vector, &format!("{who}'s id")),
        fingerprint: array(vector, &format!("{who}'s fingerprint")),
    };
    let generation = u64::from_be_bytes(array(vector, "generation"));
    let binding = Binding { offerer: party("offerer"), answerer: party("answerer"), generation };
    let publics = ["offerer's public key", "answerer's public key"].map(|name| array(vector, name));
    (binding, u32::from_be_bytes(array(vector, "epoch")), publics)
}

#[test]
fn keys_and_datagrams_are_those_of_the_protocol_document() {
    let vectors = vectors();
    let [inputs, ciphers @ ..] = &vectors[..] else { panic!("no vectors") };
    assert_eq!(ciphers.len(), 2);
    let (binding, epoch, publics) = common(inputs);
    for vector in ciphers {
        let cipher = Cipher::from_number(vector["cipher"][0]).expect("a cipher");
        assert_eq!(transcript(&binding, epoch, cipher, &publics), array(vector, "salt"));
        let keys = derive(&inputs["shared secret"], &binding, epoch, cipher, &publics);
        for (who, material) in [("offerer", &keys.from_offerer), ("answerer", &keys.from_answerer)] {
            assert_eq!(*material.key, array(vector, &format!("{who}'s key")));
            assert_eq!(*material.iv, array(vector, &format!("{who}'s iv")));
        }
        for (who, role, peer) in
            [("offerer", Role::Offerer, Role::Answerer), ("answerer", Role::Answerer, Role::Offerer)]
        {
            let (body, datagram) = (&vector[&*format!("{who}'s body")], &vector[&*format!("{who}'s datagram")]);
            let (header, sealed) = datagram.split_first_chunk::<HEADER_LEN>().expect("a header");
            assert_eq!(header[1], epoch as u8);
            let counter = u64::from_be_bytes(header[4..].try_into().expect("8 bytes"));
            let mut bytes = body.clone();
            let tag = keys.sides(role).0.seal(header, counter, &mut bytes);
            bytes.extend(tag);
            assert_eq!(bytes, sealed);
            assert_eq!(keys.sides(peer).1.open(header, counter, &mut bytes).as_deref(), Some(&body[..]));
        }
    }
}

#[test]
fn the_keys_change_with_each_thing_they_are_bound_to_and_with_the_direction() {
    let (binding, epoch, publics) = common(&vectors()[0]);
    let secret = [7; 32];
    let mut made = Vec::new();
    let mut add = |secret: &[u8], binding: &Binding, epoch, cipher, publics: &[[u8; 32]; 2]| {
        let keys = derive(secret, binding, epoch, cipher, publics);
        for material in [keys.from_offerer, keys.from_answerer] {
            made.push((*material.key, *material.iv));
        }
    };
    let changed = |change: fn(&mut Binding)| {
        let mut binding = binding;
        change(&mut binding);
        binding
    };
    let bindings = [
        binding,
        changed(|b| b.offerer.id[19] ^= 1),
        changed(|b| b.answerer.id[0] ^= 1),
        changed(|b| b.offerer.fingerprint[31] ^= 1),
        changed(|b| b.answerer.fingerprint[0] ^= 1),
        changed(|b| std::mem::swap(&mut b.offerer, &mut b.answerer)),
        changed(|b| b.generation += 1),
    ];
    for binding in &bindings {
        add(&secret, binding, epoch, Cipher::Aes256Gcm, &publics);
    }
    add(&secret, &binding, epoch + 256, Cipher::Aes256Gcm, &publics);
    add(&secret, &binding, epoch, Cipher::ChaCha20Poly1305, &publics);
    add(&secret, &binding, epoch, Cipher::Aes256Gcm, &[publics[1], publics[0]]);
    add(&[8; 32], &binding, epoch, Cipher::Aes256Gcm, &publics);
    for (at, (key, iv)) in made.iter().enumerate() {
        assert!(made[..at].iter().all(|(other, other_iv)| other != key && other_iv != iv), "number {at} is not new");
    }
    assert_eq!(made.len(), 22);
}

#[test]
fn two_sides_agree_on_the_same_keys_only_when_both_see_the_same_link() {
    let random = SystemRandom::new();
    let (binding, epoch, _) = common(&vectors()[0]);
    let opens = |theirs: &Binding| {
        let [offerer, answerer] = [(); 2].map(|()| Ephemeral::generate(&random).expect("random"));
        let publics = [*offerer.public(), *answerer.public()];
        let ours = offerer.agree(Role::Offerer, &publics[1], &binding, epoch, Cipher::Aes256Gcm).expect("valid");
        let theirs = answerer.agree(Role::Answerer, &publics[0], theirs, epoch, Cipher::Aes256Gcm).expect("valid");
        let mut bytes = [0; 40];
        let tag = ours.sides(Role::Offerer).0.seal(&[0; 12], 1, &mut bytes[..24]);
        bytes[24..].copy_from_slice(&tag);
        theirs.sides(Role::Answerer).1.open(&[0; 12], 1, &mut bytes).is_some()
    };
    assert!(opens(&binding));
    assert!(!opens(&Binding { generation: binding.generation + 1, ..binding }));
}

#[test]
fn a_public_key_of_small_order_is_refused() {
    let (binding, epoch, _) = common(&vectors()[0]);
    for peer in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let own = Ephemeral::generate(&SystemRandom::new()).expect("random");
        assert!(own.agree(Role::Offerer, &peer, &binding, epoch, Cipher::Aes256Gcm).is_none());
    }
}
