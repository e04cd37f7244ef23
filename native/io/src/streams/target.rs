// SPDX-License-Identifier: MIT
//! Where a stream goes, parsed once from its text map.

use std::str::FromStr;
use std::time::Duration;

use ipop_base::{Error, Result, TextMap};
use rustls::pki_types::ServerName;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Nobody waits longer; also keeps deadlines far from overflow.
const MAX_TIMEOUT_MS: u64 = 600_000;

/// The keys of ipop_stream_open.
#[derive(Debug)]
pub struct Target {
    /// Name or address to connect to.
    pub host: String,
    pub port: u16,
    /// The name the certificate must have.
    pub name: ServerName<'static>,
    /// PEM file of the only CAs to trust; None: the system's.
    pub ca: Option<String>,
    /// SHA-256 of the only certificate to accept.
    pub pin: Option<[u8; 32]>,
    pub starttls: bool,
    pub alpn: Option<String>,
    /// For connect and handshake together.
    pub timeout: Duration,
}

impl Target {
    /// EINVAL names the key that is missing or wrong.
    pub fn parse(config: &TextMap) -> Result<Self> {
        let name = config.need("name")?;
        let timeout = match optional(config, "timeout_ms") {
            None => DEFAULT_TIMEOUT,
            Some(text) => Duration::from_millis(number(text, "timeout_ms", MAX_TIMEOUT_MS)?),
        };
        let host = config.need("host")?;
        if host.is_empty() || host.contains('\0') {
            return Err(wrong("host", host, "a name or an address"));
        }
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: number(config.need("port")?, "port", u16::MAX.into())? as u16,
            name: ServerName::try_from(name.to_owned())
                .map_err(|_| wrong("name", name, "a domain name in ASCII or an address"))?,
            ca: optional(config, "ca").map(str::to_owned),
            pin: optional(config, "pin").map(pin).transpose()?,
            starttls: match optional(config, "tls") {
                None | Some("direct") => false,
                Some("starttls") => true,
                Some(other) => return Err(wrong("tls", other, "direct or starttls")),
            },
            alpn: optional(config, "alpn").map(str::to_owned),
            timeout,
        })
    }

    /// For sentences: `'example.org' port 5223`.
    pub fn place(&self) -> String {
        format!("'{}' port {}", self.host, self.port)
    }
}

fn optional<'a>(config: &'a TextMap, key: &str) -> Option<&'a str> {
    config.get(key).filter(|value| !value.is_empty())
}

fn pin(text: &str) -> Result<[u8; 32]> {
    let digits = text.as_bytes();
    let mut pin = [0; 32];
    let good = digits.len() == 64
        && digits.chunks(2).zip(&mut pin).all(|(pair, byte)| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|c| c.is_ascii_hexdigit()));
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).map(|value| *byte = value).is_some()
        });
    if good { Ok(pin) } else { Err(wrong("pin", text, "a SHA-256 of 64 hex digits")) }
}

fn number(text: &str, key: &str, max: u64) -> Result<u64> {
    match u64::from_str(text) {
        Ok(value) if (1..=max).contains(&value) => Ok(value),
        _ => Err(wrong(key, text, &format!("a number of 1 to {max}"))),
    }
}

fn wrong(key: &str, value: &str, allowed: &str) -> Error {
    Error::new(libc::EINVAL, format!("{key} '{value}' is not {allowed}"))
}
