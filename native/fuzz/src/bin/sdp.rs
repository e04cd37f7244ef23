// SPDX-License-Identifier: MIT
//! Link descriptions: what is taken from a peer makes a session description of exactly our lines, and nothing of it is lost.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_base::TextMap;
use ipop_link_parts::sdp::Description;

ipop_fuzz::target!(check);

const LINES: usize = 21;

fn check(data: &[u8]) {
    if let Ok(Ok(description)) = TextMap::parse(data).map(|map| Description::from_map(&map)) {
        promises(&description);
    }
    if let Ok(Ok(description)) = std::str::from_utf8(data).map(Description::from_sdp) {
        promises(&description);
    }
}

fn promises(description: &Description) {
    let sdp = description.to_sdp();
    // A value that breaks out of its line could bring candidates, another fingerprint, another media section.
    assert_eq!(sdp.matches('\n').count(), LINES, "{sdp}");
    assert_eq!(sdp.matches('\r').count(), LINES, "{sdp}");
    assert!(sdp.bytes().all(|byte| matches!(byte, b'\r' | b'\n' | b' '..=b'~')), "{sdp:?}");
    // RFC 8839, 5.4: ice-char.
    const ICE: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert!([&description.ufrag, &description.pwd].iter().all(|text| text.chars().all(|one| ICE.contains(one))));
    for (name, times) in [("a=fingerprint:", 1), ("a=setup:", 1), ("a=ice-ufrag:", 1), ("a=ice-pwd:", 1), ("m=", 2)] {
        assert_eq!(sdp.lines().filter(|line| line.starts_with(name)).count(), times, "{name}");
    }
    assert_eq!(Description::from_sdp(&sdp).as_ref(), Ok(description));
    let map = TextMap::parse(&description.to_map()).expect("our own map");
    assert_eq!(Description::from_map(&map).as_ref(), Ok(description));
}
