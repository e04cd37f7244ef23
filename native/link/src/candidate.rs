// SPDX-License-Identifier: MIT
//! ICE candidates as text (RFC 8839, section 5.1): checked before libdatachannel sees them, and read for people.

use std::net::{IpAddr, SocketAddr};

use ipop_base::{Error, Result};

/// Longer ones are not made by any agent.
const MAX_LEN: usize = 512;

/// Address and type of a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Transport address.
    pub address: SocketAddr,
    /// host, srflx, prflx or relay.
    pub kind: String,
}

/// Reads `candidate:...`, with or without `a=`. EINVAL when it breaks the form or its address is a name: a peer must not
/// make this host look up names of its choice.
pub fn parse(text: &str) -> Result<Candidate> {
    let bad = |why: &str| Error::new(libc::EINVAL, format!("candidate {why}"));
    if text.len() > MAX_LEN || text.chars().any(char::is_control) {
        return Err(bad("is too long or has control characters"));
    }
    let text = text.strip_prefix("a=").unwrap_or(text);
    let rest = text.strip_prefix("candidate:").ok_or_else(|| bad("does not begin with 'candidate:'"))?;
    // foundation component transport priority address port typ type
    let words: Vec<&str> = rest.split(' ').collect();
    let [_, component, transport, priority, address, port, typ, kind, ..] = words[..] else {
        return Err(bad("has fewer than eight fields"));
    };
    if component.parse::<u8>().is_err() || priority.parse::<u32>().is_err() || typ != "typ" {
        return Err(bad("has a malformed field"));
    }
    if !transport.eq_ignore_ascii_case("udp") {
        return Err(bad("is not for UDP"));
    }
    let address: IpAddr = address.parse().map_err(|_| bad("has an address that is not an IP address"))?;
    let port: u16 = port.parse().map_err(|_| bad("has a malformed port"))?;
    if !["host", "srflx", "prflx", "relay"].contains(&kind) {
        return Err(bad("has an unknown type"));
    }
    Ok(Candidate { address: SocketAddr::new(address, port), kind: kind.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_both_families_are_read() {
        let v4 = parse("candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host").unwrap();
        assert_eq!((v4.address.to_string().as_str(), v4.kind.as_str()), ("192.0.2.1:5000", "host"));
        let v6 = parse("a=candidate:2 1 udp 1 2001:db8::1 9 typ srflx raddr :: rport 0").unwrap();
        assert_eq!((v6.address.to_string().as_str(), v6.kind.as_str()), ("[2001:db8::1]:9", "srflx"));
    }

    #[test]
    fn everything_else_is_refused_and_named() {
        let long = format!("candidate:1 1 UDP 1 192.0.2.1 5000 typ host {}", "x".repeat(MAX_LEN));
        for text in [
            "",
            "candidate:",
            "candidate:1 1 UDP 1 printer.local 5000 typ host",
            "candidate:1 1 TCP 1 192.0.2.1 5000 typ host",
            "candidate:1 1 UDP 1 192.0.2.1 70000 typ host",
            "candidate:1 1 UDP 1 192.0.2.1 5000 typ other",
            "candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\na=setup:active",
            &long,
        ] {
            assert_eq!(parse(text).unwrap_err().errno, libc::EINVAL, "{text}");
        }
    }
}
