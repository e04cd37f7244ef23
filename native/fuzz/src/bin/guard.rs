// SPDX-License-Identifier: MIT
//! Frames and the guard: DHCP and router advertisements do not pass, however they are tagged, wrapped and padded; the same packets to
//! other ports do; and on any bytes at all the parser agrees with a slow reading of the standards.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_base::Drop;
use ipop_datapath_parts::guard;
use ipop_datapath_parts::parse::{ETHERNET_HEADER, Headers};
use ipop_fuzz::Choices;

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    assert_eq!(judge(data), slow::judge(data));
    let mut choices = Choices::new(data);
    let (frame, expected) = wrapped(&mut choices);
    assert_eq!(judge(&frame), Some(expected), "{frame:02x?}");
    assert_eq!(judge(&frame), slow::judge(&frame));
}

/// None: no frame.
fn judge(frame: &[u8]) -> Option<Result<(), Drop>> {
    let headers = Headers::parse(frame)?;
    assert!(headers.payload <= frame.len() && frame.len() >= ETHERNET_HEADER);
    assert!(headers.vlan < 4096);
    Some(guard::check(&headers, frame))
}

/// A packet inside what hosts unwrap, and what must become of it.
fn wrapped(choices: &mut Choices<'_>) -> (Vec<u8>, Result<(), Drop>) {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, choices.byte()]);
    for _ in 0..choices.up_to(6) {
        if choices.byte() & 3 == 0 {
            frame.extend([choices.byte() % 6, choices.byte(), 0xaa, 0xaa, 3, 0, 0, choices.one_of(&[0, 0xf8])]);
            let at = frame.len() - 8;
            if frame[at] == 5 {
                frame[at + 1] = 0xdc;
            }
        } else {
            let [tpid, low] = choices.one_of(&[[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]]);
            frame.extend([tpid, low, choices.byte(), choices.byte()]);
        }
    }
    if frame.len() > 12 && [0x91, 0].contains(&frame[12]) {
        // The outermost is a tag of today, so that the frame is not shorter than its own tag.
        frame.truncate(12);
    }
    let expected = if choices.byte() & 1 == 0 { ipv4(choices, &mut frame) } else { ipv6(choices, &mut frame) };
    frame.extend(choices.bytes(40));
    (frame, expected)
}

fn ipv4(choices: &mut Choices<'_>, frame: &mut Vec<u8>) -> Result<(), Drop> {
    let words = choices.up_to(10);
    let port = choices.one_of(&[67, 68, 66, 69, 546, 53]);
    frame.extend([0x08, 0x00, 0x45 + words as u8, choices.byte()]);
    let length = (20 + words * 4 + 8) as u16;
    frame.extend(length.to_be_bytes());
    frame.extend([choices.byte(), choices.byte(), choices.byte() & 0xe0, 0, 64, 17]);
    frame.extend(choices.filled::<10>());
    frame.resize(frame.len() + words * 4, choices.byte());
    udp(choices, frame, port);
    if [67, 68].contains(&port) { Err(Drop::GuardDhcp) } else { Ok(()) }
}

fn ipv6(choices: &mut Choices<'_>, frame: &mut Vec<u8>) -> Result<(), Drop> {
    let mut chain: Vec<Vec<u8>> = Vec::new();
    let mut kinds: Vec<u8> = Vec::new();
    for _ in 0..choices.up_to(8) {
        let kind = choices.one_of(&[0, 43, 44, 51, 60, 135, 139, 140]);
        let units = if kind == 44 { 0 } else { choices.byte() & 3 };
        let length = if kind == 51 { 8 + usize::from(units) * 4 } else { 8 + usize::from(units) * 8 };
        let mut header = vec![0; length];
        header[1] = units;
        if kind == 44 {
            header[3] = choices.byte() & 7;
        }
        kinds.push(kind);
        chain.push(header);
    }
    let advertises = choices.byte() & 1 == 0;
    kinds.push(if advertises { 58 } else { 17 });
    for (header, next) in chain.iter_mut().zip(&kinds[1..]) {
        header[0] = *next;
    }
    let mut last = Vec::new();
    let expected = if advertises {
        let kind = choices.one_of(&[134, 133, 135]);
        last.extend([kind, 0, 0, 0, 64, 0, 0, 0]);
        if kind == 134 { Err(Drop::GuardRa) } else { Ok(()) }
    } else {
        let port = choices.one_of(&[546, 547, 545, 548, 67, 53]);
        udp(choices, &mut last, port);
        if [546, 547].contains(&port) { Err(Drop::GuardDhcp) } else { Ok(()) }
    };
    let payload = [chain.concat(), last].concat();
    frame.extend([0x86, 0xdd, 0x60 | choices.byte() & 15, 0, 0, 0]);
    // A length of 0 is a jumbogram's.
    frame.extend(if choices.byte() & 7 == 0 { [0, 0] } else { (payload.len() as u16).to_be_bytes() });
    frame.extend([kinds[0], 255]);
    frame.extend(choices.filled::<32>());
    frame.extend(payload);
    expected
}

