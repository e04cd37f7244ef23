// SPDX-License-Identifier: MIT
//! Frames to packets and back (PROTOCOL 4.2): no clock, no randomness, no libdatachannel in here.

use ipop_base::{Drop, DropCounters, Frame, VnetHeader};

use crate::fragment::{self, PieceHeader, Reassembly};
use crate::report::{Exhausted, Progress, REPORT_LEN, Report, Reporter, Sources};
use crate::{mss, rtp};

const KIND_WHOLE: u8 = 1;
const KIND_FRAGMENT: u8 = 2;
const KIND_REPORT: u8 = 3;
/// Bytes before a whole frame within the payload.
const WHOLE_HEADER: usize = 2;
const MIN_FRAME: usize = 14;
/// virtio_net_hdr flag: the checksum at csum_start + csum_offset still has to be completed.
const NEEDS_CSUM: u8 = 1;

/// Sends one packet, or says why not.
pub type Output<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Drop>;

/// The sending side of one link.
#[derive(Debug)]
pub struct Sender {
    progress: Progress,
    random: fn() -> u32,
    frame_number: u32,
    exhausted: bool,
    packet: [u8; rtp::HEADER_LEN + rtp::MAX_PAYLOAD],
}

impl Sender {
    /// `may_change_ssrc` is false only in tests that show why SSRCs must change.
    pub fn new(random: fn() -> u32, may_change_ssrc: bool) -> Self {
        let progress = Progress::new(random, may_change_ssrc);
        let packet = [0; rtp::HEADER_LEN + rtp::MAX_PAYLOAD];
        Self { progress, random, frame_number: 0, exhausted: false, packet }
    }

    /// Sends a frame as one packet or in pieces, its MSS option lowered. Returns how many packets went out.
    /// Malformed: no Ethernet header; Oversize: a super-frame, or more than 64 pieces; LinkClosed: out of SSRCs.
    pub fn frame(&mut self, frame: &Frame<'_>, now_ms: u64, output: Output<'_>) -> Result<u64, Drop> {
        if frame.bytes.len() < MIN_FRAME {
            return Err(Drop::Malformed);
        }
        if frame.segments > 1 {
            return Err(Drop::Oversize);
        }
        let checksum = pending_checksum(frame)?;
        if frame.bytes.len() <= mss::MAX_WHOLE {
            let end = rtp::HEADER_LEN + WHOLE_HEADER + frame.bytes.len();
            self.packet[rtp::HEADER_LEN + WHOLE_HEADER..end].copy_from_slice(frame.bytes);
            finish_head(&mut self.packet[rtp::HEADER_LEN + WHOLE_HEADER..end], checksum);
            return self.send(KIND_WHOLE, end, now_ms, output).map(|()| 1);
        }
        self.pieces(frame.bytes, checksum, now_ms, output)
    }

    /// Sends a report.
    pub fn report(&mut self, report: &Report, now_ms: u64, output: Output<'_>) -> Result<(), Drop> {
        report.write(&mut self.packet[rtp::HEADER_LEN..]);
        self.send(KIND_REPORT, rtp::HEADER_LEN + REPORT_LEN, now_ms, output)
    }

    /// Takes the peer's report on what was sent.
    pub fn reported(&mut self, report: &Report) {
        self.progress.report(report);
    }

    /// How often the SSRC changed.
    pub fn ssrc_changes(&self) -> usize {
        self.progress.changes()
    }

    /// True when no SSRC is left: the link must be made anew.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn pieces(
        &mut self,
        frame: &[u8],
        checksum: Option<Checksum>,
        now_ms: u64,
        output: Output<'_>,
    ) -> Result<u64, Drop> {
        let pieces = fragment::cut(frame).ok_or(Drop::Oversize)?;
        let (number, count) = (self.frame_number, pieces.len() as u8);
        self.frame_number = number.wrapping_add(1);
        const START: usize = rtp::HEADER_LEN + fragment::HEADER_LEN;
        for (index, piece) in pieces.enumerate() {
            let header = PieceHeader { number, index: index as u8, count };
            header.write(&mut self.packet[rtp::HEADER_LEN..]);
            let end = START + piece.len();
            self.packet[START..end].copy_from_slice(piece);
            if index == 0 {
                // All headers lie in the first piece: it has at least 586 bytes.
                finish_head(&mut self.packet[START..end], checksum);
            }
            self.send(KIND_FRAGMENT, end, now_ms, output)?;
        }
        Ok(u64::from(count))
    }

    fn send(&mut self, kind: u8, end: usize, now_ms: u64, output: Output<'_>) -> Result<(), Drop> {
        let (ssrc, sequence) = self.progress.next(self.random).map_err(|Exhausted| {
            self.exhausted = true;
            Drop::LinkClosed
        })?;
        rtp::write(&mut self.packet, ssrc, sequence, (now_ms as u32).wrapping_mul(90));
        self.packet[rtp::HEADER_LEN] = kind;
        self.packet[rtp::HEADER_LEN + 1] = 0;
        output(&self.packet[..end])
    }
}

