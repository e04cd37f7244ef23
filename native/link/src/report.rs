// SPDX-License-Identifier: MIT
//! Receiver reports, what they tell a sender, and when a link counts as silent (PROTOCOL 4.3). Time is handed in, in ms.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a kind 3 payload.
pub const REPORT_LEN: usize = 20;
/// How long the first packet that was not reported yet waits.
const REPORT_DELAY_MS: u64 = 250;
/// Packets after which a report is sent at once.
const REPORT_PACKETS: u32 = 4096;
/// A report is sent at least this often.
const REPORT_IDLE_MS: u64 = 10_000;
/// Packets without a report of anything new after which a sender takes a new SSRC: half of what a receiver survives.
pub const UNREPORTED_MAX: u64 = 16_384;
/// Packets in flight after which it does so although reports come: a long fast path may hold more than 16384, but a receiver
/// that missed 32768 would refuse all that follows.
const IN_FLIGHT_MAX: u64 = 28_672;
/// New SSRCs in one link's life: each costs the receiver memory, and all differ.
pub const SSRC_CHANGES_MAX: usize = 1024;
/// Sources a peer may use in one link's life: twice what an honest one can. SRTP keeps 400 bytes for each until the link ends, and looks
/// through all of them for a packet of a new one.
const SOURCES_MAX: usize = 2 * (SSRC_CHANGES_MAX + 1);
/// Nothing heard for so long although something was sent that asks for a report.
const SILENCE_ASKED_MS: u64 = 12_000;
/// Nothing heard for so long although something asks for a report: it is looked for another path. Reports come after 250 ms, answers of
/// express within 2 s.
const SILENCE_DOUBTED_MS: u64 = 4_000;
/// Nothing heard for so long in any case.
const SILENCE_MS: u64 = 30_000;

/// A kind 3 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The SSRC that is reported on.
    pub ssrc: u32,
    /// Packets received from it.
    pub received: u64,
    /// Highest sequence number received from it.
    pub highest: u16,
    /// Grows with each report.
    pub number: u32,
}

impl Report {
    /// Reads a kind 3 payload; bytes after it are left for later versions.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let bytes = payload.get(..REPORT_LEN)?;
        Some(Self {
            ssrc: u32::from_be_bytes(bytes[2..6].try_into().ok()?),
            received: u64::from_be_bytes(bytes[6..14].try_into().ok()?),
            highest: u16::from_be_bytes([bytes[14], bytes[15]]),
            number: u32::from_be_bytes(bytes[16..20].try_into().ok()?),
        })
    }

    /// Writes bytes 2-19 of a kind 3 payload.
    pub fn write(&self, payload: &mut [u8]) {
        payload[2..6].copy_from_slice(&self.ssrc.to_be_bytes());
        payload[6..14].copy_from_slice(&self.received.to_be_bytes());
        payload[14..16].copy_from_slice(&self.highest.to_be_bytes());
        payload[16..20].copy_from_slice(&self.number.to_be_bytes());
    }
}

/// The receiving side: what to report and when.
#[derive(Debug)]
pub struct Reporter {
    ssrc: u32,
    previous: Option<u32>,
    heard: bool,
    received: u64,
    highest: u16,
    unreported: u32,
    first_unreported_ms: u64,
    last_report_ms: u64,
    number: u32,
}

impl Reporter {
    /// Starts with the idle timer at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            ssrc: 0,
            previous: None,
            heard: false,
            received: 0,
            highest: 0,
            unreported: 0,
            first_unreported_ms: 0,
            last_report_ms: now_ms,
            number: 0,
        }
    }

    /// Counts a packet; `asks` is false for reports. True when a report is due at once.
    pub fn packet(&mut self, ssrc: u32, sequence: u16, asks: bool, now_ms: u64) -> bool {
        if !self.heard || (ssrc != self.ssrc && Some(ssrc) != self.previous) {
            self.previous = self.heard.then_some(self.ssrc);
            (self.ssrc, self.heard, self.received, self.highest) = (ssrc, true, 0, sequence);
        }
        if ssrc == self.ssrc {
            self.received += 1;
            // RFC 1982 comparison: the later one of two sequence numbers.
            if sequence.wrapping_sub(self.highest) < 0x8000 {
                self.highest = sequence;
            }
        }
        if asks {
            if self.unreported == 0 {
                self.first_unreported_ms = now_ms;
            }
            self.unreported += 1;
        }
        self.unreported >= REPORT_PACKETS
    }

    /// True when a report should be sent.
    pub fn due(&self, now_ms: u64) -> bool {
        let waited = self.unreported > 0 && now_ms.saturating_sub(self.first_unreported_ms) >= REPORT_DELAY_MS;
        waited || self.unreported >= REPORT_PACKETS || now_ms.saturating_sub(self.last_report_ms) >= REPORT_IDLE_MS
    }

    /// When the next report is due, if nothing else comes.
    pub fn next_ms(&self) -> u64 {
        let idle = self.last_report_ms + REPORT_IDLE_MS;
        if self.unreported > 0 { idle.min(self.first_unreported_ms + REPORT_DELAY_MS) } else { idle }
    }

    /// The report to send now.
    pub fn report(&mut self, now_ms: u64) -> Report {
        self.unreported = 0;
        self.last_report_ms = now_ms;
        self.number = self.number.wrapping_add(1);
        Report { ssrc: self.ssrc, received: self.received, highest: self.highest, number: self.number }
    }
}

/// The sources a peer has used, counted without remembering more than the last two: a packet that was overtaken is of one of those.
#[derive(Debug, Default)]
pub struct Sources {
    recent: [Option<u32>; 2],
    count: usize,
}

