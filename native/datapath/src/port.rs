// SPDX-License-Identifier: MIT
//! Ports as the switch knows them, and the table of them.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ipop_base::{Drop, DropCounters, Frame, Handle, PortTransmit};

use crate::budget::Budget;
use crate::generation::Generation;

/// Which side of the split horizon a port is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    /// A tap, or a memory port that stands for one.
    Lan,
    /// A link to a peer: what comes from one never goes to another.
    Link,
}

/// One port of a switch.
pub struct Port {
    pub handle: Handle,
    pub kind: PortKind,
    pub budget: Mutex<Budget>,
    transmit: Arc<dyn PortTransmit>,
    drops: Arc<DropCounters>,
    enabled: AtomicBool,
    /// Set once, when the port is removed or carries nothing any more: no rule may lead to it and no frame wait for it after that.
    lost: AtomicBool,
    /// The port that this one stands in for; 0: none. Changes under the lock of the rules.
    stands_for: AtomicI32,
    /// A frame went out since the last flush.
    dirty: AtomicBool,
    use_: Use,
}

#[derive(Default)]
struct Use {
    rx_frames: AtomicU64,
    rx_bytes: AtomicU64,
    tx_frames: AtomicU64,
    tx_bytes: AtomicU64,
    upcalls: AtomicU64,
}

impl Port {
    /// A disabled port.
    pub fn new(
        handle: Handle,
        kind: PortKind,
        transmit: Arc<dyn PortTransmit>,
        drops: Arc<DropCounters>,
        now_ms: u64,
    ) -> Self {
        Self {
            handle,
            kind,
            budget: Mutex::new(Budget::new(now_ms)),
            transmit,
            drops,
            enabled: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            stands_for: AtomicI32::new(0),
            dirty: AtomicBool::new(false),
            use_: Use::default(),
        }
    }

    /// Lets frames in and out, or not. A lost port stays lost.
    pub fn enable(&self, on: bool) {
        self.enabled.store(on, Ordering::Release);
    }

    /// The port carries nothing any more, for ever.
    pub fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Frames may go in and out.
    pub fn carries(&self) -> bool {
        self.enabled.load(Ordering::Acquire) && !self.is_lost()
    }

    /// What comes in here counts as coming in at `of`, and nothing is flooded to it; 0: it is itself again. See `Switch::stand_in`.
    pub fn stand_in(&self, of: Handle) {
        self.stands_for.store(of, Ordering::Release);
    }

    /// The port that sources behind this one are bound to.
    pub fn bound_as(&self) -> Handle {
        match self.stands_for.load(Ordering::Acquire) {
            0 => self.handle,
            other => other,
        }
    }

    /// Frames for all go out here.
    pub fn is_flooded(&self) -> bool {
        self.carries() && self.bound_as() == self.handle
    }

    /// Sends a frame out of this port; counts it, or why it did not go.
    pub fn send(&self, frame: &Frame<'_>) {
        if !self.carries() {
            return self.drop_frame(Drop::PortDisabled, frame.segments);
        }
        match self.transmit.transmit(frame) {
            Ok(()) => {
                self.use_.tx_frames.fetch_add(frame.segments.into(), Ordering::Relaxed);
                self.use_.tx_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
                // After the frame, so that who takes the flag back finds it. Written only when it changes, as many threads may send here.
                if !self.dirty.load(Ordering::Relaxed) {
                    self.dirty.store(true, Ordering::Release);
                }
            }
            Err(why) => self.drop_frame(why, frame.segments),
        }
    }

    /// Lets the port send what it kept, if it was given anything since the last time.
    pub fn flush(&self) {
        if self.dirty.load(Ordering::Relaxed) && self.dirty.swap(false, Ordering::AcqRel) {
            self.transmit.flush();
        }
    }

    /// See `PortTransmit::takes_uso`.
    pub fn takes_uso(&self) -> bool {
        self.transmit.takes_uso()
    }

    /// Counts a frame that came in here.
    pub fn count_received(&self, frame: &Frame<'_>) {
        self.use_.rx_frames.fetch_add(frame.segments.into(), Ordering::Relaxed);
        self.use_.rx_bytes.fetch_add(frame.len() as u64, Ordering::Relaxed);
    }

    pub fn count_upcall(&self) {
        self.use_.upcalls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a drop; a super-frame counts as the frames it would have become.
    pub fn drop_frame(&self, why: Drop, segments: u16) {
        self.drops.add(why, segments.into());
    }

    pub fn counters(&self) -> PortCounters {
        PortCounters {
            rx_frames: self.use_.rx_frames.load(Ordering::Relaxed),
            rx_bytes: self.use_.rx_bytes.load(Ordering::Relaxed),
            tx_frames: self.use_.tx_frames.load(Ordering::Relaxed),
            tx_bytes: self.use_.tx_bytes.load(Ordering::Relaxed),
            upcalls: self.use_.upcalls.load(Ordering::Relaxed),
            drops: self.drops.all(),
        }
    }
}

/// What a port has done since it was made; see `ipop_port_counters` in ipop.h.
#[allow(missing_docs, reason = "each is documented once, in ipop.h")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortCounters {
    pub rx_frames: u64,
    pub rx_bytes: u64,
    pub tx_frames: u64,
    pub tx_bytes: u64,
    pub upcalls: u64,
    pub drops: [u64; Drop::COUNT],
}

impl PortCounters {
    /// Bytes of the seam's form.
    pub const LEN: usize = 8 * (5 + Drop::COUNT);

    /// The seam's form: u64s, little-endian, in the order of ipop.h.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let own = [self.rx_frames, self.rx_bytes, self.tx_frames, self.tx_bytes, self.upcalls];
        let values = own.iter().chain(&self.drops);
        bytes.chunks_exact_mut(8).zip(values).for_each(|(to, value)| to.copy_from_slice(&value.to_le_bytes()));
        bytes
    }
}

/// The ports of a switch, sorted by handle. Ports change a few times a minute at most and are looked up for each frame, so a change
/// copies the table: a reader takes the whole of it and holds no lock while it sends.
pub struct PortTable {
    ports: RwLock<Ports>,
    generation: Generation,
}

/// The table as it was at some instant.
pub type Ports = Arc<Vec<Arc<Port>>>;

impl PortTable {
    /// An empty table whose changes are counted in `generation`.
    pub fn new(generation: Generation) -> Self {
        Self { ports: RwLock::default(), generation }
    }

    pub fn snapshot(&self) -> Ports {
        self.ports.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn get(&self, handle: Handle) -> Option<Arc<Port>> {
        find(&self.snapshot(), handle).cloned()
    }

    /// Adds a port. Handles are never reused, so there is none of its handle yet.
    pub fn add(&self, port: Port) {
        self.change(|ports| {
            let at = ports.partition_point(|other| other.handle < port.handle);
            Arc::make_mut(ports).insert(at, Arc::new(port));
        });
    }

    pub fn remove(&self, handle: Handle) -> Option<Arc<Port>> {
        self.change(|ports| {
            let at = ports.binary_search_by_key(&handle, |port| port.handle).ok()?;
            Some(Arc::make_mut(ports).remove(at))
        })
    }

    /// Empties the table and returns what was in it.
    pub fn take(&self) -> Ports {
        self.change(std::mem::take)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ports) -> T) -> T {
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.count();
        change(&mut ports)
    }
}

/// The port of this handle.
pub fn find(ports: &[Arc<Port>], handle: Handle) -> Option<&Arc<Port>> {
    ports.binary_search_by_key(&handle, |port| port.handle).ok().map(|at| &ports[at])
}
