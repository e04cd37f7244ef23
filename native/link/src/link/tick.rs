// SPDX-License-Identifier: MIT
//! What a link does by the clock, on the timer thread: reports, silence, reassembly, express, and where the path leads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ipop_base::{RecordType, TextMapWriter, lock};

use super::{Link, Phase, YOUNG_MS};
use crate::agent;
use crate::juice_socket::{self, Route};
use crate::udp::Address;

/// How often the selected pair is looked up again, for `info`.
const PAIR_REFRESH_MS: u64 = 5_000;
/// The same while a link is young: the first pair that works may be a relayed one, and a direct one follow.
const YOUNG_REFRESH_MS: u64 = 500;
/// After the peer moved: what ICE makes of it within this time is no news to anybody.
const FOLLOWED_MS: u64 = 1_000;
/// How long the timer sleeps at most, and how long while candidates are held back or a report waits for the sender.
const IDLE_TICK_MS: u64 = 60_000;
const HELD_TICK_MS: u64 = 50;
/// How often the way of the link's media is asked for while it is not known.
const ROUTE_RETRY_MS: u64 = 1_000;

impl Link {
    /// Something for `tick` to see.
    pub fn wake_timer(&self) {
        self.timer.wake();
    }

    /// Reports, silence, reassembly and express: on the timer thread. Returns how long nothing else is due.
    pub fn tick(&self) -> Duration {
        let phase = self.phase();
        let mut next = IDLE_TICK_MS;
        // Also when up: the first pair that works may be a relayed one, and the direct one needs these candidates.
        let may_release = || matches!(phase, Phase::Connecting | Phase::Up) && !lock(&self.signal).released;
        if let Some(slot) = may_release().then(|| self.agent.try_lock().ok()).flatten() {
            self.release(&slot);
        }
        if may_release() {
            next = HELD_TICK_MS;
        }
        if phase == Phase::Up {
            next = next.min(self.tick_up(self.now_ms()));
        }
        Duration::from_millis(next)
    }

    fn tick_up(&self, now: u64) -> u64 {
        if self.exhausted.load(Ordering::Relaxed) {
            self.lose("ssrc-exhausted", "the peer reported nothing over 1024 changes of SSRC");
            return IDLE_TICK_MS;
        }
        if self.silence.is_lost(now) {
            let text = format!("nothing was heard from the peer for {} s", self.silence.silent_ms(now) / 1000);
            self.lose("silent", &text);
            return IDLE_TICK_MS;
        }
        let mut due = {
            let mut receiver = lock(&self.receiver);
            receiver.expire(now, &self.drops);
            if receiver.report_due(now) {
                *lock(&self.report_due) = Some(receiver.report(now));
            }
            receiver.next_ms().min(self.silence.next_ms())
        };
        if self.silence.is_doubted(now) {
            self.report_moved("silent", "nothing was heard from the peer for 4 s");
        }
        let (next, loss) = self.tick_express(now);
        due = due.min(next);
        self.tick_breaker(loss, now);
        // When it is taken, a frame is on its way, and takes the reports along.
        let had_route = lock(&self.route).is_some();
        match self.sender.try_lock() {
            Ok(mut sender) => {
                self.take_report(&mut sender.carriage);
                self.send_report(&mut sender.carriage, now);
            }
            Err(_) => due = due.min(now + HELD_TICK_MS),
        }
        if !had_route && lock(&self.route).is_some() {
            due = now;
        }
        let is_young = now < self.up_ms.load(Ordering::Relaxed) + YOUNG_MS;
        let refresh_ms = if is_young { YOUNG_REFRESH_MS } else { PAIR_REFRESH_MS };
        if now.saturating_sub(self.pair_refreshed_ms.load(Ordering::Relaxed)) >= refresh_ms {
            self.refresh_pair(now);
        }
        if is_young {
            due = due.min(now + YOUNG_REFRESH_MS);
        }
        due.saturating_sub(now)
    }

    /// Finds out where media goes, now and then: the socket is read in trains, and express follows.
    fn tick_route(&self, now: u64) -> (Option<Route>, u64) {
        let route = *lock(&self.route);
        match route {
            Some(route) if !self.in_trains.swap(true, Ordering::Relaxed) => juice_socket::read_in_trains(&route),
            None if now >= self.route_due_ms.load(Ordering::Relaxed) => {
                self.route_due_ms.store(now + ROUTE_RETRY_MS, Ordering::Relaxed);
                let report = lock(&self.receiver).report(now);
                *lock(&self.report_due) = Some(report);
            }
            _ => {}
        }
        let next = if route.is_none() { now + ROUTE_RETRY_MS } else { u64::MAX };
        (route, next)
    }

    /// When it is due next, and how many datagrams of express were sent and lost since the last time.
    fn tick_express(&self, now: u64) -> (u64, (u64, u64)) {
        let (route, next) = self.tick_route(now);
        let mut keying = lock(&self.keying);
        let Some(control) = &mut *keying else { return (next, (0, 0)) };
        let messages = std::mem::take(&mut *lock(&self.exchange));
        if let Some(route) = route {
            control.routed(route);
        }
        let channel = self.channel.load(Ordering::Acquire);
        // What the channel has no room for is lost: the exchange repeats.
        let due = control.tick(&messages, now, &mut |message| {
            let _ = agent::send(channel, message);
        });
        if let Some(express) = control.express() {
            self.express.get_or_init(|| express.clone());
        }
        let loss = control.take_loss();
        if let Some((seen, before)) = control.take_readdressed() {
            self.report_moved("readdressed", &format!("the peer sees this node at {seen}, no longer at {before}"));
        }
        let next = if control.is_following() { next.min(now + FOLLOWED_MS) } else { next };
        if let Some(to) = control.followed(FOLLOWED_MS, now) {
            drop(keying);
            self.peer_moved(to, now);
        }
        self.refresh_overhead();
        (next.min(due), loss)
    }

    /// The peer's datagrams come from there. Reported unless ICE chose that pair itself.
    fn peer_moved(&self, to: Address, now: u64) {
        self.refresh_pair(now);
        let known = lock(&self.pair).as_ref().map(|(_, remote)| remote.address);
        let Some(to) = to.to_std().filter(|to| Some(*to) != known) else { return };
        self.report_moved("peer-moved", &format!("the peer's datagrams come from {to}"));
    }

    fn report_moved(&self, code: &str, text: &str) {
        let map = TextMapWriter::default().put("code", code).put("text", text).bytes();
        self.queue.push(RecordType::LinkMoved, self.handle, &[&map]);
    }
}
