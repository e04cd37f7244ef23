// SPDX-License-Identifier: MIT
//! Judges what arrives: each frame identical, and none twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ipop_base::{Drop, Frame, PortTransmit};
use ipop_offload::Protocol;

use super::super::plain;
use super::make::{Kind, Made, UDP_INDEX, sum};

/// Numbers that may be on the way at once: what comes later than that is a replay.
const WINDOW: u64 = 1 << 17;

/// The far side's LAN port.
pub struct Judge {
    /// Whose frames come here.
    side: u8,
    seen: Mutex<Seen>,
    /// Frames, as on a wire, and bytes of payload.
    pub frames: AtomicU64,
    pub payload: AtomicU64,
}

/// Which parts of which frames came: (offset, length) each.
struct Seen {
    slots: Vec<(u64, Vec<(u32, u32)>)>,
    fault: Option<String>,
}

impl Judge {
    pub fn new(side: u8) -> Self {
        let slots = (0..WINDOW).map(|_| (u64::MAX, Vec::new())).collect();
        let seen = Mutex::new(Seen { slots, fault: None });
        Self { side, seen, frames: AtomicU64::new(0), payload: AtomicU64::new(0) }
    }

    /// The first thing that was wrong.
    pub fn fault(&self) -> Option<String> {
        self.seen.lock().unwrap().fault.clone()
    }

    fn judge(&self, seen: &mut Seen, frame: &[u8]) -> Result<(), String> {
        let head = || format!("{} bytes {:02x?}", frame.len(), &frame[..frame.len().min(80)]);
        let (number, l3) = number(frame).ok_or_else(|| format!("no frame of ours: {}", head()))?;
        let made = Made::of(number, self.side);
        let (offset, payload) = part(&made, frame, l3).map_err(|what| format!("{what}: {made:?} {}", head()))?;
        let slot = &mut seen.slots[(number % WINDOW) as usize];
        if slot.0 == u64::MAX || slot.0 < number {
            slot.0 = number;
            slot.1.clear();
        } else if slot.0 > number {
            return Err(format!("long after others: {made:?}"));
        }
        let (from, to) = (offset as u32, (offset + payload.max(1)) as u32);
        if slot.1.iter().any(|&(start, end)| start < to && from < end) {
            return Err(format!("twice: {made:?} from {offset}, {payload} bytes"));
        }
        slot.1.push((from, to));
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.payload.fetch_add(payload as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl PortTransmit for Judge {
    fn transmit(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        let mut seen = self.seen.lock().unwrap();
        for frame in plain(frame) {
            if let Err(fault) = self.judge(&mut seen, &frame) {
                seen.fault.get_or_insert(fault);
            }
        }
        Ok(())
    }
}

/// The number a frame carries, and where its IP header is.
fn number(frame: &[u8]) -> Option<(u64, usize)> {
    let tag = usize::from(frame.get(12..14)? == [0x81, 0]) * 4;
    let l3 = 14 + tag;
    let short = |at: usize| Some(u64::from(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?)));
    match frame.get(l3 - 2..l3)? {
        [0x88, 0xb5] => Some((u64::from_be_bytes(frame.get(l3 + 1..l3 + 9)?.try_into().ok()?), l3)),
        [8, 0] => Some((short(l3 + 12)?, l3)),
        [0x86, 0xdd] => Some((short(l3 + 20)?, l3)),
        _ => None,
    }
    .filter(|(number, _)| *number < super::make::MAX_NUMBER)
}

/// Which part of the payload this frame has; an error when anything in it is not as it was made.
fn part(made: &Made, frame: &[u8], l3: usize) -> Result<(usize, usize), &'static str> {
    // As it is when whole; a part differs in lengths, numbers and checksums.
    let mut original = Vec::new();
    let mut head = Vec::new();
    made.give(&mut original, &mut |frame| head.extend_from_slice(&frame.bytes[..made.headers()]));
    if frame.len() < head.len() {
        return Err("too short");
    }
    let (ours, rest) = frame.split_at(head.len());
    let Kind::Ip { protocol, v6, gso, .. } = made.kind else {
        let same = ours == head && rest == made.bytes(0, made.payload);
        return if same { Ok((0, made.payload)) } else { Err("another frame") };
    };
    let transport = l3 + if v6 { 40 } else { 20 };
    let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
    let offset = match protocol {
        Protocol::Tcp => number(transport + 4).wrapping_sub(made.sequence()) as usize,
        Protocol::Udp if rest.len() < UDP_INDEX => return Err("no index"),
        Protocol::Udp => number(head.len()) as usize * gso.map_or(made.payload, usize::from),
    };
    if offset > made.payload || offset + rest.len() > made.payload {
        return Err("a part that is none");
    }
    let same = match protocol {
        Protocol::Tcp => rest == made.bytes(offset, rest.len()),
        Protocol::Udp => {
            let due = gso.map_or(made.payload, usize::from).min(made.payload - offset);
            rest.len() == due && rest[UDP_INDEX..] == *made.bytes(offset, rest.len() - UDP_INDEX)
        }
    };
    if !same {
        return Err("another payload");
    }
    // Headers: what a cut changes is checked for itself, all else must be the same.
    let length = frame.len() - transport;
    let pseudo_at = transport - if v6 { 32 } else { 8 };
    let pseudo = u32::from(sum(&frame[pseudo_at..transport])) + length as u32 + u32::from(protocol.number());
    if u32::from(sum(&frame[transport..])) % 0xffff != (0xffff - pseudo % 0xffff) % 0xffff {
        return Err("a wrong checksum");
    }
    let mut changes: Vec<std::ops::Range<usize>> = Vec::new();
    let said = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    if v6 {
        changes.push(l3 + 4..l3 + 6);
        if said(l3 + 4) != length {
            return Err("a wrong IPv6 length");
        }
    } else {
        changes.extend([l3 + 2..l3 + 6, l3 + 10..l3 + 12]);
        if said(l3 + 2) != frame.len() - l3 || sum(&frame[l3..transport]) != 0xffff {
            return Err("a wrong IPv4 length or checksum");
        }
    }
    let field = transport + protocol.checksum_offset();
    changes.push(field..field + 2);
    if protocol == Protocol::Tcp {
        changes.push(transport + 4..transport + 8);
    } else {
        changes.push(transport + 4..transport + 6);
        if said(transport + 4) != length {
            return Err("a wrong UDP length");
        }
    }
    let mut ours = ours.to_vec();
    for change in changes {
        ours[change.clone()].copy_from_slice(&head[change]);
    }
    if ours == head { Ok((offset, rest.len())) } else { Err("other headers") }
}