/// A checksum to be written: where, and what.
#[derive(Debug, Clone, Copy)]
struct Checksum {
    at: usize,
    value: u16,
}

/// The checksum that the tap left to be completed (virtio 1.2, section 5.1.6.2).
fn pending_checksum(frame: &Frame<'_>) -> Result<Option<Checksum>, Drop> {
    let VnetHeader(vnet) = frame.vnet;
    if vnet[0] & NEEDS_CSUM == 0 {
        return Ok(None);
    }
    let start = usize::from(u16::from_ne_bytes([vnet[6], vnet[7]]));
    let at = start + usize::from(u16::from_ne_bytes([vnet[8], vnet[9]]));
    let covered = frame.bytes.get(start..).filter(|rest| at + 2 <= start + rest.len() && at + 2 <= mss::MAX_WHOLE / 2);
    let covered = covered.ok_or(Drop::Malformed)?;
    let sum: u64 = covered.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    let mut folded = sum;
    while folded >> 16 != 0 {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    // UDP: a sum of zero is sent as all ones (RFC 768); for TCP both mean the same.
    let value = if folded == 0xffff { 0xffff } else { !(folded as u16) };
    Ok(Some(Checksum { at, value }))
}

fn finish_head(head: &mut [u8], checksum: Option<Checksum>) {
    if let Some(Checksum { at, value }) = checksum {
        head[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    mss::clamp(head);
}

/// What a received packet was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A frame, whole.
    Frame(&'a [u8]),
    /// A frame, joined; the buffer goes back with `Receiver::recycle`.
    Joined(Vec<u8>),
    /// The peer's report.
    Report(Report),
    /// Nothing to pass on.
    Nothing,
}

/// The receiving side of one link.
#[derive(Debug)]
pub struct Receiver {
    sources: Sources,
    reporter: Reporter,
    reassembly: Reassembly,
}

impl Receiver {
    /// Starts the report timer at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { sources: Sources::default(), reporter: Reporter::new(now_ms), reassembly: Reassembly::default() }
    }

    /// Takes one RTP packet. The flag is true when a report is due at once.
    pub fn packet<'a>(&mut self, packet: &'a [u8], now_ms: u64, drops: &DropCounters) -> (Received<'a>, bool) {
        if let Some(ssrc) = rtp::source(packet) {
            self.sources.packet(ssrc);
        }
        let Some(rtp::Packet { ssrc, sequence, payload }) = rtp::parse(packet) else {
            drops.count(Drop::CarriageMalformed);
            return (Received::Nothing, false);
        };
        let received = self.payload(payload, now_ms, drops);
        let asks = !matches!(received, Some(Received::Report(_)));
        let due = self.reporter.packet(ssrc, sequence, asks, now_ms);
        if received.is_none() {
            drops.count(Drop::CarriageMalformed);
        }
        (received.unwrap_or(Received::Nothing), due)
    }

    /// True when the peer used more SSRCs than an honest one can: the link must be given up.
    pub fn has_too_many_sources(&self) -> bool {
        self.sources.are_too_many()
    }

    /// True when a report should be sent.
    pub fn report_due(&self, now_ms: u64) -> bool {
        self.reporter.due(now_ms)
    }

    /// The report to send now.
    pub fn report(&mut self, now_ms: u64) -> Report {
        self.reporter.report(now_ms)
    }

    /// Gives up frames whose pieces did not come.
    pub fn expire(&mut self, now_ms: u64, drops: &DropCounters) {
        self.reassembly.expire(now_ms, drops);
    }

    /// Takes a joined frame's buffer back.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.reassembly.recycle(buffer);
    }

    /// None: not a payload of this version. Flags must be 0, as nothing says yet what others would mean.
    fn payload<'a>(&mut self, payload: &'a [u8], now_ms: u64, drops: &DropCounters) -> Option<Received<'a>> {
        match payload {
            [KIND_WHOLE, 0, frame @ ..] if frame.len() >= MIN_FRAME => Some(Received::Frame(frame)),
            [KIND_FRAGMENT, 0, ..] => {
                let (header, piece) = PieceHeader::parse(payload)?;
                let joined = self.reassembly.insert(header, piece, now_ms, drops);
                Some(joined.map_or(Received::Nothing, Received::Joined))
            }
            [KIND_REPORT, 0, ..] => Report::parse(payload).map(Received::Report),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "carriage_tests.rs"]
mod tests;
