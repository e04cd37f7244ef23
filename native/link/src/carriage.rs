// SPDX-License-Identifier: MIT
//! Frames to packets and back (PROTOCOL 4.2): no clock, no randomness, no libdatachannel in here.

use ipop_base::{Drop, DropCounters, Frame};
use ipop_offload::{Cut, Mark, checksum};

use crate::fragment::{self, PieceHeader, Reassembly};
use crate::report::{Exhausted, Progress, REPORT_LEN, Report, Reporter, Sources};
use crate::rtp;

const KIND_WHOLE: u8 = 1;
const KIND_FRAGMENT: u8 = 2;
const KIND_REPORT: u8 = 3;
/// Bytes before a whole frame within the payload.
const WHOLE_HEADER: usize = 2;
/// Flag of a whole frame: the mark of its open checksum precedes it.
const MARKED: u8 = 1;
const MIN_FRAME: usize = 14;
/// Longest frame that travels as one packet, its mark included.
pub const ROOM: usize = rtp::MAX_PAYLOAD - WHOLE_HEADER - Mark::LEN;

/// Bytes of UDP payload beside a frame: headers, mark, SRTP's tag.
pub const OVERHEAD: usize = rtp::HEADER_LEN + WHOLE_HEADER + Mark::LEN + 16;

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
    /// A frame that goes in pieces.
    whole: Vec<u8>,
}

impl Sender {
    /// `may_change_ssrc` is false only in tests that show why SSRCs must change.
    pub fn new(random: fn() -> u32, may_change_ssrc: bool) -> Self {
        let progress = Progress::new(random, may_change_ssrc);
        let packet = [0; rtp::HEADER_LEN + rtp::MAX_PAYLOAD];
        Self { progress, random, frame_number: 0, exhausted: false, packet, whole: Vec::new() }
    }

    /// Sends a frame: a super-frame is cut, what still does not fit goes in pieces. Returns how many packets went out.
    /// Malformed: no Ethernet header, or a bad virtio header; Oversize: more than 64 pieces; LinkClosed: out of SSRCs.
    pub fn frame(&mut self, frame: &Frame<'_>, now_ms: u64, output: Output<'_>) -> Result<u64, Drop> {
        let mut cut = Cut::new(frame, ROOM)?;
        let mut packets = 0;
        while let Some(length) = cut.next_len() {
            if length > ROOM {
                self.whole.resize(length, 0);
                let mark = cut.write_next(&mut self.whole);
                checksum::complete(&mut self.whole, mark)?;
                packets += self.pieces(now_ms, output)?;
            } else {
                const START: usize = rtp::HEADER_LEN + WHOLE_HEADER;
                // Written where it will be with a mark; most have one.
                let mark = cut.write_next(&mut self.packet[START + Mark::LEN..START + Mark::LEN + length]);
                let (flags, end) = if mark == Mark::none() {
                    self.packet.copy_within(START + Mark::LEN..START + Mark::LEN + length, START);
                    (0, START + length)
                } else {
                    self.packet[START..START + Mark::LEN].copy_from_slice(&mark.bytes());
                    (MARKED, START + Mark::LEN + length)
                };
                self.send(KIND_WHOLE, flags, end, now_ms, output)?;
                packets += 1;
            }
        }
        Ok(packets)
    }

    /// Sends a report.
    pub fn report(&mut self, report: &Report, now_ms: u64, output: Output<'_>) -> Result<(), Drop> {
        report.write(&mut self.packet[rtp::HEADER_LEN..]);
        self.send(KIND_REPORT, 0, rtp::HEADER_LEN + REPORT_LEN, now_ms, output)
    }

    /// Takes the peer's report on what was sent: see `Progress::report`.
    pub fn reported(&mut self, report: &Report) -> Option<(u64, u64)> {
        self.progress.report(report)
    }