fn udp(choices: &mut Choices<'_>, packet: &mut Vec<u8>, port: u16) {
    packet.extend(choices.word().to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 8, 0, 0]);
}

/// The same judgement by copying and recursion, one rule of the standards at a time.
mod slow {
    use super::Drop;

    pub fn judge(frame: &[u8]) -> Option<Result<(), Drop>> {
        let kind = frame.get(12..14)?;
        let is_tagged = kind == [0x81, 0] || kind == [0x88, 0xa8];
        if is_tagged && frame.len() < 18 {
            return None;
        }
        Some(strip(frame[12..].to_vec()))
    }

    fn strip(rest: Vec<u8>) -> Result<(), Drop> {
        match &rest[..] {
            [0x81, 0, _, _, inner @ ..] | [0x88, 0xa8, _, _, inner @ ..] | [0x91, 0, _, _, inner @ ..] => {
                strip(inner.to_vec())
            }
            // IEEE 802.3 length, LLC, SNAP.
            [0..=5, _, 0xaa, 0xaa, 3, 0, 0, 0 | 0xf8, inner @ ..] => strip(inner.to_vec()),
            [8, 0, packet @ ..] => ipv4(packet),
            [0x86, 0xdd, packet @ ..] => ipv6(packet),
            _ => Ok(()),
        }
    }

    fn ipv4(packet: &[u8]) -> Result<(), Drop> {
        if packet.len() < 10 || packet[0] / 16 != 4 || packet[0] % 16 < 5 || packet[9] != 17 {
            return Ok(());
        }
        let offset = (u32::from(packet[6]) * 256 + u32::from(packet[7])) % 8192;
        let datagram = packet.get(usize::from(packet[0] % 16) * 4..).unwrap_or_default();
        match datagram {
            [_, _, 0, 67 | 68, ..] if offset == 0 => Err(Drop::GuardDhcp),
            _ => Ok(()),
        }
    }

    fn ipv6(packet: &[u8]) -> Result<(), Drop> {
        let [version, _, _, _, high, low, next, ..] = packet else { return Ok(()) };
        let length = usize::from(*high) * 256 + usize::from(*low);
        if version / 16 != 6 {
            return Ok(());
        }
        let Some(rest) = packet.get(40..) else { return Ok(()) };
        let rest = if length == 0 { rest } else { &rest[..rest.len().min(length)] };
        header(*next, rest, false)
    }

    fn header(kind: u8, rest: &[u8], fragment: bool) -> Result<(), Drop> {
        let cut = if fragment { Err(Drop::GuardUnparsed) } else { Ok(()) };
        match (kind, rest) {
            (17, [_, _, high, low, _, _, _, _, ..]) => match u32::from(*high) * 256 + u32::from(*low) {
                546 | 547 => Err(Drop::GuardDhcp),
                _ => Ok(()),
            },
            (58, [134, _, _, _, ..]) => Err(Drop::GuardRa),
            (58, [_, _, _, _, ..]) => Ok(()),
            (44, [_, _, high, low, ..]) if *high > 0 || *low > 7 => Ok(()),
            (44, [next, _, _, _, _, _, _, _, after @ ..]) => header(*next, after, true),
            (44, [_, _, _, _, ..]) => Err(Drop::GuardUnparsed),
            (0 | 43 | 60 | 135 | 139 | 140, [next, units, ..]) => {
                rest.get(8 + usize::from(*units) * 8..).map_or(cut, |after| header(*next, after, fragment))
            }
            (51, [next, units, ..]) => {
                rest.get(8 + usize::from(*units) * 4..).map_or(cut, |after| header(*next, after, fragment))
            }
            (0 | 17 | 43 | 44 | 51 | 58 | 60 | 135 | 139 | 140, _) => cut,
            _ => Ok(()),
        }
    }
}
