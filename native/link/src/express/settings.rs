// SPDX-License-Identifier: MIT
//! What TypeScript says about a link's express carriage (ipop_link_express), and what the link itself knows.

use ipop_base::{Error, Result, TextMap};
use ipop_express::{Binding, Cipher, Ciphers, Party, Role};

use super::Settings;
use crate::link::Link;

/// For measurements of what a CPU without AES would use: the cipher, where the caller names none.
const CIPHER_ENV: &str = "IPOP_TEST_CIPHER";
/// For tests of new keys under real traffic: their age, where the caller names none.
const REKEY_ENV: &str = "IPOP_TEST_REKEY_MS";
/// Keys younger than this would be all exchange and no traffic.
const REKEY_MS: std::ops::RangeInclusive<u64> = 100..=86_400_000;

/// Reads `local`, `peer` (node ids), `generation`, and the optional `cipher` and `rekey_ms`. EINVAL names what is wrong.
pub fn settings(link: &Link, config: &TextMap) -> Result<Settings> {
    let (local_fingerprint, remote_fingerprint) =
        link.fingerprints().ok_or_else(|| Error::new(libc::ENOTCONN, format!("link {} is not up", link.handle())))?;
    let local = party(config, "local", &local_fingerprint)?;
    let peer = party(config, "peer", &remote_fingerprint)?;
    let generation = number(config, "generation")?.ok_or_else(|| invalid("'generation' is missing"))?;
    let (role, offerer, answerer) =
        if link.is_answering() { (Role::Answerer, peer, local) } else { (Role::Offerer, local, peer) };
    let mut settings = Settings::new(role, Binding { offerer, answerer, generation });
    let forced = std::env::var(CIPHER_ENV).ok();
    if let Some(name) = config.get("cipher").or(forced.as_deref()) {
        settings.ciphers = match name {
            "aes-256-gcm" if Ciphers::here().has(Cipher::Aes256Gcm) => Ciphers::here(),
            "chacha20-poly1305" => Ciphers::ALWAYS,
            _ => {
                return Err(invalid(&format!(
                    "'cipher' is '{name}', not aes-256-gcm (with a CPU for it) or chacha20-poly1305"
                )));
            }
        };
    }
    let forced = std::env::var(REKEY_ENV).ok().and_then(|text| text.parse().ok());
    if let Some(rekey) = number(config, "rekey_ms")?.or(forced) {
        if !REKEY_MS.contains(&rekey) {
            return Err(invalid(&format!("'rekey_ms' is {rekey}, not {} to {}", REKEY_MS.start(), REKEY_MS.end())));
        }
        settings.rekey_ms = rekey;
    }
    Ok(settings)
}

fn party(config: &TextMap, key: &str, fingerprint: &str) -> Result<Party> {
    let id = hex(config.need(key)?).ok_or_else(|| invalid(&format!("'{key}' is not a node id of 40 hex digits")))?;
    let fingerprint = hex(&fingerprint.replace(':', "")).ok_or_else(|| invalid("a fingerprint is not SHA-256"))?;
    Ok(Party { id, fingerprint })
}

fn number(config: &TextMap, key: &str) -> Result<Option<u64>> {
    let Some(text) = config.get(key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| invalid(&format!("'{key}' is '{text}', not a number")))
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

fn invalid(text: &str) -> Error {
    Error::new(libc::EINVAL, text)
}
