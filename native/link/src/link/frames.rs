// SPDX-License-Identifier: MIT
//! A link as a port: frames that leave by it, and the SRTP carriage's sending.

use std::sync::atomic::Ordering;

use ipop_base::{Drop, Frame, PortTransmit, lock};
use ipop_express::IPV4_SIZES;
use ipop_offload::{Offload, mss};

use super::{Link, Outgoing, YOUNG_MS};
use crate::agent;
use crate::carriage::{self, Sender};
use crate::express::OVERHEAD;
use crate::juice_socket;

impl PortTransmit for Link {
    /// Takes a frame, which leaves at the latest with `flush` unless it must wait its turn. LinkClosed when the link is not up; Oversize and Malformed as in the senders.
    fn transmit(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        if frame.segments == 1 && mss::is_syn(frame.bytes) {
            return self.transmit_syn(frame);
        }
        self.admit(frame)
    }

    fn flush(&self) {
        self.send_kept();
    }

    /// Each side cuts for itself, and what is cut is joined again where it arrives.
    fn takes_uso(&self) -> bool {
        true
    }
}

impl Link {
    #[cold]
    fn transmit_syn(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        let is_open = Offload::read(&frame.vnet).is_ok_and(|offload| offload.open.is_some());
        let mut syn = frame.to_vec();
        mss::clamp(&mut syn, is_open, self.whole());
        self.admit(&Frame { bytes: &syn, tail: &[], ..*frame })
    }

    /// Bytes of the longest frame that goes in one datagram. While express may only be about to begin, what it carries at best: a connection
    /// keeps its MSS for good.
    fn whole(&self) -> usize {
        let size = match self.by_express() {
            Some(express) => express.sender().size(),
            None if self.awaits_express() => IPV4_SIZES[0],
            None => 0,
        };
        usize::from(size).saturating_sub(OVERHEAD).max(carriage::ROOM)
    }

    fn awaits_express(&self) -> bool {
        let is_relayed = lock(&self.route).is_some_and(|route| !route.is_direct);
        !is_relayed && self.now_ms() < self.up_ms.load(Ordering::Relaxed) + YOUNG_MS
    }

    pub(super) fn transmit_srtp(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        let now = self.now_ms();
        let track = self.track.load(Ordering::Acquire);
        let mut output = |packet: &[u8]| if agent::send(track, packet) { Ok(()) } else { Err(Drop::LinkClosed) };
        // Held over the sending, so that packets leave in the order of their sequence numbers.
        let mut sender = lock(&self.sender);
        let Outgoing { carriage, batch } = &mut *sender;
        self.take_report(carriage);
        let tos = self.shape.tos();
        let sent = juice_socket::held_back(batch, tos, || carriage.frame(frame, now, &mut output));
        self.holds_back.store(true, Ordering::Release);
        self.count_refused(batch);
        self.send_report(carriage, now);
        self.ssrc_changes.store(carriage.ssrc_changes() as u64, Ordering::Relaxed);
        self.exhausted.store(carriage.is_exhausted(), Ordering::Relaxed);
        drop(sender);
        let packets = sent?;
        self.rtp_sent.fetch_add(packets, Ordering::Relaxed);
        self.silence.asked(now);
        Ok(())
    }

    /// Sends our report, if one is due.
    pub(super) fn send_report(&self, sender: &mut Sender, now: u64) {
        let Some(report) = lock(&self.report_due).take() else { return };
        let track = self.track.load(Ordering::Acquire);
        let mut output = |packet: &[u8]| if agent::send(track, packet) { Ok(()) } else { Err(Drop::LinkClosed) };
        let mut sent = Ok(());
        let route = juice_socket::route_of(|| sent = sender.report(&report, now, &mut output));
        match sent {
            Ok(()) => {
                self.rtp_sent.fetch_add(1, Ordering::Relaxed);
                *lock(&self.route) = route;
            }
            Err(why) => self.drops.count(why),
        }
    }
}