impl Sources {
    /// Takes note of a packet's source.
    pub fn packet(&mut self, ssrc: u32) {
        if !self.recent.contains(&Some(ssrc)) {
            self.recent = [Some(ssrc), self.recent[0]];
            self.count += 1;
        }
    }

    /// True when these are more than an honest peer uses.
    pub fn are_too_many(&self) -> bool {
        self.count > SOURCES_MAX
    }
}

/// The sending side used up its SSRCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

/// The sending side: sequence numbers, and a new SSRC when packets go unreported.
#[derive(Debug)]
pub struct Progress {
    /// Every SSRC of this link so far, the current one last: none is used twice, since SRTP would repeat a nonce.
    used: Vec<u32>,
    /// Sequence number of the next packet, counted on past 16 bits.
    next: u64,
    /// Of the first packet of the current SSRC.
    first: u64,
    /// The first one that no report has confirmed.
    confirmed: u64,
    /// What `next` was when a report last confirmed something.
    reported_at: u64,
    may_change: bool,
}

impl Progress {
    /// A sender; `may_change` is false only in tests that show why SSRCs must change.
    pub fn new(random: fn() -> u32, may_change: bool) -> Self {
        let mut progress =
            Self { used: Vec::with_capacity(4), next: 0, first: 0, confirmed: 0, reported_at: 0, may_change };
        progress.start(random);
        progress
    }

    /// SSRC and sequence number of the next packet.
    pub fn next(&mut self, random: fn() -> u32) -> Result<(u32, u16), Exhausted> {
        let unreported = self.next - self.reported_at >= UNREPORTED_MAX || self.next - self.confirmed >= IN_FLIGHT_MAX;
        if self.may_change && unreported {
            if self.changes() >= SSRC_CHANGES_MAX {
                return Err(Exhausted);
            }
            self.start(random);
        }
        let sequence = self.next as u16;
        self.next += 1;
        Ok((self.ssrc(), sequence))
    }

    /// Takes the peer's report. One on an earlier SSRC says nothing about this one. Returns how many packets of this SSRC were sent up to the
    /// newest that arrived, and how many of them did.
    pub fn report(&mut self, report: &Report) -> Option<(u64, u64)> {
        if report.ssrc != self.ssrc() || self.next == 0 {
            return None;
        }
        let last = self.next - 1;
        let behind = u64::from((last as u16).wrapping_sub(report.highest));
        let highest = last.checked_sub(behind).filter(|highest| *highest >= self.confirmed)?;
        self.confirmed = highest + 1;
        self.reported_at = self.next;
        Some((self.confirmed - self.first, report.received))
    }

    /// The current SSRC.
    pub fn ssrc(&self) -> u32 {
        *self.used.last().expect("new() starts one")
    }

    /// How often the SSRC changed.
    pub fn changes(&self) -> usize {
        self.used.len() - 1
    }

    /// As if so many packets had been sent.
    #[cfg(test)]
    pub fn skip(&mut self, packets: u64) {
        self.next += packets;
    }

    fn start(&mut self, random: fn() -> u32) {
        let mut ssrc = random();
        while ssrc == 0 || self.used.contains(&ssrc) {
            ssrc = ssrc.wrapping_add(1);
        }
        self.used.push(ssrc);
        // Below 2^15 (RFC 3711, section 3.3.1): a receiver that misses the first packets still guesses the rollover counter.
        self.next = u64::from(random() & 0x7fff);
        (self.first, self.confirmed, self.reported_at) = (self.next, self.next, self.next);
    }
}

/// When something was last heard and asked. Shared by the sending and receiving sides.
#[derive(Debug)]
pub struct Silence {
    heard_ms: AtomicU64,
    asked_ms: AtomicU64,
    /// The `asked_ms` of the silence that `is_doubted` told of.
    doubted_ms: AtomicU64,
}

impl Silence {
    /// Counts from `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self { heard_ms: AtomicU64::new(now_ms), asked_ms: AtomicU64::new(0), doubted_ms: AtomicU64::new(0) }
    }

    /// Something came from the peer.
    pub fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Something was sent that the peer answers with a report.
    pub fn asked(&self, now_ms: u64) {
        if self.asked_ms.load(Ordering::Relaxed) <= self.heard_ms.load(Ordering::Relaxed) {
            self.asked_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Since when nothing was heard, in ms.
    pub fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }

    /// When `is_lost` or `is_doubted` may be true next, if nothing is heard.
    pub fn next_ms(&self) -> u64 {
        let (asked, heard) = (self.asked_ms.load(Ordering::Relaxed), self.heard_ms.load(Ordering::Relaxed));
        let any = heard + SILENCE_MS;
        let limit =
            if self.doubted_ms.load(Ordering::Relaxed) == asked { SILENCE_ASKED_MS } else { SILENCE_DOUBTED_MS };
        if asked > heard { any.min(asked + limit) } else { any }
    }

    /// True once in each silence, when another path should be looked for.
    pub fn is_doubted(&self, now_ms: u64) -> bool {
        let asked = self.asked_ms.load(Ordering::Relaxed);
        let waits = asked > self.heard_ms.load(Ordering::Relaxed);
        waits
            && now_ms.saturating_sub(asked) >= SILENCE_DOUBTED_MS
            && self.doubted_ms.swap(asked, Ordering::Relaxed) != asked
    }

    /// True when the link must be given up.
    pub fn is_lost(&self, now_ms: u64) -> bool {
        let asked = self.asked_ms.load(Ordering::Relaxed);
        let waits = asked > self.heard_ms.load(Ordering::Relaxed);
        (waits && now_ms.saturating_sub(asked) >= SILENCE_ASKED_MS) || self.silent_ms(now_ms) >= SILENCE_MS
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
