// SPDX-License-Identifier: MIT
//! ICE candidates: what is taken is one line of text about an IP address that the line itself names.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_link_parts::candidate::parse;

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(candidate) = parse(text) else { return };
    assert!(text.len() <= 512 && !text.contains(['\r', '\n', '\0']));
    // The slow way to the same: words, counted.
    let line = text.strip_prefix("a=").unwrap_or(text);
    let words: Vec<&str> = line.split(' ').collect();
    assert!(words[0].starts_with("candidate:") && words[6] == "typ" && words[2].to_lowercase() == "udp");
    assert_eq!(words[4].parse(), Ok(candidate.address.ip()));
    assert_eq!(words[5].parse(), Ok(candidate.address.port()));
    assert_eq!(words[7], candidate.kind);
    let plain = format!("candidate:1 1 udp 1 {} {} typ {}", words[4], words[5], candidate.kind);
    assert_eq!(parse(&plain).as_ref(), Ok(&candidate));
    assert_eq!(parse(&format!("a={plain}")), Ok(candidate));
}
