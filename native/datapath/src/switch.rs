// SPDX-License-Identifier: MIT
//! The switch: forwards each frame by rules, and asks where there is none.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ipop_base::{
    Drop, DropCounters, Error, Frame, FrameSink, Handle, Ingress, PortTransmit, RecordQueue, Result, lock, next_handle,
    spawn,
};

use crate::clock::Clock;
use crate::generation::Generation;
use crate::guard;
use crate::ingress::SwitchIngress;
use crate::parse::{Headers, MAX_FRAME, MAX_SUPER_FRAME};
use crate::port::{Port, PortCounters, PortKind, PortTable, Ports, find};
use crate::rules::{Key, Rules};
use crate::upcall::{Miss, Parked, Question, Upcall, Upcalls};

/// A rule or decision that drops.
pub const OUT_DROP: i32 = 0;
/// To all enabled ports but the one a frame came from, and from a link to no other link.
pub const OUT_FLOOD: i32 = -1;
/// Only for `upcall_finish`: through the rules again.
pub const OUT_RULES: i32 = -2;

/// Frames are on the heap; what the thread keeps on its stack is a few kilobytes.
const STACK_BYTES: usize = 256 << 10;

/// VLAN ids have 12 bits.
const MAX_VLAN: u16 = 4095;

/// A switch. Its functions may be called from any thread; none blocks.
pub struct Switch {
    handle: Handle,
    clock: Clock,
    generation: Generation,
    ports: PortTable,
    rules: Rules,
    upcalls: Arc<Upcalls>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Switch {
    /// A switch without ports; its upcalls go to `queue`. Owns a thread that drops parked frames after 2 s, which ends with `close` or
    /// the last reference. Should that thread not start, `expire` is to be called by somebody else; calling it anyway does no harm.
    pub fn open(queue: Arc<RecordQueue>) -> Arc<Self> {
        let switch = Self::open_with_clock(queue, Clock::Monotonic);
        let upcalls = switch.upcalls.clone();
        *lock(&switch.thread) = spawn("ipop-upcalls", STACK_BYTES, move || upcalls.run()).ok();
        switch
    }

    /// A switch whose time is the caller's, and which has no thread: the caller calls `expire`.
    pub fn open_with_clock(queue: Arc<RecordQueue>, clock: Clock) -> Arc<Self> {
        let handle = next_handle();
        let upcalls = Arc::new(Upcalls::new(handle, queue, clock.clone()));
        let generation = Generation::default();
        let (ports, rules) = (PortTable::new(generation.clone()), Rules::new(generation.clone()));
        Arc::new(Self { handle, clock, generation, ports, rules, upcalls, thread: Mutex::default() })
    }

    /// Its handle, as in upcall records.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Forgets all ports, rules and parked frames, and joins the switch's thread. Taps and memory ports must still be closed by their owners.
    pub fn close(&self) {
        self.upcalls.close();
        self.ports.take().iter().for_each(|port| port.lose());
        self.rules.flush(0);
        if let Some(thread) = lock(&self.thread).take() {
            // It has nothing to say but a panic, which its parked frames have not survived either.
            let _ = thread.join();
        }
    }

    /// Adds a port, disabled. `drops` is shared with the port, which counts its own reasons there.
    pub fn add_port(&self, port: Handle, kind: PortKind, transmit: Arc<dyn PortTransmit>, drops: Arc<DropCounters>) {
        self.ports.add(Port::new(port, kind, transmit, drops, self.clock.now_ms()));
    }

    /// Removes a port; its rules and parked frames go at once. False when there is none.
    pub fn remove_port(&self, port: Handle) -> bool {
        let removed = self.ports.remove(port);
        if let Some(port) = &removed {
            self.lose(port);
        }
        removed.is_some()
    }

    /// Lets frames in and out of a port, or not. ENOENT: no such port. Enabling a lost port (see `port_lost`) succeeds and changes nothing.
    pub fn enable_port(&self, port: Handle, on: bool) -> Result<()> {
        self.port(port)?.enable(on);
        Ok(())
    }

    /// Lets a port stand in for another while a link moves: what comes in at `port` counts as coming in at `of`, nothing is flooded to
    /// `port`, and its rules lead to `of`, which stands in for nothing any more. All at once for whoever judges frames. Also when `port` is
    /// lost. ENOENT: no such port; EINVAL: both are one, or on two sides of the split horizon.
    pub fn stand_in(&self, port: Handle, of: Handle) -> Result<()> {
        let (stand_in, of) = (self.port(port)?, self.port(of)?);
        if port == of.handle || stand_in.kind != of.kind {
            return Err(Error::new(libc::EINVAL, format!("port {port} cannot stand in for port {}", of.handle)));
        }
        self.rules.lead(port, of.handle, || {
            of.stand_in(0);
            stand_in.stand_in(of.handle);
        });
        Ok(())
    }

    /// What a port has done. ENOENT: no such port.
    pub fn port_counters(&self, port: Handle) -> Result<PortCounters> {
        Ok(self.port(port)?.counters())
    }

    /// Sets the rule for (vlan, mac); `out` is a port, OUT_FLOOD or OUT_DROP. Replaces; one that already leads there keeps its counters.
    /// ENOENT: no such port, or it is lost; ENOSPC: over 8192 rules; EINVAL: no VLAN id, or another `out`.
    pub fn rule_set(&self, mac: [u8; 6], vlan: u16, out: i32) -> Result<()> {
        if vlan > MAX_VLAN || out < OUT_FLOOD {
            return Err(Error::new(libc::EINVAL, format!("cannot set a rule: vlan {vlan}, out {out}")));
        }
        self.rules.set(Key::new(vlan, mac), out, || match out {
            OUT_DROP | OUT_FLOOD => Ok(()),
            port if self.port(port)?.is_lost() => {
                Err(Error::new(libc::ENOENT, format!("cannot set a rule: port {port} is lost")))
            }
            _ => Ok(()),
        })
    }

    /// Deletes a rule. ENOENT: there is none.
    pub fn rule_delete(&self, mac: [u8; 6], vlan: u16) -> Result<()> {
        let deleted = self.rules.delete(Key::new(vlan, mac));
        deleted.then_some(()).ok_or_else(|| Error::new(libc::ENOENT, "cannot delete a rule: there is none"))
    }

    /// Deletes the rules that lead to `port`, or all when it is 0; returns how many.
    pub fn rules_flush(&self, port: Handle) -> usize {
        self.rules.flush(port)
    }

    /// Writes rules from index `start` on into `buf`, 28 bytes each as in ipop.h; returns how many. Order is stable between changes.
    pub fn rules_dump(&self, start: usize, buf: &mut [u8]) -> usize {
        self.rules.dump(start, buf, self.clock.now_ms())
    }

    /// Ends an upcall and lets its parked frames go, oldest first: `out` as in `rule_set`, or OUT_RULES: through the rules again, where a second
    /// miss of the same kind is dropped (Policy) and one of the other kind is a new upcall. ENOENT: it timed out or its port went;
    /// EINVAL: another `out`. Frames for a port that is gone are counted as NoPort.
    pub fn upcall_finish(&self, id: u32, out: i32) -> Result<()> {
        if out < OUT_RULES {
            return Err(Error::new(libc::EINVAL, format!("cannot finish an upcall: out {out}")));
        }
        let upcall = self.upcalls.finish(id);
        let upcall = upcall.ok_or_else(|| Error::new(libc::ENOENT, format!("cannot finish upcall {id}: timed out")))?;
        if upcall.port.carries() {
            self.release(&upcall, out);
            self.flush();
        } else {
            upcall.drop_all(Drop::PortDisabled);
        }
        Ok(())
    }

    /// Drops frames that were parked for 2 s (UpcallTimeout). The switch's own thread does so too; see `open`.
    pub fn expire(&self) {
        self.upcalls.expire();
    }

    fn release(&self, upcall: &Upcall, out: i32) {
        let ports = self.ports.snapshot();
        upcall.frames.iter().for_each(|parked| match out {
            OUT_RULES => self.route_again(&ports, &upcall.port, parked),
            _ => forward(&ports, &upcall.port, out, find(&ports, out), &parked.frame()),
        });
    }

    fn route_again(&self, ports: &[Arc<Port>], ingress: &Arc<Port>, parked: &Parked) {
        let frame = parked.frame();
        match Headers::parse(frame.bytes) {
            Some(headers) => self.route(ports, ingress, &headers, &frame, parked.asked),
            None => ingress.drop_frame(Drop::Malformed, frame.segments),
        }
    }

    /// Sends a frame where the rules say, or parks it. `asked`: kinds of misses it was parked for before.
    fn route(&self, ports: &[Arc<Port>], ingress: &Arc<Port>, headers: &Headers, frame: &Frame<'_>, asked: u8) {
        match self.rules.judge(headers, || ingress.bound_as(), self.now_ms(), |_, to| to.out) {
            Ok(out) => forward(ports, ingress, out, find(ports, out), frame),
            Err(miss) => self.missed(ingress, headers, frame, miss, asked),
        }
    }

    /// Parks a frame that the rules do not know, or drops it.
    pub(crate) fn missed(&self, ingress: &Arc<Port>, headers: &Headers, frame: &Frame<'_>, miss: Miss, asked: u8) {
        let result = if asked & miss.kind() == 0 {
            let question = question(ingress.bound_as(), headers, miss);
            self.upcalls.park(ingress, question, frame, asked | miss.kind())
        } else {
            Err(Drop::Policy)
        };
        if let Err(why) = result {
            ingress.drop_frame(why, frame.segments);
        }
    }

    pub(crate) fn generation(&self) -> &Generation {
        &self.generation
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports.snapshot()
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Marked first, so that no rule is set and no frame parked after its rules and frames have gone.
    fn lose(&self, port: &Port) {
        port.lose();
        self.rules.flush(port.handle);
        self.upcalls.forget(port.handle);
    }

    fn port(&self, port: Handle) -> Result<Arc<Port>> {
        self.ports.get(port).ok_or_else(|| Error::new(libc::ENOENT, format!("the switch has no port {port}")))
    }
}

impl FrameSink for Switch {
    /// A frame from an unknown port is dropped without a trace: there is nowhere to count it.
    fn input(&self, port: Handle, frame: &Frame<'_>) {
        let ports = self.ports.snapshot();
        let Some(ingress) = find(&ports, port) else { return };
        match admit(ingress, frame) {
            Ok(headers) => self.route(&ports, ingress, &headers, frame, 0),
            Err(why) => ingress.drop_frame(why, frame.segments),
        }
    }

    fn flush(&self) {
        flush(&self.ports.snapshot());
    }

    fn ingress(self: Arc<Self>, port: Handle) -> Box<dyn Ingress> {
        Box::new(SwitchIngress::new(self, port))
    }

    fn port_lost(&self, port: Handle) {
        if let Some(port) = self.ports.get(port) {
            self.lose(&port);
        }
    }
}

impl std::ops::Drop for Switch {
    fn drop(&mut self) {
        self.close();
    }
}

/// All checks that come before the rules, in the order of ipop.h. Frames of an enabled port that are frames at all count as received.
pub(crate) fn admit(ingress: &Port, frame: &Frame<'_>) -> std::result::Result<Headers, Drop> {
    if !ingress.carries() {
        return Err(Drop::PortDisabled);
    }
    let longest = if frame.segments > 1 { MAX_SUPER_FRAME } else { MAX_FRAME };
    let headers = Headers::parse(frame.bytes).filter(|_| frame.len() <= longest).ok_or(Drop::Malformed)?;
    ingress.count_received(frame);
    if headers.is_reserved() {
        return Err(Drop::ReservedAddress);
    }
    if headers.is_from_group() {
        return Err(Drop::SourceGroup);
    }
    if headers.is_from_zero() {
        return Err(Drop::SourceZero);
    }
    guard::check(&headers, frame.bytes)?;
    Ok(headers)
}

fn question(port: Handle, headers: &Headers, miss: Miss) -> Question {
    let address = match miss {
        Miss::Source | Miss::Moved => headers.source,
        Miss::Destination => headers.destination,
    };
    Question { port, missing: Key::new(headers.vlan, address), miss, vlan: headers.vlan }
}

/// Sends a frame where a rule or decision says; `egress` is the port that `out` names, if it names one that is there.
pub(crate) fn forward(ports: &[Arc<Port>], ingress: &Port, out: i32, egress: Option<&Arc<Port>>, frame: &Frame<'_>) {
    let result = match out {
        OUT_DROP => Err(Drop::Policy),
        OUT_FLOOD => flood(ports, ingress, frame),
        _ => forward_to(egress, ingress, frame),
    };
    if let Err(why) = result {
        ingress.drop_frame(why, frame.segments);
    }
}

fn forward_to(egress: Option<&Arc<Port>>, ingress: &Port, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
    let egress = egress.ok_or(Drop::NoPort)?;
    if egress.handle == ingress.handle {
        return Err(Drop::SamePort);
    }
    if both_links(ingress, egress) {
        return Err(Drop::SplitHorizon);
    }
    egress.send(frame);
    Ok(())
}

fn flood(ports: &[Arc<Port>], ingress: &Port, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
    let others = ports.iter().filter(|port| port.handle != ingress.handle && port.is_flooded());
    let mut taken = false;
    for egress in others.filter(|port| !both_links(ingress, port)) {
        egress.send(frame);
        taken = true;
    }
    taken.then_some(()).ok_or(Drop::NoPort)
}

/// Lets each port send what it kept.
pub(crate) fn flush(ports: &[Arc<Port>]) {
    ports.iter().for_each(|port| port.flush());
}

fn both_links(ingress: &Port, egress: &Port) -> bool {
    ingress.kind == PortKind::Link && egress.kind == PortKind::Link
}
