// SPDX-License-Identifier: MIT
//! What libdatachannel tells a link. All of this runs on libdatachannel's threads.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use ipop_base::{Drop, Frame, Ingress, RecordType};
use ipop_offload::Join;

use super::{CHANNEL_OPEN, Link, MAX_EXCHANGE, MAX_EXCHANGE_LEN, MAX_WAITING, Phase, TRACK_OPEN, lock};
use crate::agent;
use crate::carriage::Received;
use crate::inbound::Packets;
use crate::sdp::Description;

impl Link {
    /// A track was made, by us or from the peer's offer.
    pub fn adopt_track(&self, track: i32) {
        lock(&self.ids).push(track);
        self.track.store(track, Ordering::Release);
        agent::attach(track, self.handle);
    }

    /// A channel was made, by us or by the peer. There is one: a peer that opens more is given up.
    pub fn adopt_channel(&self, channel: i32) {
        lock(&self.ids).push(channel);
        let first = self.channel.compare_exchange(0, channel, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !first || !agent::is_control(channel) {
            self.lose("internal", "the peer opened a channel that is not the control channel");
        }
        // Also one that is not: libdatachannel's thread, and with it the agent's end, would wait for ever for room in a channel
        // whose messages nobody takes.
        agent::attach(channel, self.handle);
    }

    /// The local description is made.
    pub fn on_description(&self, sdp: &str) {
        match Description::from_sdp(sdp) {
            Ok(description) => {
                lock(&self.signal).local_fingerprint = Some(description.fingerprint.clone());
                self.queue.push(RecordType::LinkLocal, self.handle, &[&description.to_map()]);
            }
            Err(error) => self.lose("internal", &error.text),
        }
    }

    /// A local candidate was found.
    pub fn on_candidate(&self, candidate: &str) {
        if self.phase() < Phase::Lost {
            self.queue.push(RecordType::LinkCandidate, self.handle, &[candidate.as_bytes()]);
        }
    }

    /// All local candidates were found.
    pub fn on_gathered(&self) {
        if self.phase() < Phase::Lost {
            self.queue.push(RecordType::LinkGathered, self.handle, &[]);
        }
    }

    /// A candidate pair works.
    pub fn on_ice_connected(&self) {
        self.ice_connected.store(true, Ordering::Release);
    }

    /// No candidate pair works, or none any more.
    pub fn on_ice_failed(&self) {
        self.ice_failed.store(true, Ordering::Release);
    }

    /// A DTLS certificate was refused that should have had this fingerprint.
    pub fn on_wrong_fingerprint(&self, expected: &str) {
        if self.phase() == Phase::Connecting && lock(&self.signal).remote_fingerprint.as_deref() == Some(expected) {
            self.wrong_fingerprint.store(true, Ordering::Release);
        }
    }

    /// ICE, DTLS or SCTP failed.
    pub fn on_failed(&self) {
        if self.wrong_fingerprint.load(Ordering::Acquire) {
            self.lose("fingerprint", "the peer's certificate is not the one in its signed description");
        } else if !self.ice_connected.load(Ordering::Acquire) {
            self.lose("ice-failed", "no candidate pair worked");
        } else if self.ice_failed.load(Ordering::Acquire) {
            self.lose("consent", "the peer no longer answers on the selected pair (RFC 7675)");
        } else {
            self.lose("dtls-failed", "the DTLS handshake failed");
        }
    }

    /// ICE lost its pair, or the peer closed DTLS or SCTP.
    pub fn on_disconnected(&self) {
        if self.ice_failed.load(Ordering::Acquire) {
            self.lose("consent", "the peer no longer answers on the selected pair (RFC 7675)");
        } else {
            self.lose("closed", "the peer closed the link");
        }
    }

    /// The agent closed, whoever wanted it.
    pub fn on_agent_closed(&self) {
        self.agent_closed.store(true, Ordering::Release);
        self.lose("closed", "the agent closed");
    }

    /// The track or the channel is open. True when both are: `come_up` is due.
    pub fn on_open(&self, id: i32) -> bool {
        let bit = if id == self.track.load(Ordering::Acquire) { TRACK_OPEN } else { CHANNEL_OPEN };
        let before = self.opened.fetch_or(bit, Ordering::AcqRel);
        before | bit == TRACK_OPEN | CHANNEL_OPEN
    }

    /// Frames and messages cross from here on. Waits for libjuice's lock, as libdatachannel's threads must not.
    pub fn come_up(&self) {
        let now = self.now_ms();
        self.silence.heard(now);
        if self.enter(Phase::Up) {
            self.up_ms.store(now, Ordering::Relaxed);
            self.refresh_pair(now);
            self.timer.wake();
            self.queue.push(RecordType::LinkUp, self.handle, &[&self.info()]);
            let mut control = lock(&self.control);
            control.up = true;
            for message in std::mem::take(&mut control.waiting) {
                self.queue.push(RecordType::LinkMessage, self.handle, &[&message]);
            }
        }
    }

    /// The track or the channel closed.
    pub fn on_closed(&self, _id: i32) {
        if self.phase() == Phase::Up && !self.ice_failed.load(Ordering::Acquire) {
            self.lose("closed", "the peer closed the link");
        }
    }

    /// A packet on the track, or a message on the channel.
    pub fn on_message(&self, id: i32, bytes: &[u8]) {
        if self.phase() >= Phase::Lost {
            return;
        }
        self.silence.heard(self.now_ms());
        if id != self.track.load(Ordering::Acquire) {
            self.on_control(bytes);
        } else if let Some(inbound) = self.inbound.get().and_then(Weak::upgrade) {
            if !inbound.push(bytes) {
                self.drops.count(Drop::LinkFull);
            }
        }
    }

    /// Messages follow the LINK_UP record, in their order.
    fn on_control(&self, message: &[u8]) {
        let mut control = lock(&self.control);
        if !control.admit(self.now_ms()) {
            drop(control);
            self.lose("internal", "the peer sent more than 200 control messages within a second");
        } else if ipop_express::is_exchange(message) {
            drop(control);
            self.on_exchange(message);
        } else if control.up {
            self.queue.push(RecordType::LinkMessage, self.handle, &[message]);
        } else if control.bytes + message.len() <= MAX_WAITING {
            control.bytes += message.len().max(1);
            control.waiting.push(message.to_vec());
        } else {
            drop(control);
            self.lose("internal", "the peer sent more than 64 KiB before the link was up");
        }
    }

    fn on_exchange(&self, message: &[u8]) {
        if message.len() > MAX_EXCHANGE_LEN {
            return self.drops.count(Drop::CarriageMalformed);
        }
        let mut exchange = lock(&self.exchange);
        // What is too much is repeated by the peer.
        if exchange.len() < MAX_EXCHANGE {
            exchange.push(message.to_vec());
        }
        drop(exchange);
        self.timer.wake();
    }

    /// Packets of the track, in their order. On a worker.
    pub fn on_packets(&self, packets: Packets<'_>, ingress: &mut dyn Ingress) {
        let now = self.now_ms();
        self.rtp_received.fetch_add(packets.count as u64, Ordering::Relaxed);
        let mut receiver = lock(&self.receiver);
        let due = receiver.next_ms();
        let mut reports = false;
        let mut join = Join::new(ingress.takes_uso());
        let Some(arrivals) = self.arrivals.get() else { return };
        let mut input = |frame: &Frame<'_>| arrivals.input(ingress, frame);
        for packet in packets {
            let (received, report_now) = receiver.packet(packet, now, &self.drops);
            if report_now {
                reports = true;
                *lock(&self.report_due) = Some(receiver.report(now));
            }
            match received {
                Received::Frame(mark, frame) => {
                    if let Err(why) = join.add(mark, frame, &mut input) {
                        self.drops.count(why);
                    }
                }
                Received::Joined(whole) => {
                    join.flush(&mut input);
                    input(&Frame::plain(&whole));
                    receiver.recycle(whole);
                }
                Received::Report(report) => *lock(&self.reported) = Some(report),
                Received::Nothing => {}
            }
        }
        join.flush(&mut input);
        ingress.flush();
        let is_due_earlier = reports || receiver.next_ms() < due;
        let too_many = receiver.has_too_many_sources();
        drop(receiver);
        if is_due_earlier {
            self.timer.wake();
        }
        if too_many {
            self.lose("ssrc-exhausted", "the peer used more SSRCs than a link may have");
        }
    }
}