    /// How often the SSRC changed.
    pub fn ssrc_changes(&self) -> usize {
        self.progress.changes()
    }

    /// True when no SSRC is left: the link must be made anew.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn pieces(&mut self, now_ms: u64, output: Output<'_>) -> Result<u64, Drop> {
        let whole = std::mem::take(&mut self.whole);
        let result = self.pieces_of(&whole, now_ms, output);
        self.whole = whole;
        result
    }

    fn pieces_of(&mut self, whole: &[u8], now_ms: u64, output: Output<'_>) -> Result<u64, Drop> {
        let pieces = fragment::cut(whole).ok_or(Drop::Oversize)?;
        let (number, count) = (self.frame_number, pieces.len() as u8);
        self.frame_number = number.wrapping_add(1);
        const START: usize = rtp::HEADER_LEN + fragment::HEADER_LEN;
        for (index, piece) in pieces.enumerate() {
            let header = PieceHeader { number, index: index as u8, count };
            header.write(&mut self.packet[rtp::HEADER_LEN..]);
            let end = START + piece.len();
            self.packet[START..end].copy_from_slice(piece);
            self.send(KIND_FRAGMENT, 0, end, now_ms, output)?;
        }
        Ok(u64::from(count))
    }

    fn send(&mut self, kind: u8, flags: u8, end: usize, now_ms: u64, output: Output<'_>) -> Result<(), Drop> {
        let (ssrc, sequence) = self.progress.next(self.random).map_err(|Exhausted| {
            self.exhausted = true;
            Drop::LinkClosed
        })?;
        rtp::write(&mut self.packet, ssrc, sequence, (now_ms as u32).wrapping_mul(90));
        self.packet[rtp::HEADER_LEN] = kind;
        self.packet[rtp::HEADER_LEN + 1] = flags;
        output(&self.packet[..end])
    }
}

/// What a received packet was.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A frame, whole, and where its checksum is open.
    Frame(Mark, &'a mut [u8]),
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
    pub fn packet<'a>(&mut self, packet: &'a mut [u8], now_ms: u64, drops: &DropCounters) -> (Received<'a>, bool) {
        if let Some(ssrc) = rtp::source(packet) {
            self.sources.packet(ssrc);
        }
        let Some(rtp::Packet { ssrc, sequence, .. }) = rtp::parse(packet) else {
            drops.count(Drop::CarriageMalformed);
            return (Received::Nothing, false);
        };
        let payload = &mut packet[rtp::HEADER_LEN..];
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

    /// When a report or the end of a reassembly is due next.
    pub fn next_ms(&self) -> u64 {
        self.reporter.next_ms().min(self.reassembly.next_ms())
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

    /// None: not a payload of this version. Other flags must be 0, as nothing says yet what they would mean.
    fn payload<'a>(&mut self, payload: &'a mut [u8], now_ms: u64, drops: &DropCounters) -> Option<Received<'a>> {
        match *payload.first_chunk()? {
            [KIND_WHOLE, 0] => frame(Mark::none(), &mut payload[WHOLE_HEADER..]),
            [KIND_WHOLE, MARKED] => {
                let (mark, bytes) = payload[WHOLE_HEADER..].split_first_chunk_mut()?;
                frame(Mark::parse(*mark)?, bytes)
            }
            [KIND_FRAGMENT, 0] => {
                let (header, piece) = PieceHeader::parse(payload)?;
                let joined = self.reassembly.insert(header, piece, now_ms, drops);
                Some(joined.map_or(Received::Nothing, Received::Joined))
            }
            [KIND_REPORT, 0] => Report::parse(payload).map(Received::Report),
            _ => None,
        }
    }
}

fn frame(mark: Mark, bytes: &mut [u8]) -> Option<Received<'_>> {
    (bytes.len() >= MIN_FRAME).then_some(Received::Frame(mark, bytes))
}

#[cfg(test)]
#[path = "carriage_tests.rs"]
mod tests;
